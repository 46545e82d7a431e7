//! How many senders this process has, and how many of them owe something to their receivers at the moment.
//!
//! They share the host's link, and none sees the others: what each keeps on its way on slow paths is less the more they are.

use std::sync::atomic::{AtomicU32, Ordering};

/// Whether one sender owes something to its receiver, as the others can see it.
#[derive(Debug)]
pub(super) struct Busy(bool);

static ALL: AtomicU32 = AtomicU32::new(0);
static COUNT: AtomicU32 = AtomicU32::new(0);

impl Busy {
    /// One sender more, which owes nothing yet.
    pub(super) fn new() -> Busy {
        ALL.fetch_add(1, Ordering::Relaxed);
        Busy(false)
    }

    /// Senders that there are, over all threads.
    pub(super) fn all() -> u32 {
        ALL.load(Ordering::Relaxed)
    }

    /// Those of them that are busy.
    pub(super) fn count() -> u32 {
        COUNT.load(Ordering::Relaxed)
    }

    /// Gives whether that is new.
    pub(super) fn set(&mut self, busy: bool) -> bool {
        let changed = std::mem::replace(&mut self.0, busy) != busy;
        match (changed, busy) {
            (true, true) => drop(COUNT.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(COUNT.fetch_sub(1, Ordering::Relaxed)),
            (false, _) => {}
        }
        changed
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.set(false);
        ALL.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_once_and_no_longer_than_it_lives() {
        let (mut one, mut other) = (Busy::new(), Busy::new());
        assert_eq!((Busy::count(), Busy::all()), (0, 2));
        assert!(one.set(true) && !one.set(true));
        other.set(true);
        assert_eq!(Busy::count(), 2);
        assert!(other.set(false) && !other.set(false));
        assert_eq!(Busy::count(), 1);
        drop((one, other));
        assert_eq!((Busy::count(), Busy::all()), (0, 0));
    }
}
