//! Where the dynamic loader looks for a library (ld.so(8)): `LD_LIBRARY_PATH`, its cache, its own folders.

use std::path::{Path, PathBuf};

use crate::config::Environment;

const CACHE: &str = "/etc/ld.so.cache";

/// The folders that the loader has built in, on distributions of both kinds.
const FOLDERS: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// The loader's search path for a process of this environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct SearchPath {
    first: Vec<PathBuf>,
    /// Library names with their files.
    cache: Vec<(String, PathBuf)>,
    last: Vec<PathBuf>,
}

impl SearchPath {
    /// Reads `LD_LIBRARY_PATH` and the cache.
    pub(crate) fn new(environment: &Environment) -> Self {
        let first = environment.get("LD_LIBRARY_PATH").unwrap_or_default();
        // An empty entry means the working directory, to the loader.
        let folder = |entry: &str| PathBuf::from(if entry.is_empty() { "." } else { entry });
        let first = if first.is_empty() { Vec::new() } else { first.split([':', ';']).map(folder).collect() };
        let cache = std::fs::read(CACHE).map(|bytes| entries(&bytes)).unwrap_or_default();
        Self { first, cache, last: FOLDERS.map(PathBuf::from).to_vec() }
    }

    /// All files that `name` could mean, the one that is loaded first; a name with a slash is a file.
    pub(crate) fn all(&self, name: &str) -> Vec<PathBuf> {
        if name.contains('/') {
            return vec![PathBuf::from(name)].into_iter().filter(|path| path.is_file()).collect();
        }
        let cached = self.cache.iter().filter(|(cached, _)| cached == name).map(|(_, file)| file.clone());
        let in_folders = |folders: &[PathBuf]| -> Vec<PathBuf> {
            folders.iter().map(|folder| folder.join(name)).collect()
        };
        let mut files: Vec<PathBuf> = Vec::new();
        for file in in_folders(&self.first).into_iter().chain(cached).chain(in_folders(&self.last)) {
            let same = |other: &PathBuf| real(other) == real(&file);
            if file.is_file() && !files.iter().any(same) {
                files.push(file);
            }
        }
        files
    }

    /// The file that is loaded under this name.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        self.all(name).into_iter().next()
    }

    /// Whether `LD_LIBRARY_PATH` has this file's folder.
    pub(crate) fn names_folder_of(&self, file: &Path) -> bool {
        file.parent().is_some_and(|folder| self.first.iter().any(|named| real(named) == real(folder)))
    }
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The entries of `ld.so.cache` in the format of glibc 2.2 and later (`dl-cache.h`: `struct cache_file_new`, 48 bytes,
/// then `file_entry_new` of 24 bytes each; offsets count from the header). Anything else gives none.
fn entries(bytes: &[u8]) -> Vec<(String, PathBuf)> {
    const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
    // The old format may come first.
    let Some(start) = bytes.windows(MAGIC.len()).position(|window| window == MAGIC) else {
        return Vec::new();
    };
    let Some(file) = bytes.get(start..) else { return Vec::new() };
    let number = |offset: usize| -> Option<usize> {
        usize::try_from(u32::from_ne_bytes(*file.get(offset..)?.first_chunk()?)).ok()
    };
    let text = |offset: usize| -> Option<String> {
        let text = file.get(offset..)?.split(|&byte| byte == 0).next()?;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    let count = number(MAGIC.len()).unwrap_or(0);
    (0..count)
        .map_while(|index| {
            let entry = 48 + index * 24;
            Some((text(number(entry + 4)?)?, PathBuf::from(text(number(entry + 8)?)?)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_cache_knows_libc() {
        let path = SearchPath::new(&Environment::default());
        let libc = path.find("libc.so.6").expect("a libc");
        assert!(libc.is_file(), "{}", libc.display());
        assert_eq!(path.find("libnosuchlibrary.so.1"), None);
    }

    #[test]
    fn entries_of_a_cache_are_read() {
        let mut bytes = b"glibc-ld.so.cache1.1".to_vec();
        bytes.extend(1_u32.to_ne_bytes());
        bytes.resize(48, 0);
        let strings = 48 + 24;
        for number in [3_u32, strings, strings + 12, 0, 0, 0] {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend(b"libx.so.1\0\0\0/opt/libx.so.1\0");
        assert_eq!(entries(&bytes), [("libx.so.1".to_owned(), PathBuf::from("/opt/libx.so.1"))]);
        assert_eq!(entries(&bytes[..60]), [], "cut short");
        assert_eq!(entries(b"something else"), []);
    }

    #[test]
    fn the_library_path_comes_first_and_a_file_is_told_once() {
        let folder = std::env::temp_dir().join(format!("srv6ctl-loader-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("libc.so.6"), "").unwrap();
        let text = folder.display().to_string();
        let environment = Environment::default().with("LD_LIBRARY_PATH", &format!("{text}:{text}"));
        let path = SearchPath::new(&environment);
        let all = path.all("libc.so.6");
        assert_eq!(all[0], folder.join("libc.so.6"));
        assert!(all.len() >= 2 && !all[1..].contains(&all[0]), "{all:?}");
        assert!(path.names_folder_of(&all[0]) && !path.names_folder_of(&all[1]));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
