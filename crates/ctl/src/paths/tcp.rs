//! TCP connections of the calling thread's network namespace, as `ss -ti` lists them (kernel `inet_diag.h`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::NLM_F_DUMP;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use serde::Serialize;
use srv6_routes::Slot;

use crate::netlink::{Answer, ask, attributes};

/// `SOCK_DIAG_BY_FAMILY` (linux/sock_diag.h).
const BY_FAMILY: u16 = 20;

/// `INET_DIAG_INFO`: the attribute with `struct tcp_info`.
const INFO: u16 = 2;

/// `INET_DIAG_MARK`: the socket's mark, told to who has CAP_NET_ADMIN.
const MARK: u16 = 15;

/// Bytes of `struct inet_diag_msg`.
const MESSAGE: usize = 72;

/// `TCP_ESTABLISHED` (kernel `tcp_states.h`).
const ESTABLISHED: u8 = 1;

/// One established connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Connection {
    pub(crate) local: IpAddr,
    pub(crate) local_port: u16,
    pub(crate) remote: IpAddr,
    pub(crate) remote_port: u16,
    /// Bytes that the peer has acknowledged.
    pub(crate) acknowledged: u64,
    /// Bytes that came in.
    pub(crate) received: u64,
    /// Smoothed round-trip time in microseconds.
    pub(crate) rtt_us: u32,
    /// Segments that were sent again, since the connection began.
    pub(crate) retransmitted: u32,
    /// Rate at which data reached the peer lately, bytes per second.
    pub(crate) delivery_rate: u64,
    /// The socket's mark; 0 without one, and without CAP_NET_ADMIN.
    pub(crate) mark: u32,
    /// The socket, as `/proc/PID/fd` names it.
    #[serde(skip)]
    pub(crate) inode: u32,
}

impl Connection {
    /// The lane that it is pinned to, by its mark or by one of its ports.
    pub(crate) fn lane(&self) -> Option<Slot> {
        let by_port = |port: u16| Slot::all().find(|slot| slot.ports().contains(&port));
        Slot::of_table(self.mark).or_else(|| by_port(self.local_port)).or_else(|| by_port(self.remote_port))
    }
}

/// All established connections of both families.
///
/// # Errors
/// The kernel doesn't answer.
pub(crate) fn connections() -> io::Result<Vec<Connection>> {
    let mut found = Vec::new();
    for family in [libc::AF_INET6, libc::AF_INET] {
        let answers = ask(NETLINK_SOCK_DIAG, BY_FAMILY, NLM_F_DUMP, &request(family))?;
        found.extend(answers.iter().filter_map(connection));
    }
    Ok(found)
}

/// `struct inet_diag_req_v2`: family, TCP, with `struct tcp_info`, established ones, any address.
fn request(family: i32) -> Vec<u8> {
    let family = u8::try_from(family).unwrap_or_default();
    let tcp = u8::try_from(libc::IPPROTO_TCP).unwrap_or_default();
    let mut request = vec![family, tcp, 1 << (INFO - 1), 0];
    request.extend((1_u32 << ESTABLISHED).to_ne_bytes());
    request.resize(56, 0);
    request
}

fn connection(answer: &Answer) -> Option<Connection> {
    let body = &answer.body;
    let address = |offset: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = *body.get(offset..)?.first_chunk()?;
        let [a, b, c, d, ..] = bytes;
        Some(match i32::from(*body.first()?) {
            libc::AF_INET => Ipv4Addr::new(a, b, c, d).into(),
            // A socket for both families shows IPv4 peers so.
            _ => IpAddr::from(Ipv6Addr::from(bytes)).to_canonical(),
        })
    };
    let port = |offset: usize| Some(u16::from_be_bytes(*body.get(offset..)?.first_chunk()?));
    let (_, info) = attributes(body.get(MESSAGE..)?).find(|(kind, _)| *kind == INFO)?;
    let small = |offset: usize| Some(u32::from_ne_bytes(*info.get(offset..)?.first_chunk()?));
    let large = |offset: usize| Some(u64::from_ne_bytes(*info.get(offset..)?.first_chunk()?));
    Some(Connection {
        local: address(8)?,
        local_port: port(4)?,
        remote: address(24)?,
        remote_port: port(6)?,
        // Offsets in struct tcp_info (linux/tcp.h), which only ever grows at its end.
        rtt_us: small(68)?,
        retransmitted: small(100)?,
        acknowledged: large(120)?,
        received: large(128)?,
        delivery_rate: large(160).unwrap_or(0),
        mark: attributes(body.get(MESSAGE..)?)
            .find(|(kind, _)| *kind == MARK)
            .and_then(|(_, mark)| Some(u32::from_ne_bytes(*mark.first_chunk()?)))
            .unwrap_or(0),
        inode: u32::from_ne_bytes(*body.get(68..)?.first_chunk()?),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_listed_with_what_it_carried() {
        for address in ["[::1]:0", "127.0.0.1:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut far, _) = listener.accept().unwrap();
            near.write_all(&[7; 1000]).unwrap();
            far.read_exact(&mut [0; 1000]).unwrap();
            far.write_all(&[1]).unwrap();
            near.read_exact(&mut [0]).unwrap();
            let (own, peer) = (near.local_addr().unwrap(), near.peer_addr().unwrap());
            let all = connections().unwrap();
            let found =
                all.iter().find(|c| c.local_port == own.port() && c.remote_port == peer.port()).unwrap();
            assert_eq!((found.local, found.remote), (own.ip(), peer.ip()));
            // The kernel counts the SYN too.
            assert!((1000..=1001).contains(&found.acknowledged), "{found:?}");
            assert_eq!(found.received, 1);
            assert_eq!(found.mark, 0);
            socket2::SockRef::from(&near).set_mark(0x5352_0003).unwrap();
            let marked = connections().unwrap();
            let marked =
                marked.iter().find(|c| c.local_port == own.port() && c.remote_port == peer.port()).unwrap();
            assert_eq!(marked.mark, 0x5352_0003);
        }
    }
}
