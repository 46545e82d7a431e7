//! What became of a request for a path.

use std::ffi::c_int;
use std::fmt;

use srv6_fabric::chain;
use srv6_paths::PathError;
use srv6_routes::RouteError;
use srv6_steer::SteerError;

/// What became of it, as far as was waited.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// The route is in place, or none is needed.
    Steered,
    /// It won't be.
    Failed(Failure),
    /// Not in the time that there was; it may still come.
    Late,
    /// A signal ended the wait.
    Interrupted,
}

/// Why a destination isn't steered.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) reason: String,
}

/// What the reason has to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The destination: no host of the fabric, or no path to it.
    Destination,
    /// The process: it may not install routes.
    Permission,
    /// Settings.
    Settings,
    /// The path API: silent, or not at hand.
    Source,
    /// Anything else.
    Other,
}

impl Failure {
    /// The error number for C.
    pub(crate) fn code(&self) -> c_int {
        match self.kind {
            Kind::Destination => libc::EHOSTUNREACH,
            Kind::Permission => libc::EPERM,
            Kind::Settings => libc::EINVAL,
            Kind::Source => libc::ETIMEDOUT,
            Kind::Other => libc::EIO,
        }
    }
}

impl From<&SteerError> for Failure {
    fn from(error: &SteerError) -> Self {
        let kind = match error {
            SteerError::Path(PathError::UnknownHost { .. } | PathError::NoPath { .. }) => Kind::Destination,
            SteerError::Path(PathError::Api(_)) | SteerError::Late { .. } => Kind::Source,
            SteerError::Route(RouteError::NotPermitted { .. }) => Kind::Permission,
            _ => Kind::Other,
        };
        Self { kind, reason: chain(error) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
