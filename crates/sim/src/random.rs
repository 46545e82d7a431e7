//! Numbers that look random and are the same for the same seed on every machine.

/// Two values into one that depends on every bit of both (the finalizer of SplitMix64, Steele et al. 2014).
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_add(b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A hash made into a number below `count`, each as likely as any other to within count / 2^64.
pub(crate) fn below(hash: u64, count: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "less than count")]
    let scaled = ((u128::from(hash) * count as u128) >> 64) as usize;
    scaled
}

/// A sequence of such numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    seed: u64,
    drawn: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// The next one below `count`; 0 for a `count` of 0.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.drawn += 1;
        below(mix(self.seed, self.drawn), count)
    }

    /// Brings a slice into an order that is as likely as any other.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_and_repeatable() {
        let mut counts = [0u32; 10];
        let mut random = Random::new(7);
        (0..100_000).for_each(|_| counts[random.below(10)] += 1);
        assert!(counts.iter().all(|&n| (9_600..10_400).contains(&n)), "{counts:?}");
        let shuffled = |seed| {
            let mut items: Vec<usize> = (0..50).collect();
            Random::new(seed).shuffle(&mut items);
            items
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
        let mut sorted = shuffled(3);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..50));
        assert_eq!(below(u64::MAX, 3), 2);
    }
}
