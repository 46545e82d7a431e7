//! What a hint's number means, which depends on the generation of the clients.

use std::fmt;
use std::str::FromStr;

/// How the clients of this host read hints. Nothing in the file says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// SUP bandwidth as a multiple of SOUT's: v / (1 + v) of the traffic goes over SUP. The first clients.
    Multiplier,
    /// Parts of 1024 that go over SUP, all from 1024 on. Later clients.
    Per1024,
}

/// The part of a flow's traffic that goes over the scale-up network.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(f64);

/// Text that is neither a share nor a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?}; want {wanted}")]
pub struct ShareError {
    /// The text.
    pub given: String,
    /// What it should be.
    pub wanted: &'static str,
}

impl Unit {
    /// What clients make of a hint.
    pub fn share(self, value: u32) -> Share {
        let value = f64::from(value);
        Share(match self {
            Self::Multiplier => value / (1.0 + value),
            Self::Per1024 => (value / 1024.0).min(1.0),
        })
    }

    /// The hint that comes nearest to a share.
    pub fn value(self, share: Share) -> u32 {
        let value = match self {
            Self::Multiplier => share.0 / (1.0 - share.0),
            Self::Per1024 => share.0 * 1024.0,
        };
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "never negative, and `as` ends at the largest: infinity, all over SUP, is u32::MAX"
        )]
        let value = value.round() as u32;
        value
    }

    /// A hint as people write it: a number, taken as it is, or a share such as `25%`.
    ///
    /// # Errors
    /// Neither.
    pub fn parse_value(self, text: &str) -> Result<u32, ShareError> {
        let error =
            || ShareError { given: text.to_owned(), wanted: "0 to 4294967295, or a share such as 25%" };
        match text.strip_suffix('%') {
            None => text.parse().map_err(|_| error()),
            Some(percent) => {
                let percent: f64 = percent.parse().map_err(|_| error())?;
                (0.0..=100.0).contains(&percent).then(|| self.value(Share(percent / 100.0))).ok_or_else(error)
            }
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Multiplier => "multiplier",
            Self::Per1024 => "per1024",
        })
    }
}

impl FromStr for Unit {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        match text {
            "multiplier" => Ok(Self::Multiplier),
            "per1024" => Ok(Self::Per1024),
            _ => Err(ShareError { given: text.to_owned(), wanted: "multiplier or per1024" }),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} %", self.0 * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_readings_of_the_same_numbers() {
        let read = |unit: Unit| [0, 1, 512, 1024, u32::MAX].map(|value| unit.share(value).to_string());
        assert_eq!(read(Unit::Multiplier), ["0.0 %", "50.0 %", "99.8 %", "99.9 %", "100.0 %"]);
        assert_eq!(read(Unit::Per1024), ["0.0 %", "0.1 %", "50.0 %", "100.0 %", "100.0 %"]);
    }

    #[test]
    fn shares_become_the_nearest_number() {
        let written =
            |unit: Unit| ["0%", "25%", "50%", "75%", "100%", "7"].map(|text| unit.parse_value(text).unwrap());
        assert_eq!(written(Unit::Multiplier), [0, 0, 1, 3, u32::MAX, 7]);
        assert_eq!(written(Unit::Per1024), [0, 256, 512, 768, 1024, 7]);
        for wrong in ["", "%", "-1", "101%", "NaN%", "1.5", "4294967296", "half"] {
            let error = Unit::Per1024.parse_value(wrong).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{wrong:?}; want 0 to")), "{error}");
        }
        for unit in [Unit::Multiplier, Unit::Per1024] {
            assert_eq!(unit.to_string().parse(), Ok(unit));
        }
        assert_eq!(
            "percent".parse::<Unit>().unwrap_err().to_string(),
            "\"percent\"; want multiplier or per1024"
        );
    }
}
