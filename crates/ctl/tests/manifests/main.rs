//! What is in deploy/ for Kubernetes, as kustomize and Helm make it: valid, the same both ways, and naming only what exists.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

mod examples;
mod programs;
mod references;
mod rendered;
mod schemas;
mod webhook_certificate;
