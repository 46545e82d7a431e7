//! Where a receiver takes the sockets that replace those of its own connection.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::congestion::{self, Congestion};
use crate::hello::{Hello, Identity, Terms, Unwelcome};
use crate::listen::{Arrival, Arrivals};
use crate::uninherited::Uninherited;

/// A listening socket of one connection's receiver.
#[derive(Debug)]
pub(super) struct Door {
    socket: Uninherited<Socket>,
    port: u16,
    arrivals: Arrivals,
    /// The kernel has said that somebody is there.
    knocked: bool,
}

impl Door {
    /// Listens where the connection's own sockets ended, on a port that the kernel chooses.
    pub(super) fn open(local: SocketAddr, congestion: Option<Congestion>) -> io::Result<Door> {
        let mut local = local;
        local.set_port(0);
        let socket =
            Uninherited::open(|| Socket::new(Domain::for_address(local), Type::STREAM, Some(Protocol::TCP)))?;
        socket.set_nonblocking(true)?;
        congestion::set(&socket, congestion)?;
        socket.bind(&SockAddr::from(local))?;
        socket.listen(BACKLOG)?;
        let port = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?.port();
        Ok(Door { socket, port, arrivals: Arrivals::default(), knocked: false })
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The kernel says that somebody is there.
    pub(super) fn knock(&mut self) {
        self.knocked = true;
    }

    /// Hands over the sockets that have said hello since the last call; costs nothing while nobody comes.
    ///
    /// `welcome` gives back one that it doesn't take, with the reason and what we have.
    pub(super) fn answer(
        &mut self,
        terms: Terms,
        patience: Duration,
        now: Instant,
        mut welcome: impl FnMut(Arrival, Hello) -> Option<(Arrival, Unwelcome, Identity)>,
    ) {
        if std::mem::take(&mut self.knocked)
            && let Err(error) = self.arrivals.take(&self.socket, now)
        {
            log::warn!("replacement sockets: accept on port {}: {error}", self.port);
        }
        if self.arrivals.is_empty() {
            return;
        }
        self.arrivals.listen_to(terms, |arrival, said| {
            let refused = match said {
                Ok(hello) => welcome(arrival, hello),
                Err(unwelcome) => {
                    let nothing = Identity { terms, connection: 0, path: "".into() };
                    Some((arrival, unwelcome, nothing))
                }
            };
            if let Some((arrival, unwelcome, ours)) = refused {
                arrival.refuse(&unwelcome, &ours);
            }
        });
        self.arrivals.expire(now, patience);
    }
}

/// One connection's replacements, and some strays.
const BACKLOG: i32 = 32;
