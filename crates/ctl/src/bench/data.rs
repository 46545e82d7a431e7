//! What ranks give each other, and whether it came out right.
//!
//! What is only moved is any bits. What is reduced is chosen so that the result is exact in its type whatever the order
//! in which a ring reduces it: then every wrong bit is a wrong element, and there is no tolerance to hide behind.

use half::{bf16, f16};
use srv6_netdrive::{DataType, Reduction};

/// What the buffers of one pass hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content {
    pub(super) data_type: DataType,
    /// How elements are reduced; `None` if they are only moved.
    pub(super) reduction: Option<Reduction>,
    pub(super) world: usize,
    pub(super) pass: u32,
}

/// An element, wide enough for every type.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Element {
    /// Of an integer, or of what is only moved: the lowest bits count.
    Bits(u64),
    Real(f64),
}

/// A rank's factor in a sum of scaled inputs.
pub(super) const fn factor(rank: usize) -> u8 {
    if rank.is_multiple_of(2) { 1 } else { 2 }
}

impl Content {
    /// Writes what `rank` gives, from its element `first` on.
    pub(super) fn write(&self, buffer: &mut [u8], rank: usize, first: usize) {
        let size = self.data_type.bytes();
        for (index, bytes) in buffer.chunks_exact_mut(size).enumerate() {
            self.put(self.given(rank, first + index), bytes);
        }
    }

    /// How many elements are not what `rank` gives, from its element `first` on.
    pub(super) fn not_given(&self, buffer: &[u8], rank: usize, first: usize) -> u64 {
        self.count_others(buffer, |index| self.given(rank, first + index))
    }

    /// How many elements are not the reduction of what all ranks give, from element `first` on.
    pub(super) fn not_reduced(&self, buffer: &[u8], first: usize) -> u64 {
        self.count_others(buffer, |index| self.reduced(first + index))
    }

    fn count_others(&self, buffer: &[u8], right: impl Fn(usize) -> Element) -> u64 {
        let size = self.data_type.bytes();
        let mut wanted = [0; 8];
        let Some(wanted) = wanted.get_mut(..size) else { return 0 };
        let mut wrong = 0;
        for (index, bytes) in buffer.chunks_exact(size).enumerate() {
            self.put(right(index), wanted);
            wrong += u64::from(bytes != wanted);
        }
        wrong
    }

    fn given(&self, rank: usize, index: usize) -> Element {
        let mixed = mix(rank, index, self.pass);
        let Some(reduction) = self.reduction else { return Element::Bits(mixed) };
        let Some(significand) = self.data_type.significand() else {
            return Element::Bits(if reduction == Reduction::Prod { mixed | 1 } else { mixed });
        };
        Element::Real(match reduction {
            Reduction::Sum | Reduction::Avg => below(mixed, significand, self.world, rank),
            Reduction::PreMulSum { .. } => below(mixed, significand - 1, self.world, rank),
            Reduction::Max | Reduction::Min => f64::from(u8::try_from(mixed >> 56).unwrap_or(0)) - 128.0,
            Reduction::Prod => self.factor_of_product(rank, index, mixed),
        })
    }

    /// Factors that come in pairs of 2 and 1/2: whatever part of the ranks is multiplied, nothing overflows.
    fn factor_of_product(&self, rank: usize, index: usize, mixed: u64) -> f64 {
        let sign = if mixed >> 63 == 0 { 1.0 } else { -1.0 };
        if rank == 0 {
            return sign * (1.0 + f64::from(u8::try_from(mixed >> 40 & 7).unwrap_or(0)) / 8.0);
        }
        let doubles = mix(usize::MAX - (rank - 1) / 2, index, self.pass) >> 63 == 0;
        match (doubles, rank % 2) {
            (false, _) => sign,
            (true, 1) => sign * 2.0,
            (true, _) => sign * 0.5,
        }
    }

    fn reduced(&self, index: usize) -> Element {
        let all = (0..self.world).map(|rank| (rank, self.given(rank, index)));
        let reduction = self.reduction.unwrap_or(Reduction::Sum);
        if self.data_type.significand().is_some() {
            let all = all.map(|(rank, element)| match element {
                Element::Real(value) => (rank, value),
                Element::Bits(_) => (rank, f64::NAN),
            });
            #[expect(clippy::cast_precision_loss, reason = "ranks are few")]
            let world = self.world as f64;
            return Element::Real(match reduction {
                Reduction::Sum => all.map(|(_, value)| value).sum(),
                Reduction::Avg => all.map(|(_, value)| value).sum::<f64>() / world,
                Reduction::PreMulSum { .. } => all.map(|(rank, value)| value * f64::from(factor(rank))).sum(),
                Reduction::Prod => all.map(|(_, value)| value).product(),
                Reduction::Max => all.map(|(_, value)| value).fold(f64::NEG_INFINITY, f64::max),
                Reduction::Min => all.map(|(_, value)| value).fold(f64::INFINITY, f64::min),
            });
        }
        let all = all.map(|(rank, element)| match element {
            Element::Bits(bits) => (rank, bits),
            Element::Real(_) => (rank, 0),
        });
        let sum = |scaled: fn(usize, u64) -> u64| {
            all.clone().fold(0_u64, |sum, (rank, bits)| sum.wrapping_add(scaled(rank, bits)))
        };
        let values = all.clone().map(|(_, bits)| self.whole(bits));
        Element::Bits(match reduction {
            Reduction::Sum => sum(|_, bits| bits),
            Reduction::PreMulSum { .. } => sum(|rank, bits| bits.wrapping_mul(factor(rank).into())),
            Reduction::Prod => all.fold(1, |product, (_, bits)| product.wrapping_mul(bits)),
            Reduction::Avg => {
                let ranks = i128::try_from(self.world).unwrap_or(i128::MAX);
                lowest(self.whole(sum(|_, bits| bits)) / ranks)
            }
            Reduction::Max => lowest(values.max().unwrap_or(0)),
            Reduction::Min => lowest(values.min().unwrap_or(0)),
        })
    }

    /// The integer that the lowest bits are in this type.
    fn whole(&self, bits: u64) -> i128 {
        let shift = 64 - 8 * self.data_type.bytes();
        match self.data_type {
            DataType::Int8 | DataType::Int32 | DataType::Int64 => {
                i128::from((bits << shift).cast_signed() >> shift)
            }
            _ => i128::from(bits << shift >> shift),
        }
    }

    fn put(&self, element: Element, bytes: &mut [u8]) {
        let wide = match element {
            Element::Bits(bits) => bits.to_le_bytes(),
            Element::Real(value) => {
                let mut wide = [0; 8];
                let mut narrow = |bytes: &[u8]| wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                match self.data_type {
                    DataType::Half => narrow(&f16::from_f64(value).to_le_bytes()),
                    DataType::Bfloat16 => narrow(&bf16::from_f64(value).to_le_bytes()),
                    #[expect(clippy::cast_possible_truncation, reason = "rounds once, as the reduction does")]
                    DataType::Float => narrow(&(value as f32).to_le_bytes()),
                    _ => narrow(&value.to_le_bytes()),
                }
                wide
            }
        };
        bytes.iter_mut().zip(wide).for_each(|(to, from)| *to = from);
    }
}

/// A small whole number: so small that a sum over all ranks has no more than `bits` bits.
fn below(mixed: u64, bits: u32, world: usize, rank: usize) -> f64 {
    let room = 1_u64 << bits.min(62);
    if rank as u64 >= room {
        return 0.0;
    }
    let most = (room / (world as u64).min(room)).min(255);
    f64::from(u8::try_from((mixed >> 32) % (most + 1)).unwrap_or(0))
}

/// Any mixing does in which neighbours, ranks and passes differ: a message in a wrong place must show.
fn mix(rank: usize, index: usize, pass: u32) -> u64 {
    let mixed = (index as u64)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add((rank as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F))
        .wrapping_add(u64::from(pass).wrapping_mul(0x1656_67B1_9E37_79F9));
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ (mixed >> 32)
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest bits are what is asked for")]
#[expect(clippy::cast_sign_loss, reason = "two's complement is what is asked for")]
const fn lowest(value: i128) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDUCTIONS: [Reduction; 6] = [
        Reduction::Sum,
        Reduction::Prod,
        Reduction::Max,
        Reduction::Min,
        Reduction::Avg,
        Reduction::PreMulSum { factor: 0 },
    ];

    /// Reduces what all ranks give as a ring does that begins at some rank, each step rounded to the type.
    #[expect(clippy::cast_possible_truncation, reason = "rounds as the type does")]
    fn ring(content: &Content, begin: usize, count: usize) -> Vec<u8> {
        let read = |element: Element| match element {
            Element::Bits(bits) => (content.whole(bits), 0.0),
            Element::Real(value) => (0, value),
        };
        let real = content.data_type.significand().is_some();
        let mut out = vec![0; count * content.data_type.bytes()];
        for (index, bytes) in out.chunks_exact_mut(content.data_type.bytes()).enumerate() {
            let mut state: Option<(i128, f64)> = None;
            for step in 0..content.world {
                let rank = (begin + step) % content.world;
                let (mut whole, mut value) = read(content.given(rank, index));
                if let Some(Reduction::PreMulSum { .. }) = content.reduction {
                    whole *= i128::from(factor(rank));
                    value *= f64::from(factor(rank));
                }
                let Some((whole_before, before)) = state else {
                    state = Some((whole, value));
                    continue;
                };
                let (whole, value) = match content.reduction.unwrap() {
                    Reduction::Prod => (whole_before.wrapping_mul(whole), before * value),
                    Reduction::Max => (whole_before.max(whole), before.max(value)),
                    Reduction::Min => (whole_before.min(whole), before.min(value)),
                    _ => (whole_before + whole, before + value),
                };
                let value = match content.data_type {
                    DataType::Half => f16::from_f64(value).to_f64(),
                    DataType::Bfloat16 => bf16::from_f64(value).to_f64(),
                    DataType::Float => f64::from(value as f32),
                    _ => value,
                };
                state = Some((content.whole(lowest(whole)), value));
            }
            let (mut whole, mut value) = state.unwrap();
            if content.reduction == Some(Reduction::Avg) {
                whole /= content.world as i128;
                value /= content.world as f64;
            }
            content.put(if real { Element::Real(value) } else { Element::Bits(lowest(whole)) }, bytes);
        }
        out
    }

    #[test]
    fn results_are_exact_wherever_a_ring_begins() {
        for data_type in DataType::ALL {
            for reduction in REDUCTIONS {
                for world in [1, 2, 3, 7, 8, 33, 300] {
                    let content = Content { data_type, reduction: Some(reduction), world, pass: 5 };
                    for begin in [0, world / 2, world - 1] {
                        let out = ring(&content, begin, 65);
                        assert_eq!(content.not_reduced(&out, 0), 0, "{content:?} from {begin}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_shift_or_another_pass_or_rank_is_noticed() {
        for data_type in DataType::ALL {
            for reduction in REDUCTIONS {
                let content = Content { data_type, reduction: Some(reduction), world: 5, pass: 3 };
                let right = ring(&content, 0, 1000);
                let most = |wrong: u64| assert!(wrong > 300, "{content:?}: {wrong}");
                most(content.not_reduced(&right, 16));
                most(Content { pass: 4, ..content }.not_reduced(&right, 0));
            }
            let moved = Content { data_type, reduction: None, world: 5, pass: 3 };
            let mut buffer = vec![0; 1000 * data_type.bytes()];
            moved.write(&mut buffer, 2, 7);
            assert_eq!(moved.not_given(&buffer, 2, 7), 0);
            for (rank, first) in [(3, 7), (2, 8), (2, 23)] {
                assert!(moved.not_given(&buffer, rank, first) > 950, "{data_type:?} {rank} {first}");
            }
            // Two blocks of 16 bytes change places.
            buffer.rotate_left(16);
            assert!(moved.not_given(&buffer, 2, 7) > 950, "{data_type:?}");
        }
    }

    #[test]
    fn one_bit_is_one_wrong_element() {
        let content = Content { data_type: DataType::Half, reduction: None, world: 2, pass: 1 };
        let mut buffer = vec![0; 64];
        content.write(&mut buffer, 0, 0);
        buffer[9] ^= 0x10;
        assert_eq!(content.not_given(&buffer, 0, 0), 1);
        let sum = Content { reduction: Some(Reduction::Sum), data_type: DataType::Float, ..content };
        let mut buffer = ring(&sum, 0, 16);
        buffer[0] ^= 1;
        assert_eq!(sum.not_reduced(&buffer, 0), 1);
    }
}
