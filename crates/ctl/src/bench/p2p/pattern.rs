//! What is transferred, and whether it arrived.

/// What all transfers of a pair of processes have in common: data of another pair, transfer or place is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) seed: u64,
}

/// What a receiver found in a piece of a transfer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Bytes that are not what was sent.
    pub(super) bytes: u64,
    /// Offset in the transfer of the first of them.
    pub(super) first: Option<u64>,
}

impl Pattern {
    /// The data of transfer number `transfer` from `offset` (a multiple of 8) on.
    pub(super) fn data(self, transfer: u64, offset: u64, bytes: usize) -> Vec<u8> {
        let mut data = vec![0; bytes];
        let mut words = self.words(transfer, offset);
        let (whole, rest) = data.as_chunks_mut::<WORD>();
        whole.iter_mut().zip(&mut words).for_each(|(place, word)| *place = word);
        rest.iter_mut().zip(words.next().unwrap_or_default()).for_each(|(place, byte)| *place = byte);
        data
    }

    /// Every byte that differs.
    pub(super) fn check(self, transfer: u64, offset: u64, data: &[u8]) -> Wrong {
        let mut wrong = Wrong::default();
        let mut words = self.words(transfer, offset);
        let (whole, rest) = data.as_chunks::<WORD>();
        let mut at = offset;
        for (got, sent) in whole.iter().zip(&mut words) {
            if *got != sent {
                wrong.compare(at, got, &sent);
            }
            at += WORD as u64;
        }
        wrong.compare(at, rest, &words.next().unwrap_or_default());
        wrong
    }

    /// Only the first bytes: whether this is the right piece of the right transfer. For the timed ones.
    pub(super) fn glance(self, transfer: u64, offset: u64, data: &[u8]) -> Wrong {
        self.check(transfer, offset, data.get(..WORD).unwrap_or(data))
    }

    fn words(self, transfer: u64, offset: u64) -> impl Iterator<Item = [u8; WORD]> {
        let base = (self.seed ^ transfer.wrapping_mul(0xC2B2_AE3D_27D4_EB4F)).wrapping_mul(ODD);
        (offset / WORD as u64..).map(move |index| {
            // Multiplied by an odd number, so no two places have the same word.
            let mixed = base.wrapping_add(index).wrapping_mul(ODD);
            (mixed ^ (mixed >> 29)).to_le_bytes()
        })
    }
}

impl Wrong {
    fn compare(&mut self, at: u64, got: &[u8], sent: &[u8]) {
        for (place, _) in (at..).zip(got.iter().zip(sent)).filter(|(_, (got, sent))| got != sent) {
            self.add(Self { bytes: 1, first: Some(place) });
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.first = self.first.or(other.first);
    }
}

const WORD: usize = 8;

/// 2^64 divided by the golden ratio.
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERN: Pattern = Pattern { seed: 42 };

    #[test]
    fn pieces_are_parts_of_the_whole() {
        let whole = PATTERN.data(3, 0, 1003);
        assert_eq!(PATTERN.data(3, 512, 491), whole[512..]);
        assert_eq!(PATTERN.check(3, 0, &whole), Wrong::default());
        assert_eq!(PATTERN.check(3, 512, &whole[512..]), Wrong::default());
        assert_eq!(PATTERN.glance(3, 512, &whole[512..]), Wrong::default());
        assert_eq!(PATTERN.data(3, 0, 3), whole[..3]);
    }

    #[test]
    fn each_wrong_byte_counts() {
        let mut data = PATTERN.data(0, 4096, 1003);
        data[1002] ^= 1;
        data[17] ^= 0x80;
        assert_eq!(PATTERN.check(0, 4096, &data), Wrong { bytes: 2, first: Some(4113) });
        assert_eq!(PATTERN.glance(0, 4096, &data).bytes, 0);
    }

    #[test]
    fn another_place_transfer_or_pair_is_wrong_nearly_everywhere() {
        let data = PATTERN.data(5, 0, 8192);
        for wrong in [
            PATTERN.check(6, 0, &data),
            PATTERN.check(5, 8, &data),
            Pattern { seed: 43 }.check(5, 0, &data),
            PATTERN.check(5, 0, &vec![0; 8192]),
        ] {
            assert!(wrong.bytes > 8000 && wrong.first <= Some(8), "{wrong:?}");
        }
        // What a glance sees: a piece of another transfer, or swapped with its neighbour.
        assert!(PATTERN.glance(6, 0, &data).bytes > 0);
        assert!(PATTERN.glance(5, 4096, &data).bytes > 0);
    }
}
