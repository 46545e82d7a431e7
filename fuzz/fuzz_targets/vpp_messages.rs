//! Bytes from VPP's socket, read as every reply that there is: `cargo +nightly fuzz run vpp_messages`.
//!
//! `crates/routes/tests/vpp_bytes.rs` has the same property for random bytes, without a nightly compiler.
#![no_main]

use libfuzzer_sys::fuzz_target;
use srv6_routes::vpp::message::read_as_anything;

fuzz_target!(|message: &[u8]| {
    let _read = read_as_anything(message);
});
