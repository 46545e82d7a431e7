//! What a listener gives to connectors: where it listens and how many subflows it takes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::config::MAX_PATHS;
use crate::fields::{Reader, Writer};
use crate::hello::VERSION;

/// A listener's address in a form that travels as bytes, for example inside NCCL's 128-byte handle.
///
/// ```text
/// 0 magic  4 version  6 paths  7 family (4 or 6)  8 port  10 zero  12 scope id  16 address  32 checksum  36
/// ```
///
/// Big-endian; an IPv4 address takes the first 4 of the 16 bytes, the rest is zero. The checksum is
/// CRC-32C of the bytes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    socket: SocketAddr,
    paths: usize,
}

impl ListenAddress {
    /// Bytes of the encoded form.
    pub const LEN: usize = 36;

    /// The address of a listener on `socket` that takes up to `paths` subflows per connection.
    #[must_use]
    pub fn new(socket: SocketAddr, paths: usize) -> ListenAddress {
        ListenAddress { socket, paths: paths.clamp(1, MAX_PATHS) }
    }

    /// Where the listener listens.
    ///
    /// The scope id of a link-local address is the interface index on the listener's host; a
    /// connector on another host has to put its own in its place, see [`ListenAddress::scoped`].
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// The listener's number of subflows, 1..=[`MAX_PATHS`].
    #[must_use]
    pub fn paths(&self) -> usize {
        self.paths
    }

    /// The same address, to be reached over the interface with index `scope`.
    ///
    /// Changes nothing unless the address is IPv6 link-local.
    #[must_use]
    pub fn scoped(mut self, scope: u32) -> ListenAddress {
        if let SocketAddr::V6(socket) = &mut self.socket
            && socket.ip().is_unicast_link_local()
        {
            socket.set_scope_id(scope);
        }
        self
    }

    /// The encoded form.
    #[must_use]
    pub fn encode(&self) -> [u8; ListenAddress::LEN] {
        let (family, scope, address) = match self.socket {
            SocketAddr::V4(v4) => {
                let [a, b, c, d] = v4.ip().octets();
                (4, 0, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            }
            SocketAddr::V6(v6) => (6, v6.scope_id(), v6.ip().octets()),
        };
        let body: [u8; BODY] = Writer::new()
            .put(MAGIC)
            .put(VERSION.to_be_bytes())
            .put([u8::try_from(self.paths).unwrap_or(u8::MAX), family])
            .put(self.socket.port().to_be_bytes())
            .put([0; 2])
            .put(u32::to_be_bytes(scope))
            .put(address)
            .finish();
        Writer::new().put(body).put(checksum(&body).to_be_bytes()).finish()
    }

    /// Reads the encoded form from the first [`ListenAddress::LEN`] of `bytes`.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<ListenAddress, AddressError> {
        let Some((body, sum)) = bytes.split_first_chunk::<BODY>() else {
            return Err(AddressError::Short { len: bytes.len() });
        };
        let Some(sum) = sum.first_chunk() else {
            return Err(AddressError::Short { len: bytes.len() });
        };
        let mut fields = Reader::new(body);
        let magic = fields.bytes();
        if magic != MAGIC {
            return Err(AddressError::Magic { found: magic });
        }
        let version = fields.u16();
        if version != VERSION {
            return Err(AddressError::Version { found: version });
        }
        let (found, computed) = (u32::from_be_bytes(*sum), checksum(body));
        if found != computed {
            return Err(AddressError::Checksum { found, computed });
        }
        let paths = usize::from(fields.u8());
        if !(1..=MAX_PATHS).contains(&paths) {
            return Err(AddressError::Paths { found: paths });
        }
        let family = fields.u8();
        let port = fields.u16();
        fields.bytes::<2>();
        let scope = fields.u32();
        let octets: [u8; 16] = fields.bytes();
        let socket = match family {
            4 => {
                let [a, b, c, d, ..] = octets;
                SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port)
            }
            6 => SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, scope).into(),
            found => return Err(AddressError::Family { found }),
        };
        if port == 0 {
            return Err(AddressError::Port);
        }
        Ok(ListenAddress { socket, paths })
    }
}

/// Why bytes are not a listen address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Too few bytes.
    #[error("listen address has {len} bytes, wanted {}", ListenAddress::LEN)]
    Short {
        /// How many there are.
        len: usize,
    },
    /// Something else's bytes, for example another transport's handle.
    #[error("listen address begins with {found:02x?}, wanted {MAGIC:02x?}: the peer uses another transport")]
    Magic {
        /// The first bytes.
        found: [u8; 4],
    },
    /// Another version of this transport.
    #[error("peer's listen address has version {found}, ours is {VERSION}")]
    Version {
        /// The peer's version.
        found: u16,
    },
    /// The bytes changed on their way.
    #[error("listen address has checksum {found:#010x}, its bytes give {computed:#010x}")]
    Checksum {
        /// The checksum among the bytes.
        found: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// An impossible number of subflows.
    #[error("listen address has {found} subflows, wanted 1 to {MAX_PATHS}")]
    Paths {
        /// The number.
        found: usize,
    },
    /// An unknown address family.
    #[error("listen address has address family {found}, wanted 4 or 6")]
    Family {
        /// The family's number.
        found: u8,
    },
    /// No port.
    #[error("listen address has port 0, wanted the port of a listener")]
    Port,
}

const MAGIC: [u8; 4] = *b"Sr6n";
const BODY: usize = 32;

/// CRC-32C (RFC 3720 appendix B.4), bit by bit: this runs once per connection.
fn checksum(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    });
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Vec<ListenAddress> {
        ["10.1.2.3:4000", "[fd00:1::7]:65535", "[fe80::1%9]:1"]
            .iter()
            .zip([1, 4, 8])
            .map(|(socket, paths)| ListenAddress::new(socket.parse().unwrap(), paths))
            .collect()
    }

    #[test]
    fn the_checksum_is_crc_32c() {
        // The check value of CRC-32C in RFC 3720's parametrisation.
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn addresses_come_back_as_they_were() {
        for address in addresses() {
            let mut bytes = [0xee; 96];
            bytes[..ListenAddress::LEN].copy_from_slice(&address.encode());
            assert_eq!(ListenAddress::decode(&bytes), Ok(address));
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        for address in addresses() {
            for at in 0..ListenAddress::LEN {
                let mut bytes = address.encode();
                bytes[at] ^= 0x40;
                assert!(ListenAddress::decode(&bytes).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let good = addresses().remove(0).encode();
        let decode = |at: usize, value: u8| {
            let mut bytes = good;
            bytes[at] = value;
            let sum = checksum(&bytes[..BODY]);
            bytes[BODY..].copy_from_slice(&sum.to_be_bytes());
            ListenAddress::decode(&bytes).unwrap_err()
        };
        assert!(matches!(decode(0, 0), AddressError::Magic { .. }));
        assert_eq!(decode(5, 7), AddressError::Version { found: 7 });
        assert_eq!(decode(6, 0), AddressError::Paths { found: 0 });
        assert_eq!(decode(6, 9), AddressError::Paths { found: 9 });
        assert_eq!(decode(7, 5), AddressError::Family { found: 5 });
        assert_eq!(ListenAddress::decode(&good[..35]), Err(AddressError::Short { len: 35 }));
        let portless = ListenAddress::new("1.2.3.4:0".parse().unwrap(), 1);
        assert_eq!(ListenAddress::decode(&portless.encode()), Err(AddressError::Port));
    }

    #[test]
    fn only_link_local_addresses_take_a_scope() {
        let link_local = ListenAddress::new("[fe80::1%9]:5".parse().unwrap(), 1);
        assert_eq!(link_local.scoped(3).socket(), "[fe80::1%3]:5".parse().unwrap());
        let global = ListenAddress::new("[fd00::1]:5".parse().unwrap(), 1);
        assert_eq!(global.scoped(3), global);
    }
}
