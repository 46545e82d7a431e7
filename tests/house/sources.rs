//! The source files: how long, and where modules are.

use std::path::{Path, PathBuf};

use crate::root;

/// Longer files have more than one idea.
const LONGEST: usize = 500;

/// Every Rust file of the repository.
pub(crate) fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // Hidden folders hold tools' own files and downloads.
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 100, "found only {} Rust files", files.len());
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<_> = rust_files()
        .into_iter()
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(lines, _)| *lines > LONGEST)
        .collect();
    assert!(long.is_empty(), "over {LONGEST} lines: {long:?}");
}

#[test]
fn modules_with_children_are_folders() {
    for path in rust_files() {
        let folder = path.with_extension("");
        assert!(!folder.is_dir(), "{} has a folder beside it: move it to mod.rs", path.display());
    }
}

#[test]
fn every_test_runs() {
    // Put together here, so that this file doesn't find itself.
    let attribute = ["#[", "ignore"].concat();
    for path in rust_files() {
        assert!(!read(&path).contains(&attribute), "{} ignores a test", path.display());
    }
}
