//! The 128-byte handle: the inner transport's bytes, and our trailer in the last 32.
//!
//! No release of NCCL's own transports uses bytes 96 to 127, and NCCL carries all 128 to the peer. The trailer says who
//! listens and where its data goes in; ranks that run without this plugin ignore it, and leave zeros or garbage there.
//!
//! | bytes | trailer |
//! |---|---|
//! | 96–99 | magic, `SRv6` |
//! | 100 | version, 1 |
//! | 101 | transport |
//! | 102 | flags: 1 = the address is there |
//! | 103 | zero |
//! | 104–119 | the listener's data address; IPv4 as ::ffff:a.b.c.d |
//! | 120–123 | hash of the transport's name, little endian |
//! | 124–127 | checksum of bytes 96–123, little endian |

use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// A handle as NCCL passes it, copied out of memory that may be unaligned.
pub(crate) type Bytes = [u8; SIZE];

/// Bytes of a handle.
pub(crate) const SIZE: usize = nccl_net_abi::bindings::NCCL_NET_HANDLE_MAXSIZE as usize;

/// Where the trailer is.
pub(crate) const TRAILER: Range<usize> = 96..SIZE;

/// What the trailer's place holds while the inner transport listens: if it is gone afterwards, the place is not ours.
pub(crate) const PATTERN: [u8; 32] = *b"\xa5nccl-net-srv6 keeps this free\xa5\x5a";

/// The transport behind a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    /// NCCL's own TCP.
    Socket,
    /// NCCL's own InfiniBand and RoCE.
    Ib,
    /// Ours.
    Multipath,
    /// Another net plugin; the hash of its table's name tells which.
    Plugin {
        /// See [`name_hash`].
        name_hash: u32,
    },
}

impl Transport {
    const fn id(self) -> (u8, u32) {
        match self {
            Self::Socket => (1, 0),
            Self::Ib => (2, 0),
            Self::Multipath => (3, 0),
            Self::Plugin { name_hash } => (4, name_hash),
        }
    }

    const fn from_id(id: u8, name_hash: u32) -> Option<Self> {
        match id {
            1 => Some(Self::Socket),
            2 => Some(Self::Ib),
            3 => Some(Self::Multipath),
            4 => Some(Self::Plugin { name_hash }),
            _ => None,
        }
    }

    /// The bytes that this transport never changes between listen and the end of connect.
    ///
    /// Stock transports keep their connect state in the rest. What another plugin does is unknown, so nothing of its
    /// part counts.
    const fn constant(self) -> &'static [Range<usize>] {
        match self {
            Self::Socket => &[0..48, 72..SIZE],
            Self::Ib => &[0..40, 64..SIZE],
            Self::Multipath => &[0..TRAILER.start, TRAILER],
            Self::Plugin { .. } => &[],
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket => f.write_str("NCCL's Socket"),
            Self::Ib => f.write_str("NCCL's IB"),
            Self::Multipath => f.write_str("multipath"),
            Self::Plugin { name_hash } => write!(f, "another net plugin (name hash {name_hash:08x})"),
        }
    }
}

/// Tells net plugins apart by their tables' names (FNV-1a).
pub(crate) fn name_hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// What our side of a listener tells the connecting side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// The transport that listens.
    pub(crate) transport: Transport,
    /// The address at which its data arrives, if it could be told.
    pub(crate) address: Option<IpAddr>,
}

impl Trailer {
    const MAGIC: [u8; 4] = *b"SRv6";
    const VERSION: u8 = 1;
    const HAS_ADDRESS: u8 = 1;

    /// As bytes 96 to 127.
    pub(crate) fn encode(&self) -> [u8; 32] {
        let [m0, m1, m2, m3] = Self::MAGIC;
        let (id, hash) = self.transport.id();
        let flags = if self.address.is_some() { Self::HAS_ADDRESS } else { 0 };
        let address = match self.address {
            Some(IpAddr::V4(address)) => address.to_ipv6_mapped(),
            Some(IpAddr::V6(address)) => address,
            None => Ipv6Addr::UNSPECIFIED,
        };
        let mut bytes = [0; 32];
        let content = [m0, m1, m2, m3, Self::VERSION, id, flags, 0]
            .into_iter()
            .chain(address.octets())
            .chain(hash.to_le_bytes());
        for (byte, value) in bytes.iter_mut().zip(content) {
            *byte = value;
        }
        if let Some((content, sum)) = bytes.split_last_chunk_mut::<4>() {
            *sum = name_hash(content).to_le_bytes();
        }
        bytes
    }

    /// The trailer of a handle; `None` if the listener has no plugin, or one of another trailer version.
    pub(crate) fn decode(handle: &Bytes) -> Option<Self> {
        let trailer = handle.get(TRAILER)?;
        let (content, sum) = trailer.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*sum) != name_hash(content) {
            return None;
        }
        let (head, rest) = content.split_first_chunk::<8>()?;
        let (address, rest) = rest.split_first_chunk::<16>()?;
        let &[m0, m1, m2, m3, version, id, flags, _] = head;
        if [m0, m1, m2, m3] != Self::MAGIC || version != Self::VERSION {
            return None;
        }
        let transport = Transport::from_id(id, u32::from_le_bytes(*rest.first_chunk()?))?;
        let address =
            (flags & Self::HAS_ADDRESS != 0).then(|| IpAddr::from(Ipv6Addr::from(*address)).to_canonical());
        Some(Self { transport, address })
    }
}

/// The socket address that stock Socket (and IB, for its set-up connection) puts first: a `sockaddr_in` or `_in6`.
///
/// `None` if the bytes are no address that a packet could have.
pub(crate) fn socket_address(handle: &Bytes) -> Option<IpAddr> {
    let family = u16::from_ne_bytes(*handle.first_chunk()?);
    let address = match i32::from(family) {
        libc::AF_INET => IpAddr::from(Ipv4Addr::from(*handle.get(4..8)?.first_chunk::<4>()?)),
        libc::AF_INET6 => IpAddr::from(Ipv6Addr::from(*handle.get(8..24)?.first_chunk::<16>()?)),
        _ => return None,
    };
    (!address.is_unspecified()).then(|| address.to_canonical())
}

/// Tells attempts apart that use the same memory one after the other.
///
/// Covers what `transport` never changes, so it stays the same from the first call of an attempt to the last; of
/// a plugin's handle only a trailer of ours counts.
pub(crate) fn fingerprint(handle: &Bytes, transport: Transport) -> u64 {
    let mut hasher = DefaultHasher::new();
    for range in transport.constant() {
        hasher.write(handle.get(range.clone()).unwrap_or_default());
    }
    if Trailer::decode(handle).is_some() {
        hasher.write(handle.get(TRAILER).unwrap_or_default());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle_with(trailer: [u8; 32]) -> Bytes {
        let mut handle = [0xab; SIZE];
        handle[TRAILER].copy_from_slice(&trailer);
        handle
    }

    #[test]
    fn trailers_survive_the_journey() {
        for transport in [
            Transport::Socket,
            Transport::Ib,
            Transport::Multipath,
            Transport::Plugin { name_hash: name_hash(b"AWS Libfabric") },
        ] {
            for address in
                [None, Some("10.1.2.3".parse().unwrap()), Some("2001:db8:1003::2".parse().unwrap())]
            {
                let trailer = Trailer { transport, address };
                assert_eq!(Trailer::decode(&handle_with(trailer.encode())), Some(trailer));
            }
        }
    }

    #[test]
    fn the_layout_is_fixed() {
        let trailer = Trailer { transport: Transport::Socket, address: Some("10.1.2.3".parse().unwrap()) };
        let bytes = trailer.encode();
        assert_eq!(&bytes[..8], b"SRv6\x01\x01\x01\x00");
        assert_eq!(&bytes[8..24], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3]);
        assert_eq!(&bytes[24..28], &[0; 4]);
        assert_eq!(bytes[28..], name_hash(&bytes[..28]).to_le_bytes());
    }

    #[test]
    fn any_broken_bit_makes_it_foreign() {
        let good = Trailer { transport: Transport::Ib, address: Some("::1".parse().unwrap()) }.encode();
        for bit in 0..256 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Trailer::decode(&handle_with(bad)), None, "bit {bit}");
        }
    }

    #[test]
    fn zeros_garbage_and_our_pattern_are_no_trailer() {
        for foreign in [[0; 32], [0xff; 32], PATTERN] {
            assert_eq!(Trailer::decode(&handle_with(foreign)), None);
        }
    }

    #[test]
    fn a_newer_trailer_is_foreign() {
        let mut bytes = Trailer { transport: Transport::Socket, address: None }.encode();
        bytes[4] = 2;
        let sum = name_hash(&bytes[..28]).to_le_bytes();
        bytes[28..].copy_from_slice(&sum);
        assert_eq!(Trailer::decode(&handle_with(bytes)), None);
    }

    #[test]
    fn socket_addresses_of_both_families() {
        let mut handle = [0; SIZE];
        assert_eq!(socket_address(&handle), None);
        handle[..2].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(socket_address(&handle), None, "0.0.0.0 is nowhere");
        handle[4..8].copy_from_slice(&[192, 0, 2, 7]);
        assert_eq!(socket_address(&handle), Some("192.0.2.7".parse().unwrap()));
        handle[..2].copy_from_slice(&10_u16.to_ne_bytes());
        handle[8..24].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(socket_address(&handle), Some("2001:db8::7".parse().unwrap()));
    }

    #[test]
    fn connect_state_does_not_change_the_fingerprint() {
        for (transport, state) in [(Transport::Socket, 48..72), (Transport::Ib, 40..64)] {
            let before = handle_with(Trailer { transport, address: None }.encode());
            for index in 0..SIZE {
                let mut after = before;
                after[index] ^= 0x11;
                let same = fingerprint(&before, transport) == fingerprint(&after, transport);
                assert_eq!(same, state.contains(&index), "{transport}: byte {index}");
            }
        }
    }

    #[test]
    fn of_a_plugin_only_the_trailer_counts() {
        let plugin = Transport::Plugin { name_hash: 1 };
        let one =
            handle_with(Trailer { transport: plugin, address: Some("10.0.0.1".parse().unwrap()) }.encode());
        let two =
            handle_with(Trailer { transport: plugin, address: Some("10.0.0.2".parse().unwrap()) }.encode());
        assert_ne!(fingerprint(&one, plugin), fingerprint(&two, plugin));
        let mut moved_on = one;
        moved_on[..96].fill(7);
        assert_eq!(fingerprint(&one, plugin), fingerprint(&moved_on, plugin));
        let bare = [1; SIZE];
        let mut bare_later = bare;
        bare_later[100] = 9;
        assert_eq!(fingerprint(&bare, plugin), fingerprint(&bare_later, plugin));
    }
}
