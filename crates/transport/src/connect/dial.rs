//! One attempt at one socket: pinned, connected, and the hello said.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::congestion::{self, Congestion};
use crate::marker::Marking;
use crate::pin::{Lane, Pin};
use crate::uninherited::Uninherited;

/// From where to where, over which path, and with which congestion control.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route<'a> {
    pub(crate) target: SocketAddr,
    pub(crate) source: Option<IpAddr>,
    pub(crate) lane: &'a Lane,
    pub(crate) congestion: Option<Congestion>,
}

/// A socket on its way to being a subflow.
#[derive(Debug)]
pub(crate) struct Dial {
    socket: Uninherited<Socket>,
    target: SocketAddr,
    stage: Stage,
    /// Bytes of the hello that the kernel has.
    said: usize,
}

#[derive(Debug)]
enum Stage {
    /// It must not connect before: a first packet without the mark goes by another path.
    Marking(Marking),
    Connecting,
    Connected,
}

/// Why a dial has failed.
#[derive(Debug)]
pub(crate) enum DialError {
    /// The lane's pin was refused: another attempt comes to the same.
    Pin(io::Error),
    /// Anything else.
    Socket(io::Error),
}

impl DialError {
    pub(crate) fn into_source(self) -> io::Error {
        match self {
            DialError::Pin(error) | DialError::Socket(error) => error,
        }
    }
}

impl Dial {
    /// A non-blocking socket on its way to the target. Each has a source port of its own.
    pub(crate) fn begin(route: Route<'_>) -> Result<Dial, DialError> {
        let Route { target, source, lane, congestion } = route;
        let begin = || {
            let socket = Uninherited::open(|| {
                Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))
            })?;
            socket.set_nonblocking(true)?;
            congestion::set(&socket, congestion)?;
            Ok(socket)
        };
        let socket = begin().map_err(DialError::Socket)?;
        // Whoever marks sockets for this process looks at their address.
        lane.pin.bind(&socket, target, source).map_err(DialError::Socket)?;
        let stage = match lane.pin.begin(&socket).map_err(DialError::Pin)? {
            Some(marking) => Stage::Marking(marking),
            None => {
                connect(&socket, target)?;
                Stage::Connecting
            }
        };
        Ok(Dial { socket, target, stage, said: 0 })
    }

    /// Goes on as far as it can; true once connected and the hello is said.
    pub(crate) fn advance(&mut self, hello: &[u8]) -> Result<bool, DialError> {
        if let Stage::Marking(marking) = &self.stage {
            match marking.poll() {
                None => return Ok(false),
                Some(marked) => marked.map_err(DialError::Pin)?,
            }
            connect(&self.socket, self.target)?;
            self.stage = Stage::Connecting;
        }
        if let Stage::Connecting = self.stage {
            if let Some(error) = self.socket.take_error().map_err(DialError::Socket)? {
                return Err(DialError::Socket(error));
            }
            match self.socket.peer_addr() {
                Ok(_) if is_own_end(&self.socket) => {
                    return Err(DialError::Socket(io::ErrorKind::ConnectionRefused.into()));
                }
                Ok(_) => self.stage = Stage::Connected,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
                Err(error) => return Err(DialError::Socket(error)),
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
                Err(error) => return Err(DialError::Socket(error)),
            }
        }
    }

    /// Whether the socket still waits for its mark: nothing can come of it before.
    pub(crate) fn is_marking(&self) -> bool {
        matches!(self.stage, Stage::Marking(_))
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn into_socket(self) -> Uninherited<Socket> {
        self.socket
    }
}

fn connect(socket: &Socket, target: SocketAddr) -> Result<(), DialError> {
    match socket.connect(&SockAddr::from(target)) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(DialError::Socket(error)),
    }
}

/// Says whether the same dial may succeed later: the peer isn't up yet, a route isn't, or who marks the socket.
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
        io::ErrorKind::NotConnected => matches!(pin, Pin::MarkBy { .. }),
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
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use socket2::SockRef;

    use super::*;
    use crate::marker::Marker;

    #[test]
    fn an_address_that_is_not_ours_is_not_tried_again() {
        let lanes = Lane::unpinned(1);
        let target = "127.0.0.1:9".parse().unwrap();
        let source = Some("203.0.113.1".parse().unwrap());
        let Err(DialError::Socket(error)) =
            Dial::begin(Route { target, source, lane: &lanes[0], congestion: None })
        else {
            panic!("203.0.113.1 is not this host's");
        };
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        assert!(!is_transient(&error, &Pin::None));
        assert!(is_transient(&error, &Pin::SourcePorts(1..=2)));
        assert!(!is_transient(&io::ErrorKind::PermissionDenied.into(), &Pin::None));
    }

    fn dial_by(marker: Marker, listener: &TcpListener) -> Dial {
        let lane = Lane { pin: Pin::MarkBy { mark: 0x5352_0003, marker }, path: "a > b".into() };
        let (target, source) = (listener.local_addr().unwrap(), Some([127, 0, 0, 1].into()));
        Dial::begin(Route { target, source, lane: &lane, congestion: None }).unwrap()
    }

    /// Advances until there is something to tell.
    fn outcome(dial: &mut Dial) -> Result<(), DialError> {
        let began = Instant::now();
        while !dial.advance(b"hello")? {
            assert!(began.elapsed() < Duration::from_secs(30), "{dial:?}");
        }
        Ok(())
    }

    #[test]
    fn nothing_is_sent_before_the_socket_has_its_mark() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (say, asked) = mpsc::channel();
        let marker = Marker::new(move |socket, mark, answer| say.send((socket, mark, answer)).unwrap());
        let mut dial = dial_by(marker, &listener);
        let (socket, mark, answer) = asked.try_recv().unwrap();
        assert_eq!(
            SockRef::from(&socket).local_addr().unwrap().as_socket().unwrap().ip(),
            Ipv4Addr::LOCALHOST
        );
        for _ in 0..100 {
            assert!(!dial.advance(b"hello").unwrap() && dial.is_marking());
        }
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        SockRef::from(&socket).set_mark(mark).unwrap();
        answer.give(Ok(()));
        outcome(&mut dial).unwrap();
        assert_eq!(dial.socket().mark().unwrap(), 0x5352_0003);
    }

    #[test]
    fn a_mark_that_is_refused_is_final_and_an_absent_marker_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let refuse = Marker::new(|_, _, answer| answer.give(Err(io::ErrorKind::PermissionDenied.into())));
        let pin = Pin::MarkBy { mark: 1, marker: refuse.clone() };
        let Err(DialError::Pin(error)) = outcome(&mut dial_by(refuse, &listener)) else { panic!("marked") };
        assert!(!is_transient(&error, &pin), "{error}");
        let absent = Marker::new(|_, _, answer| drop(answer));
        let Err(DialError::Pin(error)) = outcome(&mut dial_by(absent, &listener)) else { panic!("marked") };
        assert!(is_transient(&error, &pin) && !is_transient(&error, &Pin::Mark(1)), "{error}");
    }

    #[test]
    fn a_pin_that_is_refused_is_told_apart() {
        let pin = Pin::RoutingHeader { carriers: vec!["fc00::".parse().unwrap()], mtu: None };
        let lane = Lane { pin, path: "a > b".into() };
        let route =
            Route { target: "127.0.0.1:9".parse().unwrap(), source: None, lane: &lane, congestion: None };
        assert!(matches!(Dial::begin(route), Err(DialError::Pin(_))), "an IPv4 socket has no routing header");
    }
}
