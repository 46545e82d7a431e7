//! What is wrong in the environment, all at once.

use std::fmt;

/// Every setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistakes(pub(super) Vec<Mistake>);

/// One setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) wanted: String,
}

#[cfg(test)]
impl Mistakes {
    pub(super) fn count(&self) -> usize {
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
