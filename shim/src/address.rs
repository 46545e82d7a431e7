//! Destinations, as one number each.

use std::net::{IpAddr, Ipv6Addr};

/// An IP address as the 128 bits of IPv6; IPv4 as IPv4-mapped, which is what it is to an IPv6 socket as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address(u128);

impl Address {
    /// From the bytes of a `sin_addr`.
    pub(crate) fn v4(bytes: [u8; 4]) -> Self {
        IpAddr::from(bytes).into()
    }

    /// From the bytes of a `sin6_addr`.
    pub(crate) fn v6(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The number, in which a prefix is a range.
    pub(crate) fn bits(self) -> u128 {
        self.0
    }

    /// IPv4 if it is one.
    pub(crate) fn ip(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(self.0)).to_canonical()
    }

    /// Whether a fabric can carry packets to it: no loopback, link-local, multicast or unspecified address.
    pub(crate) fn is_routable(self) -> bool {
        match self.ip() {
            IpAddr::V4(ip) => {
                !(ip.is_loopback()
                    || ip.is_link_local()
                    || ip.is_multicast()
                    || ip.is_unspecified()
                    || ip.is_broadcast())
            }
            IpAddr::V6(ip) => {
                !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified())
            }
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self(match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_one() {
        assert_eq!(address("::ffff:10.0.1.2"), address("10.0.1.2"));
        assert_eq!(Address::v4([10, 0, 1, 2]), address("10.0.1.2"));
        assert_eq!(address("::ffff:10.0.1.2").ip().to_string(), "10.0.1.2");
        let bytes = "2001:db8::2".parse::<Ipv6Addr>().unwrap().octets();
        assert_eq!(Address::v6(bytes).ip().to_string(), "2001:db8::2");
    }

    #[test]
    fn what_never_leaves_the_link_is_not_routable() {
        for no in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "169.254.1.1",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(!address(no).is_routable(), "{no}");
        }
        for yes in ["10.0.1.2", "2001:db8::2", "fd00::1", "192.0.2.1", "::ffff:10.0.1.2"] {
            assert!(address(yes).is_routable(), "{yes}");
        }
    }
}
