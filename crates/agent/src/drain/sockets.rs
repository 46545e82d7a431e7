//! What TCP connections of the calling thread's network namespace still have under way (kernel `inet_diag.h`).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use srv6_fabric::Flow;
use srv6_routes::Slot;

/// `SOCK_DIAG_BY_FAMILY` (linux/sock_diag.h).
const BY_FAMILY: u16 = 20;

/// `INET_DIAG_INFO`: the attribute with `struct tcp_info`.
const INFO: u16 = 2;

/// `INET_DIAG_MARK`: the socket's mark, told to who has CAP_NET_ADMIN.
const MARK: u16 = 15;

/// Bytes of `struct nlmsghdr`, `struct inet_diag_req_v2` and `struct inet_diag_msg`.
const HEADER: usize = 16;
const REQUEST: usize = 56;
const MESSAGE: usize = 72;

/// `NLM_F_REQUEST | NLM_F_DUMP`, and the kernel's closing messages (linux/netlink.h).
const DUMP: u16 = 0x301;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// `AF_INET`, `AF_INET6` and `IPPROTO_TCP`.
const INET: u8 = 2;
const INET6: u8 = 10;
const TCP: u8 = 6;

/// States in which a connection may have bytes to send: all but listening, being made and over (kernel `tcp_states.h`: established 1,
/// FIN-WAIT-1 4, CLOSE-WAIT 8, LAST-ACK 9, CLOSING 11).
const STATES: u32 = 1 << 1 | 1 << 4 | 1 << 8 | 1 << 9 | 1 << 11;

/// How far a connection is, in bytes since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// What the peer has acknowledged.
    pub(crate) acknowledged: u64,
    /// What was handed to the socket and isn't acknowledged.
    pub(super) queued: u64,
    /// Smoothed round-trip time.
    pub(crate) round_trip: Duration,
    /// The slot whose ports or mark it has.
    pub(crate) slot: Option<Slot>,
}

impl Progress {
    /// How much is acknowledged when all that was queued now has arrived.
    pub(super) fn goal(self) -> u64 {
        self.acknowledged + self.queued
    }
}

/// Connections by the kernel's own number for each, which is never used again.
pub(crate) type Connections = HashMap<u64, (Flow, Progress)>;

/// All connections of both families.
///
/// # Errors
/// The kernel doesn't answer.
pub(super) fn connections() -> io::Result<Connections> {
    let mut found = Connections::new();
    for family in [INET6, INET] {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.send(&request(family), 0)?;
        while read(&socket.recv_from_full()?.0, &mut found)? {}
    }
    Ok(found)
}

fn request(family: u8) -> Vec<u8> {
    let mut request = Vec::with_capacity(HEADER + REQUEST);
    request.extend(u32::try_from(HEADER + REQUEST).unwrap_or_default().to_ne_bytes());
    request.extend(BY_FAMILY.to_ne_bytes());
    request.extend(DUMP.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([family, TCP, 1 << (INFO - 1), 0]);
    request.extend(STATES.to_ne_bytes());
    request.resize(HEADER + REQUEST, 0);
    request
}

/// Reads one datagram of a dump; `false` at its end.
fn read(datagram: &[u8], found: &mut Connections) -> io::Result<bool> {
    let mut rest = datagram;
    while let (Some(length), Some(kind)) = (word(rest, 0), half(rest, 4)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX).max(HEADER);
        let body = rest.get(HEADER..length).unwrap_or_default();
        match kind {
            DONE => return Ok(false),
            ERROR => {
                let code = word(body, 0).map_or(0, |code| i32::from_ne_bytes(code.to_ne_bytes()));
                return Err(io::Error::from_raw_os_error(-code));
            }
            _ => found.extend(connection(body)),
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

fn connection(body: &[u8]) -> Option<(u64, (Flow, Progress))> {
    let address = |offset: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = *body.get(offset..)?.first_chunk()?;
        let [a, b, c, d, ..] = bytes;
        Some(match *body.first()? {
            INET => Ipv4Addr::new(a, b, c, d).into(),
            // A socket for both families shows IPv4 peers so.
            _ => IpAddr::from(Ipv6Addr::from(bytes)).to_canonical(),
        })
    };
    let flow = Flow { src: address(8)?, dst: address(24)? };
    // `idiag_cookie`, `idiag_wqueue`; `tcpi_bytes_acked` of struct tcp_info, which only ever grows at its end.
    let cookie = u64::from_ne_bytes(*body.get(44..)?.first_chunk()?);
    let queued = u64::from(word(body, 60)?);
    let attributes = body.get(MESSAGE..)?;
    let info = attribute(attributes, INFO)?;
    let acknowledged = u64::from_ne_bytes(*info.get(120..)?.first_chunk()?);
    // `tcpi_rtt`, in microseconds.
    let round_trip = Duration::from_micros(word(info, 68)?.into());
    let port = |offset: usize| Some(u16::from_be_bytes(*body.get(offset..)?.first_chunk()?));
    let ports = [port(4)?, port(6)?];
    let mark = attribute(attributes, MARK).and_then(|mark| word(mark, 0));
    let slot = mark
        .and_then(Slot::of_table)
        .or_else(|| Slot::all().find(|slot| ports.iter().any(|port| slot.ports().contains(port))));
    Some((cookie, (flow, Progress { acknowledged, queued, round_trip, slot })))
}

fn attribute(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = attributes;
    while let (Some(length), Some(kind)) = (half(rest, 0), half(rest, 2)) {
        let length = usize::from(length).max(4);
        if kind == wanted {
            return rest.get(4..length);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn half(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_shows_what_is_on_its_way_and_what_has_arrived() {
        for address in ["[::1]:0", "127.0.0.1:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut far, _) = listener.accept().unwrap();
            let flow = Flow { src: near.local_addr().unwrap().ip(), dst: near.peer_addr().unwrap().ip() };
            // More than the peer's buffer takes, as long as it doesn't read.
            near.set_nonblocking(true).unwrap();
            let (mut sent, chunk) = (0_u64, vec![1; 1 << 16]);
            while let Ok(length) = near.write(&chunk) {
                sent += length as u64;
            }
            let busiest = || {
                let all = connections().unwrap();
                let mine = all.iter().filter(|(_, (f, _))| *f == flow);
                mine.max_by_key(|(_, (_, progress))| progress.goal()).map(|(c, (_, p))| (*c, *p)).unwrap()
            };
            let (cookie, before) = busiest();
            // The kernel counts the SYN too.
            assert!((sent..=sent + 1).contains(&before.goal()) && before.queued > 0, "{before:?} of {sent}");
            drop(near);
            far.read_to_end(&mut Vec::new()).unwrap();
            // What the far side has read may be acknowledged a moment later.
            let deadline = std::time::Instant::now() + Duration::from_secs(60);
            let acknowledged =
                || connections().unwrap().get(&cookie).map_or(before.goal(), |(_, p)| p.acknowledged);
            while acknowledged() < before.goal() {
                assert!(std::time::Instant::now() < deadline, "{} of {before:?}", acknowledged());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
