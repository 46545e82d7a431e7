//! Flows that move while they carry traffic: a dead spine, a drained one, and what a restart of the agent makes of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helper functions fail as tests do"
)]

mod drain;
mod probe;
mod scene;
mod vpp;
