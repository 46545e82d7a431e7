//! Local symbols of a libnccl: PyPI's wheels keep them, and they say where things really are.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use object::read::ReadCache;
use object::{Object, ObjectSymbol};

/// Addresses of NCCL's internals, relative to where the image is loaded.
pub(crate) struct Symbols(HashMap<String, usize>);

impl Symbols {
    pub(crate) fn read(library: &Path) -> Self {
        // Reads on demand: the files have hundreds of megabytes, nearly all of it GPU code.
        let cache = ReadCache::new(File::open(library).unwrap());
        let file = object::File::parse(&cache).unwrap();
        let symbols = file.symbols().filter_map(|symbol| {
            let name = symbol.name().ok()?;
            let wanted = ["ncclNetSocket", "ncclNetIb"].contains(&name) || is_logger(name);
            wanted.then(|| Some((name.to_owned(), usize::try_from(symbol.address()).ok()?)))?
        });
        Self(symbols.collect())
    }

    /// NCCL's own table of this name.
    pub(crate) fn table(&self, name: &str) -> usize {
        self.0[name]
    }

    /// The function that NCCL passes to a plugin's init.
    pub(crate) fn logger(&self) -> usize {
        let found: Vec<usize> =
            self.0.iter().filter(|(name, _)| is_logger(name)).map(|(_, &at)| at).collect();
        match found[..] {
            [one] => one,
            _ => panic!("{} symbols could be ncclDebugLog", found.len()),
        }
    }
}

/// `ncclDebugLog(level, flags, file, line, format, ...)`, as the C++ compiler names it.
fn is_logger(name: &str) -> bool {
    name == "ncclDebugLog" || name == "_Z12ncclDebugLog17ncclDebugLogLevelmPKciS1_z"
}
