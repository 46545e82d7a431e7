//! Why the agent can't do something.

use std::io;
use std::path::PathBuf;

use srv6_steer::SteerError;

use crate::DrainError;

/// A failure of the agent itself, or a refusal of what a client asks.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Steering can't be set up.
    #[error("steering in network namespace {namespace} can't start")]
    Steering {
        /// The namespace's inode number.
        namespace: u64,
        /// Why.
        #[source]
        source: SteerError,
    },
    /// The path source.
    #[error("the source of paths can't be used")]
    Source(#[source] SteerError),
    /// A namespace that can't be had.
    #[error("{doing}")]
    Namespace {
        /// The attempted call.
        doing: String,
        /// Its error.
        #[source]
        source: io::Error,
    },
    /// What is drained isn't known.
    #[error("the drained places can't be taken over")]
    Drained(#[from] DrainError),
    /// The socket can't be made.
    #[error("{doing} {}", path.display())]
    Socket {
        /// The attempted call.
        doing: &'static str,
        /// The socket, or its folder.
        path: PathBuf,
        /// Its error.
        #[source]
        source: io::Error,
    },
    /// Another agent has the socket.
    #[error("another agent serves {}; stop it, or set another SRV6_AGENT_SOCKET", socket.display())]
    Running {
        /// The socket.
        socket: PathBuf,
    },
    /// No such group.
    #[error("SRV6D_GROUP={name:?}: this host has no such group; want a name or a number")]
    UnknownGroup {
        /// The setting's value.
        name: String,
    },
    /// A socket that isn't marked for its process.
    #[error(
        "want a TCP socket that is bound to an address of its process's network namespace; this is {found}"
    )]
    Unmarkable {
        /// What it is instead.
        found: String,
    },
    /// A mark that the kernel refuses.
    #[error("mark {mark:#x} can't be set")]
    Mark {
        /// The mark.
        mark: u32,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}
