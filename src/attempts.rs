//! What is under way between two calls of NCCL's.
//!
//! NCCL drives several connects at a time and says nothing when it gives one up (another rank's connect won, or the job
//! aborts): those are swept once they haven't been called for a while, and what they hold goes with them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What tells one attempt from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Address of NCCL's handle buffer: the same in every call of an attempt.
    pub(crate) buffer: usize,
    /// What is in it: a buffer that is used again is a new attempt.
    pub(crate) fingerprint: u64,
}

/// The attempts under way.
pub(crate) struct Attempts<T> {
    under_way: HashMap<Key, (T, Instant)>,
    swept: Option<Instant>,
}

impl<T> Default for Attempts<T> {
    fn default() -> Self {
        Self { under_way: HashMap::new(), swept: None }
    }
}

impl<T> Attempts<T> {
    /// NCCL calls every microsecond while it wants a connect. A longer time would keep more of what nobody wants; a
    /// shorter one would take a suspended container's attempts away from it.
    pub(crate) const ABANDONED_AFTER: Duration = Duration::from_secs(60);

    /// Takes an attempt out, so that it goes on without a lock.
    pub(crate) fn take(&mut self, key: Key) -> Option<T> {
        self.under_way.remove(&key).map(|(attempt, _)| attempt)
    }

    /// Puts it back for the next call.
    pub(crate) fn put_back(&mut self, key: Key, attempt: T, now: Instant) {
        self.under_way.insert(key, (attempt, now));
    }

    /// Takes out what NCCL has given up. Looks at most once per second, as it is called at every poll.
    ///
    /// Dropping the result may take a while (routes, sockets); do it without the lock.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<T> {
        let recently = |swept| now.saturating_duration_since(swept) < Duration::from_secs(1);
        if self.swept.is_some_and(recently) {
            return Vec::new();
        }
        self.swept = Some(now);
        self.under_way
            .extract_if(|_, (_, called)| now.saturating_duration_since(*called) > Self::ABANDONED_AFTER)
            .map(|(_, (attempt, _))| attempt)
            .collect()
    }

    /// Takes out all.
    pub(crate) fn clear(&mut self) -> Vec<T> {
        self.under_way.drain().map(|(_, (attempt, _))| attempt).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    fn key(buffer: usize) -> Key {
        Key { buffer, fingerprint: 1 }
    }

    #[test]
    fn what_is_given_up_is_swept_with_what_it_holds() {
        let held = Rc::new(());
        let start = Instant::now();
        let mut attempts = Attempts::default();
        for buffer in 0..3 {
            attempts.put_back(key(buffer), Rc::clone(&held), start);
        }
        let later = start + Duration::from_secs(40);
        let kept = attempts.take(key(1)).unwrap();
        attempts.put_back(key(1), kept, later);
        assert!(attempts.sweep(later).is_empty());
        let swept = attempts.sweep(start + Duration::from_secs(70));
        assert_eq!(swept.len(), 2);
        drop(swept);
        assert_eq!(Rc::strong_count(&held), 2, "the one that goes on, and ours");
        assert!(attempts.take(key(1)).is_some());
    }

    #[test]
    fn sweeping_at_every_poll_looks_once_a_second() {
        let start = Instant::now();
        let mut attempts = Attempts::default();
        assert!(attempts.sweep(start + Duration::from_secs(99)).is_empty());
        attempts.put_back(key(1), (), start);
        assert!(attempts.sweep(start + Duration::from_millis(99_900)).is_empty(), "not looked");
        assert_eq!(attempts.sweep(start + Duration::from_secs(100)).len(), 1);
    }

    #[test]
    fn the_same_buffer_with_other_content_is_another_attempt() {
        let mut attempts = Attempts::default();
        attempts.put_back(key(8), (), Instant::now());
        assert!(attempts.take(Key { buffer: 8, fingerprint: 2 }).is_none());
        assert!(attempts.take(key(8)).is_some());
        assert!(attempts.take(key(8)).is_none());
    }

    #[test]
    fn clear_leaves_nothing() {
        let mut attempts = Attempts::default();
        attempts.put_back(key(8), (), Instant::now());
        assert_eq!(attempts.clear().len(), 1);
        assert!(attempts.take(key(8)).is_none());
    }
}
