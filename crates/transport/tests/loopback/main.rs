//! The transport over the loopback device: whole connections, and everything that can disturb them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails panics")]

mod close;
mod connect;
mod lending;
mod pair;
mod shares;
mod slow;
mod strays;
mod transfer;
#[path = "../warnings/mod.rs"]
mod warnings;
mod wire;
