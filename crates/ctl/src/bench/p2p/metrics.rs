//! What is measured per size, as the NIXL script defines it.

use std::time::Duration;

use serde::Serialize;

/// The figures of one size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Figures {
    /// Bytes of a transfer.
    pub(super) size: u64,
    /// Timed transfers that were done.
    pub(super) transfers: usize,
    /// Gigabytes (1e9) per second: size × transfers / wall time.
    pub(super) bandwidth_gb_s: f64,
    /// The same in gigabits per second.
    pub(super) gbit_s: f64,
    /// Mean time of a transfer, in microseconds.
    pub(super) mean_us: f64,
    /// Percentiles without interpolation, in microseconds.
    pub(super) p50_us: f64,
    pub(super) p95_us: f64,
    pub(super) p99_us: f64,
}

impl Figures {
    /// From the time of each transfer and of all together; `None` without a transfer.
    pub(super) fn of(size: u64, times: &[Duration], wall: Duration) -> Option<Self> {
        let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |percent: usize| sorted.get(sorted.len() * percent / 100).copied();
        let count = sorted.len();
        #[expect(clippy::cast_precision_loss, reason = "sizes and counts are far below 2^53")]
        let (bytes, transfers) = (size as f64, count as f64);
        let bandwidth = bytes * transfers / wall.as_secs_f64() / 1e9;
        Some(Self {
            size,
            transfers: count,
            bandwidth_gb_s: bandwidth,
            gbit_s: bandwidth * 8.0,
            mean_us: sorted.iter().sum::<f64>() / transfers,
            p50_us: at(50)?,
            p95_us: at(95)?,
            p99_us: at(99)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_script_s() {
        // sorted[n//2], sorted[int(0.95 n)], sorted[int(0.99 n)]
        let times: Vec<Duration> = (1..=100).rev().map(Duration::from_micros).collect();
        let figures = Figures::of(1_000_000, &times, Duration::from_millis(10)).unwrap();
        let close = |a: f64, b: f64| (a - b).abs() < 1e-6;
        assert!(close(figures.p50_us, 51.0) && close(figures.p95_us, 96.0) && close(figures.p99_us, 100.0));
        assert!(close(figures.mean_us, 50.5), "{figures:?}");
        // 100 MB in 10 ms.
        assert!(close(figures.bandwidth_gb_s, 10.0) && close(figures.gbit_s, 80.0), "{figures:?}");
        let one = Figures::of(1, &[Duration::from_micros(3)], Duration::from_micros(3)).unwrap();
        assert!(close(one.p99_us, 3.0) && close(one.p50_us, 3.0));
        assert_eq!(Figures::of(1, &[], Duration::from_secs(1)), None);
    }
}
