//! The times of single iterations (`-I 1`), and what is said about them.

use std::time::Duration;

/// What is said about the iterations of one size; times in seconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Iterations {
    /// Leading iterations that the summary leaves out (`-K`).
    pub(super) skipped: usize,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) deviation: f64,
    /// Of each iteration, that of the slowest rank.
    pub(super) times: Vec<f64>,
    /// By rank, if there are several.
    pub(super) by_rank: Vec<Vec<f64>>,
}

impl Iterations {
    /// From the times of all ranks, by rank; `None` if there are none.
    pub(super) fn new(by_rank: Vec<Vec<f64>>, skipped: usize) -> Option<Self> {
        let mut times = by_rank.first()?.clone();
        for rank in &by_rank {
            times.iter_mut().zip(rank).for_each(|(slowest, &time)| *slowest = slowest.max(time));
        }
        let mut sorted = times.get(skipped..)?.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let at = |index: usize| sorted.get(index.min(count.saturating_sub(1))).copied();
        // The nearest rank, as nccl-tests rounds it.
        let percentile = |percent: usize| at((count * percent).div_ceil(100).saturating_sub(1));
        #[expect(clippy::cast_precision_loss, reason = "iterations are few")]
        let number = count as f64;
        let mean = sorted.iter().sum::<f64>() / number;
        let variance = sorted.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / number;
        Some(Self {
            skipped,
            min: at(0)?,
            max: at(count)?,
            mean,
            p50: at(count / 2)?,
            p95: percentile(95)?,
            p99: percentile(99)?,
            deviation: variance.sqrt(),
            times,
            by_rank: if by_rank.len() > 1 { by_rank } else { Vec::new() },
        })
    }

    /// The deviation in percent of the mean.
    pub(super) fn variation(&self) -> f64 {
        if self.mean > 0.0 { self.deviation / self.mean * 100.0 } else { 0.0 }
    }
}

/// Seconds of each iteration of `group` operations, from when each operation was done.
pub(super) fn seconds(done: &[Duration], group: u32) -> Vec<f64> {
    let mut before = Duration::ZERO;
    let ends = done.chunks(group.max(1) as usize).filter_map(<[Duration]>::last);
    ends.map(|&end| {
        let time = end.saturating_sub(before).as_secs_f64() / f64::from(group);
        before = end;
        time
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterations_are_the_steps_between_their_ends() {
        let done: Vec<Duration> = [10, 30, 40, 80].map(Duration::from_millis).into();
        let near = |got: Vec<f64>, wanted: &[f64]| {
            assert_eq!(got.len(), wanted.len());
            assert!(got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?}");
        };
        near(seconds(&done, 1), &[0.01, 0.02, 0.01, 0.04]);
        near(seconds(&done, 2), &[0.015, 0.025]);
        assert!(seconds(&[], 1).is_empty());
    }

    #[test]
    fn the_summary_by_hand() {
        let by_rank = vec![vec![9.0, 1.0, 2.0, 3.0], vec![1.0, 2.0, 1.0, 1.0]];
        let all = Iterations::new(by_rank.clone(), 1).unwrap();
        assert_eq!(all.times, [9.0, 2.0, 2.0, 3.0]);
        assert_eq!([all.min, all.max, all.p50, all.p95, all.p99], [2.0, 3.0, 2.0, 3.0, 3.0]);
        assert!((all.mean - 7.0 / 3.0).abs() < 1e-12);
        // Deviations 1/3, 1/3 and 2/3: variance 2/9.
        assert!((all.deviation - (2.0_f64 / 9.0).sqrt()).abs() < 1e-12);
        assert!((all.variation() - (2.0_f64 / 9.0).sqrt() / (7.0 / 3.0) * 100.0).abs() < 1e-9);
        assert_eq!(all.by_rank, by_rank);
        assert!(Iterations::new(vec![vec![1.0]], 1).is_none());
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        let hundred = Iterations::new(vec![hundred], 0).unwrap();
        assert_eq!([hundred.p50, hundred.p95, hundred.p99], [51.0, 95.0, 99.0]);
        assert!(hundred.by_rank.is_empty());
    }
}
