//! What a connect learns about its flow.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How far a flow is.
#[derive(Debug, Clone)]
pub enum Status {
    /// Not yet.
    Pending,
    /// Its route is in place.
    Ready(Arc<Steered>),
    /// It goes unsteered, and why.
    Failed(Arc<str>),
}

/// A flow on its path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steered {
    /// Names of host, switches and host, in travel order.
    pub hops: Vec<String>,
    /// Carriers in travel order, separated by commas.
    pub carrier: String,
    /// Where the path came from, such as `jalapeno` or `cache (3.1 s)`.
    pub origin: String,
    /// From request to ready.
    pub took: Duration,
    /// The part of it that was spent asking for paths.
    pub asking: Duration,
}

impl fmt::Display for Steered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "path {} carrier {} from {} in {:.1} ms",
            self.hops.join(" > "),
            self.carrier,
            self.origin,
            self.took.as_secs_f64() * 1e3
        )
    }
}
