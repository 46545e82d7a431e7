//! What the API server sees of `srv6d webhook`: the program itself, over HTTPS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

mod certificates;
mod client;
mod crowd;
mod reviews;
mod secret;
mod serving;
mod stopping;
