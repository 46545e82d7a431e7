//! Medians, percentiles and fairness of a handful of measurements.

/// The value in the middle; of an even number, the mean of the two in the middle. None of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(half.checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

/// The smallest value that at least `percent` of all values don't exceed (nearest rank); with 20 values the 99th is the
/// largest. None of nothing.
pub(crate) fn percentile(values: &[f64], percent: u32) -> Option<f64> {
    let sorted = sorted(values);
    let rank = (sorted.len() * usize::try_from(percent).ok()?).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied()
}

/// The smallest. None of nothing.
pub(crate) fn least(values: &[f64]) -> Option<f64> {
    values.iter().copied().min_by(f64::total_cmp)
}

/// The largest. None of nothing.
pub(crate) fn most(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}

/// The sum over the number. None of nothing.
#[expect(clippy::cast_precision_loss, reason = "measurements are few")]
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() { None } else { Some(values.iter().sum::<f64>() / values.len() as f64) }
}

/// Jain's fairness index: (Σx)² / (n Σx²), 1 where all are alike and 1/n where one has everything. None of nothing or
/// of zeros.
#[expect(clippy::cast_precision_loss, reason = "measurements are few")]
pub(crate) fn jain(values: &[f64]) -> Option<f64> {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|x| x * x).sum();
    (squares > 0.0).then(|| sum * sum / (values.len() as f64 * squares))
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middle_and_edges() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        let twenty: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!(percentile(&twenty, 50), Some(10.0));
        assert_eq!(percentile(&twenty, 95), Some(19.0));
        assert_eq!(percentile(&twenty, 99), Some(20.0));
        assert_eq!(percentile(&twenty, 0), Some(1.0));
        assert_eq!((least(&twenty), most(&twenty), mean(&twenty)), (Some(1.0), Some(20.0), Some(10.5)));
        assert_eq!((median(&[]), percentile(&[], 50), mean(&[]), least(&[])), (None, None, None, None));
    }

    #[test]
    fn fairness() {
        assert_eq!(jain(&[5.0; 4]), Some(1.0));
        assert_eq!(jain(&[1.0, 0.0, 0.0, 0.0]), Some(0.25));
        // (3 + 1)² / (2 · (9 + 1))
        assert_eq!(jain(&[3.0, 1.0]), Some(0.8));
        assert_eq!(jain(&[0.0, 0.0]), None);
    }
}
