//! `srv6ctl sim` as it is typed, and against what the lab's links count.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's helper functions fail as tests do"
)]

#[cfg(test)]
mod command;
#[cfg(test)]
mod measured;

use std::path::PathBuf;

/// A fabric of examples/fabrics.
fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics").join(name)
}
