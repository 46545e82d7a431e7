//! The releases of `releases.txt`, and where their libraries are.

use std::path::{Path, PathBuf};

/// A release of NCCL.
pub(crate) struct Release {
    /// As PyPI calls it, such as 2.27.5.
    pub(crate) name: String,
    /// The version of the net table that it looks up first in a plugin.
    pub(crate) table: u8,
    default: bool,
}

impl Release {
    fn all() -> Vec<Self> {
        let rows = include_str!("releases.txt").lines().filter(|line| !line.starts_with('#'));
        rows.map(|row| match row.split_whitespace().collect::<Vec<_>>()[..] {
            [name, table, ref rest @ ..] => Self {
                name: name.to_owned(),
                table: table.parse().expect("the second column is a number"),
                default: rest == ["default"],
            },
            _ => panic!("releases.txt: {row:?} has no table version"),
        })
        .collect()
    }

    /// What this run tests.
    pub(crate) fn chosen() -> Vec<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the whole test's one setting; cargo test has no other way in"
        )]
        let all = std::env::var("SRV6_ALL_NCCL").is_ok_and(|value| value == "1");
        Self::all().into_iter().filter(|release| all || release.default).collect()
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|release| release.name == name)
    }

    /// What `ncclGetVersion` says of it.
    pub(crate) fn code(&self) -> i32 {
        let numbers: Vec<i32> =
            self.name.split('.').map(|number| number.parse().expect("a number")).collect();
        numbers[0] * 10_000 + numbers[1] * 100 + numbers[2]
    }

    pub(crate) fn library(&self) -> PathBuf {
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/nccl");
        cache.join(&self.name).join("libnccl.so.2")
    }

    pub(crate) fn check_there(&self) -> Result<(), String> {
        let library = self.library();
        if library.exists() {
            return Ok(());
        }
        Err(format!("{} is missing: run scripts/fetch-nccl {}", library.display(), self.name))
    }
}
