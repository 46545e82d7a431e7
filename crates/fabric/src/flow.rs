//! Who talks to whom.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// One direction between two GPU NIC addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    /// Address of the sending NIC.
    pub src: IpAddr,
    /// Address of the receiving NIC.
    pub dst: IpAddr,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.src, self.dst)
    }
}

/// Address family of the packets inside the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 inside: decapsulated by uDT4, uDX4 or uDT46.
    V4,
    /// IPv6 inside: decapsulated by uDT6, uDX6 or uDT46.
    V6,
}

impl Family {
    /// Family of an address. An IPv4-mapped IPv6 address counts as IPv4, as the kernel sends it so.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// `IPv4` or `IPv6`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// An address and how many of its leading bits count. Host bits are always zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// A prefix length beyond its family's, or text that is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no prefix; want ADDRESS/LENGTH, as in 2001:db8:1000::/64 or 10.0.0.0/24")]
pub struct PrefixError {
    /// The text, or address/length.
    pub given: String,
}

impl Prefix {
    /// The prefix of `length` bits that holds `address`; host bits are cleared.
    ///
    /// # Errors
    /// The length is beyond 32 (IPv4) or 128 (IPv6).
    pub fn new(address: IpAddr, length: u8) -> Result<Self, PrefixError> {
        let bits = bits_of(address);
        if length > bits {
            return Err(PrefixError { given: format!("{address}/{length}") });
        }
        let address = match address {
            IpAddr::V4(a) => {
                let mask = u32::MAX.checked_shl(u32::from(32 - length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask))
            }
            IpAddr::V6(a) => {
                let mask = u128::MAX.checked_shl(u32::from(128 - length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask))
            }
        };
        Ok(Self { address, length })
    }

    /// The prefix that holds this one address: /32 or /128.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: bits_of(address) }
    }

    /// First address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Leading bits that count.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether `address` lies inside. Never true across families.
    pub fn contains(self, address: IpAddr) -> bool {
        Self::new(address, self.length).is_ok_and(|p| p == self)
    }
}

fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let error = || PrefixError { given: text.to_owned() };
        let (address, length) = text.split_once('/').ok_or_else(error)?;
        let address = address.parse().map_err(|_| error())?;
        let length = length.parse().map_err(|_| error())?;
        Self::new(address, length).map_err(|_| error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_clears_host_bits_and_matches_by_value() {
        let prefix: Prefix = "2001:db8:1000:0::2/64".parse().unwrap();
        assert_eq!(prefix.to_string(), "2001:db8:1000::/64");
        assert!(prefix.contains("2001:db8:1000::ffff".parse().unwrap()));
        assert!(!prefix.contains("2001:db8:1001::2".parse().unwrap()));
        assert!(!prefix.contains("10.0.0.1".parse().unwrap()));
        let all: Prefix = "::/0".parse().unwrap();
        assert!(all.contains("ffff::".parse().unwrap()));
        assert!(!all.contains("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn bad_prefixes_name_themselves() {
        for bad in ["10.0.0.0/33", "::/129", "10.0.0.0", "/8", "ten/8", "10.0.0.0/-1"] {
            let error = bad.parse::<Prefix>().unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }
}
