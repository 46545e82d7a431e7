//! What can go wrong, with the addresses it went wrong between.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::hello::{Identity, Objection};
use crate::pin::{Lane, Pin};
use crate::proto::Violation;
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
    #[error("connect subflow {subflow} to {target}{}{} with {} failed after {waited:?} and {attempts} attempts{}",
        From(*origin), Over(&lane.path), lane.pin, Silence(source.is_none()))]
    Connect {
        /// Which subflow, from 0.
        subflow: usize,
        /// Where to.
        target: SocketAddr,
        /// The source address asked for.
        origin: Option<IpAddr>,
        /// Its path, and what ties it to that.
        lane: Box<Lane>,
        /// Time since the first attempt.
        waited: Duration,
        /// How often it was tried.
        attempts: u32,
        /// What the kernel said last; none if nobody answered.
        #[source]
        source: Option<Arc<io::Error>>,
    },
    /// The kernel doesn't let this process tie a socket to its path in this way.
    #[error("subflow {subflow}{}: {} is refused (wanted {})", Over(&lane.path), lane.pin, lane.pin.wanted())]
    Pin {
        /// Which subflow, from 0.
        subflow: usize,
        /// Its path, and what was to tie it to that.
        lane: Box<Lane>,
        /// What the kernel said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A connector was polled again after it had given its comm.
    #[error("connector to {target} has already given its comm")]
    Spent {
        /// Where to.
        target: SocketAddr,
    },
    /// The listener refused the connection.
    #[error("{peer} refused subflow {subflow}: {objection}; it has {theirs}; we have {ours}")]
    Refused {
        /// The listener.
        peer: SocketAddr,
        /// Which subflow, from 0.
        subflow: usize,
        /// Why.
        objection: Objection,
        /// What we said.
        ours: Box<Identity>,
        /// What the listener said.
        theirs: Box<Identity>,
    },
    /// The peer closed its end, or was killed, with requests outstanding.
    #[error("{peer} closed the connection: {trouble}")]
    PeerClosed {
        /// The peer's end of the last subflow that ended.
        peer: SocketAddr,
        /// That subflow's end.
        trouble: Box<Trouble>,
    },
    /// No path carried anything for as long as `dead_after`, with requests outstanding.
    #[error("nothing has gone to or from {peer} for {waited:?}: {}", List(troubles))]
    Dead {
        /// The peer's end of the first subflow.
        peer: SocketAddr,
        /// How long.
        waited: Duration,
        /// Every subflow, with what the kernel said about it.
        troubles: Arc<[Trouble]>,
    },
    /// The kernel gave up on a subflow.
    #[error("{activity} on subflow {subflow} to {peer}")]
    Subflow {
        /// What was being done.
        activity: Activity,
        /// Which subflow, from 0.
        subflow: usize,
        /// The peer's end.
        peer: SocketAddr,
        /// What the kernel said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The kernel has no resources for a comm.
    #[error("{activity} of the connection with {peer}")]
    Comm {
        /// What was being done.
        activity: Activity,
        /// The peer.
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
            Error::Connect { .. }
                | Error::Refused { .. }
                | Error::PeerClosed { .. }
                | Error::Dead { .. }
                | Error::Protocol { .. }
        )
    }

    /// Says whether a connect failed because nobody answered over routing headers: somebody on the way, or the far
    /// side, doesn't take them. Another pin, or none, may do.
    #[must_use]
    pub fn is_unanswered_header(&self) -> bool {
        matches!(
            self,
            Error::Connect { lane, source: None, .. } if matches!(lane.pin, Pin::RoutingHeader { .. })
        )
    }
}

/// What the kernel said last about a subflow that carries nothing.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Which subflow, from 0.
    pub subflow: usize,
    /// Its path, empty where nobody knows.
    pub path: Arc<str>,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub peer: SocketAddr,
    /// What the kernel said; none if it said nothing, or the peer ended the stream in order.
    pub source: Option<Arc<io::Error>>,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "subflow {}{} between {} and {}", self.subflow, Over(&self.path), self.local, self.peer)?;
        self.source.as_ref().map_or(Ok(()), |source| write!(f, " ({source})"))
    }
}

/// What was being done on a subflow when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Setting it up.
    Open,
    /// Tying it to a path.
    Pin,
    /// Asking the kernel for its statistics.
    Inspect,
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Activity::Open => "set-up",
            Activity::Pin => "pinning",
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

/// ` over PATH`, or nothing.
struct Over<'a>(&'a str);

impl fmt::Display for Over<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " over {}", self.0) }
    }
}

/// What it means that the kernel said nothing, if it did.
struct Silence(bool);

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { ": nobody answered" } else { "" })
    }
}

/// The items with `; ` between them.
struct List<'a>(&'a [Trouble]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(n, item)| {
            f.write_str(if n == 0 { "" } else { "; " })?;
            item.fmt(f)
        })
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
            lane: Box::new(Lane { pin: Pin::Mark(0x5352_0001), path: "leaf00 > spine01 > leaf01".into() }),
            waited: Duration::from_millis(1500),
            attempts: 4,
            source: Some(Arc::new(io::Error::from_raw_os_error(libc::ECONNREFUSED))),
        };
        assert_eq!(
            error.to_string(),
            "connect subflow 2 to [fd00::1]:7000 from fd00::2 over leaf00 > spine01 > leaf01 with mark 0x53520001 \
             failed after 1.5s and 4 attempts"
        );
        assert!(error.source().unwrap().to_string().contains("refused"));
        assert!(error.is_remote());
    }

    #[test]
    fn a_dead_connection_names_all_its_paths() {
        let trouble = |subflow, path: &str, errno: Option<i32>| Trouble {
            subflow,
            path: path.into(),
            local: "10.0.0.1:5000".parse().unwrap(),
            peer: "10.0.0.2:6000".parse().unwrap(),
            source: errno.map(|errno| Arc::new(io::Error::from_raw_os_error(errno))),
        };
        let troubles = [trouble(0, "spine00", None), trouble(1, "spine01", Some(libc::ETIMEDOUT))];
        let peer = troubles[0].peer;
        let error = Error::Dead { peer, waited: Duration::from_secs(10), troubles: troubles.into() };
        let text = error.to_string();
        for wanted in ["10.0.0.2:6000 for 10s", "subflow 0 over spine00", "spine01", "timed out"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }
}
