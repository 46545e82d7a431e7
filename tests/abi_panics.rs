//! A panic inside never crosses into NCCL: each call of each version returns an error, in the profile that is shipped too.

mod plugin;

use plugin::{compile, plugin, succeed};

#[test]
fn every_call_survives_a_panic() {
    // An example in cargo's eyes: built by `cargo test`, or by `cargo build --example panicking`.
    let panicking = plugin().with_file_name("../examples/libpanicking.so");
    assert!(panicking.exists(), "{} is not built: cargo build --example panicking", panicking.display());
    for version in 6..=12 {
        let program =
            compile(&["tests/c/panics.c"], &format!("panics_v{version}"), &[&format!("-DV={version}")]);
        succeed(&program, &[panicking.to_str().unwrap()], &[("SRV6_MODE", "off")]);
    }
}
