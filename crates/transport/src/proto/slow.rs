//! When to say that a connection is slow, and when to say it again.

use std::time::{Duration, Instant};

/// A message that is outstanding for this long is worth a word.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// After this time without a slow message the next one is told of as the first was.
const CALM: Duration = Duration::from_secs(30);

/// The warnings of one connection: at doubling distances while it is slow.
///
/// They belong to the connection and not to a message, or a transfer that is slow all the time would be told of once
/// a message.
#[derive(Debug)]
pub(super) struct Warnings {
    /// When a message was found slow last.
    seen: Option<Instant>,
    next: Instant,
    pause: Duration,
}

impl Warnings {
    pub(super) fn new(now: Instant) -> Warnings {
        Warnings { seen: None, next: now, pause: SLOW }
    }

    /// A message is slow now; says whether that is to be told.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.seen.is_none_or(|seen| now.saturating_duration_since(seen) >= CALM) {
            (self.next, self.pause) = (now, SLOW);
        }
        self.seen = Some(now);
        let due = self.next <= now;
        if due {
            self.next = now + self.pause;
            self.pause = self.pause.saturating_mul(2);
        }
        due
    }

    /// When to ask again while a message is slow: often enough to know that it is.
    pub(super) fn next_look(&self, now: Instant) -> Instant {
        let look = now + SLOW;
        if self.next > now { self.next.min(look) } else { look }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_double_until_it_has_been_calm() {
        let began = Instant::now();
        let mut warnings = Warnings::new(began);
        let mut told = |seconds: std::ops::Range<u64>| -> Vec<u64> {
            seconds.filter(|second| warnings.is_due(began + Duration::from_secs(*second))).collect()
        };
        assert_eq!(told(0..40), [0, 1, 3, 7, 15, 31]);
        // Less than calm.
        assert_eq!(told(60..100), [63]);
        assert_eq!(told(130..135), [130, 131, 133]);
    }
}
