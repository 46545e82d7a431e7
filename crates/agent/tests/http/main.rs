//! What programs see of an agent over HTTP: a page of metrics, health, listings, and Prometheus itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

mod pages;
mod prometheus;
mod serving;
