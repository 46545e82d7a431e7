//! What can go wrong, with the addresses it went wrong between.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::hello::Terms;
use crate::message::Violation;
use crate::request::UnknownRequest;

/// What this crate's fallible calls give back.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a transport call failed.
///
/// Cheap to clone, because a comm that has failed gives the same error from every later call.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A setting is out of range.
    #[error("setting {name} is {value}, wanted {min} to {max}")]
    Setting {
        /// Field of [`Config`](crate::Config).
        name: &'static str,
        /// What it is; times in milliseconds.
        value: u64,
        /// Smallest value allowed.
        min: u64,
        /// Largest value allowed.
        max: u64,
    },
    /// A link-local listener needs to know its interface, and the name given is not known here.
    #[error("listen on {address}: interface {interface:?} (wanted the name of one that exists)")]
    Interface {
        /// The address to listen on.
        address: IpAddr,
        /// The name given.
        interface: String,
        /// What the kernel said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The listening socket could not be made.
    #[error("listen on {address}")]
    Listen {
        /// The address to listen on.
        address: IpAddr,
        /// What the kernel said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The listening socket could not accept.
    #[error("accept on {address}")]
    Accept {
        /// The address listened on.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The system has no random numbers for a connection id.
    #[error("random connection id: {reason}")]
    Random {
        /// What the system said.
        reason: getrandom::Error,
    },
    /// Source and target are not of one address family.
    #[error("connect to {target} from {origin}: wanted a source address of the same family")]
    Family {
        /// Where to.
        target: SocketAddr,
        /// The source address asked for.
        origin: IpAddr,
    },
    /// A subflow could not be connected.
    #[error("connect subflow {subflow} to {target}{} failed after {waited:?} and {attempts} attempts",
        From(*origin))]
    Connect {
        /// Which subflow, from 0.
        subflow: usize,
        /// Where to.
        target: SocketAddr,
        /// The source address asked for.
        origin: Option<IpAddr>,
        /// Time since the first attempt.
        waited: Duration,
        /// How often it was tried.
        attempts: u32,
        /// What the kernel said last; none if the last attempt was still under way.
        #[source]
        source: Option<Arc<io::Error>>,
    },
    /// A connector was polled again after it had given its comm.
    #[error("connector to {target} has already given its comm")]
    Spent {
        /// Where to.
        target: SocketAddr,
    },
    /// The listener refused the connection.
    #[error("{peer} speaks {theirs} and refused a connection that speaks {ours}")]
    Refused {
        /// The listener.
        peer: SocketAddr,
        /// What we offered.
        ours: Terms,
        /// What the listener wants.
        theirs: Terms,
    },
    /// The peer closed its end, or was killed, with requests outstanding.
    #[error("{peer} closed the connection: subflow {subflow}, local address {local}")]
    PeerClosed {
        /// Which subflow, from 0.
        subflow: usize,
        /// Our end.
        local: SocketAddr,
        /// The peer's end.
        peer: SocketAddr,
        /// What the kernel said; none for an orderly close.
        #[source]
        source: Option<Arc<io::Error>>,
    },
    /// The kernel gave up on a subflow.
    #[error("{activity} on subflow {subflow} between {local} and {peer}")]
    Subflow {
        /// What was being done.
        activity: Activity,
        /// Which subflow, from 0.
        subflow: usize,
        /// Our end.
        local: SocketAddr,
        /// The peer's end.
        peer: SocketAddr,
        /// What the kernel said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The peer sent more than was posted for; the receiver gets this, as with NCCL's own Socket
    /// transport.
    #[error("message {message} from {peer} has {sent} bytes, wanted at most the {posted} posted")]
    TooLong {
        /// Messages before this one on the connection.
        message: u64,
        /// The sender.
        peer: SocketAddr,
        /// Bytes sent.
        sent: u64,
        /// Bytes posted.
        posted: usize,
    },
    /// The peer broke the chunk protocol.
    #[error("{peer} broke the protocol on subflow {subflow}")]
    Protocol {
        /// Which subflow, from 0.
        subflow: usize,
        /// The sender.
        peer: SocketAddr,
        /// In which way.
        #[source]
        source: Violation,
    },
    /// A request was tested that is not outstanding.
    #[error(transparent)]
    UnknownRequest(#[from] UnknownRequest),
}

impl Error {
    /// Says whether the remote side caused this, rather than this host or the caller.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(
            self,
            Error::Connect { .. } | Error::Refused { .. } | Error::PeerClosed { .. } | Error::Protocol { .. }
        )
    }
}

/// What was being done on a subflow when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Setting it up.
    Open,
    /// Sending.
    Send,
    /// Receiving.
    Receive,
    /// Asking the kernel for its statistics.
    Inspect,
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Activity::Open => "set-up",
            Activity::Send => "send",
            Activity::Receive => "receive",
            Activity::Inspect => "TCP_INFO",
        })
    }
}

/// ` from ADDRESS`, or nothing.
struct From(Option<IpAddr>);

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => write!(f, " from {address}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_failed_connect_names_both_ends_and_keeps_its_cause() {
        let error = Error::Connect {
            subflow: 2,
            target: "[fd00::1]:7000".parse().unwrap(),
            origin: Some("fd00::2".parse().unwrap()),
            waited: Duration::from_millis(1500),
            attempts: 4,
            source: Some(Arc::new(io::Error::from_raw_os_error(libc::ECONNREFUSED))),
        };
        assert_eq!(
            error.to_string(),
            "connect subflow 2 to [fd00::1]:7000 from fd00::2 failed after 1.5s and 4 attempts"
        );
        assert!(error.source().unwrap().to_string().contains("refused"));
        assert!(error.is_remote());
    }
}
