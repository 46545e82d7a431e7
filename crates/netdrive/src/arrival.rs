//! When messages come.

use rustix::time::{ClockId, clock_gettime};

/// A message that a receive found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When the net said that it is there: nanoseconds of [`monotonic`].
    pub at: u64,
    /// Its length in bytes; of all messages together where receives are grouped.
    pub bytes: u64,
}

/// Nanoseconds of CLOCK_MONOTONIC, which all processes of a machine read alike, unlike an `Instant`.
pub fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Neither is negative: the clock begins at boot.
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
