//! What a shared object's file says about itself: tables, glibc, whether it can be unloaded.

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use nccl_net_abi::Version;
use object::elf::{DF_1_NODELETE, DT_FLAGS_1};
use object::read::elf::{Dyn, ElfFile64, FileHeader};
use object::read::{Object, ObjectSymbol, ReadCache};

/// A release of glibc, as in the symbol version `GLIBC_2.34`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Glibc(pub(crate) u32, pub(crate) u32);

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedObject {
    /// Net tables that it exports, oldest first.
    pub(crate) tables: Vec<Version>,
    /// The newest glibc that it needs.
    pub(crate) needs: Option<Glibc>,
    /// The newest glibc interface that it provides: only libc itself does.
    pub(crate) provides: Option<Glibc>,
    /// Linked `-z nodelete`: stays in memory when it is unloaded.
    pub(crate) resident: bool,
}

/// Reads a file; only what is asked for of it, as some have hundreds of megabytes.
///
/// # Errors
/// It can't be read or is no 64-bit shared object.
pub(crate) fn read(path: &Path) -> anyhow::Result<SharedObject> {
    let cache = ReadCache::new(File::open(path).with_context(|| format!("opening {}", path.display()))?);
    let file = ElfFile64::<object::Endianness, _>::parse(&cache)
        .with_context(|| format!("{} is no 64-bit shared object", path.display()))?;
    let tables = Version::ALL
        .into_iter()
        .filter(|version| {
            let name = version.symbol().to_bytes();
            file.dynamic_symbols().any(|s| s.is_definition() && s.name_bytes().is_ok_and(|n| n == name))
        })
        .collect();

    let (endian, sections) = (file.endian(), file.elf_section_table());
    let mut needs = None;
    if let Some((mut libraries, link)) = sections.gnu_verneed(endian, &cache)? {
        let strings = sections.strings(endian, &cache, link)?;
        while let Some((_, mut versions)) = libraries.next()? {
            while let Some(version) = versions.next()? {
                needs = needs.max(glibc(version.name(endian, strings)?));
            }
        }
    }
    let mut provides = None;
    if let Some((mut definitions, link)) = sections.gnu_verdef(endian, &cache)? {
        let strings = sections.strings(endian, &cache, link)?;
        while let Some((_, mut versions)) = definitions.next()? {
            while let Some(version) = versions.next()? {
                provides = provides.max(glibc(version.name(endian, strings)?));
            }
        }
    }
    let entries = sections.dynamic(endian, &cache)?.map(|(entries, _)| entries).unwrap_or_default();
    let flags = entries.iter().find(|entry| entry.tag(endian) == DT_FLAGS_1).map_or(0, |e| e.d_val(endian));
    let resident = flags & DF_1_NODELETE.0 != 0;
    // Another machine's file parses as well.
    let own = ElfFile64::<object::Endianness, _>::parse(&ReadCache::new(
        File::open("/proc/self/exe").context("opening srv6ctl itself")?,
    ))
    .map(|own| own.elf_header().e_machine(own.endian()))
    .context("reading srv6ctl itself")?;
    let machine = file.elf_header().e_machine(endian);
    anyhow::ensure!(machine == own, "{} is for another kind of processor", path.display());
    Ok(SharedObject { tables, needs, provides, resident })
}

/// `GLIBC_2.34` or `GLIBC_2.2.5`; `None` for other version names, `GLIBC_PRIVATE` among them.
fn glibc(name: &[u8]) -> Option<Glibc> {
    let mut numbers = std::str::from_utf8(name).ok()?.strip_prefix("GLIBC_")?.split('.');
    Some(Glibc(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

impl std::fmt::Display for Glibc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::loader::SearchPath;
    use super::*;
    use crate::config::Environment;

    #[test]
    fn libc_provides_what_srv6ctl_needs() {
        let libc = SearchPath::new(&Environment::default()).find("libc.so.6").unwrap();
        let provided = read(&libc).unwrap().provides.unwrap();
        let own = read(Path::new("/proc/self/exe")).unwrap();
        assert!(own.needs.unwrap() <= provided, "{own:?} {provided}");
        assert!(own.tables.is_empty() && own.provides.is_none() && !own.resident, "{own:?}");
    }

    #[test]
    fn something_else_is_refused() {
        let error = read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))).unwrap_err();
        assert!(error.to_string().contains("no 64-bit shared object"), "{error}");
        assert!(read(Path::new("/nonexistent.so")).unwrap_err().to_string().contains("/nonexistent.so"));
    }

    #[test]
    fn versions_are_read_as_numbers() {
        assert_eq!(glibc(b"GLIBC_2.34"), Some(Glibc(2, 34)));
        assert_eq!(glibc(b"GLIBC_2.2.5"), Some(Glibc(2, 2)));
        assert_eq!(glibc(b"GLIBC_PRIVATE"), None);
        assert_eq!(glibc(b"GLIBCXX_3.4"), None);
        assert!(Glibc(2, 9) < Glibc(2, 34));
    }
}
