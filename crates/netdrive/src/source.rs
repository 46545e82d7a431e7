//! Where a net's table comes from, and which log function goes with it.

use std::fs::File;
use std::path::{Path, PathBuf};

use nccl_net_abi::bindings::ncclDebugLogger_t;
use nccl_net_abi::{AnyNet, Image, Library, Logger, Stock, Version, find_stock};
use object::read::elf::ElfFile64;
use object::read::{Object, ObjectSymbol, ReadCache};

use crate::{Error, nccl_log};

/// Where the net's table comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetSource {
    /// A net plugin.
    Plugin {
        /// The file; without a slash it is looked up where the loader looks.
        path: PathBuf,
        /// Which table; the newest if `None`, as NCCL chooses.
        version: Option<Version>,
        /// An NCCL to load as well: the plugin then gets that NCCL's log function, as in a real job, and can find its
        /// stock tables by it.
        nccl: Option<PathBuf>,
    },
    /// NCCL's own table. Its connect and accept need a CUDA driver.
    Stock {
        /// A libnccl.so.2.
        libnccl: PathBuf,
        /// Which of its tables.
        stock: Stock,
    },
}

impl NetSource {
    /// Loads the table.
    pub(crate) fn load(&self) -> Result<(AnyNet, Logger), Error> {
        match self {
            Self::Plugin { path, version, nccl } => {
                // First, as in a real job: NCCL is there when the plugin's initialisers run.
                let logger = match nccl {
                    Some(nccl) => nccl_logger(&Image::open(nccl)?)?,
                    None => own_logger()?,
                };
                let library = Library::open(path)?;
                let net = match version {
                    Some(version) => library.net(*version)?,
                    None => library.newest()?,
                };
                Ok((net, logger))
            }
            Self::Stock { libnccl, stock } => {
                let image = Image::open(libnccl)?;
                let code = image.nccl_version()?;
                let version = Version::internal_layout(code)
                    .ok_or_else(|| Error::UnknownRelease { path: libnccl.clone(), code })?;
                let net = find_stock(&image, *stock, version)?;
                // A stripped NCCL is as usable with our log.
                let logger = match nccl_logger(&image) {
                    Err(Error::NoLogger { .. }) => own_logger()?,
                    found => found?,
                };
                Ok((net, logger))
            }
        }
    }
}

fn own_logger() -> Result<Logger, Error> {
    nccl_log::logger().ok_or_else(|| Error::NoLogger { path: PathBuf::from("/proc/self/exe") })
}

/// The log function of a loaded NCCL, ready to be called.
///
/// It is no public symbol, but the released libraries have a full symbol table.
fn nccl_logger(image: &Image) -> Result<Logger, Error> {
    let no_logger = || Error::NoLogger { path: image.path().into() };
    let symbols = symbols(image.path())?;
    let function = |offset: Option<usize>| {
        let address = image.base().wrapping_add(offset?);
        image.contains(address).then(|| std::ptr::with_exposed_provenance::<()>(address))
    };
    let logger = function(symbols.log).ok_or_else(no_logger)?;
    if let Some(start) = function(symbols.start) {
        // SAFETY: the symbol of this name in this image is a function without arguments.
        let start = unsafe { std::mem::transmute::<*const (), extern "C" fn()>(start) };
        // 2.28's log reads NCCL_DEBUG through a plugin that this loads; called before, the log would crash.
        start();
    }
    // SAFETY: the symbol of this name in this image is a function of this type in every release.
    let logger = unsafe { std::mem::transmute::<*const (), ncclDebugLogger_t>(logger) };
    // SAFETY: it is NCCL's logger.
    unsafe { Logger::new(logger) }.ok_or_else(no_logger)
}

/// Where functions of NCCL's are in its image; `None` if the symbol table doesn't name them.
#[derive(Debug, Default)]
struct Symbols {
    /// `ncclDebugLog`.
    log: Option<usize>,
    /// `ncclInitEnv`, which the first public call of a real job comes to; 2.28 and later.
    start: Option<usize>,
}

fn symbols(path: &Path) -> Result<Symbols, Error> {
    // Hundreds of megabytes of GPU code; the cache reads only what is asked for.
    let file = File::open(path).map_err(|source| Error::Symbols { path: path.to_owned(), source })?;
    let cache = ReadCache::new(file);
    let file = ElfFile64::<object::Endianness, _>::parse(&cache)
        .map_err(|source| Error::SymbolTable { path: path.to_owned(), source })?;
    let mut found = Symbols::default();
    for symbol in file.symbols().filter(ObjectSymbol::is_definition) {
        let place = match symbol.name_bytes() {
            // C in some releases, C++ in others.
            Ok(b"ncclDebugLog" | b"_Z12ncclDebugLog17ncclDebugLogLevelmPKciS1_z") => &mut found.log,
            Ok(b"ncclInitEnv" | b"_Z11ncclInitEnvv") => &mut found.start,
            _ => continue,
        };
        *place = usize::try_from(symbol.address()).ok();
    }
    Ok(found)
}
