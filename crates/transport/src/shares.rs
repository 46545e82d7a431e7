//! How much each lane is to carry, set from outside while data flows.
//!
//! A seqlock: the writer makes the generation odd, writes, and makes it even again. A reader that sees the same
//! even generation before and after has read one writer's values. The data path only compares the generation with
//! the last that it has seen: one relaxed load.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use parking_lot::Mutex;

use crate::config::MAX_PATHS;

/// Share and limit of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Part of the traffic, 0..=1000, relative to the other lanes' weights; none: whatever the path can carry.
    ///
    /// 0: not used unless no other lane works.
    pub weight: Option<u16>,
    /// Most bytes per second; none: no limit.
    pub cap: Option<u64>,
}

/// Shares of all lanes of one or more connections, written by one side and read by many.
#[derive(Debug, Default)]
pub struct Shares {
    generation: AtomicU32,
    weights: [AtomicU32; MAX_PATHS],
    caps: [AtomicU64; MAX_PATHS],
    writer: Mutex<()>,
}

/// Stands for a share without weight; weights end at 1000.
const NO_WEIGHT: u32 = u32::MAX;

impl Shares {
    /// Shares that say nothing.
    #[must_use]
    pub fn new() -> Shares {
        let shares = Shares::default();
        shares.set(&[]);
        shares
    }

    /// Sets the shares of the lanes in order; lanes beyond the last have none.
    ///
    /// Takes effect at the next call that moves bytes. Weights above 1000 count as 1000.
    pub fn set(&self, shares: &[Share]) {
        let _one_at_a_time = self.writer.lock();
        let generation = self.generation.load(Ordering::Relaxed);
        self.generation.store(generation.wrapping_add(1), Ordering::Relaxed);
        // No value may be seen before the odd generation …
        fence(Ordering::Release);
        for (lane, (weight, cap)) in self.weights.iter().zip(&self.caps).enumerate() {
            let share = shares.get(lane).copied().unwrap_or_default();
            let value = share.weight.map_or(NO_WEIGHT, |weight| u32::from(weight.min(1000)));
            weight.store(value, Ordering::Relaxed);
            cap.store(share.cap.unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        // … and none after the even one.
        self.generation.store(generation.wrapping_add(2), Ordering::Release);
    }

    /// Counts the changes; odd while one is being made.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    /// The shares and their generation, or none while they are being changed.
    #[must_use]
    pub fn read(&self) -> Option<(u32, [Share; MAX_PATHS])> {
        let before = self.generation.load(Ordering::Acquire);
        let mut shares = [Share::default(); MAX_PATHS];
        for ((share, weight), cap) in shares.iter_mut().zip(&self.weights).zip(&self.caps) {
            let (weight, cap) = (weight.load(Ordering::Relaxed), cap.load(Ordering::Relaxed));
            share.weight = u16::try_from(weight).ok().filter(|weight| *weight <= 1000);
            share.cap = (cap != u64::MAX).then_some(cap);
        }
        // The values are read before the generation is read again.
        fence(Ordering::Acquire);
        let after = self.generation.load(Ordering::Relaxed);
        (before == after && before.is_multiple_of(2)).then_some((before, shares))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_set_is_read() {
        let shares = Shares::new();
        let (generation, all) = shares.read().unwrap();
        assert_eq!((generation, all), (shares.generation(), [Share::default(); MAX_PATHS]));
        let set = [Share { weight: Some(0), cap: None }, Share { weight: Some(2000), cap: Some(9) }];
        shares.set(&set);
        let (next, all) = shares.read().unwrap();
        assert_ne!(next, generation);
        assert_eq!(all[0], set[0]);
        assert_eq!(all[1], Share { weight: Some(1000), cap: Some(9) });
        assert_eq!(all[2], Share::default());
    }

    #[test]
    fn no_reader_sees_half_of_a_change() {
        let shares = Shares::new();
        let done = AtomicBool::new(false);
        let mut seen = [0_u32; 2];
        std::thread::scope(|scope| {
            // Two writers, so that theirs don't mix either.
            let writers = [0_u16, 1].map(|parity| {
                let shares = &shares;
                scope.spawn(move || {
                    for n in 0..20_000_u16 {
                        let weight = (n % 500) * 2 + parity;
                        shares.set(&[Share { weight: Some(weight), cap: Some(weight.into()) }; MAX_PATHS]);
                        // A reader never gets through to writers that don't pause.
                        if n % 64 == 0 {
                            std::thread::sleep(Duration::from_micros(1));
                        }
                    }
                })
            });
            let (done, shares) = (&done, &shares);
            let reader = scope.spawn(move || {
                let mut seen = [0_u32; 2];
                while !done.load(Ordering::Relaxed) {
                    let Some((_, all)) = shares.read() else { continue };
                    let first = all[0];
                    assert!(all.iter().all(|share| *share == first), "{all:?}");
                    assert_eq!(first.weight.map(u64::from), first.cap, "{first:?}");
                    if let Some(weight) = first.weight {
                        seen[usize::from(weight % 2)] += 1;
                    }
                }
                seen
            });
            for writer in writers {
                writer.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
            seen = reader.join().unwrap();
        });
        assert!(seen.iter().sum::<u32>() > 0, "the reader never got through");
    }
}
