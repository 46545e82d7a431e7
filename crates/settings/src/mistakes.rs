//! What is wrong with the settings, all at once.

use std::fmt;

use crate::Said;

/// Every setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub(crate) Vec<Mistake>);

/// One setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) name: String,
    /// `None` where nothing was said, and something has to be.
    pub(crate) said: Option<Said>,
    pub(crate) wanted: String,
}

impl Mistakes {
    /// How many settings are wrong.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Mistake { name, said, wanted }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{name}")?;
            if let Some(Said { value, place }) = said {
                write!(f, "={value:?}")?;
                place.iter().try_for_each(|place| write!(f, " ({place})"))?;
            }
            write!(f, ": {wanted}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
