//! What an NCCL call returns when it fails.

#![allow(non_upper_case_globals, reason = "NCCL's names of the values")]

use std::fmt;

use crate::bindings::{
    ncclInProgress, ncclInternalError, ncclInvalidArgument, ncclInvalidUsage, ncclRemoteError, ncclResult_t,
    ncclSuccess, ncclSystemError, ncclTimeout, ncclUnhandledCudaError,
};

/// An `ncclResult_t` that is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(ncclResult_t);

impl Code {
    /// A CUDA call failed; stock connect and accept return it on a machine without a driver.
    pub const UNHANDLED_CUDA_ERROR: Self = Self(ncclUnhandledCudaError);
    /// The operating system or the network failed.
    pub const SYSTEM_ERROR: Self = Self(ncclSystemError);
    /// Somebody broke the contract.
    pub const INTERNAL_ERROR: Self = Self(ncclInternalError);
    /// An argument is out of range.
    pub const INVALID_ARGUMENT: Self = Self(ncclInvalidArgument);
    /// The user's settings or calls don't fit.
    pub const INVALID_USAGE: Self = Self(ncclInvalidUsage);
    /// The peer failed or went away.
    pub const REMOTE_ERROR: Self = Self(ncclRemoteError);
    /// Something took too long (NCCL 2.30 and later know the value).
    pub const TIMEOUT: Self = Self(ncclTimeout);

    /// Turns a returned value into a `Result`.
    ///
    /// `ncclInProgress` counts as success, as in NCCL's own check.
    ///
    /// # Errors
    /// Every other value but `ncclSuccess`, those that NCCL has not named yet included.
    pub const fn check(raw: ncclResult_t) -> Result<(), Self> {
        match raw {
            ncclSuccess | ncclInProgress => Ok(()),
            other => Err(Self(other)),
        }
    }

    /// The value to return to NCCL.
    pub const fn raw(self) -> ncclResult_t {
        self.0
    }

    /// NCCL's name of the value; `None` if it has none that we know.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            ncclUnhandledCudaError => "ncclUnhandledCudaError",
            ncclSystemError => "ncclSystemError",
            ncclInternalError => "ncclInternalError",
            ncclInvalidArgument => "ncclInvalidArgument",
            ncclInvalidUsage => "ncclInvalidUsage",
            ncclRemoteError => "ncclRemoteError",
            ncclTimeout => "ncclTimeout",
            _ => return None,
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "ncclResult_t {}", self.0),
        }
    }
}

impl std::error::Error for Code {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_and_in_progress_are_no_errors() {
        assert_eq!(Code::check(ncclSuccess), Ok(()));
        assert_eq!(Code::check(ncclInProgress), Ok(()));
    }

    #[test]
    fn everything_else_is_an_error_that_keeps_its_value() {
        for raw in (1..=6).chain([8, 9, 4711]) {
            assert_eq!(Code::check(raw).unwrap_err().raw(), raw);
        }
        assert_eq!(Code::SYSTEM_ERROR.to_string(), "ncclSystemError (2)");
        assert_eq!(Code::check(99).unwrap_err().to_string(), "ncclResult_t 99");
    }
}
