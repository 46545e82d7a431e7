//! How a throughput falls and comes back: bins, sliding windows, times.

use std::time::Duration;

/// Bytes that came in each stretch of `step` from `begin` on, as rates in bytes per second. What came before isn't
/// counted; the last stretch is the one that holds the last arrival.
pub(crate) fn rates(arrivals: &[(u64, u64)], begin: u64, step: Duration) -> Vec<f64> {
    let width = nanoseconds(step);
    let mut bins: Vec<u64> = Vec::new();
    for &(at, bytes) in arrivals.iter().filter(|(at, _)| *at >= begin) {
        let Ok(bin) = usize::try_from((at - begin) / width) else { continue };
        if bins.len() <= bin {
            bins.resize(bin + 1, 0);
        }
        if let Some(sum) = bins.get_mut(bin) {
            *sum += bytes;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "bytes of milliseconds")]
    bins.into_iter().map(|bytes| bytes as f64 / step.as_secs_f64()).collect()
}

/// Mean rate of what came after `from` and not after `to`, in bytes per second; arrivals are in order.
pub(crate) fn rate_between(arrivals: &[(u64, u64)], from: u64, to: u64) -> f64 {
    bytes_in(arrivals, from, to) / Duration::from_nanos(to.saturating_sub(from)).as_secs_f64().max(1e-9)
}

/// How long after `event` the throughput is back: the earliest time from which on `wanted` bytes per second come, at
/// once and for long. Arrivals are in order.
///
/// That is the smallest t for which enough comes in (event + t, event + t + `window`], and in the `horizon` after
/// event + t. The second condition is there because a burst of what a dead path had held up is not yet a recovery, and
/// because queues hide some failures for a while. `None` if that doesn't happen before `until`.
pub(crate) fn time_to(
    arrivals: &[(u64, u64)],
    event: u64,
    until: u64,
    window: Duration,
    horizon: Duration,
    wanted: f64,
) -> Option<Duration> {
    let holds = |from: u64, time: Duration| {
        bytes_in(arrivals, from, from + nanoseconds(time)) >= wanted * time.as_secs_f64()
    };
    let mut t = event;
    while t + nanoseconds(horizon) <= until {
        if holds(t, window) && holds(t, horizon) {
            return Some(Duration::from_nanos(t - event));
        }
        t += STEP;
    }
    None
}

/// Bytes that came after `from` and not after `to`.
#[expect(clippy::cast_precision_loss, reason = "bytes of milliseconds")]
fn bytes_in(arrivals: &[(u64, u64)], from: u64, to: u64) -> f64 {
    let position = |time: u64| arrivals.partition_point(|(at, _)| *at <= time);
    let part = arrivals.get(position(from)..position(to)).unwrap_or_default();
    part.iter().map(|(_, bytes)| bytes).sum::<u64>() as f64
}

/// Times are looked at in steps of half a millisecond.
const STEP: u64 = 500_000;

/// The longest time without an arrival that began after `from` and before `to`; arrivals are in order.
pub(crate) fn longest_gap(arrivals: &[(u64, u64)], from: u64, to: u64) -> Duration {
    let times = arrivals.iter().map(|(at, _)| *at);
    let gaps = times.clone().zip(times.skip(1)).filter(|(early, late)| *late > from && *early < to);
    Duration::from_nanos(gaps.map(|(early, late)| late - early.max(from)).max().unwrap_or(0))
}

/// How long after `event` the share of one part in the growth of all is back: the end of the first window of `window`
/// after it in which the part grew by `wanted` of what all grew by. `samples` are times and what each part has counted.
pub(crate) fn share_back(
    samples: &[(u64, Vec<u64>)],
    part: usize,
    event: u64,
    window: Duration,
    wanted: f64,
) -> Option<Duration> {
    let width = nanoseconds(window);
    for (position, (end, late)) in samples.iter().enumerate() {
        // The newest sample that is a window old.
        let earlier = samples.get(..position).unwrap_or_default().iter().rev();
        let Some((_, early)) = earlier.clone().find(|(at, _)| *at >= event && at + width <= *end) else {
            continue;
        };
        let grown: Vec<u64> =
            late.iter().zip(early).map(|(late, early)| late.saturating_sub(*early)).collect();
        let all: u64 = grown.iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let share = grown.get(part).copied().unwrap_or(0) as f64 / all.max(1) as f64;
        if share >= wanted {
            return Some(Duration::from_nanos(end.saturating_sub(event)));
        }
    }
    None
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// 1000 bytes each millisecond, but none in (fall, rise).
    fn gap(fall: u64, rise: u64) -> Vec<(u64, u64)> {
        (1..=300).filter(|t| *t <= fall || *t >= rise).map(|t| (t * MS, 1000)).collect()
    }

    #[test]
    fn bins_hold_what_came_in_their_time() {
        let arrivals = [(1, 7), (10 * MS, 100), (14 * MS, 50), (15 * MS, 10), (31 * MS, 30)];
        // From 10 ms on, in steps of 5 ms: 150 bytes, 10, none, none, 30.
        let bins = rates(&arrivals, 10 * MS, ms(5));
        assert_eq!(bins, [30_000.0, 2_000.0, 0.0, 0.0, 6_000.0]);
        // 160 bytes after 9 ms and up to 19 ms.
        assert_eq!(rate_between(&arrivals, 9 * MS, 19 * MS), 16_000.0);
    }

    #[test]
    fn recovery_is_when_enough_comes_and_goes_on_coming() {
        // Silent from 100 ms to 141 ms; 90 % of a million bytes per second is 18 000 in 20 ms.
        let arrivals = gap(100, 141);
        let back = time_to(&arrivals, 100 * MS, 300 * MS, ms(20), ms(100), 900_000.0).unwrap();
        // (139, 159] has 19 messages, (138, 158] has 18: t = 38 ms, and no earlier.
        assert_eq!(back, ms(38));
        // Nothing was lost: the time is 0.
        assert_eq!(time_to(&gap(100, 101), 100 * MS, 300 * MS, ms(20), ms(100), 900_000.0), Some(ms(0)));
        // Half the rate is never 90 %.
        let half: Vec<(u64, u64)> = arrivals.iter().map(|(at, bytes)| (*at, bytes / 2)).collect();
        assert_eq!(time_to(&half, 100 * MS, 300 * MS, ms(20), ms(100), 900_000.0), None);
    }

    #[test]
    fn a_burst_alone_is_no_recovery() {
        let mut arrivals = gap(100, 181);
        // 50 000 bytes that had been held up come at once at 120 ms.
        arrivals.push((120 * MS, 50_000));
        arrivals.sort_unstable();
        let back = time_to(&arrivals, 100 * MS, 300 * MS, ms(20), ms(100), 900_000.0).unwrap();
        assert_eq!(back, ms(78));
    }

    #[test]
    fn a_failure_that_shows_late_counts_from_its_beginning() {
        // The failure is at 100 ms, but nothing is missing before 150 ms.
        let back = time_to(&gap(150, 191), 100 * MS, 300 * MS, ms(20), ms(100), 900_000.0).unwrap();
        assert_eq!(back, ms(88));
    }

    #[test]
    fn gaps_are_counted_from_the_event_on() {
        assert_eq!(longest_gap(&gap(100, 141), 100 * MS, 300 * MS), ms(41));
        assert_eq!(longest_gap(&gap(100, 141), 120 * MS, 300 * MS), ms(21));
        assert_eq!(longest_gap(&gap(100, 141), 150 * MS, 300 * MS), ms(1));
        assert_eq!(longest_gap(&[], 0, 1), ms(0));
    }

    #[test]
    fn a_share_is_back_when_a_window_has_it() {
        // Four parts of 100 bytes each 10 ms; the second stands still up to 200 ms.
        let samples: Vec<(u64, Vec<u64>)> = (0..=40)
            .map(|i| {
                let second = 100u64 * u64::from(i > 20) * (i - 20.min(i));
                (i * 10 * MS, vec![100 * i, second, 100 * i, 100 * i])
            })
            .collect();
        // A fifth of all, 80 % of its quarter: reached when 8 of 10 samples of a window had it growing:
        // 3 · 10 + 8 parts of which 8: 0.21; with 7: 7/37 = 0.19.
        let back = share_back(&samples, 1, 150 * MS, ms(100), 0.2).unwrap();
        assert_eq!(back, ms(280 - 150));
        assert_eq!(share_back(&samples, 1, 150 * MS, ms(100), 0.3), None);
        assert_eq!(share_back(&samples, 0, 150 * MS, ms(100), 0.2), Some(ms(100)));
    }
}
