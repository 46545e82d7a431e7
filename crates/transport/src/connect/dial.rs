//! One attempt at one socket: pinned, connected, and the hello said.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::pin::{Lane, Pin};
use crate::uninherited::Uninherited;

/// From where to where, and over which path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route<'a> {
    pub(crate) target: SocketAddr,
    pub(crate) source: Option<IpAddr>,
    pub(crate) lane: &'a Lane,
}

/// A socket on its way to being a subflow.
#[derive(Debug)]
pub(crate) struct Dial {
    socket: Uninherited<Socket>,
    connected: bool,
    /// Bytes of the hello that the kernel has.
    said: usize,
}

/// Why a dial could not begin.
#[derive(Debug)]
pub(crate) enum DialError {
    /// The lane's pin was refused: another attempt comes to the same.
    Pin(io::Error),
    /// Anything else.
    Socket(io::Error),
}

impl Dial {
    /// A non-blocking socket on its way to the target. Each has a source port of its own.
    pub(crate) fn begin(route: Route<'_>) -> Result<Dial, DialError> {
        let Route { target, source, lane } = route;
        let begin = || {
            let socket = Uninherited::open(|| {
                Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))
            })?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = begin().map_err(DialError::Socket)?;
        lane.pin.apply(&socket).map_err(DialError::Pin)?;
        lane.pin.bind(&socket, target, source).map_err(DialError::Socket)?;
        match socket.connect(&SockAddr::from(target)) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DialError::Socket(error)),
        }
        Ok(Dial { socket, connected: false, said: 0 })
    }

    /// Goes on as far as it can; true once connected and the hello is said.
    pub(crate) fn advance(&mut self, hello: &[u8]) -> io::Result<bool> {
        if !self.connected {
            if let Some(error) = self.socket.take_error()? {
                return Err(error);
            }
            match self.socket.peer_addr() {
                Ok(_) if is_own_end(&self.socket) => return Err(io::ErrorKind::ConnectionRefused.into()),
                Ok(_) => self.connected = true,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        loop {
            let rest = hello.get(self.said..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(true);
            }
            match self.socket.send_with_flags(rest, libc::MSG_NOSIGNAL) {
                Ok(count) => self.said += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn into_socket(self) -> Uninherited<Socket> {
        self.socket
    }
}

/// Says whether the same dial may succeed later: the peer isn't up yet, or a route isn't.
pub(crate) fn is_transient(error: &io::Error, pin: &Pin) -> bool {
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => true,
        // All ports of the range, or this one with this target, are taken at the moment.
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable => matches!(pin, Pin::SourcePorts(_)),
        _ => false,
    }
}

/// Says whether a socket is connected to itself.
///
/// TCP can do that on one host when nobody listens on a port that the kernel happens to choose as
/// the source port; with many attempts it does happen.
fn is_own_end(socket: &Socket) -> bool {
    match (socket.local_addr(), socket.peer_addr()) {
        (Ok(local), Ok(peer)) => local.as_socket() == peer.as_socket(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_not_ours_is_not_tried_again() {
        let lanes = Lane::unpinned(1);
        let target = "127.0.0.1:9".parse().unwrap();
        let source = Some("203.0.113.1".parse().unwrap());
        let Err(DialError::Socket(error)) = Dial::begin(Route { target, source, lane: &lanes[0] }) else {
            panic!("203.0.113.1 is not this host's");
        };
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        assert!(!is_transient(&error, &Pin::None));
        assert!(is_transient(&error, &Pin::SourcePorts(1..=2)));
        assert!(!is_transient(&io::ErrorKind::PermissionDenied.into(), &Pin::None));
    }

    #[test]
    fn a_pin_that_is_refused_is_told_apart() {
        let pin = Pin::RoutingHeader { carriers: vec!["fc00::".parse().unwrap()], mtu: None };
        let lane = Lane { pin, path: "a > b".into() };
        let route = Route { target: "127.0.0.1:9".parse().unwrap(), source: None, lane: &lane };
        assert!(matches!(Dial::begin(route), Err(DialError::Pin(_))), "an IPv4 socket has no routing header");
    }
}
