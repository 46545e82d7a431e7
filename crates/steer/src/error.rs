//! Why a flow isn't steered.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use srv6_fabric::{CarrierError, Family};
use srv6_paths::{ApiError, PathError};
use srv6_routes::{Pinning, RouteError};

use crate::protocol::ProtocolError;

/// A flow, or all of steering, that failed.
#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    /// No path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The path API's address.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A path that can't be written as carriers.
    #[error(transparent)]
    Carrier(#[from] CarrierError),
    /// No route.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// Sender and receiver of different families.
    #[error("source is {} and destination {}", source_family.name(), destination_family.name())]
    MixedFamilies {
        /// Family of the source address.
        source_family: Family,
        /// Family of the destination address.
        destination_family: Family,
    },
    /// The destination's route is already in use for another source address of this host.
    #[error(
        "the route to this destination is in use for source {other}, and these packets take it too; a host steers a \
         destination from one of its addresses only"
    )]
    SharedDestination {
        /// The other source.
        other: IpAddr,
    },
    /// Nothing ties sockets to paths here.
    #[error("nothing ties sockets to paths here: {}", listed(reasons))]
    NoPinning {
        /// What was tried, and why it doesn't do.
        reasons: Vec<(Pinning, String)>,
    },
    /// The dataplane can tell flows apart, but not the sockets of one flow.
    #[error("{dataplane} can't tie sockets to paths: {reason}; this connection's all take {path}")]
    NoSockets {
        /// Its name.
        dataplane: &'static str,
        /// Why not.
        reason: &'static str,
        /// The one path that they have instead, by name.
        path: String,
    },
    /// The dataplane has no such way of pinning.
    #[error("this dataplane can't pin sockets to paths by {pinning}")]
    NotOffered {
        /// The way asked for.
        pinning: Pinning,
    },
    /// A routing header is an extension of IPv6.
    #[error("packets to {destination} can't have an IPv6 routing header")]
    HeaderFamily {
        /// An IPv4 address.
        destination: IpAddr,
    },
    /// The deadline passed before its turn came.
    #[error("not steered within {} ms: the flows before it took that long", waited.as_millis())]
    Late {
        /// Time since the request.
        waited: Duration,
    },
    /// No agent.
    #[error("no agent at {}", socket.display())]
    AgentUnreachable {
        /// Its socket.
        socket: PathBuf,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// An agent that doesn't do its work.
    #[error("the agent at {} did not answer within {} ms", socket.display(), waited.as_millis())]
    AgentTimeout {
        /// Its socket.
        socket: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// A flow that the agent doesn't steer, or for which there was no agent in time.
    #[error("{reason}")]
    Agent {
        /// Its words.
        reason: String,
    },
    /// A socket that the agent doesn't mark.
    #[error("the agent doesn't mark a socket: {reason}")]
    Unmarked {
        /// Its words.
        reason: String,
    },
    /// The agent doesn't want this process.
    #[error("the agent at {} refuses: {reason}", socket.display())]
    AgentRefused {
        /// Its socket.
        socket: PathBuf,
        /// Its words.
        reason: String,
    },
    /// Something else than an agent.
    #[error("what answers at {} is no agent of this version", socket.display())]
    AgentProtocol {
        /// Its socket.
        socket: PathBuf,
        /// What came.
        #[source]
        source: ProtocolError,
    },
    /// No background thread.
    #[error("the steering thread could not be started")]
    Thread {
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
}

fn listed(reasons: &[(Pinning, String)]) -> String {
    reasons.iter().map(|(pinning, reason)| format!("{pinning}: {reason}")).collect::<Vec<_>>().join("; ")
}
