//! What a polling thread does when nothing moves.

use std::time::Duration;

/// Counts rounds in which nothing moved, and waits between them.
///
/// NCCL's threads yield and poll on; they have a core each. Here ranks outnumber cores, and who yields to a busy thread
/// is not run again for a time slice, milliseconds later, while who wakes from a sleep is run at once.
#[derive(Debug, Default)]
pub(crate) struct Idle(u32);

impl Idle {
    /// Something moved.
    pub(crate) fn reset(&mut self) {
        self.0 = 0;
    }

    /// Nothing moved.
    pub(crate) fn wait(&mut self) {
        self.0 = self.0.saturating_add(1);
        if self.0 <= SPINS {
            std::hint::spin_loop();
        } else {
            std::thread::sleep(NAP);
        }
    }
}

/// With a few system calls each, about as long as a peer on another core takes to answer.
const SPINS: u32 = 30;

/// The kernel adds its timer slack, 50 µs; more would show in the times of small messages.
const NAP: Duration = Duration::from_micros(10);
