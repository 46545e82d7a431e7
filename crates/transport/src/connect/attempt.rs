//! One subflow's way to a connected socket that has said hello.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::hello::Hello;

/// The attempts of one subflow, one after the other.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    state: State,
    pause: Pause,
    last_error: Option<Arc<io::Error>>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Connecting(Socket),
    Greeting {
        socket: Socket,
        sent: usize,
    },
    Connected(Socket),
}

impl Attempt {
    /// Goes on as far as it can at `now`. An error is one that another attempt won't cure.
    pub(super) fn advance(
        &mut self,
        target: SocketAddr,
        source: Option<IpAddr>,
        hello: &Hello,
        now: Instant,
    ) -> io::Result<()> {
        loop {
            let state = std::mem::take(&mut self.state);
            let (state, more) = match self.step(state, target, source, hello, now) {
                Ok(step) => step,
                Err(error) if is_transient(&error) => {
                    self.last_error = Some(Arc::new(error));
                    self.pause.begin(now);
                    (State::Closed, false)
                }
                Err(error) => return Err(error),
            };
            self.state = state;
            if !more {
                return Ok(());
            }
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// How often a socket was made.
    pub(super) fn count(&self) -> u32 {
        self.pause.attempts
    }

    /// Why the last attempt that has ended did not succeed.
    pub(super) fn last_error(&self) -> Option<Arc<io::Error>> {
        self.last_error.clone()
    }

    pub(super) fn into_socket(self) -> Option<Socket> {
        match self.state {
            State::Connected(socket) => Some(socket),
            _ => None,
        }
    }

    /// The next state, and whether it can go on at once.
    fn step(
        &mut self,
        state: State,
        target: SocketAddr,
        source: Option<IpAddr>,
        hello: &Hello,
        now: Instant,
    ) -> io::Result<(State, bool)> {
        match state {
            State::Closed if !self.pause.is_over(now) => Ok((State::Closed, false)),
            State::Closed => {
                self.pause.attempts = self.pause.attempts.saturating_add(1);
                Ok((State::Connecting(open(target, source)?), true))
            }
            State::Connecting(socket) => {
                if let Some(error) = socket.take_error()? {
                    return Err(error);
                }
                match socket.peer_addr() {
                    Ok(_) if is_own_end(&socket) => Err(io::ErrorKind::ConnectionRefused.into()),
                    Ok(_) => Ok((State::Greeting { socket, sent: 0 }, true)),
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                        Ok((State::Connecting(socket), false))
                    }
                    Err(error) => Err(error),
                }
            }
            State::Greeting { socket, sent } => {
                let bytes = hello.encode();
                let rest = bytes.get(sent..).unwrap_or_default();
                match socket.send_with_flags(rest, libc::MSG_NOSIGNAL) {
                    Ok(count) if count == rest.len() => Ok((State::Connected(socket), false)),
                    Ok(count) => {
                        let sent = sent + count;
                        Ok((State::Greeting { socket, sent }, true))
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        Ok((State::Greeting { socket, sent }, false))
                    }
                    Err(error) => Err(error),
                }
            }
            State::Connected(socket) => Ok((State::Connected(socket), false)),
        }
    }
}

/// A non-blocking socket on its way to `target`.
fn open(target: SocketAddr, source: Option<IpAddr>) -> io::Result<Socket> {
    // socket2 sets SOCK_CLOEXEC: a job's child processes don't inherit it.
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(source) = source {
        let mut local = SocketAddr::new(source, 0);
        if let (SocketAddr::V6(local), SocketAddr::V6(target)) = (&mut local, target)
            && local.ip().is_unicast_link_local()
        {
            local.set_scope_id(target.scope_id());
        }
        // The port is chosen at connect, when the target is known. Chosen at bind it would have to
        // be free for every target, and a large job would run out of ports.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&SockAddr::from(local))?;
    }
    match socket.connect(&SockAddr::from(target)) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(socket),
        Err(error) => Err(error),
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

/// Says whether the same attempt may succeed later: the peer isn't up yet, or a route isn't.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

/// The growing pause between attempts.
#[derive(Clone, Copy, Debug, Default)]
struct Pause {
    attempts: u32,
    until: Option<Instant>,
}

impl Pause {
    fn begin(&mut self, now: Instant) {
        let doublings = self.attempts.saturating_sub(1).min(16);
        let pause = SHORTEST.saturating_mul(1 << doublings).min(LONGEST);
        self.until = Some(now + pause);
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }
}

const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::{Terms, VERSION};

    #[test]
    fn pauses_double_up_to_a_second() {
        let now = Instant::now();
        let mut pause = Pause::default();
        assert!(pause.is_over(now));
        let mut pauses = Vec::new();
        for attempts in [1, 2, 3, 8, 9, 1_000_000] {
            pause.attempts = attempts;
            pause.begin(now);
            let until = pause.until.unwrap();
            assert!(!pause.is_over(until - Duration::from_nanos(1)) && pause.is_over(until));
            pauses.push((until - now).as_millis());
        }
        assert_eq!(pauses, [5, 10, 20, 640, 1000, 1000]);
    }

    #[test]
    fn a_refused_attempt_is_made_again_after_the_pause() {
        // Bound but not listening: nobody else gets the port, and a connect is refused.
        let closed = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        closed.bind(&any.into()).unwrap();
        let target = closed.local_addr().unwrap().as_socket().unwrap();
        let hello = Hello { terms: Terms { version: VERSION, paths: 1 }, index: 0, connection: 7 };
        let mut attempt = Attempt::default();
        let now = Instant::now();
        attempt.advance(target, None, &hello, now).unwrap();
        let error = attempt.last_error().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        attempt.advance(target, None, &hello, now).unwrap();
        assert_eq!(attempt.count(), 1, "in the pause");

        closed.listen(1).unwrap();
        let later = now + SHORTEST;
        attempt.advance(target, None, &hello, later).unwrap();
        assert!(attempt.is_connected());
        assert_eq!(attempt.count(), 2);
    }

    #[test]
    fn an_address_that_is_not_ours_is_not_tried_again() {
        let target = "127.0.0.1:9".parse().unwrap();
        let source = Some("203.0.113.1".parse().unwrap());
        assert_eq!(open(target, source).unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
        assert!(!is_transient(&io::ErrorKind::AddrNotAvailable.into()));
        assert!(!is_transient(&io::ErrorKind::PermissionDenied.into()));
    }
}
