//! Connections over a fabric of real kernel SRv6: pins that take their paths, and paths that die.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test that fails panics; what was measured goes to stdout"
)]

mod alone;
mod closing;
mod congestion;
mod fabric;
mod faults;
mod half_dead;
mod keeping;
mod paths;
mod pins;
mod transfer;
#[path = "../warnings/mod.rs"]
mod warnings;
