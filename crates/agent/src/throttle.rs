//! Warnings that anybody can cause by connecting, so that nobody fills a log with them.

use std::time::{Duration, Instant};

/// Writes at most one warning a second.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    last: Option<Instant>,
    held_back: u64,
}

impl Throttle {
    /// Writes this one, or counts it for the next.
    pub(crate) fn warn(&mut self, text: &str) {
        if self.last.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
            self.held_back += 1;
            return;
        }
        let more =
            if self.held_back > 0 { format!(" (and {} like it)", self.held_back) } else { String::new() };
        log::warn!("{text}{more}");
        (self.last, self.held_back) = (Some(Instant::now()), 0);
    }
}
