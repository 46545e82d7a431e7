//! Waiting for connections: accepted sockets that turn out to be subflows, in groups.

mod arrivals;
mod groups;

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Instant;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::address::ListenAddress;
use crate::comm::RecvComm;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::hello::{Refusal, Terms, Unwelcome, VERSION};
use crate::subflow::Subflow;
use arrivals::{Arrival, Arrivals};
use groups::Groups;

/// A listening socket, and the connections that have partly arrived on it.
///
/// Dropping it resets connections that were not accepted.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    local: SocketAddr,
    config: Config,
    terms: Terms,
    arrivals: Arrivals,
    groups: Groups<(Socket, SocketAddr)>,
}

impl Listener {
    /// Listens on `address`, on a port that the kernel chooses.
    ///
    /// `interface` is needed where `address` is IPv6 link-local, and says on which link. The socket
    /// is not bound to the device: a peer on the same host comes in over the loopback device.
    ///
    /// # Errors
    ///
    /// A setting is out of range, the interface doesn't exist, or the address isn't this host's.
    pub fn bind(address: IpAddr, interface: Option<&str>, config: &Config) -> Result<Listener> {
        config.check()?;
        let failed = |source: io::Error| Error::Listen { address, source: Arc::new(source) };
        let domain = Domain::for_address(SocketAddr::new(address, 0));
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).map_err(failed)?;
        let local = match address {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => on_link(v6, interface.unwrap_or_default())?,
            _ => SocketAddr::new(address, 0),
        };
        let listen = || {
            socket.set_nonblocking(true)?;
            socket.bind(&SockAddr::from(local))?;
            socket.listen(BACKLOG)?;
            let local = socket.local_addr()?.as_socket();
            local.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
        };
        Ok(Listener {
            local: listen().map_err(failed)?,
            socket,
            config: *config,
            terms: Terms { version: VERSION, paths: u8::try_from(config.paths).unwrap_or(u8::MAX) },
            arrivals: Arrivals::default(),
            groups: Groups::default(),
        })
    }

    /// What connectors need to know.
    #[must_use]
    pub fn address(&self) -> ListenAddress {
        ListenAddress::new(self.local, self.config.paths)
    }

    /// The next connection of which all subflows have arrived.
    ///
    /// Never blocks, and looks at a bounded number of sockets per call. Connections that aren't of
    /// this protocol, are silent or stay incomplete are dropped in time and hold up nothing; those of
    /// another version are told so.
    ///
    /// # Errors
    ///
    /// The listening socket failed, or this process has no file descriptors left.
    pub fn accept(&mut self) -> Result<Option<RecvComm>> {
        let now = Instant::now();
        self.take_arrivals(now)?;
        let groups = &mut self.groups;
        let terms = self.terms;
        self.arrivals.listen_to(terms, |Arrival { socket, peer }, said| {
            let placed = match said {
                Ok(hello) => groups
                    .place(&hello, (socket, peer), now)
                    .map_err(|(unwelcome, (socket, _))| (unwelcome, socket)),
                Err(unwelcome) => Err((unwelcome, socket)),
            };
            if let Err((unwelcome, socket)) = placed {
                refuse(&socket, peer, unwelcome, terms);
            }
        });
        let silent = self.arrivals.expire(now, self.config.handshake_timeout);
        let partial = self.groups.expire(now, self.config.connect_timeout);
        if silent + partial > 0 {
            log::debug!("dropped silent={silent} incomplete={partial} listener={}", self.local);
        }
        let Some((connection, sockets)) = self.groups.complete() else {
            return Ok(None);
        };
        let subflows: Result<Vec<Subflow>> = sockets
            .into_iter()
            .enumerate()
            .map(|(index, (socket, peer))| Subflow::new(socket, index, peer, &self.config))
            .collect();
        Ok(Some(RecvComm::new(connection, subflows?)))
    }

    fn take_arrivals(&mut self, now: Instant) -> Result<()> {
        for _ in 0..ACCEPTS_PER_CALL {
            let accepted = self.socket.accept().and_then(|(socket, peer)| {
                socket.set_nonblocking(true)?;
                Ok((socket, peer))
            });
            match accepted {
                Ok((socket, peer)) => {
                    if let Some(peer) = peer.as_socket() {
                        self.arrivals.add(Arrival { socket, peer }, now);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    return Err(Error::Accept { address: self.local, source: Arc::new(error) });
                }
            }
        }
        Ok(())
    }
}

/// The link-local address with the scope that `interface` stands for.
fn on_link(address: Ipv6Addr, interface: &str) -> Result<SocketAddr> {
    match nix::net::if_::if_nametoindex(interface) {
        Ok(index) => Ok(SocketAddrV6::new(address, 0, 0, index).into()),
        Err(errno) => Err(Error::Interface {
            address: address.into(),
            interface: interface.to_owned(),
            source: Arc::new(errno.into()),
        }),
    }
}

/// Tells a peer of this protocol what we speak. Whether it hears that is not our concern.
fn refuse(socket: &Socket, peer: SocketAddr, unwelcome: Unwelcome, ours: Terms) {
    if unwelcome == Unwelcome::Foreign {
        log::debug!("dropped peer={peer}: {unwelcome}");
        return;
    }
    log::warn!("refused peer={peer}: {unwelcome}");
    let _ = socket.send_with_flags(&Refusal::encode(ours), libc::MSG_NOSIGNAL);
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

/// Room for a flood of strays in front of a real connection; the kernel lowers it to `somaxconn`.
const BACKLOG: i32 = 1024;

const ACCEPTS_PER_CALL: usize = 32;
