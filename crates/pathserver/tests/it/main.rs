//! A real server over real HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helper functions fail as tests do"
)]

mod client;
mod concurrency;
mod contract;
mod fabrics;
mod own_calls;
mod replay;
