//! Checks of the house: what the documents say is so, and crates depend only on what they may.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

mod documents;
mod licences;
mod packages;
mod quotes;
mod slurm;
mod sources;

use std::path::PathBuf;

/// The repository's root.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file, by path from the repository's root.
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The value of a line such as `channel = "1.95.0"` in TOML.
fn toml_string<'a>(toml: &'a str, key: &str) -> Option<&'a str> {
    toml.lines()
        .filter_map(|line| line.split_once(" = "))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.strip_prefix('"')?.strip_suffix('"'))
}
