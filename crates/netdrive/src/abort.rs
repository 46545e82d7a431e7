//! The order to stop, as `ncclCommAbort` gives it.

use std::sync::{Arc, OnceLock};

use crate::Error;

/// An order to stop that both threads of a driver look at between calls.
///
/// NCCL's nets have no call that says "abort": the driver stops testing and closes what is open.
#[derive(Debug, Clone, Default)]
pub struct Abort(Arc<OnceLock<String>>);

impl Abort {
    /// Gives the order. The first reason stays.
    pub fn now(&self, reason: impl Into<String>) {
        let _ = self.0.set(reason.into());
    }

    /// Why, if the order was given.
    pub fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.reason() {
            Some(reason) => Err(Error::Aborted { reason: reason.to_owned() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let abort = Abort::default();
        assert!(abort.check().is_ok());
        abort.now("rank 3 is gone");
        abort.now("something later");
        assert_eq!(abort.check().unwrap_err().to_string(), "stopped: rank 3 is gone");
    }
}
