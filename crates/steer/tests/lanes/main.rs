//! Lanes in lab hosts: the kernel's rules and routes, the switches' counters and TCP itself are the judges.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helper functions fail as tests do"
)]

mod header;
mod moved;
mod pinned;
mod scene;
mod shared;
