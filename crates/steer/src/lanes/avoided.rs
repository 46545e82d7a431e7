//! Paths that were seen dead, and for how long new connections keep off them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a path is avoided the first time.
const FIRST: Duration = Duration::from_secs(4);

/// Longest time.
const LONGEST: Duration = Duration::from_secs(60);

/// Memory of dead paths, by the names of their hosts and switches.
#[derive(Debug, Default)]
pub(crate) struct Avoided {
    paths: HashMap<Vec<String>, Entry>,
}

#[derive(Debug)]
struct Entry {
    until: Instant,
    period: Duration,
}

impl Avoided {
    /// Remembers that a path is dead.
    ///
    /// Said again while it is avoided, it is the same failure seen by another connection. Said within as long a time
    /// afterwards, the path has come back and failed again, and is avoided twice as long.
    pub(crate) fn note(&mut self, hops: &[String], now: Instant) {
        self.paths.retain(|_, entry| now < entry.until + entry.period);
        let entry = self.paths.entry(hops.to_vec()).or_insert(Entry { until: now, period: FIRST / 2 });
        if now >= entry.until {
            entry.period = (entry.period * 2).min(LONGEST);
            entry.until = now + entry.period;
        }
    }

    /// Whether new connections keep off a path.
    pub(crate) fn contains(&self, hops: &[String], now: Instant) -> bool {
        self.paths.get(hops).is_some_and(|entry| now < entry.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_twice_as_long_each_time_and_never_over_a_minute() {
        let path = ["a".to_owned(), "b".to_owned()];
        let mut avoided = Avoided::default();
        let mut now = Instant::now();
        for want in [4, 8, 16, 32, 60, 60] {
            avoided.note(&path, now);
            // Other connections see the same failure a moment later.
            avoided.note(&path, now + Duration::from_secs(1));
            assert!(avoided.contains(&path, now + Duration::from_secs(want) - Duration::from_millis(1)));
            assert!(!avoided.contains(&path, now + Duration::from_secs(want)), "{want} s");
            now += Duration::from_secs(want + 1);
        }
        assert!(!avoided.contains(&path[..1], now));
    }

    #[test]
    fn a_quiet_time_is_forgiven() {
        let path = ["a".to_owned()];
        let mut avoided = Avoided::default();
        let start = Instant::now();
        avoided.note(&path, start);
        let later = start + 2 * FIRST;
        avoided.note(&path, later);
        assert!(!avoided.contains(&path, later + FIRST));
        assert_eq!(avoided.paths.len(), 1, "nothing is remembered for ever");
    }
}
