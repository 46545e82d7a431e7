//! Steering for other processes.

use srv6_paths::{CacheLimits, PathSource};

/// What [`crate::Steer::serve`] needs besides the settings.
#[derive(Debug)]
pub struct Serving {
    /// Where paths come from, in the place of the settings' source: namespaces of a host share one.
    pub source: Box<dyn PathSource>,
    /// How long the flows of this namespace go by an answer before they ask the source again.
    pub limits: CacheLimits,
}
