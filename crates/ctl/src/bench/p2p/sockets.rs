//! This process's TCP connections and what the kernel counts on them, whoever opened them.
//!
//! Read as `ss -ti` reads them, by a dump of `NETLINK_SOCK_DIAG` (sock_diag(7), Linux `include/uapi/linux/inet_diag.h`
//! and `tcp.h`), so that nothing need be known of the net that opened them; which of them are this process's is told
//! by the inodes in `/proc/self/fd`.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr as NetlinkAddress};

use super::wire::Ends;

/// What the kernel counted on one connection since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// Tells two connections with the same ends apart, one after the other.
    pub(super) inode: u32,
    pub(super) ends: Ends,
    /// Smoothed round-trip time.
    pub(super) rtt: Duration,
    /// Segments that were sent again.
    pub(super) retransmits: u32,
    /// Bytes sent that the other side's kernel has acknowledged.
    pub(super) bytes_acked: u64,
}

/// All established TCP connections of this process in its network namespace.
///
/// # Errors
/// If the kernel doesn't tell (`CONFIG_INET_DIAG`), or `/proc` can't be read.
pub(super) fn own() -> io::Result<Vec<Reading>> {
    let mine = inodes()?;
    let mut socket = Socket::new(netlink_sys::protocols::NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddress::new(0, 0))?;
    let mut readings = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        dump(&socket, family, &mut readings)?;
    }
    readings.retain(|reading| mine.contains(&reading.inode));
    Ok(readings)
}

/// Inodes of this process's sockets.
fn inodes() -> io::Result<BTreeSet<u32>> {
    let mut inodes = BTreeSet::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        // A descriptor may be closed while the list is read.
        let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
        let target = target.to_string_lossy();
        inodes.extend(
            target
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'))
                .and_then(|inode| inode.parse::<u32>().ok()),
        );
    }
    Ok(inodes)
}

fn dump(socket: &Socket, family: i32, readings: &mut Vec<Reading>) -> io::Result<()> {
    socket.send(&request(family)?, 0)?;
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        while let Some((kind, body, after)) = message(rest) {
            rest = after;
            match kind {
                DONE => return Ok(()),
                ERROR => {
                    let code = word(body, 0).map_or(0, i32::from_ne_bytes);
                    return Err(io::Error::from_raw_os_error(-code));
                }
                SOCK_DIAG_BY_FAMILY => readings.extend(reading(body)),
                _ => {}
            }
        }
    }
}

/// A `nlmsghdr` and an `inet_diag_req_v2` that asks for established connections with their `INET_DIAG_INFO`.
fn request(family: i32) -> io::Result<Vec<u8>> {
    let family = u8::try_from(family).map_err(io::Error::other)?;
    let tcp = u8::try_from(libc::IPPROTO_TCP).map_err(io::Error::other)?;
    let mut body = vec![family, tcp, 1 << (INET_DIAG_INFO - 1), 0];
    body.extend(ESTABLISHED.to_ne_bytes());
    body.resize(REQUEST_BYTES, 0);
    let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST_DUMP.to_ne_bytes());
    // Sequence number and port: one request at a time, and the kernel knows the port.
    bytes.extend([0; 8]);
    bytes.extend(body);
    Ok(bytes)
}

/// Type and body of the first message, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(word(bytes, 0)?)).ok()?;
    let kind = u16::from_ne_bytes(word(bytes, 4)?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// An `inet_diag_msg` with its attributes; `None` without the one that was asked for.
fn reading(body: &[u8]) -> Option<Reading> {
    let (family, inode) = (*body.first()?, u32::from_ne_bytes(word(body, 68)?));
    let end = |port: usize, address: usize| {
        let port = u16::from_be_bytes(word(body, port)?);
        let address: IpAddr = if i32::from(family) == libc::AF_INET {
            Ipv4Addr::from(word::<4>(body, address)?).into()
        } else {
            Ipv6Addr::from(word::<16>(body, address)?).into()
        };
        // What two sockets of different families say about one connection must be the same.
        Some(SocketAddr::new(address.to_canonical(), port))
    };
    let ends = Ends { local: end(4, 8)?, remote: end(6, 24)? };
    let mut attributes = body.get(MESSAGE_BYTES..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(word(attributes, 0)?));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes(word(attributes, 2)?) == INET_DIAG_INFO {
            // Offsets in `struct tcp_info`, to which fields are only ever appended.
            return Some(Reading {
                inode,
                ends,
                rtt: Duration::from_micros(u32::from_ne_bytes(word(value, 68)?).into()),
                retransmits: u32::from_ne_bytes(word(value, 100)?),
                bytes_acked: u64::from_ne_bytes(word(value, 120)?),
            });
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn word<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Bytes of a `nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of an `inet_diag_req_v2`.
const REQUEST_BYTES: usize = 56;
/// Bytes of an `inet_diag_msg`.
const MESSAGE_BYTES: usize = 72;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const REQUEST_DUMP: u16 = 0x301;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLMSG_DONE`.
const DONE: u16 = 3;
const INET_DIAG_INFO: u16 = 2;
/// `1 << TCP_ESTABLISHED`.
const ESTABLISHED: u32 = 1 << 1;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn transfer(address: &str) {
        let listener = TcpListener::bind(address).unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        let mut got = vec![0; 100_000];
        for _ in 0..4 {
            sender.write_all(&vec![7; got.len()]).unwrap();
            receiver.read_exact(&mut got).unwrap();
        }
        let ends = Ends { local: sender.local_addr().unwrap(), remote: sender.peer_addr().unwrap() };
        let readings = own().unwrap();
        let sent = readings.iter().find(|reading| reading.ends == ends).unwrap();
        // The SYN counts as one, and the last acknowledgement may be under way.
        assert!((300_000..=400_001).contains(&sent.bytes_acked), "{sent:?}");
        assert!(sent.rtt > Duration::ZERO && sent.rtt < Duration::from_secs(5), "{sent:?}");
        assert_eq!(sent.retransmits, 0);
        let mirrored = Ends { local: ends.remote, remote: ends.local };
        let received = readings.iter().find(|reading| reading.ends == mirrored).unwrap();
        assert!(received.bytes_acked <= 1 && received.inode != sent.inode, "{received:?}");
        drop(sender);
        assert!(own().unwrap().iter().all(|reading| reading.ends != ends), "closed");
    }

    #[test]
    fn the_kernel_s_numbers_are_at_these_places() {
        transfer("127.0.0.1:0");
        transfer("[::1]:0");
    }

    #[test]
    fn an_ipv4_connection_of_an_ipv6_socket_is_seen_alike_from_both_ends() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _server = listener.accept().unwrap();
        let ends = Ends { local: client.local_addr().unwrap(), remote: client.peer_addr().unwrap() };
        let all: Vec<Ends> = own().unwrap().iter().map(|reading| reading.ends).collect();
        assert!(all.contains(&ends), "{all:?}");
        assert!(all.contains(&Ends { local: ends.remote, remote: ends.local }), "{all:?}");
    }

    #[test]
    fn cut_off_messages_are_none() {
        assert_eq!(message(&[0; 3]), None);
        assert_eq!(message(&[200, 0, 0, 0, 20, 0, 0, 0]), None);
        assert_eq!(reading(&[2; 71]), None);
        // An attribute without an end.
        assert_eq!(reading(&[0; 80]), None);
    }
}
