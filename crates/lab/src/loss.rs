//! How much of what is sent gets lost.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A share of packets that gets lost: 0.01 % to 100 %, in steps of 0.01 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Loss(u16);

/// A share that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("loss {given:?}: want 0.01 to 100 (percent), in steps of 0.01")]
pub struct LossError {
    given: String,
}

impl Loss {
    /// What [`Self::of_all`] counts against.
    pub(crate) const ALL: u16 = 10_000;

    /// This many percent.
    ///
    /// # Errors
    /// Less than 0.01, more than 100, or no multiple of 0.01.
    pub fn percent(percent: f64) -> Result<Self, LossError> {
        let refused = || LossError { given: percent.to_string() };
        let hundredths = percent * 100.0;
        let whole = hundredths.round();
        if !(1.0..=f64::from(Self::ALL)).contains(&whole) || (hundredths - whole).abs() > 1e-6 {
            return Err(refused());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "1 to 10000: checked above"
        )]
        Ok(Self(whole as u16))
    }

    /// Packets of [`Self::ALL`] that are lost.
    pub(crate) fn of_all(self) -> u16 {
        self.0
    }
}

impl TryFrom<f64> for Loss {
    type Error = LossError;

    fn try_from(percent: f64) -> Result<Self, LossError> {
        Self::percent(percent)
    }
}

impl From<Loss> for f64 {
    fn from(loss: Loss) -> Self {
        Self::from(loss.0) / 100.0
    }
}

impl FromStr for Loss {
    type Err = LossError;

    fn from_str(text: &str) -> Result<Self, LossError> {
        let percent = text.parse().map_err(|_| LossError { given: text.to_owned() })?;
        Self::percent(percent)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(*self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_in_hundredths_of_a_percent() {
        for (text, of_all) in [("5", 500), ("0.01", 1), ("100", 10_000), ("12.34", 1234), ("0.29", 29)] {
            let loss: Loss = text.parse().unwrap();
            assert_eq!(loss.of_all(), of_all, "{text}");
            assert_eq!(loss.to_string(), format!("{text} %"));
            let written = serde_json::to_string(&loss).unwrap();
            assert_eq!(serde_json::from_str::<Loss>(&written).unwrap(), loss);
        }
    }

    #[test]
    fn what_is_no_share_is_refused_by_name() {
        for text in ["0", "-5", "100.01", "0.001", "NaN", "inf", "much", ""] {
            let error = text.parse::<Loss>().unwrap_err().to_string();
            assert_eq!(error, format!("loss {text:?}: want 0.01 to 100 (percent), in steps of 0.01"));
        }
    }
}
