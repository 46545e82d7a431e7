//! When a receiver leaves its sockets alone.
//!
//! A receiver that is faster than its sender finds its sockets empty most of the time. If it asks again at once, it
//! takes every packet by itself: an acknowledgement for each, and the lines of the socket go back and forth between its
//! processor and the one that packets arrive on. That slows the sender, most where the two share no cache.

use std::time::{Duration, Instant};

/// The pause a receiver makes after it has looked.
#[derive(Debug, Default)]
pub(super) struct Rest {
    until: Option<Instant>,
}

impl Rest {
    /// Says whether it lasts.
    pub(super) fn lasts(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// `came` bytes were there at `now`, and the longest chunk underway lacks `left`.
    ///
    /// No chunk ends later for the rest: it is shorter than what is left needs over the fastest connection.
    pub(super) fn after(&mut self, came: usize, left: usize, now: Instant) {
        let longest = if came == 0 { LONGEST } else { BETWEEN };
        let needs = Duration::from_nanos(left as u64 / FASTEST).min(longest);
        self.until = (needs >= SHORTEST).then(|| now + needs);
    }
}

/// Bytes in a nanosecond, more than one TCP connection brings: 128 Gbit/s.
const FASTEST: u64 = 16;

/// A few packets of 64 KiB at the rate that one connection has. Longer rests made a fast sender slower: what waits in
/// the socket falls out of the caches.
const LONGEST: Duration = Duration::from_micros(50);

/// After something came. Several packets are read at once then, and acknowledged once: a fortieth more goes through a veth
/// where sender and receiver have all they can do.
const BETWEEN: Duration = Duration::from_micros(30);

/// Shorter ones are as long as asking the sockets.
const SHORTEST: Duration = Duration::from_micros(4);

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    #[test]
    fn as_long_as_the_chunk_needs_and_no_longer_than_50_us_or_30_where_something_came() {
        let now = Instant::now();
        let mut rest = Rest::default();
        assert!(!rest.lasts(now));
        let nothing_came = [(0, 160_000, 10), (0, 800_000, 50), (0, 4 << 20, 50)];
        let something_came = [(1, 160_000, 10), (1, 4 << 20, 30)];
        for (came, left, micros) in nothing_came.into_iter().chain(something_came) {
            rest.after(came, left, now);
            assert!(rest.lasts(now + (micros - 1) * MICRO), "{came} {left}");
            assert!(!rest.lasts(now + micros * MICRO), "{came} {left}");
        }
    }

    #[test]
    fn none_where_little_is_left() {
        let now = Instant::now();
        let mut rest = Rest::default();
        for came in [0, 1] {
            rest.after(0, 4 << 20, now);
            rest.after(came, 63_000, now);
            assert!(!rest.lasts(now), "{came}");
        }
    }
}
