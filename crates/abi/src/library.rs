//! A net plugin loaded from a file.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use libloading::os::unix;

use crate::{AnyNet, Error, Version};

/// A net plugin loaded from a file.
///
/// Stays loaded when dropped: plugins run threads of their own, and tables point into it.
#[derive(Debug)]
pub struct Library {
    path: PathBuf,
    handle: ManuallyDrop<unix::Library>,
}

impl Library {
    /// Loads `path` as NCCL does: all symbols resolved now, none shown to others.
    ///
    /// A path without a slash is looked up where the loader looks.
    ///
    /// # Errors
    /// If the loader refuses it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // SAFETY: runs the file's initialisers; a user who names a plugin wants just that.
        let handle = unsafe { unix::Library::open(Some(path), unix::RTLD_NOW | unix::RTLD_LOCAL) }
            .map_err(|source| Error::Load { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), handle: ManuallyDrop::new(handle) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The table of one version.
    ///
    /// # Errors
    /// If there is none, or it lacks a mandatory member.
    pub fn net(&self, version: Version) -> Result<AnyNet, Error> {
        let no_symbol = || Error::NoSymbol { path: self.path.clone(), version };
        // SAFETY: only the address is taken, so the type doesn't matter.
        let symbol = unsafe { self.handle.get::<*mut c_void>(version.symbol().to_bytes_with_nul()) };
        let table = NonNull::new(symbol.map_err(|_| no_symbol())?.as_raw_ptr()).ok_or_else(no_symbol)?;
        // SAFETY: a symbol of this name is such a table: the convention NCCL itself relies on. It lives as long as
        // the process unless `close` is called.
        unsafe { AnyNet::from_raw(version, table) }
    }

    /// The table of the newest version that it has.
    ///
    /// # Errors
    /// If it has none, or the newest lacks a mandatory member.
    pub fn newest(&self) -> Result<AnyNet, Error> {
        for version in Version::ALL.into_iter().rev() {
            match self.net(version) {
                Err(Error::NoSymbol { .. }) => {}
                found => return found,
            }
        }
        Err(Error::NoPlugin { path: self.path.clone() })
    }

    /// Unloads it, as NCCL 2.28 and later do when the last communicator goes.
    ///
    /// # Safety
    /// Nothing got from it is used again, unless the file is linked `-z nodelete`.
    ///
    /// # Errors
    /// If the loader refuses.
    pub unsafe fn close(self) -> Result<(), Error> {
        let Self { path, handle } = self;
        ManuallyDrop::into_inner(handle).close().map_err(|source| Error::Load { path, source })
    }
}
