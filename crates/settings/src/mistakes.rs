//! What is wrong in the environment, all at once.

use std::fmt;

/// Every setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub(crate) Vec<Mistake>);

/// One setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) name: String,
    pub(crate) value: String,
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
        for (index, Mistake { name, value, wanted }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{name}={value:?}: {wanted}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
