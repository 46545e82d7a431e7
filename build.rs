//! Build script of the packages that meet somebody else's ABI.
//!
//! - `nccl-net-abi`: bindings of `nccl-headers/` into `$OUT_DIR/bindings.rs`.
//! - `nccl-net-srv6`, `srv6-shim`: how their shared objects are linked.

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    match variable("CARGO_PKG_NAME")?.as_str() {
        "nccl-net-abi" => bindings(),
        "nccl-net-srv6" | "srv6-shim" => {
            link();
            Ok(())
        }
        other => {
            Err(format!("build.rs serves nccl-net-abi, nccl-net-srv6 and srv6-shim, not {other}").into())
        }
    }
}

fn bindings() -> Result<(), Box<dyn Error>> {
    let headers = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("../../nccl-headers");
    println!("cargo:rerun-if-changed={}", headers.display());
    let bindings = bindgen::Builder::default()
        .header(headers.join("net.h").display().to_string())
        .allowlist_type("nccl.*")
        .allowlist_var("nccl.*|NCCL_.*")
        // NCCL's enums cross the boundary as plain integers: a Rust enum would be undefined behaviour
        // the day a newer NCCL returns a value that is not listed.
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .derive_default(true)
        // bindings/layout.rs asserts them, from the facts and not from what clang made of our headers.
        .layout_tests(false)
        .use_core()
        .generate()?;
    bindings.write_to_file(PathBuf::from(variable("OUT_DIR")?).join("bindings.rs"))?;
    Ok(())
}

fn link() {
    // NCCL unloads plugins when the last communicator goes, while our threads still run: stay mapped. So must what a
    // program has loaded by dlopen and closes.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // What dlsym may find is the list of exported statics and nothing that an archive brings along.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    // A symbol that would only be missed at the first call must be missed here.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,defs");
    println!("cargo:rerun-if-changed=build.rs");
}

#[expect(clippy::disallowed_methods, reason = "Cargo speaks to build scripts through the environment")]
fn variable(name: &str) -> Result<String, Box<dyn Error>> {
    std::env::var(name).map_err(|error| format!("{name}: {error}").into())
}
