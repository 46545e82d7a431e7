//! Compiles `tests/c/strict.c`, the net that ends its process when the contract is broken.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A plugin with the tables of these versions and these macros (`NAME=VALUE`).
///
/// # Panics
/// If the C compiler does not take it.
pub(crate) fn plugin(versions: &[u8], macros: &[&str]) -> PathBuf {
    let numbers: String = versions.iter().map(|version| format!("_{version}")).collect();
    let units: Vec<(&str, String)> =
        versions.iter().map(|version| ("strict.c", format!("V={version}"))).collect();
    build(&format!("strict{numbers}_{}", macros.join("_").replace('=', "")), &units, macros)
}

/// A libnccl 2.23.4 whose Socket transport is the watching net with these macros; it logs to the second file.
///
/// # Panics
/// If the C compiler does not take it.
#[allow(dead_code, reason = "not every test that has this module needs an NCCL")]
pub(crate) fn nccl(name: &str, macros: &[&str]) -> (PathBuf, PathBuf) {
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}_{}.log", std::process::id()));
    let log_macro = format!("LOG=\"{}\"", log.display());
    let macros = [&["CODE=22304", "NAME=\"Socket\"", &log_macro], macros].concat();
    let units = [("strict.c", "V=8".to_owned()), ("nccl.c", "V=8".to_owned())];
    (build(&format!("nccl_{name}"), &units, &macros), log)
}

#[allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]
fn build(name: &str, units: &[(&str, String)], macros: &[&str]) -> PathBuf {
    static COMPILING: Mutex<()> = Mutex::new(());
    // Another test may want the same file.
    let _one = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let name = format!("{name}_{}", std::process::id());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = directory.join(format!("lib{name}.so"));
    if library.exists() {
        return library;
    }
    let mut objects = Vec::new();
    for (source, version) in units {
        let object = directory.join(format!("{name}_{source}_{version}.o"));
        run(Command::new("cc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-g", "-O1", "-fPIC", "-c"])
            .arg("-I")
            .arg(package.join("../../nccl-headers"))
            .arg(format!("-D{version}"))
            .args(macros.iter().map(|text| format!("-D{text}")))
            .arg(package.join("../netdrive/tests/c").join(source))
            .arg("-o")
            .arg(&object));
        objects.push(object);
    }
    run(Command::new("cc").args(["-shared", "-pthread", "-o"]).arg(&library).args(&objects));
    for object in objects {
        std::fs::remove_file(object).unwrap();
    }
    library
}

#[allow(clippy::expect_used, reason = "tests: a panic is the failure")]
fn run(command: &mut Command) {
    let output = command.output().expect("the C compiler `cc` runs");
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}
