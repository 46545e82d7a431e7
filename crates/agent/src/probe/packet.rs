//! A probe as bytes: an IPv6 packet to the prober's own address inside one to a carrier. Pure.

use std::net::Ipv6Addr;

/// What is inside: says whose probe it is and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    /// Number of the prober among those of this host.
    pub(super) prober: u64,
    /// Number of the round.
    pub(super) round: u64,
    /// Position of the way in that round.
    pub(super) way: u32,
}

/// First bytes of a probe: others may send to the same port.
const MAGIC: [u8; 4] = *b"s6p1";

/// Bytes of a [`Probe`].
pub(super) const LENGTH: usize = 24;

/// Bytes of an IPv6 header (RFC 8200 section 3) and of a UDP header (RFC 768).
const IPV6: usize = 40;
const UDP: usize = 8;

/// Next headers: IPv6 inside of IPv6 (RFC 2473), and UDP.
const NEXT_IPV6: u8 = 41;
const NEXT_UDP: u8 = 17;

/// As many hops as any fabric needs, out and back.
const HOP_LIMIT: u8 = 64;

impl Probe {
    fn encode(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let parts =
            [&MAGIC[..], &self.way.to_be_bytes(), &self.prober.to_be_bytes(), &self.round.to_be_bytes()];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// Reads one that came back; `None` for anything else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (way, rest) = rest.split_first_chunk::<4>()?;
        let (prober, rest) = rest.split_first_chunk::<8>()?;
        let (round, rest) = rest.split_first_chunk::<8>()?;
        (*magic == MAGIC && rest.is_empty()).then(|| Self {
            way: u32::from_be_bytes(*way),
            prober: u64::from_be_bytes(*prober),
            round: u64::from_be_bytes(*round),
        })
    }

    /// The whole packet: from `own` to the carrier, and inside from `own` to `own`, UDP from and to `port`.
    pub(super) fn packet(self, own: Ipv6Addr, carrier: Ipv6Addr, port: u16) -> Vec<u8> {
        let payload = self.encode();
        let mut udp = Vec::with_capacity(UDP + LENGTH);
        udp.extend(port.to_be_bytes());
        udp.extend(port.to_be_bytes());
        udp.extend(length(UDP + LENGTH));
        udp.extend([0, 0]);
        udp.extend(payload);
        let sum = checksum(own, own, &udp);
        if let Some(place) = udp.get_mut(6..8) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
        let mut packet = header(own, carrier, NEXT_IPV6, IPV6 + udp.len());
        packet.extend(header(own, own, NEXT_UDP, udp.len()));
        packet.extend(udp);
        packet
    }
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

fn header(source: Ipv6Addr, destination: Ipv6Addr, next: u8, payload: usize) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(length(payload));
    header.extend([next, HOP_LIMIT]);
    header.extend(source.octets());
    header.extend(destination.octets());
    header
}

/// Over the pseudo-header and the datagram (RFC 8200 section 8.1); 0 is sent as all ones, since 0 means none.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, udp: &[u8]) -> u16 {
    let mut sum: u32 = u32::try_from(udp.len()).unwrap_or_default() + u32::from(NEXT_UDP);
    let addresses = source.segments().into_iter().chain(destination.segments());
    sum += addresses.map(u32::from).sum::<u32>();
    for pair in udp.chunks(2) {
        sum += match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            [high] => u32::from(*high) << 8,
            _ => 0,
        };
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    match !u16::try_from(sum).unwrap_or_default() {
        0 => 0xffff,
        sum => sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_read_as_it_was_written_and_nothing_else_is() {
        let probe = Probe { prober: 7, round: 1 << 40, way: 3 };
        let bytes = probe.encode();
        assert_eq!(Probe::decode(&bytes), Some(probe));
        assert_eq!(Probe::decode(&bytes[1..]), None);
        assert_eq!(Probe::decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(Probe::decode(&[0; LENGTH]), None);
    }

    #[test]
    fn the_packet_is_an_ipv6_packet_within_another() {
        let own: Ipv6Addr = "2001:db8:1000::2".parse().unwrap();
        let carrier: Ipv6Addr = "fc00:0:1200:1001:1200:fe06::".parse().unwrap();
        let packet = Probe { prober: 1, round: 2, way: 3 }.packet(own, carrier, 9000);
        assert_eq!(packet.len(), 40 + 40 + 8 + LENGTH);
        assert_eq!((packet[0], &packet[4..8]), (0x60, &[0, 72, 41, 64][..]));
        assert_eq!((&packet[8..24], &packet[24..40]), (&own.octets()[..], &carrier.octets()[..]));
        assert_eq!((packet[40], &packet[44..48]), (0x60, &[0, 32, 17, 64][..]));
        assert_eq!((&packet[48..64], &packet[64..80]), (&own.octets()[..], &own.octets()[..]));
        assert_eq!(&packet[80..86], &[0x23, 0x28, 0x23, 0x28, 0, 32]);
        // Summed with its checksum in place, a datagram gives all ones.
        assert_eq!(checksum(own, own, &packet[80..]), 0xffff);
    }
}
