//! What every link carries, counted in whole units so that the sum doesn't depend on the order of adding.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one flow carries: divisible by every number of paths up to 16 and by powers of two up to 256, so that equal
/// shares are equal.
pub(crate) const UNIT: u64 = 11_531_520;

/// Units per link, added to by several threads.
#[derive(Debug)]
pub(crate) struct Counts(Vec<AtomicU64>);

impl Counts {
    pub(crate) fn new(links: usize) -> Self {
        Self((0..links).map(|_| AtomicU64::new(0)).collect())
    }

    pub(crate) fn add(&self, link: usize, units: u64) {
        self.0[link].fetch_add(units, Ordering::Relaxed);
    }

    pub(crate) fn finish(self) -> Vec<u64> {
        self.0.into_iter().map(AtomicU64::into_inner).collect()
    }
}

/// Hands out a total by weights, in whole units: the shares that it gives sum to the total once all weight is used.
#[derive(Debug)]
pub(crate) struct Shares {
    total: u64,
    weight: usize,
    used: usize,
    given: u64,
}

impl Shares {
    pub(crate) fn new(total: u64, weight: usize) -> Self {
        Self { total, weight, used: 0, given: 0 }
    }

    pub(crate) fn take(&mut self, weight: usize) -> u64 {
        self.used += weight;
        #[expect(clippy::cast_possible_truncation, reason = "at most the total")]
        let until = (u128::from(self.total) * self.used as u128 / self.weight.max(1) as u128) as u64;
        let share = until - self.given;
        self.given = until;
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_equal_where_they_can_be_and_sum_to_the_total() {
        for paths in (1..=16).chain([32, 64, 128, 256]) {
            let mut shares = Shares::new(UNIT, paths);
            assert!((0..paths).all(|_| shares.take(1) == UNIT / paths as u64), "{paths}");
        }
        let mut shares = Shares::new(10, 7);
        assert_eq!((0..7).map(|_| shares.take(1)).sum::<u64>(), 10);
        let mut shares = Shares::new(12, 6);
        assert_eq!([shares.take(1), shares.take(3), shares.take(2)], [2, 6, 4]);
    }
}
