//! Compiles `tests/c/strict.c`, the net that ends its process when the contract is broken.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A plugin with the tables of these versions and these macros (`NAME=VALUE`).
///
/// # Panics
/// If the C compiler does not take it.
pub(crate) fn plugin(versions: &[u8], macros: &[&str]) -> PathBuf {
    static COMPILING: Mutex<()> = Mutex::new(());
    // Another test may want the same file.
    let _one = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let numbers: String = versions.iter().map(|version| format!("_{version}")).collect();
    let name = format!("strict{numbers}_{}_{}", macros.join("_").replace('=', ""), std::process::id());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = directory.join(format!("lib{name}.so"));
    if library.exists() {
        return library;
    }
    let mut objects = Vec::new();
    for version in versions {
        let object = directory.join(format!("{name}_{version}.o"));
        run(Command::new("cc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-g", "-O1", "-fPIC", "-c"])
            .arg("-I")
            .arg(package.join("../../nccl-headers"))
            .arg(format!("-DV={version}"))
            .args(macros.iter().map(|text| format!("-D{text}")))
            .arg(package.join("../netdrive/tests/c/strict.c"))
            .arg("-o")
            .arg(&object));
        objects.push(object);
    }
    run(Command::new("cc").args(["-shared", "-pthread", "-o"]).arg(&library).args(&objects));
    library
}

#[allow(clippy::expect_used, reason = "tests: a panic is the failure")]
fn run(command: &mut Command) {
    let output = command.output().expect("the C compiler `cc` runs");
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}
