//! Echo requests (RFC 4443, RFC 792) from one address to another: they take the flow's route, and any peer answers them.
//!
//! Every request of a series ends in the same eight bytes, drawn by chance, so that its packets are told from all others
//! wherever they are seen, in whatever tunnel.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::Ipv6DontFrag;
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
use socket2::{Domain, Protocol, Socket, Type};

/// Bytes that tell a series from others; the last ones of each packet.
pub(crate) const NONCE: usize = 8;

/// Bytes of an ICMP echo header.
const ICMP: usize = 8;

/// The smallest packet that is sent, in bytes: small, but never padded on Ethernet.
pub(crate) const SMALL: usize = 120;

/// A series of requests.
#[derive(Debug)]
pub(crate) struct Series {
    socket: Socket,
    v6: bool,
    nonce: [u8; NONCE],
    next: u16,
}

/// What became of some requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) sent: usize,
    pub(crate) answered: usize,
    /// Shortest time to an answer.
    pub(crate) best: Option<Duration>,
    /// The kernel's refusal to send, if it refused: EMSGSIZE for a packet larger than it believes the path takes.
    pub(crate) refused: Option<i32>,
}

impl Series {
    /// Opens a socket bound to `source`, with a mark where rules shall see one. Needs CAP_NET_RAW, or a group in
    /// `net.ipv4.ping_group_range` and no mark.
    ///
    /// # Errors
    /// Neither is there, or `source` is no address of this host.
    pub(crate) fn open(source: IpAddr, destination: IpAddr, mark: Option<u32>) -> io::Result<Self> {
        let v6 = destination.is_ipv6();
        let (domain, protocol) =
            if v6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
        let socket = Socket::new(domain, Type::RAW, Some(protocol))
            .or_else(|_| Socket::new(domain, Type::DGRAM, Some(protocol)))?;
        if v6 {
            nix::sys::socket::setsockopt(&socket, Ipv6DontFrag, &true)?;
        } else {
            set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DO)?;
        }
        if let Some(mark) = mark {
            // Before connect, which looks the route up.
            socket.set_mark(mark)?;
        }
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect(&SocketAddr::new(destination, 0).into())?;
        let nonce = RandomState::new().hash_one((source, destination)).to_be_bytes();
        Ok(Self { socket, v6, nonce, next: 0 })
    }

    /// The bytes at the end of every packet.
    pub(crate) fn nonce(&self) -> [u8; NONCE] {
        self.nonce
    }

    /// Sends `count` packets of `size` bytes, IP header included, and waits for answers, `patience` at most.
    ///
    /// # Errors
    /// Nothing can be sent at all; [`Outcome::refused`] has the refusal of a size.
    pub(crate) fn send(&mut self, count: u16, size: usize, patience: Duration) -> io::Result<Outcome> {
        let mut outcome = Outcome::default();
        let first = self.next;
        let mut times = Vec::new();
        for _ in 0..count {
            let packet = self.packet(size);
            let sent = Instant::now();
            match self.socket.send(&packet) {
                Ok(_) => {
                    outcome.sent += 1;
                    times.push((self.next, sent, false));
                }
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    outcome.refused = error.raw_os_error();
                    return Ok(outcome);
                }
                // What an earlier packet came back with; or a full queue, which is a loss as any other.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EHOSTUNREACH | libc::ENOBUFS)) => {
                    outcome.sent += 1;
                    outcome.refused = error.raw_os_error();
                }
                Err(error) => return Err(error),
            }
            self.next = self.next.wrapping_add(1);
            self.collect(&mut times, &mut outcome, Duration::ZERO)?;
        }
        log::debug!("echo requests {first} to {}: {} sent", self.next, outcome.sent);
        let deadline = Instant::now() + patience;
        while outcome.answered < outcome.sent {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.collect(&mut times, &mut outcome, left)?;
        }
        Ok(outcome)
    }

    /// Sends one small packet that may pass `limit` routers, and doesn't wait. IPv6 only.
    ///
    /// # Errors
    /// It can't be sent.
    pub(crate) fn send_limited(&mut self, limit: u32) -> io::Result<()> {
        self.socket.set_unicast_hops_v6(limit)?;
        let sent = self.socket.send(&self.packet(SMALL));
        self.next = self.next.wrapping_add(1);
        // The kernel's default again (ip-sysctl, hop_limit).
        self.socket.set_unicast_hops_v6(64)?;
        sent.map(|_| ())
    }

    /// Reads answers; waits for the first one no longer than `patience`.
    fn collect(
        &self,
        times: &mut [(u16, Instant, bool)],
        outcome: &mut Outcome,
        patience: Duration,
    ) -> io::Result<()> {
        self.socket.set_nonblocking(patience.is_zero())?;
        if !patience.is_zero() {
            self.socket.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
        }
        let mut buffer = vec![0; 65_536];
        let length = match (&self.socket).read(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(());
            }
            // An ICMP error that came back for a packet of ours: the packet counts as lost.
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => {
                outcome.refused = outcome.refused.or(error.raw_os_error());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let arrived = Instant::now();
        if let Some(sequence) = buffer.get(..length).and_then(|packet| self.answer(packet))
            && let Some(entry) = times.iter_mut().find(|(number, _, done)| *number == sequence && !done)
        {
            entry.2 = true;
            outcome.answered += 1;
            let took = arrived.saturating_duration_since(entry.1);
            outcome.best = Some(outcome.best.map_or(took, |best| best.min(took)));
        }
        Ok(())
    }

    /// The sequence number of an answer to this series.
    fn answer(&self, packet: &[u8]) -> Option<u16> {
        // Raw IPv4 sockets give the IP header too.
        let header = match packet.first() {
            Some(first) if !self.v6 && first >> 4 == 4 => usize::from(first & 0xf) * 4,
            _ => 0,
        };
        let message = packet.get(header..)?;
        let kind = if self.v6 { 129 } else { 0 };
        if message.first() != Some(&kind) || !message.ends_with(&self.nonce) {
            return None;
        }
        Some(u16::from_be_bytes(*message.get(6..)?.first_chunk()?))
    }

    /// An echo request that makes an IP packet of `size` bytes.
    fn packet(&self, size: usize) -> Vec<u8> {
        let ip = if self.v6 { 40 } else { 20 };
        let length = size.saturating_sub(ip).max(ICMP + NONCE);
        let identifier = u16::from_be_bytes([self.nonce[0], self.nonce[1]]);
        let mut packet = vec![if self.v6 { 128 } else { 8 }, 0, 0, 0];
        packet.extend(identifier.to_be_bytes());
        packet.extend(self.next.to_be_bytes());
        packet.resize(length - NONCE, 0x55);
        packet.extend(self.nonce);
        // The kernel fills in ICMPv6's checksum, which covers the IP header.
        if !self.v6 {
            let sum = checksum(&packet);
            if let Some(place) = packet.get_mut(2..4) {
                place.copy_from_slice(&sum.to_be_bytes());
            }
        }
        packet
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| {
            u32::from(pair.first().copied().unwrap_or(0)) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn loopback_answers_in_both_families() {
        for address in ["::1", "127.0.0.1"] {
            let address: IpAddr = address.parse().unwrap();
            let mut series = Series::open(address, address, None).unwrap();
            let outcome = series.send(3, SMALL, PATIENCE).unwrap();
            assert_eq!((outcome.sent, outcome.answered, outcome.refused), (3, 3, None), "{address}");
            assert!(outcome.best.unwrap() < PATIENCE);
        }
    }

    #[test]
    fn a_packet_that_is_larger_than_the_interface_is_refused() {
        let address: IpAddr = "127.0.0.1".parse().unwrap();
        let mut series = Series::open(address, address, None).unwrap();
        let outcome = series.send(1, 65_536 + 100, PATIENCE).unwrap();
        assert_eq!((outcome.sent, outcome.refused), (0, Some(libc::EMSGSIZE)));
    }

    #[test]
    fn a_foreign_source_is_refused() {
        let source = "2001:db8::77".parse().unwrap();
        assert!(Series::open(source, "::1".parse().unwrap(), None).is_err());
    }

    #[test]
    fn checksums_are_those_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[1]), !0x0100);
    }
}
