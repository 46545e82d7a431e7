//! The sizes of a sweep, as nccl-tests reads and steps them.

use anyhow::{Context, bail};

/// Sizes from a first to a last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) min: u64,
    pub(super) max: u64,
    /// Added each time, unless `factor` is more than 1.
    pub(super) step: u64,
    pub(super) factor: u64,
}

impl Sizes {
    /// The sizes in bytes.
    pub(super) fn iter(self) -> impl Iterator<Item = u64> {
        let next = move |size: &u64| {
            let next =
                if self.factor > 1 { size.checked_mul(self.factor) } else { size.checked_add(self.step) };
            next.filter(|next| next > size && *next <= self.max)
        };
        std::iter::successors(Some(self.min), next)
    }

    /// The sizes that are run to warm up: always doubled.
    pub(super) fn warm_up(self) -> impl Iterator<Item = u64> {
        Self { factor: 2, ..self }.iter()
    }

    /// With no size above `most`.
    pub(super) fn up_to(self, most: u64) -> Self {
        Self { min: self.min.min(most), max: self.max.min(most), ..self }
    }

    /// If the first is above the last.
    pub(super) fn check(self) -> anyhow::Result<Self> {
        if self.min > self.max {
            bail!("invalid sizes for 'minbytes' and 'maxbytes': {} > {}", self.min, self.max);
        }
        Ok(self)
    }

    /// As the header shows the step.
    pub(super) fn step_text(self) -> String {
        if self.factor > 1 { format!("{}(factor)", self.factor) } else { format!("{}(bytes)", self.step) }
    }
}

/// A number with K, M or G for powers of 1024, in either case; whatever follows that letter is ignored.
///
/// The number is one that C's `%lf` reads, but no hexadecimal one: `1.5`, `1e6`.
///
/// # Errors
/// Everything else, `8T` for example.
pub(super) fn parse_size(text: &str) -> anyhow::Result<u64> {
    const WANTED: &str = "wanted a number of bytes with K, M or G, as 8 or 128M";
    let text = text.trim_start();
    let (number, unit) = text.split_at_checked(number_bytes(text)).unwrap_or((text, ""));
    let shift = match unit.trim_start().chars().next() {
        None => 0,
        Some('k' | 'K') => 10,
        Some('m' | 'M') => 20,
        Some('g' | 'G') => 30,
        Some(_) => bail!(WANTED),
    };
    let number: f64 = number.parse().ok().context(WANTED)?;
    let bytes = number * f64::from(1 << shift);
    if bytes < 0.0 {
        bail!(WANTED);
    }
    if bytes >= LARGEST {
        bail!("wanted less than 1 PiB");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^50: checked above")]
    Ok(bytes as u64)
}

/// How many bytes at the start of a text are a decimal number.
fn number_bytes(text: &str) -> usize {
    let digits = |from: usize| {
        let rest = text.as_bytes().get(from..).unwrap_or_default();
        from + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let is = |at: usize, any: &[u8]| text.as_bytes().get(at).is_some_and(|byte| any.contains(byte));
    let mut end = digits(usize::from(is(0, b"+-")));
    if is(end, b".") {
        end = digits(end + 1);
    }
    if is(end, b"eE") {
        let power = end + 1 + usize::from(is(end + 1, b"+-"));
        // Without digits the letter isn't part of the number.
        if digits(power) > power {
            end = digits(power);
        }
    }
    end
}

/// More than any memory; whole numbers below it are exact.
const LARGEST: f64 = (1_u64 << 50) as f64;

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(min: u64, max: u64, step: u64, factor: u64) -> Vec<u64> {
        Sizes { min, max, step, factor }.iter().collect()
    }

    #[test]
    fn suffixes_as_in_nccl_tests() {
        for (text, bytes) in [
            ("8", 8),
            ("0", 0),
            ("128M", 128 << 20),
            ("8MB", 8 << 20),
            ("1.5k", 1536),
            ("2 G", 2 << 30),
            ("1g", 1 << 30),
            (" 7", 7),
            ("+8", 8),
            ("1e6", 1_000_000),
            ("2.5e-1K", 256),
            ("8K extra", 8192),
            (".5K", 512),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "8T", "M", "-8", "8.5.1", "8e", "x", "inf", "nan", "9999999999G", "-", "."] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn factors_and_steps() {
        assert_eq!(sizes(8, 128, 1, 2), [8, 16, 32, 64, 128]);
        assert_eq!(sizes(8, 20, 4, 1), [8, 12, 16, 20]);
        assert_eq!(sizes(10, 10, 1 << 20, 1), [10]);
        assert_eq!(sizes(3, 100, 1 << 20, 0), [3]);
    }

    #[test]
    fn steps_that_lead_nowhere_end() {
        assert_eq!(sizes(0, 128, 1, 2), [0]);
        assert_eq!(sizes(8, 128, 0, 1), [8]);
        assert_eq!(sizes(u64::MAX, u64::MAX, 8, 1).len(), 1);
    }

    #[test]
    fn warming_up_always_doubles() {
        let sizes = Sizes { min: 16, max: 128, step: 4, factor: 1 };
        assert_eq!(sizes.warm_up().collect::<Vec<_>>(), [16, 32, 64, 128]);
        assert!(Sizes { min: 2, max: 1, ..sizes }.check().is_err());
        assert_eq!(sizes.up_to(100).max, 100);
        assert_eq!((sizes.up_to(8).min, sizes.up_to(8).max), (8, 8));
    }
}
