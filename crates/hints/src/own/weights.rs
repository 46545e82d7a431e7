//! How much each path of a flow is to carry.

use std::fmt;
use std::str::FromStr;

use super::MAX_WEIGHTS;

/// A weight per path of a flow, in the paths' order; none says nothing about a path.
///
/// As text `1000,500,-`: paths beyond the last count as `-`, and a lone `-` says nothing at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weights([Option<u16>; MAX_WEIGHTS]);

/// Text that is no list of weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is no list of weights; want up to {MAX_WEIGHTS}, each 0 to {LARGEST} or -, as in 1000,500,-"
)]
pub struct WeightsError {
    /// The text.
    pub given: String,
}

/// Everything that a path can carry.
const LARGEST: u16 = 1000;
/// Stands for a path without weight.
const NONE: u16 = u16::MAX;

impl Weights {
    /// These weights, at most 1000 each; paths beyond the last have none.
    pub fn new(weights: &[Option<u16>]) -> Self {
        let weight = |path| weights.get(path).copied().flatten().map(|weight: u16| weight.min(LARGEST));
        Self(std::array::from_fn(weight))
    }

    /// The weight of each path.
    pub fn get(&self) -> [Option<u16>; MAX_WEIGHTS] {
        self.0
    }

    /// Whether they say nothing about any path.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    pub(super) fn words(&self) -> [u64; 2] {
        let word = |four: &[Option<u16>]| {
            let mut bytes = [0; 8];
            for (two, weight) in bytes.chunks_exact_mut(2).zip(four) {
                two.copy_from_slice(&weight.unwrap_or(NONE).to_ne_bytes());
            }
            u64::from_ne_bytes(bytes)
        };
        let (first, last) = self.0.split_at(MAX_WEIGHTS / 2);
        [word(first), word(last)]
    }

    /// Whatever is in memory: a weight over 1000 says nothing.
    pub(super) fn from_words(words: [u64; 2]) -> Self {
        let [first, last] = words.map(u64::to_ne_bytes);
        let pairs = first.as_chunks::<2>().0.iter().chain(last.as_chunks::<2>().0);
        let mut weights = [None; MAX_WEIGHTS];
        for (weight, pair) in weights.iter_mut().zip(pairs) {
            *weight = Some(u16::from_ne_bytes(*pair)).filter(|weight| *weight <= LARGEST);
        }
        Self(weights)
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.iter().rposition(Option::is_some).map_or(1, |last| last + 1);
        for (path, weight) in self.0.iter().take(count).enumerate() {
            let comma = if path > 0 { "," } else { "" };
            match weight {
                Some(weight) => write!(f, "{comma}{weight}")?,
                None => write!(f, "{comma}-")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Weights {
    type Err = WeightsError;

    fn from_str(text: &str) -> Result<Self, WeightsError> {
        let error = || WeightsError { given: text.to_owned() };
        let weights = text.split(',').map(|weight| match weight.trim() {
            "-" => Some(None),
            weight => weight.parse().ok().filter(|weight| *weight <= LARGEST).map(Some),
        });
        let weights = weights.collect::<Option<Vec<_>>>().ok_or_else(error)?;
        if weights.len() > MAX_WEIGHTS {
            return Err(error());
        }
        Ok(Self::new(&weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back() {
        for text in ["1000", "0", "-", "1000,500,-,3", "-,-,1", "1,2,3,4,5,6,7,8"] {
            assert_eq!(text.parse::<Weights>().unwrap().to_string(), text);
        }
        assert_eq!("1, 2,-,-".parse::<Weights>().unwrap().to_string(), "1,2");
        assert!("-,-".parse::<Weights>().unwrap().is_empty() && !"0".parse::<Weights>().unwrap().is_empty());
    }

    #[test]
    fn bad_text_names_itself() {
        for text in ["", "1001", "-1", "a", "1,,2", "1,2,3,4,5,6,7,8,9", "1;2"] {
            let error = text.parse::<Weights>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn words_hold_all_of_it() {
        let weights = Weights::new(&[Some(1), None, Some(2000), Some(0), None, Some(7)]);
        assert_eq!(Weights::from_words(weights.words()), weights);
        assert_eq!(weights.to_string(), "1,-,1000,0,-,7");
        assert!(Weights::from_words([u64::MAX, 0x7fff_7fff_7fff_7fff]).is_empty());
    }
}
