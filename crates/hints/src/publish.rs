//! How a file of hints gets its name: locked against a second writer, and complete from the first moment.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::HintsError;
use crate::region::{Identity, Region};

/// The right to write one file of hints. Ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    /// Beside the file and not the file itself, which is replaced. Locked as long as it is open.
    lock: File,
}

impl Claim {
    /// Takes the right to write `path`; makes its directory if there is none.
    ///
    /// # Errors
    /// Another process has it, or the directory is one in which other users may put files.
    pub(crate) fn take(path: &Path) -> Result<Self, HintsError> {
        check_directory(
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        )?;
        let lock_path = beside(path, ".lock");
        let failed = |source| HintsError::File { doing: "lock", path: lock_path.clone(), source };
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&lock_path)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(HintsError::OtherWriter { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Whether the lock still has its name: with the folder it goes, and another process may take it in a new one.
    pub(crate) fn is_current(&self) -> bool {
        let same = |one: &Metadata, other: &Metadata| Identity::of(one) == Identity::of(other);
        let named = std::fs::metadata(beside(&self.path, ".lock"));
        named.is_ok_and(|named| self.lock.metadata().is_ok_and(|own| same(&named, &own)))
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file: `fill` sees it before anybody else, then it gets its name in one step. Readers of the one
    /// before keep what they have mapped. Gives it with what tells it from others.
    pub(crate) fn publish(
        &self,
        bytes: usize,
        fill: impl FnOnce(&Region),
    ) -> Result<(Region, Identity), HintsError> {
        let fresh = beside(&self.path, ".new");
        let failed = |doing| {
            let path = fresh.clone();
            move |source| HintsError::File { doing, path, source }
        };
        // One that a writer killed here has left.
        let _none = std::fs::remove_file(&fresh);
        let file = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&fresh)
            .map_err(failed("make"))?;
        file.set_len(bytes as u64).map_err(failed("make"))?;
        let region = Region::writable(&file, bytes).map_err(failed("map"))?;
        fill(&region);
        // Whatever the umask is: readers are other users.
        file.set_permissions(Permissions::from_mode(0o644)).map_err(failed("open to readers"))?;
        let identity = Identity::of(&file.metadata().map_err(failed("look at"))?);
        std::fs::rename(&fresh, &self.path).map_err(failed("rename"))?;
        Ok((region, identity))
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Makes the directory, or sees that what is there is ours.
fn check_directory(path: &Path) -> Result<(), HintsError> {
    let failed = |doing| move |source| HintsError::File { doing, path: path.to_owned(), source };
    match DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("make directory")(error)),
    }
    // Not followed: a link is somebody's choice of where we write.
    let metadata = std::fs::symlink_metadata(path).map_err(failed("look at"))?;
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let wanted = rustix::process::geteuid().as_raw();
    if !metadata.is_dir() {
        let not = std::io::Error::from(std::io::ErrorKind::NotADirectory);
        return Err(failed("use as directory")(not));
    }
    // A group may write where the owner says so: those are the owner's own.
    if (owner == wanted || owner == 0) && mode & 0o002 == 0 {
        return Ok(());
    }
    Err(HintsError::Directory { path: path.to_owned(), owner, mode, wanted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_writer_is_told_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/hints");
        let first = Claim::take(&path).unwrap();
        let error = Claim::take(&path).unwrap_err();
        assert!(error.to_string().contains("made/hints is being written by another process"), "{error}");
        drop(first);
        Claim::take(&path).unwrap();
    }

    #[test]
    fn a_directory_that_anybody_may_write_in_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        let error = Claim::take(&directory.path().join("hints")).unwrap_err();
        assert!(error.to_string().contains("mode 0777"), "{error}");
        let real = directory.path().join("real");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, directory.path().join("link")).unwrap();
        let error = Claim::take(&directory.path().join("link/hints")).unwrap_err();
        assert!(error.to_string().starts_with("use as directory"), "{error}");
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hints");
        std::fs::write(beside(&path, ".new"), "left by a killed writer").unwrap();
        let claim = Claim::take(&path).unwrap();
        claim.publish(64, |_| assert!(!path.exists())).unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.mode() & 0o7777), (64, 0o644));
    }
}
