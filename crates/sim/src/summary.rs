//! Many values in a few numbers.

/// Where values lie. All are 0 for no values.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Distribution {
    /// Arithmetic mean.
    pub mean: f64,
    /// The value that half of all are not above.
    pub p50: f64,
    /// 90 of 100.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Distribution {
    /// Of these values, which are put in order. NaN isn't one.
    pub(crate) fn of(values: &mut [f32]) -> Self {
        values.sort_unstable_by(f32::total_cmp);
        let at = |percent: usize| {
            // The nearest rank, as in "at least this share of the values is not above it".
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).map_or(0.0, |&value| f64::from(value))
        };
        let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
        Self { mean: sum / values.len().max(1) as f64, p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

/// Jain's fairness index, (Σx)² / (n Σx²): 1 where all are equal, 1/n where one has everything (DEC-TR-301, 1984).
/// 1 for no values, and where all are 0.
pub(crate) fn jain(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum, squares) =
        values.fold((0.0, 0.0, 0.0), |(count, sum, squares), x| (count + 1.0, sum + x, squares + x * x));
    if squares > 0.0 { sum * sum / (count * squares) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occur() {
        let mut values: Vec<f32> = (1..=200u8).rev().map(f32::from).collect();
        let got = Distribution::of(&mut values);
        assert_eq!(got, Distribution { mean: 100.5, p50: 100.0, p90: 180.0, p99: 198.0, max: 200.0 });
        let one = Distribution::of(&mut [7.0]);
        assert_eq!(one, Distribution { mean: 7.0, p50: 7.0, p90: 7.0, p99: 7.0, max: 7.0 });
        assert_eq!(Distribution::of(&mut []), Distribution::default());
    }

    #[test]
    fn jain_tells_equal_from_unequal() {
        assert!((jain([3.0; 5].into_iter()) - 1.0).abs() < 1e-12);
        assert!((jain([4.0, 0.0, 0.0, 0.0].into_iter()) - 0.25).abs() < 1e-12);
        assert!((jain([1.0, 2.0, 3.0].into_iter()) - 36.0 / 42.0).abs() < 1e-12);
        assert!((jain([0.0].into_iter()) - 1.0).abs() < 1e-12);
    }
}
