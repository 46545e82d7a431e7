//! What a polling thread does when nothing moves.

use std::time::{Duration, Instant};

/// Knows for how long nothing has moved, and waits between rounds.
///
/// NCCL's threads yield and poll on; they have a core each. Here ranks outnumber cores, and who yields to a busy thread
/// is not run again for a time slice, milliseconds later, while who wakes from a sleep is run at once. The longer
/// nothing moves, the longer the naps: what comes is noticed late by an eighth of the time it took, and ranks that
/// wait for a slow network leave the cores to those that work.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    /// Since when nothing moves.
    since: Option<Instant>,
}

impl Idle {
    /// Something moved.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Nothing moved.
    pub(crate) fn wait(&mut self) {
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
