//! Reductions on the bytes of slots and buffers, which need not be aligned to their elements.

use half::{bf16, f16};

use super::{DataType, Reduction};

/// Runs a piece of code with `T` as the type of the elements and `N` as its bytes.
macro_rules! with_type {
    ($data_type:expr, $T:ident, $N:ident => $body:expr) => {
        with_type!($data_type, $T, $N => $body;
            Int8 i8, Uint8 u8, Int32 i32, Uint32 u32, Int64 i64, Uint64 u64, Half f16, Float f32, Double f64, Bfloat16 bf16)
    };
    ($data_type:expr, $T:ident, $N:ident => $body:expr; $($kind:ident $type:ty),*) => {
        match $data_type {
            $(DataType::$kind => {
                type $T = $type;
                const $N: usize = size_of::<$type>();
                $body
            })*
        }
    };
}

/// Writes `received` reduced with `input` to `result`; all have the same length, in whole elements.
pub(crate) fn combine(
    data_type: DataType,
    reduction: Reduction,
    result: &mut [u8],
    received: &[u8],
    input: &[u8],
) {
    with_type!(data_type, T, N => {
        let result = result.as_chunks_mut::<N>().0.iter_mut();
        let pairs = received.as_chunks::<N>().0.iter().zip(input.as_chunks::<N>().0);
        let read = |(received, input): (&[u8; N], &[u8; N])| (T::from_ne_bytes(*received), T::from_ne_bytes(*input));
        fold(reduction, result.zip(pairs).map(|(result, pair)| (result, read(pair))));
    });
}

/// Reduces `result`, which holds the rank's own input, [scaled](scale) before, with `received`.
pub(crate) fn accumulate(data_type: DataType, reduction: Reduction, result: &mut [u8], received: &[u8]) {
    let reduction = match reduction {
        Reduction::PreMulSum { .. } => Reduction::Sum,
        other => other,
    };
    with_type!(data_type, T, N => {
        let pairs = result.as_chunks_mut::<N>().0.iter_mut().zip(received.as_chunks::<N>().0);
        fold(reduction, pairs.map(|(result, received)| {
            let input = T::from_ne_bytes(*result);
            (result, (T::from_ne_bytes(*received), input))
        }));
    });
}

/// Multiplies by the rank's own factor, where the reduction has one.
pub(crate) fn scale(data_type: DataType, reduction: Reduction, data: &mut [u8]) {
    let Reduction::PreMulSum { factor } = reduction else { return };
    with_type!(data_type, T, N => {
        let factor = T::small(factor);
        for element in data.as_chunks_mut::<N>().0 {
            *element = T::from_ne_bytes(*element).times(factor).to_ne_bytes();
        }
    });
}

/// Divides a complete sum by the number of ranks, where the reduction is an average.
pub(crate) fn divide(data_type: DataType, reduction: Reduction, data: &mut [u8], ranks: usize) {
    if reduction != Reduction::Avg {
        return;
    }
    with_type!(data_type, T, N => {
        for element in data.as_chunks_mut::<N>().0 {
            *element = T::from_ne_bytes(*element).over(ranks).to_ne_bytes();
        }
    });
}

/// Writes the reduction of each pair (received, input); a loop per reduction, so that none is chosen per element.
fn fold<'a, T: Number<N>, const N: usize>(
    reduction: Reduction,
    elements: impl Iterator<Item = (&'a mut [u8; N], (T, T))>,
) {
    match reduction {
        Reduction::Sum | Reduction::Avg => {
            elements.for_each(|(result, (received, input))| *result = received.plus(input).bytes());
        }
        Reduction::Prod => {
            elements.for_each(|(result, (received, input))| *result = received.times(input).bytes());
        }
        Reduction::Max => {
            elements.for_each(|(result, (received, input))| *result = received.larger(input).bytes());
        }
        Reduction::Min => {
            elements.for_each(|(result, (received, input))| *result = received.smaller(input).bytes());
        }
        Reduction::PreMulSum { factor } => {
            let factor = T::small(factor);
            elements.for_each(|(result, (received, input))| {
                *result = received.plus(input.times(factor)).bytes();
            });
        }
    }
}

/// What a reduction does with two elements.
trait Number<const N: usize>: Copy {
    fn small(value: u8) -> Self;
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn larger(self, other: Self) -> Self;
    fn smaller(self, other: Self) -> Self;
    fn over(self, ranks: usize) -> Self;
    fn bytes(self) -> [u8; N];
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Number<{ size_of::<$type>() }> for $type {
            #[expect(clippy::allow_attributes, reason = "the macro serves types for which it can't happen")]
            #[allow(clippy::cast_possible_wrap, reason = "factors are 1 or 2")]
            fn small(value: u8) -> Self {
                value as Self
            }
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            fn larger(self, other: Self) -> Self {
                self.max(other)
            }
            fn smaller(self, other: Self) -> Self {
                self.min(other)
            }
            fn over(self, ranks: usize) -> Self {
                // Wider: the type need not be able to count the ranks.
                let ranks = i128::try_from(ranks).unwrap_or(i128::MAX).max(1);
                Self::try_from(i128::from(self) / ranks).unwrap_or(0)
            }
            fn bytes(self) -> [u8; size_of::<$type>()] {
                self.to_ne_bytes()
            }
        }
    )*};
}

macro_rules! floats {
    ($($type:ty)*) => {$(
        impl Number<{ size_of::<$type>() }> for $type {
            fn small(value: u8) -> Self {
                Self::from(value)
            }
            fn plus(self, other: Self) -> Self {
                self + other
            }
            fn times(self, other: Self) -> Self {
                self * other
            }
            fn larger(self, other: Self) -> Self {
                self.max(other)
            }
            fn smaller(self, other: Self) -> Self {
                self.min(other)
            }
            #[expect(clippy::cast_precision_loss, reason = "ranks are few")]
            fn over(self, ranks: usize) -> Self {
                self / ranks as Self
            }
            fn bytes(self) -> [u8; size_of::<$type>()] {
                self.to_ne_bytes()
            }
        }
    )*};
}

/// Types of 16 bits: each operation in single precision, rounded once.
macro_rules! halves {
    ($($type:ty)*) => {$(
        impl Number<{ size_of::<$type>() }> for $type {
            fn small(value: u8) -> Self {
                Self::from_f32(value.into())
            }
            fn plus(self, other: Self) -> Self {
                self + other
            }
            fn times(self, other: Self) -> Self {
                self * other
            }
            fn larger(self, other: Self) -> Self {
                self.max(other)
            }
            fn smaller(self, other: Self) -> Self {
                self.min(other)
            }
            #[expect(clippy::cast_precision_loss, reason = "ranks are few")]
            fn over(self, ranks: usize) -> Self {
                Self::from_f32(self.to_f32() / ranks as f32)
            }
            fn bytes(self) -> [u8; size_of::<$type>()] {
                self.to_ne_bytes()
            }
        }
    )*};
}

integers!(i8 u8 i32 u32 i64 u64);
floats!(f32 f64);
halves!(f16 bf16);

#[cfg(test)]
mod tests {
    use super::*;

    const FACTOR: Reduction = Reduction::PreMulSum { factor: 2 };

    /// Received 6, own 7, three ranks: what comes out, as a number.
    fn six_and_seven<const N: usize>(
        data_type: DataType,
        reduction: Reduction,
        number: fn(u8) -> [u8; N],
        read: fn([u8; N]) -> f64,
    ) -> f64 {
        let (received, input) = (number(6).repeat(5), number(7).repeat(5));
        let mut combined = vec![0; 5 * N];
        combine(data_type, reduction, &mut combined, &received, &input);
        divide(data_type, reduction, &mut combined, 3);
        let mut accumulated = input;
        scale(data_type, reduction, &mut accumulated);
        accumulate(data_type, reduction, &mut accumulated, &received);
        divide(data_type, reduction, &mut accumulated, 3);
        assert_eq!(combined, accumulated, "{data_type:?} {reduction:?}");
        let (elements, rest) = combined.as_chunks::<N>();
        assert!(rest.is_empty() && elements.iter().all(|element| *element == elements[0]));
        read(elements[0])
    }

    #[test]
    fn every_type_is_reduced_every_way() {
        for (reduction, whole, fraction) in [
            (Reduction::Sum, 13.0, 13.0),
            (Reduction::Prod, 42.0, 42.0),
            (Reduction::Max, 7.0, 7.0),
            (Reduction::Min, 6.0, 6.0),
            (Reduction::Avg, 4.0, 13.0 / 3.0),
            (FACTOR, 20.0, 20.0),
        ] {
            macro_rules! check {
                ($kind:ident, $type:ty, $wanted:expr, $tolerance:expr) => {
                    let got = six_and_seven(
                        DataType::$kind,
                        reduction,
                        |value| <$type>::from(value.cast_signed()).to_ne_bytes(),
                        |bytes| f64::from(<$type>::from_ne_bytes(bytes)),
                    );
                    assert!(
                        (got - $wanted).abs() <= $tolerance,
                        "{} {reduction:?}: {got}",
                        stringify!($kind)
                    );
                };
            }
            check!(Int8, i8, whole, 0.0);
            check!(Int32, i32, whole, 0.0);
            check!(Float, f32, fraction, 1e-6);
            check!(Double, f64, fraction, 1e-15);
            check!(Half, f16, fraction, 0.002);
            check!(Bfloat16, bf16, fraction, 0.016);
            let unsigned =
                |kind, number: fn(u8) -> [u8; 8], read| six_and_seven(kind, reduction, number, read);
            let got =
                unsigned(DataType::Uint64, |v| u64::from(v).to_ne_bytes(), |b| u64::from_ne_bytes(b) as f64);
            assert!((got - whole).abs() <= 0.0, "{reduction:?}: {got}");
            let got =
                unsigned(DataType::Int64, |v| i64::from(v).to_ne_bytes(), |b| i64::from_ne_bytes(b) as f64);
            assert!((got - whole).abs() <= 0.0, "{reduction:?}: {got}");
            let got = six_and_seven(
                DataType::Uint32,
                reduction,
                |v| u32::from(v).to_ne_bytes(),
                |b| u32::from_ne_bytes(b).into(),
            );
            assert!((got - whole).abs() <= 0.0, "{reduction:?}: {got}");
            let got = six_and_seven(DataType::Uint8, reduction, |v| [v], |[byte]| byte.into());
            assert!((got - whole).abs() <= 0.0, "{reduction:?}: {got}");
        }
    }

    #[test]
    fn integers_wrap() {
        let mut result = [0];
        combine(DataType::Uint8, Reduction::Sum, &mut result, &[200], &[100]);
        assert_eq!(result, [44]);
        combine(DataType::Int8, Reduction::Prod, &mut result, &[100], &[3]);
        assert_eq!(result, [44]);
        // More ranks than an i8 counts.
        for (sum, average) in [(0x80, 0xFF), (0x81, 0), (0x7F, 0)] {
            let mut result = [sum];
            divide(DataType::Int8, Reduction::Avg, &mut result, 128);
            assert_eq!(result, [average]);
        }
    }
}
