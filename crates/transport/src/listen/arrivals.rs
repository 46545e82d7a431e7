//! Accepted sockets that have not said hello yet.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::hello::{HEAD, Hello, Identity, LONGEST, Objection, Refusal, Terms, Unwelcome};
use crate::uninherited::Uninherited;

/// An accepted socket.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) socket: Uninherited<Socket>,
    pub(crate) peer: SocketAddr,
}

/// Accepted sockets that have not said hello yet, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(VecDeque<Waiting>);

#[derive(Debug)]
struct Waiting {
    arrival: Arrival,
    since: Instant,
    said: [u8; LONGEST],
    filled: usize,
}

impl Arrivals {
    /// Adds a socket. If there are too many, the one that has been silent longest goes: a connector
    /// says hello at once.
    pub(crate) fn add(&mut self, arrival: Arrival, now: Instant) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(Waiting { arrival, since: now, said: [0; LONGEST], filled: 0 });
    }

    /// Takes what a listening socket has, a bounded number of sockets per call.
    ///
    /// # Errors
    ///
    /// The listening socket failed, or this process has no file descriptors left.
    pub(crate) fn take(&mut self, listening: &Socket, now: Instant) -> io::Result<()> {
        for _ in 0..ACCEPTS_PER_CALL {
            let mut peer = None;
            let accepted = Uninherited::open(|| {
                let (socket, from) = listening.accept()?;
                socket.set_nonblocking(true)?;
                peer = from.as_socket();
                Ok(socket)
            });
            match accepted {
                Ok(socket) => {
                    if let Some(peer) = peer {
                        self.add(Arrival { socket, peer }, now);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads from every socket, and hands over those that have said hello or something else.
    ///
    /// Reads no byte beyond the hello: chunks follow it. A socket that ended or failed is dropped.
    pub(crate) fn listen_to(
        &mut self,
        ours: Terms,
        mut hand_over: impl FnMut(Arrival, Result<Hello, Unwelcome>),
    ) {
        for _ in 0..self.0.len() {
            let Some(mut waiting) = self.0.pop_front() else {
                return;
            };
            match waiting.read(ours) {
                Heard::Nothing => self.0.push_back(waiting),
                Heard::End => {}
                Heard::Stranger => hand_over(waiting.arrival, Err(Unwelcome::Foreign)),
                Heard::Hello => {
                    let said = waiting.said.get(..waiting.filled).unwrap_or_default();
                    let hello = Hello::decode(said, ours);
                    hand_over(waiting.arrival, hello);
                }
            }
        }
    }

    /// Drops sockets that have been silent for `patience`, and says how many.
    pub(crate) fn expire(&mut self, now: Instant, patience: Duration) -> usize {
        let before = self.0.len();
        self.0.retain(|waiting| now.duration_since(waiting.since) < patience);
        before - self.0.len()
    }
}

enum Heard {
    /// Not all of a hello yet.
    Nothing,
    Hello,
    Stranger,
    End,
}

impl Waiting {
    fn read(&mut self, ours: Terms) -> Heard {
        loop {
            // The length of the whole is in the head.
            let end =
                self.said.first_chunk::<HEAD>().filter(|_| self.filled >= HEAD).map_or(HEAD, Hello::len);
            let rest = self.said.get_mut(self.filled..end).unwrap_or_default();
            match (&*self.arrival.socket).read(rest) {
                Ok(0) => return Heard::End,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Heard::End,
            }
            let said = self.said.get(..self.filled).unwrap_or_default();
            if !Hello::may_begin(said) {
                return Heard::Stranger;
            }
            if Hello::is_whole(said, ours) {
                return Heard::Hello;
            }
        }
    }
}

impl Arrival {
    /// Says whether the peer has closed it, as far as is known now.
    pub(crate) fn is_closed(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        match self.socket.peek(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Tells a peer of this protocol why it isn't taken, and what we have. Whether it hears that is not our concern.
    pub(crate) fn refuse(&self, unwelcome: &Unwelcome, ours: &Identity) {
        let peer = self.peer;
        let (objection, theirs): (Objection, _) = match unwelcome {
            Unwelcome::Foreign => {
                log::debug!("dropped peer={peer}: it is not of this protocol");
                return;
            }
            Unwelcome::Hello { objection, hello } => (*objection, hello),
        };
        log::warn!(
            "refused peer={peer} subflow={}: {objection}; it has {}, we have {ours}",
            theirs.index,
            theirs.identity
        );
        let _ = self.socket.send_with_flags(&Refusal::encode(objection, ours), libc::MSG_NOSIGNAL);
    }
}

/// Says whether accept failed because of the connection that it took, not of the listener.
///
/// `accept(2)`: Linux passes pending network errors of the new socket.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::ENETDOWN
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
        )
    )
}

/// Sockets that may be silent at a time.
const MOST: usize = 128;

const ACCEPTS_PER_CALL: usize = 32;
