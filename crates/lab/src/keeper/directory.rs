//! Where state files are.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::State;
use super::state::check_name;
use crate::Error;

/// A user's directory of state files, one per lab: `NAME.json`, and `NAME.log` with what its keeper had to say.
#[derive(Debug, Clone)]
pub struct Directory(PathBuf);

impl Directory {
    /// The user's directory: `/run/srv6-lab` for root, else `srv6-lab` in `runtime` (XDG_RUNTIME_DIR), else
    /// `/tmp/srv6-lab-UID`. Makes it where it isn't there.
    ///
    /// # Errors
    /// It can't be made, or belongs to someone else.
    pub fn of_user(runtime: Option<&Path>) -> Result<Self, Error> {
        let uid = rustix::process::geteuid();
        if uid.is_root() {
            match Self::at(PathBuf::from("/run/srv6-lab")) {
                // Root of a user namespace only: an ordinary user, for this directory's owner.
                Err(Error::State { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {}
                made => return made,
            }
        }
        match runtime {
            Some(runtime) => Self::at(runtime.join("srv6-lab")),
            None => Self::at(PathBuf::from(format!("/tmp/srv6-lab-{}", uid.as_raw()))),
        }
    }

    /// This directory; makes it where it isn't there.
    ///
    /// # Errors
    /// As [`Self::of_user`].
    pub fn at(path: PathBuf) -> Result<Self, Error> {
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed("make", &path, e)),
            _ => {}
        }
        // What it says decides which processes get signals, so nobody else may have prepared it, in /tmp least of
        // all. Not following a link is part of that.
        let found = std::fs::symlink_metadata(&path).map_err(|e| failed("look at", &path, e))?;
        let own = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
        if !own || found.permissions().mode() & 0o022 != 0 {
            return Err(Error::StateDirectory { path });
        }
        Ok(Self(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The lab of this name, if it is up. Removes what a dead keeper left.
    ///
    /// # Errors
    /// A state file that can't be read.
    pub fn state(&self, name: &str) -> Result<Option<State>, Error> {
        let path = self.file(name, "json")?;
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed("read", &path, e)),
        };
        let state: State = serde_json::from_str(&text)
            .map_err(|e| Error::StateFormat { path: path.clone(), reason: e.to_string() })?;
        if state.is_alive() {
            return Ok(Some(state));
        }
        self.forget(name)?;
        Ok(None)
    }

    /// All labs that are up, by name.
    ///
    /// # Errors
    /// As [`Self::state`].
    pub fn states(&self) -> Result<Vec<State>, Error> {
        let entries = std::fs::read_dir(&self.0).map_err(|e| failed("list", &self.0, e))?;
        let mut names: Vec<String> = entries
            .filter_map(|e| e.ok()?.file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
            .filter(|name| check_name(name).is_ok())
            .collect();
        names.sort();
        names.iter().filter_map(|name| self.state(name).transpose()).collect()
    }

    /// Held while a lab is brought up or down: two commands at once would both think they are alone.
    pub(super) fn lock(&self) -> Result<File, Error> {
        let directory = File::open(&self.0).map_err(|e| failed("open", &self.0, e))?;
        rustix::fs::flock(&directory, FlockOperation::LockExclusive)
            .map_err(|e| failed("lock", &self.0, e.into()))?;
        Ok(directory)
    }

    /// Writes a state file: all of it or nothing.
    pub(super) fn remember(&self, state: &State) -> Result<(), Error> {
        let path = self.file(state.request().name(), "json")?;
        let new = self.file(state.request().name(), "new")?;
        let text = serde_json::to_vec(state)
            .map_err(|e| Error::StateFormat { path: path.clone(), reason: e.to_string() })?;
        std::fs::write(&new, text).map_err(|e| failed("write", &new, e))?;
        std::fs::set_permissions(&new, Permissions::from_mode(0o600))
            .map_err(|e| failed("protect", &new, e))?;
        std::fs::rename(&new, &path).map_err(|e| failed("write", &path, e))
    }

    /// Removes what there is of a lab.
    pub(super) fn forget(&self, name: &str) -> Result<(), Error> {
        for kind in ["json", "log"] {
            let path = self.file(name, kind)?;
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &path, e)),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn create_log(&self, name: &str) -> Result<File, Error> {
        let path = self.file(name, "log")?;
        File::create(&path).map_err(|e| failed("write", &path, e))
    }

    /// What the keeper has written so far; empty where there is nothing.
    pub(super) fn read_log(&self, name: &str) -> String {
        self.file(name, "log").ok().and_then(|p| std::fs::read_to_string(p).ok()).unwrap_or_default()
    }

    fn file(&self, name: &str, kind: &str) -> Result<PathBuf, Error> {
        check_name(name)?;
        Ok(self.0.join(format!("{name}.{kind}")))
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::State { action, path: path.to_owned(), source }
}
