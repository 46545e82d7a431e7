//! Compiles the C sources of the tests.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `tests/c/{source}` into a file called `output` with these further options, and gives its path.
#[allow(clippy::expect_used, reason = "tests: a panic is the failure")]
pub(crate) fn compile(source: &str, output: &str, options: &[&str]) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(output);
    let result = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-g", "-O1", "-I"])
        .arg(package.join("../../nccl-headers"))
        .args(options)
        .arg("-o")
        .arg(&output)
        .arg(package.join("tests/c").join(source))
        .output()
        .expect("the C compiler `cc` runs");
    assert!(result.status.success(), "cc {source}:\n{}", String::from_utf8_lossy(&result.stderr));
    output
}
