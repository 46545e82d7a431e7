//! What a polling thread does when nothing moves.

use std::time::{Duration, Instant};

/// What a driver's progress thread does between two rounds in which no message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Waiting {
    /// Sleep, the longer the longer nothing ends: for ranks that outnumber the cores.
    ///
    /// Who yields to a busy thread is not run again for a time slice, milliseconds later, while who wakes from a sleep
    /// is run at once. What comes is noticed late by an eighth of the time it took, and ranks that wait for a slow
    /// network leave the cores to those that work. A net that is called this seldom is slow with long messages.
    #[default]
    Nap,
    /// Yield the processor and go on, as NCCL's threads do: for ranks that have a core each.
    Yield,
}

/// Knows for how long nothing has moved, and waits between rounds.
#[derive(Debug)]
pub(crate) struct Idle {
    waiting: Waiting,
    /// Since when nothing moves.
    since: Option<Instant>,
}

impl Idle {
    pub(crate) fn new(waiting: Waiting) -> Self {
        Self { waiting, since: None }
    }

    /// Something moved.
    pub(crate) fn reset(&mut self) {
        self.since = None;
    }

    /// Nothing moved.
    pub(crate) fn wait(&mut self) {
        if self.waiting == Waiting::Yield {
            std::thread::yield_now();
            return;
        }
        let waited = self.since.get_or_insert_with(Instant::now).elapsed();
        if waited < SPIN {
            std::hint::spin_loop();
        } else {
            std::thread::sleep(nap(waited));
        }
    }
}

/// How long to sleep when nothing has moved for some time.
fn nap(waited: Duration) -> Duration {
    (waited / 8).clamp(SHORTEST, LONGEST)
}

/// A few times what a peer on another core takes to answer. A time and not a number of rounds: a net whose calls are cheaper
/// would go to sleep sooner and look slower.
const SPIN: Duration = Duration::from_micros(60);

/// The kernel adds its timer slack, 50 µs; more would show in the times of small messages.
const SHORTEST: Duration = Duration::from_micros(10);

/// Nets act on time when they are called: a transport that watches its paths wants to look every millisecond or so.
const LONGEST: Duration = Duration::from_micros(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naps_grow_with_the_wait_up_to_a_limit() {
        let micros = |waited| nap(Duration::from_micros(waited)).as_micros();
        assert_eq!([0, 80, 400, 2_000, 1_000_000].map(micros), [10, 10, 50, 250, 250]);
    }
}
