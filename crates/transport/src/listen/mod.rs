//! Waiting for connections: accepted sockets that turn out to be subflows, in groups.

mod arrivals;
mod groups;

pub(crate) use arrivals::{Arrival, Arrivals};

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Instant;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::address::ListenAddress;
use crate::comm::{RecvComm, Welcomed};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::hello::{Hello, Identity, Objection, Terms, Unwelcome, VERSION};
use crate::uninherited::Uninherited;
use crate::{congestion, connections};
use groups::{Arrived, Groups};

/// A listening socket, and the connections that have partly arrived on it.
///
/// Dropping it resets connections that were not accepted.
#[derive(Debug)]
pub struct Listener {
    socket: Uninherited<Socket>,
    local: SocketAddr,
    config: Config,
    terms: Terms,
    arrivals: Arrivals,
    groups: Groups<(Arrival, Hello)>,
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
        let socket = Uninherited::open(|| Socket::new(domain, Type::STREAM, Some(Protocol::TCP)));
        let socket = socket.map_err(failed)?;
        let local = match address {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => on_link(v6, interface.unwrap_or_default())?,
            _ => SocketAddr::new(address, 0),
        };
        let listen = || {
            socket.set_nonblocking(true)?;
            congestion::set(&socket, config.congestion)?;
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

    /// The next connection of which all subflows have arrived, or have been waited for long enough.
    ///
    /// Never blocks, and looks at a bounded number of sockets per call. Connections that aren't of
    /// this protocol or are silent are dropped in time and hold up nothing; those of another version are told so.
    /// Subflows that are missing after one and a half times `partial_after` may come later, to the comm itself.
    ///
    /// # Errors
    ///
    /// The listening socket failed, or this process has no file descriptors left.
    pub fn accept(&mut self) -> Result<Option<RecvComm>> {
        let now = Instant::now();
        let failed = |error| Error::Accept { address: self.local, source: Arc::new(error) };
        self.arrivals.take(&self.socket, now).map_err(failed)?;
        let groups = &mut self.groups;
        let terms = self.terms;
        self.arrivals.listen_to(terms, |arrival, said| {
            let refused = match said {
                // One that comes after its connection began without it has to come again as a replacement.
                Ok(hello) if connections::is_receiving(hello.identity.connection) => {
                    Some((Unwelcome::Hello { objection: Objection::Duplicate, hello }, arrival))
                }
                Ok(hello) => groups
                    .place(&hello, (arrival, hello.clone()), now)
                    .err()
                    .map(|(objection, (arrival, hello))| (Unwelcome::Hello { objection, hello }, arrival)),
                Err(unwelcome) => Some((unwelcome, arrival)),
            };
            if let Some((unwelcome, arrival)) = refused {
                arrival.refuse(&unwelcome, &ours(groups, terms, &unwelcome));
            }
        });
        let silent = self.arrivals.expire(now, self.config.handshake_timeout);
        if silent > 0 {
            log::debug!("dropped silent={silent} listener={}", self.local);
        }
        // The connector gives up waiting first, so no subflow comes that it counts on.
        let patience = self.config.partial_after.mul_f64(1.5);
        while let Some(Arrived { connection, subflows }) = self.groups.complete(now, patience) {
            // A connector that was given up before it was whole has closed what it had.
            let gone = subflows.iter().any(Option::is_none)
                && subflows.iter().flatten().all(|(arrival, _)| arrival.is_closed());
            if !gone {
                let subflows =
                    subflows.into_iter().map(|s| s.map(|(arrival, hello)| Welcomed { arrival, hello }));
                return RecvComm::new(connection, terms, subflows.collect(), &self.config, now).map(Some);
            }
        }
        Ok(None)
    }
}

/// What this listener has in the place that was asked for.
fn ours(groups: &Groups<(Arrival, Hello)>, terms: Terms, unwelcome: &Unwelcome) -> Identity {
    let Unwelcome::Hello { hello, .. } = unwelcome else {
        return Identity { terms, connection: 0, path: "".into() };
    };
    let connection = hello.identity.connection;
    let path = groups.get(connection, hello.index).map(|(_, hello)| Arc::clone(&hello.identity.path));
    Identity { terms, connection, path: path.unwrap_or_else(|| "".into()) }
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

/// Room for a flood of strays in front of a real connection; the kernel lowers it to `somaxconn`.
const BACKLOG: i32 = 1024;
