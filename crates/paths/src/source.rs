//! What every path source answers.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use srv6_fabric::{Path, Policy, Topology, VertexIndex};

use crate::PathError;

/// What is asked of a source besides the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Query {
    /// How the path is going to be chosen; the path API chooses itself for load, latency and utilization.
    pub policy: Policy,
    /// Flexible algorithm.
    pub algo: u8,
}

/// Paths between two vertices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// Never empty. Equal in hops and sorted by vertex ids for [`Policy::Spread`] and [`Policy::Hops`]; one
    /// path, the source's own choice, otherwise.
    pub paths: Vec<Path>,
    /// Whether the source itself chose (then the first path is to be taken).
    pub chosen: bool,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The path API, just now.
    Jalapeno,
    /// A topology file.
    File,
    /// An answer asked for earlier.
    Cache {
        /// How long ago.
        age: Duration,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jalapeno => f.write_str("jalapeno"),
            Self::File => f.write_str("topology file"),
            Self::Cache { age } => write!(f, "cache ({:.1} s)", age.as_secs_f64()),
        }
    }
}

/// Everything that is needed to choose a path and build its carrier.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The fabric that the paths' positions belong to.
    pub topology: Arc<Topology>,
    /// The sending host.
    pub source: VertexIndex,
    /// The receiving host.
    pub destination: VertexIndex,
    /// The paths.
    pub candidates: Candidates,
    /// Where they came from.
    pub origin: Origin,
}

/// A place that knows a fabric. Blocking; every call ends by its deadline.
pub trait PathSource: Send + fmt::Debug {
    /// Name of the graph, for errors.
    fn graph(&self) -> &str;

    /// Where this source's answers come from.
    fn origin(&self) -> Origin;

    /// The whole fabric.
    ///
    /// # Errors
    /// Why it isn't to be had.
    fn topology(&mut self, deadline: Instant) -> Result<Arc<Topology>, PathError>;

    /// Paths between two hosts of a topology that this source gave.
    ///
    /// # Errors
    /// Why there are none.
    fn candidates(
        &mut self,
        topology: &Topology,
        source: VertexIndex,
        destination: VertexIndex,
        query: Query,
        deadline: Instant,
    ) -> Result<Candidates, PathError>;
}

/// Equal paths of a flow that a policy chooses among, at most; of more, so many that lie evenly among all.
pub const MAX_PATHS: usize = 4096;
