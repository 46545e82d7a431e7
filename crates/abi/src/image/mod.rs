//! A loaded image (main program or shared object), and NCCL's own tables in it.

mod scan;

use std::ffi::{CStr, CString, OsStr, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libloading::os::unix;

use crate::bindings::ncclResult_t;
use crate::{Code, Error};
pub use scan::{Stock, find_stock};

/// A loaded image: the main program or a shared object.
///
/// Stays loaded as long as the process.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    base: usize,
    segments: Vec<Segment>,
    handle: ManuallyDrop<unix::Library>,
}

/// A readable piece of the image in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    addresses: Range<usize>,
    writable: bool,
    executable: bool,
}

impl Image {
    /// The image that contains `address`.
    ///
    /// Finds NCCL by its logger: right with several NCCLs in the process, with `RTLD_LOCAL`, and with NCCL linked
    /// statically into another library.
    ///
    /// # Errors
    /// If no image contains it, or the loader no longer knows that image.
    pub fn containing(address: *const c_void) -> Result<Self, Error> {
        let address = address.addr();
        let mut search = Search { address, found: None };
        // SAFETY: `visit` matches the type that dl_iterate_phdr wants, and `search` outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
        let Found { path, base, segments } = search.found.ok_or(Error::NoImage { address })?;
        // The loader calls the main program "". RTLD_NOLOAD: the image is there; another one of its name must not come.
        let name = OsStr::from_bytes(path.to_bytes());
        let (file, path) = if name.is_empty() {
            (None, PathBuf::from("/proc/self/exe"))
        } else {
            (Some(name), PathBuf::from(name))
        };
        // SAFETY: with RTLD_NOLOAD no initialiser runs.
        let handle = unsafe { unix::Library::open(file, unix::RTLD_LAZY | libc::RTLD_NOLOAD) }
            .map_err(|source| Error::Load { path: path.clone(), source })?;
        Ok(Self { path, base, segments, handle: ManuallyDrop::new(handle) })
    }

    /// Loads a libnccl from a file and gives its image.
    ///
    /// # Errors
    /// If the loader refuses it or it has no `ncclGetVersion`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // SAFETY: runs the file's initialisers; who names an NCCL wants just that.
        let library = unsafe { unix::Library::open(Some(path), unix::RTLD_NOW | unix::RTLD_LOCAL) }
            .map_err(|source| Error::Load { path: path.to_owned(), source })?;
        // Stays loaded, whatever becomes of this handle: tables will point into it.
        let library = ManuallyDrop::new(library);
        // SAFETY: only the address is taken.
        let symbol = unsafe { library.get::<*mut c_void>(c"ncclGetVersion".to_bytes_with_nul()) }
            .map_err(|_| Error::NoVersion { path: path.to_owned() })?;
        Self::containing(symbol.as_raw_ptr())
    }

    /// The file, as the loader knows it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is loaded: tells two images apart, even of one file.
    pub const fn base(&self) -> usize {
        self.base
    }

    /// The release of the NCCL in this image, as `ncclGetVersion` gives it (2.27.5 is 22705).
    ///
    /// # Errors
    /// If the image itself has no such function: one of another image would tell another NCCL's release.
    pub fn nccl_version(&self) -> Result<i32, Error> {
        let no_version = || Error::NoVersion { path: self.path.clone() };
        // SAFETY: NCCL's public signature of this function.
        let symbol = unsafe {
            self.handle.get::<unsafe extern "C" fn(*mut c_int) -> ncclResult_t>(
                c"ncclGetVersion".to_bytes_with_nul(),
            )
        }
        .map_err(|_| no_version())?;
        // dlsym also searches what the image depends on.
        let function = *symbol;
        if !self.contains(function as usize) {
            return Err(no_version());
        }
        let mut version = 0;
        // SAFETY: NCCL's contract: writes one int, callable at any time.
        Code::check(unsafe { function(&raw mut version) })
            .map_err(|source| Error::VersionCall { path: self.path.clone(), source })?;
        Ok(version)
    }

    /// Whether a byte of the image has this address.
    pub fn contains(&self, address: usize) -> bool {
        self.segments.iter().any(|segment| segment.addresses.contains(&address))
    }
}

struct Search {
    address: usize,
    found: Option<Found>,
}

struct Found {
    path: CString,
    base: usize,
    segments: Vec<Segment>,
}

/// Called for each image, by the loader, until it returns something else than 0.
unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, search: *mut c_void) -> c_int {
    // SAFETY: dl_iterate_phdr's contract: a valid description, for the time of the call.
    let info = unsafe { &*info };
    // SAFETY: `Image::containing` passes its `Search`.
    let search = unsafe { &mut *search.cast::<Search>() };
    // SAFETY: dl_iterate_phdr's contract: `dlpi_phnum` headers.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let base = usize::try_from(info.dlpi_addr).unwrap_or(0);
    let segments: Vec<Segment> = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_R != 0)
        .filter_map(|header| {
            let start = base.wrapping_add(usize::try_from(header.p_vaddr).ok()?);
            let end = start.checked_add(usize::try_from(header.p_memsz).ok()?)?;
            Some(Segment {
                addresses: start..end,
                writable: header.p_flags & libc::PF_W != 0,
                executable: header.p_flags & libc::PF_X != 0,
            })
        })
        .collect();
    if !segments.iter().any(|segment| segment.addresses.contains(&search.address)) {
        return 0;
    }
    let path = if info.dlpi_name.is_null() {
        CString::default()
    } else {
        // SAFETY: dl_iterate_phdr's contract: a C string.
        unsafe { CStr::from_ptr(info.dlpi_name) }.to_owned()
    };
    search.found = Some(Found { path, base, segments });
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_libc_is_in_libc() {
        let image = Image::containing(libc::getpid as *const c_void).unwrap();
        assert!(image.path().to_str().unwrap().contains("libc.so"), "{image:?}");
        assert!(image.contains(libc::getpid as *const c_void as usize));
        assert!(!image.contains(Image::containing as *const c_void as usize));
    }

    #[test]
    fn our_own_function_is_in_the_main_program() {
        let image = Image::containing(Image::containing as *const c_void).unwrap();
        assert_eq!(image.path(), Path::new("/proc/self/exe"));
    }

    #[test]
    fn the_heap_is_in_no_image() {
        let heap = Box::new(0);
        let error = Image::containing(std::ptr::from_ref::<i32>(&heap).cast()).unwrap_err();
        assert!(matches!(error, Error::NoImage { .. }), "{error}");
    }

    #[test]
    fn an_image_without_nccl_has_no_nccl_version() {
        let image = Image::containing(libc::getpid as *const c_void).unwrap();
        assert!(matches!(image.nccl_version(), Err(Error::NoVersion { .. })));
    }
}
