//! Why there is no path, in words that say what to change.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use srv6_fabric::TopologyError;

/// A flow that got no path.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PathError {
    /// The address belongs to no host of the topology.
    #[error("{address} is no host of graph {graph}: no document has this address or a prefix around it")]
    UnknownHost {
        /// The address.
        address: IpAddr,
        /// Name of the graph that was searched.
        graph: String,
    },
    /// Both addresses belong to one host.
    #[error("{source_address} and {destination_address} both belong to {host}: nothing to steer")]
    SameHost {
        /// Sender.
        source_address: IpAddr,
        /// Receiver.
        destination_address: IpAddr,
        /// Vertex id.
        host: String,
    },
    /// The graph has no way between the two.
    #[error("no path from {from} to {to}")]
    NoPath {
        /// Vertex id.
        from: String,
        /// Vertex id.
        to: String,
    },
    /// The source answered with something that is no path between the two.
    #[error("the path API's answer is not usable: {reason}")]
    BadPath {
        /// What is wrong with it.
        reason: String,
    },
    /// The path API.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The topology file.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A topology file that can't be read or used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FileError {
    /// Operating system's word.
    #[error("{}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// Its content.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

/// The path API didn't answer as it should.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// Not a base address that can be asked.
    #[error("{given:?} is no path API address; want http://HOST[:PORT][/api/v1]")]
    Endpoint {
        /// The setting's text.
        given: String,
    },
    /// Nobody there.
    #[error("path API {endpoint} can't be reached: {reason}")]
    Unreachable {
        /// Base address.
        endpoint: String,
        /// The last attempt's error.
        reason: String,
    },
    /// No answer in time.
    #[error("path API {endpoint} did not answer within {} ms", waited.as_millis())]
    TimedOut {
        /// Base address.
        endpoint: String,
        /// How long was waited.
        waited: Duration,
    },
    /// A web server, but not this API.
    #[error(
        "{endpoint} is a web server but no Jalapeno API: neither /instances nor /api/v1/instances is there \
         (status {status}); check JALAPENO_API_ENDPOINT"
    )]
    NotJalapeno {
        /// Base address.
        endpoint: String,
        /// Status of the last attempt.
        status: u16,
    },
    /// The graph doesn't exist; the real API says so with an empty status 500.
    #[error("the path API has no graph {graph:?} (it has {}); set TOPOLOGY_COLLECTION", known.join(", "))]
    UnknownGraph {
        /// The graph asked for.
        graph: String,
        /// The graphs there are.
        known: Vec<String>,
    },
    /// The API runs but its database doesn't.
    #[error("the path API's database is down: {detail}")]
    DatabaseDown {
        /// The API's words.
        detail: String,
    },
    /// It refused our parameters.
    #[error("the path API refused the request: {detail}")]
    Refused {
        /// The API's words.
        detail: String,
    },
    /// Any other status.
    #[error("the path API answered status {status}: {detail}")]
    Status {
        /// HTTP status.
        status: u16,
        /// The API's words.
        detail: String,
    },
    /// An answer that isn't what this request is answered with.
    #[error("the path API's answer to {request} is not usable: {reason}")]
    Garbage {
        /// The request's path.
        request: String,
        /// What is wrong.
        reason: String,
    },
    /// An id that must not be pasted into a query.
    #[error("{id:?} is no vertex id; want COLLECTION/KEY in ArangoDB's alphabet")]
    Id {
        /// The id.
        id: String,
    },
}

/// An API that is silent for this long is slow, whoever waited.
const TELLING_WAIT: Duration = Duration::from_millis(250);

impl ApiError {
    /// Whether the same request may succeed a little later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::DatabaseDown { .. } | Self::Status { status: 502..=504, .. }
        )
    }

    /// Whether the API as a whole is at fault, so that other flows need not ask at once.
    pub(crate) fn concerns_all(&self) -> bool {
        match self {
            Self::Endpoint { .. } | Self::NotJalapeno { .. } | Self::UnknownGraph { .. } => true,
            // A wait that its flow's own deadline cut short says nothing about the API.
            Self::TimedOut { waited, .. } => *waited >= TELLING_WAIT,
            _ => self.is_passing(),
        }
    }
}
