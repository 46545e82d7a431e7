//! Where the built plugin is, and C programs that load it.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests: a panic is the failure")]
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The plugin, as cargo built it for these tests.
pub(crate) fn plugin() -> PathBuf {
    let built = std::env::current_exe().unwrap().with_file_name("libnccl_net_srv6.so");
    assert!(built.exists(), "{} is not built", built.display());
    built
}

/// Compiles C files, by path from the repository's root, into a file called `output`, and gives its path.
pub(crate) fn compile(sources: &[&str], output: &str, options: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(output);
    let result = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-g", "-O1"])
        .arg("-I")
        .arg(root.join("nccl-headers"))
        .arg("-I")
        .arg(root.join("crates/abi/tests/c"))
        .args(options)
        .arg("-o")
        .arg(&output)
        .args(sources.iter().map(|source| root.join(source)))
        .args(["-ldl", "-lpthread"])
        .output()
        .expect("the C compiler `cc` runs");
    assert!(result.status.success(), "cc {sources:?}:\n{}", String::from_utf8_lossy(&result.stderr));
    output
}

/// Runs a program with nothing in its environment but these settings.
pub(crate) fn run(program: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(settings.iter().copied())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

/// As `run`, and the program must succeed.
pub(crate) fn succeed(program: &Path, arguments: &[&str], settings: &[(&str, &str)]) {
    let output = run(program, arguments, settings);
    assert!(
        output.status.success(),
        "{} {arguments:?} {settings:?}: {}\n{}{}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
