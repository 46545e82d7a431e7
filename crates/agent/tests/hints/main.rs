//! Hints as clients of other projects and people meet them: the real srv6d, its files and its socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

mod client;
mod daemon;
mod manual;
mod mpib;
mod weights;
