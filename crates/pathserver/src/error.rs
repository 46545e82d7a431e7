//! Why a path server can't start or can't take a topology.

use std::io;
use std::net::SocketAddr;

use srv6_fabric::TopologyError;

/// A server that can't be, or documents that it refuses.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address can't be listened on.
    #[error("listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The runtime or its thread could not be made, or the listening socket broke.
    #[error("serve on {address}")]
    Serve {
        /// The address listened on.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A document that no topology can have.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A weight that no shortest path can be counted with.
    #[error("{document}: field {field}: {found}; want a number from 0 up, or none")]
    Weight {
        /// Edge's id.
        document: String,
        /// `latency`, `percent_util_out` or `load`.
        field: &'static str,
        /// The number found.
        found: f64,
    },
}
