//! Fields of messages, big-endian and without padding.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use srv6_fabric::Prefix;

/// The fields of a request, in order; `None` once there are no more.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    pub(crate) fn word(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn ip6(&mut self) -> Option<Ipv6Addr> {
        self.take::<16>().map(Ipv6Addr::from)
    }

    pub(crate) fn prefix(&mut self) -> Option<Prefix> {
        let (family, bytes, length) = (self.byte()?, self.take::<16>()?, self.byte()?);
        let [a, b, c, d, ..] = bytes;
        let address = if family == 0 { IpAddr::from([a, b, c, d]) } else { bytes.into() };
        Prefix::new(address, length).ok()
    }

    /// One segment list: its weight and segments.
    pub(crate) fn list(&mut self) -> Option<(u32, Vec<Ipv6Addr>)> {
        let (count, weight) = (self.byte()?, self.word()?);
        let places: Option<Vec<Ipv6Addr>> = (0..16).map(|_| self.ip6()).collect();
        Some((weight, places?.into_iter().take(count.into()).collect()))
    }
}

/// A message on its way out.
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    /// Begins with number and context.
    pub(crate) fn new(number: u16, context: u32) -> Self {
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.extend(context.to_be_bytes());
        Self(bytes)
    }

    pub(crate) fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn half(mut self, value: u16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn word(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn code(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn ip6(mut self, value: Ipv6Addr) -> Self {
        self.0.extend(value.octets());
        self
    }

    pub(crate) fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    /// An IPv4 address takes the first four of sixteen bytes.
    pub(crate) fn address(self, value: IpAddr) -> Self {
        match value {
            IpAddr::V4(address) => self.byte(0).union(address),
            IpAddr::V6(address) => self.byte(1).ip6(address),
        }
    }

    pub(crate) fn union(mut self, address: Ipv4Addr) -> Self {
        self.0.extend(address.octets());
        self.zeros(12)
    }

    pub(crate) fn prefix(self, value: Prefix) -> Self {
        self.address(value.address()).byte(value.length())
    }

    pub(crate) fn text(mut self, value: &str, length: usize) -> Self {
        let end = self.0.len() + length;
        self.0.extend(value.bytes().take(length - 1));
        self.0.resize(end, 0);
        self
    }

    /// The segments of one list behind their number, weight and, where there is one, index.
    pub(crate) fn segments(mut self, segments: &[Ipv6Addr]) -> Self {
        for segment in segments {
            self = self.ip6(*segment);
        }
        self.zeros(16 * (16 - segments.len()))
    }

    /// With its frame. VPP leaves a pointer and a time of its own around the length; a client must not mind.
    pub(crate) fn framed(self) -> Vec<u8> {
        let mut bytes = 0x7fff_1234_5678_9abc_u64.to_be_bytes().to_vec();
        bytes.extend(u32::try_from(self.0.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend([0, 0, 0, 9]);
        bytes.extend(self.0);
        bytes
    }
}
