//! How a socket is tied to a path.
//!
//! Rules and routes are somebody else's: a mark or a source port only selects among them. A routing header needs
//! neither, but a receiver that takes it: `seg6_enabled` there, or a last switch that pops it (RFC 8986 §4.16.1).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{SockAddr, Socket};

use crate::error::{Error, Result};
use crate::marker::{Marker, Marking};
use crate::sockopt;

/// What ties a socket to its path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pin {
    /// Nothing: the ordinary route, by ECMP.
    #[default]
    None,
    /// A mark on every packet (`SO_MARK`), which a rule sends to the path's table.
    ///
    /// Needs `CAP_NET_RAW` or `CAP_NET_ADMIN`. Can be changed on a live socket.
    Mark(u32),
    /// The same mark, set by somebody who may do that for this process.
    MarkBy {
        /// As in [`Pin::Mark`].
        mark: u32,
        /// Who sets it.
        marker: Marker,
    },
    /// A source port of this range, which a rule sends to the path's table.
    ///
    /// Needs no privilege. Acts on the connecting side; the peer's rule is by destination port.
    SourcePorts(RangeInclusive<u16>),
    /// A segment routing header on every packet (`IPV6_RTHDR`, RFC 8754).
    ///
    /// Needs no privilege, and IPv6. Can be changed on a live socket.
    RoutingHeader {
        /// Carriers in travel order, first hop first, without the final destination.
        carriers: Vec<Ipv6Addr>,
        /// The path's MTU in bytes where it is below the interface's. A "packet too big" that quotes a routing
        /// header doesn't reach the socket, so TCP has to be told.
        mtu: Option<u32>,
    },
}

/// One subflow's path, and what ties its socket to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// What ties the socket to the path.
    pub pin: Pin,
    /// The path as people know it: the names of its hops, joined by ` > `.
    pub path: Arc<str>,
}

impl Lane {
    /// Lanes that are tied to nothing, for `count` subflows.
    #[must_use]
    pub fn unpinned(count: usize) -> Vec<Lane> {
        let path: Arc<str> = "".into();
        (0..count).map(|_| Lane { pin: Pin::None, path: Arc::clone(&path) }).collect()
    }

    /// Ranges and carriers that can't be used are found before a socket is made.
    pub(crate) fn check(&self, subflow: usize, target: SocketAddr) -> Result<()> {
        let usable = match &self.pin {
            Pin::None | Pin::Mark(_) | Pin::MarkBy { .. } => true,
            Pin::SourcePorts(ports) => !ports.is_empty() && *ports.start() > 0,
            Pin::RoutingHeader { carriers, .. } => target.is_ipv6() && (1..=127).contains(&carriers.len()),
        };
        if usable { Ok(()) } else { Err(self.refused(subflow, io::ErrorKind::InvalidInput.into())) }
    }

    /// The error for a pin that the kernel refused, with what would allow it.
    pub(crate) fn refused(&self, subflow: usize, source: io::Error) -> Error {
        Error::Pin { subflow, lane: Box::new(self.clone()), source: Arc::new(source) }
    }
}

impl Pin {
    /// Ties a socket that is connected already. Where somebody else marks, the mark comes a moment later.
    ///
    /// A port can't be changed any more, so [`Pin::SourcePorts`] does nothing here.
    pub(crate) fn apply(&self, socket: &Socket) -> io::Result<()> {
        self.begin(socket).map(drop)
    }

    /// Ties a socket; gives what there is to wait for before it connects.
    pub(crate) fn begin(&self, socket: &Socket) -> io::Result<Option<Marking>> {
        match self {
            Pin::MarkBy { mark, marker } => marker.begin(socket, *mark).map(Some),
            _ => self.tie(socket).map(|()| None),
        }
    }

    fn tie(&self, socket: &Socket) -> io::Result<()> {
        match self {
            Pin::None | Pin::SourcePorts(_) | Pin::MarkBy { .. } => Ok(()),
            Pin::Mark(mark) => socket.set_mark(*mark),
            Pin::RoutingHeader { carriers, mtu } => {
                let header = routing_header(carriers)?;
                sockopt::set_routing_header(socket, &header)?;
                match mtu {
                    // IPv6 and TCP have 40 and 20 bytes; what the options take, TCP subtracts itself.
                    Some(mtu) => socket.set_tcp_mss(
                        mtu.saturating_sub(60)
                            .saturating_sub(u32::try_from(header.len()).unwrap_or(u32::MAX))
                            .max(SMALLEST_MSS),
                    ),
                    None => Ok(()),
                }
            }
        }
    }

    /// Binds a socket that will connect to `target`, from `source` or wherever the route says.
    pub(crate) fn bind(&self, socket: &Socket, target: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let mut local = SocketAddr::new(source.unwrap_or(any), 0);
        if let (SocketAddr::V6(local), SocketAddr::V6(target)) = (&mut local, target)
            && local.ip().is_unicast_link_local()
        {
            local.set_scope_id(target.scope_id());
        }
        let Pin::SourcePorts(ports) = self else {
            if source.is_some() {
                // The port is chosen at connect, when the target is known. Chosen at bind it would have to be free
                // for every target, and a large job would run out of ports.
                nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
                socket.bind(&SockAddr::from(local))?;
            }
            return Ok(());
        };
        // Sockets to different targets may then share a port; connect refuses the same target twice.
        socket.set_reuse_address(true)?;
        let count = u32::from(ports.end().saturating_sub(*ports.start())) + 1;
        let mut last = io::ErrorKind::AddrInUse.into();
        for _ in 0..count {
            let turn = u32::from(TURN.fetch_add(1, Ordering::Relaxed)) % count;
            local.set_port(ports.start().saturating_add(u16::try_from(turn).unwrap_or(0)));
            match socket.bind(&SockAddr::from(local)) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Says what the kernel wants before it does this.
    pub(crate) fn wanted(&self) -> &'static str {
        match self {
            Pin::None => "nothing",
            Pin::Mark(_) => "CAP_NET_RAW or CAP_NET_ADMIN",
            Pin::MarkBy { .. } => "the leave of who marks for this process",
            Pin::SourcePorts(_) => "a free port of the range",
            Pin::RoutingHeader { .. } => "IPv6 addresses, 1 to 127 carriers and a kernel with seg6",
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pin::None => f.write_str("no pin"),
            Pin::Mark(mark) | Pin::MarkBy { mark, .. } => write!(f, "mark {mark:#x}"),
            Pin::SourcePorts(ports) => write!(f, "source ports {}-{}", ports.start(), ports.end()),
            Pin::RoutingHeader { carriers, .. } => {
                f.write_str("routing header")?;
                carriers.iter().try_for_each(|carrier| write!(f, " {carrier}"))
            }
        }
    }
}

/// The segment routing header of RFC 8754 §2 over these carriers.
///
/// Segments are written last first. Place 0 is the destination's, which the kernel fills in.
fn routing_header(carriers: &[Ipv6Addr]) -> io::Result<Vec<u8>> {
    let last = u8::try_from(carriers.len()).ok().filter(|count| (1..=127).contains(count));
    let last = last.ok_or(io::ErrorKind::InvalidInput)?;
    // Next header, length in 8 bytes beyond the first 8, type 4, segments left, last entry, flags, tag.
    let mut header = vec![0, 2 * (last + 1), SEGMENT_ROUTING, last, last, 0, 0, 0];
    header.extend([0; 16]);
    carriers.iter().rev().for_each(|carrier| header.extend(carrier.octets()));
    Ok(header)
}

const SEGMENT_ROUTING: u8 = 4;

/// Linux refuses a smaller `TCP_MAXSEG` (`TCP_MIN_MSS`).
const SMALLEST_MSS: u32 = 88;

/// Where the next search for a free source port begins, so that searches don't meet.
static TURN: AtomicU16 = AtomicU16::new(0);

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;

    fn carriers() -> Vec<Ipv6Addr> {
        vec!["fc00:0:1::".parse().unwrap(), "fc00:0:2::".parse().unwrap()]
    }

    #[test]
    fn segments_are_written_last_first_behind_the_destination_s_place() {
        let header = routing_header(&carriers()).unwrap();
        assert_eq!(header[..8], [0, 6, 4, 2, 2, 0, 0, 0]);
        assert_eq!(header.len(), 8 + 3 * 16);
        assert_eq!(header[8..24], [0; 16]);
        assert_eq!(header[24..40], carriers()[1].octets());
        assert_eq!(header[40..], carriers()[0].octets());
        assert!(routing_header(&[]).is_err());
    }

    #[test]
    fn the_kernel_takes_marks_and_routing_headers_on_live_sockets_too() {
        let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Socket::from(stream);
        Pin::Mark(0x5352_0001).apply(&socket).unwrap();
        assert_eq!(socket.mark().unwrap(), 0x5352_0001);
        Pin::RoutingHeader { carriers: carriers(), mtu: Some(1400) }.apply(&socket).unwrap();
        let v4 = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert!(Pin::RoutingHeader { carriers: carriers(), mtu: None }.apply(&v4).is_err());
    }

    #[test]
    fn source_ports_are_taken_from_the_range_and_may_be_shared_between_targets() {
        let pin = Pin::SourcePorts(23_000..=23_001);
        let target: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let sockets: Vec<Socket> = (0..4)
            .map(|_| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                pin.bind(&socket, target, Some("127.0.0.1".parse().unwrap())).unwrap();
                socket
            })
            .collect();
        for socket in &sockets {
            let port = socket.local_addr().unwrap().as_socket().unwrap().port();
            assert!((23_000..=23_001).contains(&port), "{port}");
        }
        let lane = |pin| Lane { pin, path: "a > b".into() };
        let empty = lane(Pin::SourcePorts(RangeInclusive::new(9, 8)));
        let error = empty.check(1, target).unwrap_err().to_string();
        assert!(error.contains("source ports 9-8") && error.contains("a > b"), "{error}");
        assert!(lane(Pin::RoutingHeader { carriers: carriers(), mtu: None }).check(0, target).is_err());
    }
}
