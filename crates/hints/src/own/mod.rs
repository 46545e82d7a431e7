//! Our own format: 64-bit words in host byte order, [`layout`] says which.

mod layout;
mod view;
mod weights;
mod writer;

use srv6_fabric::Flow;

pub use layout::{HINTS_VERSION, MAX_WEIGHTS, MOST_SLOTS, Unit};
pub use view::HintsView;
pub use weights::{Weights, WeightsError};
pub use writer::Hints;

/// Whom a hint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Inode of the sender's network namespace, since pods may have equal addresses; never 0.
    pub namespace: u64,
    /// The flow.
    pub flow: Flow,
}

/// A slot in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub slot: u32,
    /// Whose it is.
    pub key: Key,
    /// What the hint says.
    pub weights: Weights,
}

/// Nanoseconds of the clock that heartbeats are in, CLOCK_MONOTONIC. Answered without a system call where the
/// kernel offers that.
pub fn since_boot() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let whole = u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    whole.saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}
