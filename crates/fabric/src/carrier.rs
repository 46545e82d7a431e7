//! uSID carriers: 128 bits that hold a block and a list of micro-segments (RFC 9800 section 4.1).

use std::fmt;
use std::net::Ipv6Addr;

use crate::CarrierError;

/// How long block and uSIDs are. The labs and SONiC use 32 and 16 bits ("F3216").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SidFormat {
    block_len: u8,
    usid_len: u8,
}

impl SidFormat {
    /// Block of 32 bits, uSIDs of 16: six uSIDs in a carrier.
    pub const F3216: Self = Self { block_len: 32, usid_len: 16 };

    /// A format of these lengths, in bits.
    ///
    /// # Errors
    /// Lengths that leave no room for a uSID.
    pub fn new(block_len: u8, usid_len: u8) -> Result<Self, CarrierError> {
        if !(1..=112).contains(&block_len) || !(8..=32).contains(&usid_len) || 128 - block_len < usid_len {
            return Err(CarrierError::Format { block_len, usid_len });
        }
        Ok(Self { block_len, usid_len })
    }

    /// Bits of the block.
    pub fn block_len(self) -> u8 {
        self.block_len
    }

    /// Bits of one uSID.
    pub fn usid_len(self) -> u8 {
        self.usid_len
    }

    /// uSIDs that fit one carrier.
    pub fn capacity(self) -> usize {
        usize::from((128 - self.block_len) / self.usid_len)
    }

    /// The `position`th uSID-sized field after the block; 0 beyond the last.
    pub fn field(self, address: Ipv6Addr, position: usize) -> u32 {
        if position >= self.capacity() {
            return 0;
        }
        let shifted = address.to_bits() >> self.shift(position);
        let mask = (1u128 << self.usid_len) - 1;
        u32::try_from(shifted & mask).unwrap_or(u32::MAX)
    }

    fn shift(self, position: usize) -> usize {
        128 - usize::from(self.block_len) - (position + 1) * usize::from(self.usid_len)
    }
}

/// The leading bits that all SIDs of a domain share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Block {
    bits: u128,
    format: SidFormat,
}

impl Block {
    /// Block of a SID.
    pub fn of(sid: Ipv6Addr, format: SidFormat) -> Self {
        let mask = u128::MAX << (128 - u32::from(format.block_len));
        Self { bits: sid.to_bits() & mask, format }
    }

    /// Lengths of block and uSIDs.
    pub fn format(self) -> SidFormat {
        self.format
    }

    /// First address of the block.
    pub fn address(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.bits)
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.format.block_len)
    }
}

/// One block and the uSIDs behind it, in travel order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Carrier {
    block: Block,
    usids: Vec<u32>,
}

impl Carrier {
    /// A carrier of these uSIDs, first hop first.
    ///
    /// # Errors
    /// None at all, more than fit, a uSID of 0 or one wider than the format.
    pub fn new(block: Block, usids: &[u32]) -> Result<Self, CarrierError> {
        let capacity = block.format.capacity();
        if usids.is_empty() {
            return Err(CarrierError::NoSegments);
        }
        if usids.len() > capacity {
            return Err(CarrierError::TooMany { count: usids.len(), capacity });
        }
        for &usid in usids {
            if usid == 0 {
                return Err(CarrierError::ZeroUsid);
            }
            if u64::from(usid) >> block.format.usid_len != 0 {
                return Err(CarrierError::WideUsid { usid, usid_len: block.format.usid_len });
            }
        }
        Ok(Self { block, usids: usids.to_vec() })
    }

    /// Reads a carrier back from an address: uSIDs up to the first 0.
    ///
    /// # Errors
    /// The address holds no uSID.
    pub fn unpack(address: Ipv6Addr, format: SidFormat) -> Result<Self, CarrierError> {
        let usids: Vec<u32> =
            (0..format.capacity()).map(|i| format.field(address, i)).take_while(|&u| u != 0).collect();
        Self::new(Block::of(address, format), &usids)
    }

    /// The carrier as the destination address of a packet.
    pub fn address(&self) -> Ipv6Addr {
        let format = self.block.format;
        let mut bits = self.block.bits;
        for (position, &usid) in self.usids.iter().enumerate() {
            bits |= u128::from(usid) << format.shift(position);
        }
        Ipv6Addr::from_bits(bits)
    }

    /// Its block.
    pub fn block(&self) -> Block {
        self.block
    }

    /// Its uSIDs in travel order.
    pub fn usids(&self) -> &[u32] {
        &self.usids
    }
}

/// One or more carriers in travel order, first hop first; never empty.
///
/// The netlink layer writes them reversed, as the segment routing header wants (RFC 8754 section 2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Segments(Vec<Ipv6Addr>);

impl Segments {
    /// A segment list.
    ///
    /// # Errors
    /// The list is empty: such a route would silently have no encapsulation at all.
    pub fn new(segments: Vec<Ipv6Addr>) -> Result<Self, CarrierError> {
        if segments.is_empty() { Err(CarrierError::NoSegments) } else { Ok(Self(segments)) }
    }

    /// Packs uSIDs into as few carriers as they need.
    ///
    /// `tail` uSIDs at the end stay in one carrier: a decapsulation function is only known to the node
    /// whose uSID stands before it.
    ///
    /// # Errors
    /// As [`Carrier::new`].
    pub fn pack(block: Block, usids: &[u32], tail: usize) -> Result<Self, CarrierError> {
        let capacity = block.format().capacity();
        let tail = tail.clamp(1, capacity);
        let mut rest = usids;
        let mut segments = Vec::new();
        while rest.len() > capacity {
            let left = rest.len() - capacity;
            let take = if left < tail { rest.len() - tail } else { capacity };
            let (now, later) = rest.split_at(take);
            segments.push(Carrier::new(block, now)?.address());
            rest = later;
        }
        segments.push(Carrier::new(block, rest)?.address());
        Self::new(segments)
    }

    /// The segments in travel order.
    pub fn as_slice(&self) -> &[Ipv6Addr] {
        &self.0
    }

    /// The first segment: destination address of the packet as it leaves the host.
    pub fn first(&self) -> Ipv6Addr {
        self.0.first().copied().unwrap_or(Ipv6Addr::UNSPECIFIED)
    }
}

impl fmt::Display for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{segment}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(text: &str) -> Block {
        Block::of(text.parse().unwrap(), SidFormat::F3216)
    }

    #[test]
    fn golden_carriers_of_the_labs() {
        for (block_text, usids, want) in [
            ("fc00:0::", &[0x1201, 0x1000, 0x1203][..], "fc00:0:1201:1000:1203::"),
            ("fc00:0::", &[0x1201, 0x1001, 0x1200], "fc00:0:1201:1001:1200::"),
            ("fc00:0::", &[0x1203, 0x1000, 0x1200], "fc00:0:1203:1000:1200::"),
            ("fc00:0::", &[0x1200, 0x1000, 0x1201], "fc00:0:1200:1000:1201::"),
            ("fc00:0::", &[0x1200, 0x1002, 0x1203], "fc00:0:1200:1002:1203::"),
            ("fcbb:0::", &[0x1004, 0x1001, 0x1005, 0xfe06], "fcbb:0:1004:1001:1005:fe06::"),
            ("fc00:0::", &[0xa, 0xb, 0xc, 0xd, 0xe, 0xf], "fc00:0:a:b:c:d:e:f"),
        ] {
            let carrier = Carrier::new(block(block_text), usids).unwrap();
            assert_eq!(carrier.address(), want.parse::<Ipv6Addr>().unwrap());
            assert_eq!(Carrier::unpack(carrier.address(), SidFormat::F3216).unwrap(), carrier);
        }
    }

    #[test]
    fn a_block_of_48_bits_survives() {
        let format = SidFormat::new(48, 16).unwrap();
        let block = Block::of("2001:db8:f:1200::".parse().unwrap(), format);
        let carrier = Carrier::new(block, &[0x1200, 0x1000]).unwrap();
        assert_eq!(carrier.address().to_string(), "2001:db8:f:1200:1000::");
        assert_eq!(block.to_string(), "2001:db8:f::/48");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let block = block("fc00:0::");
        assert_eq!(Carrier::new(block, &[1, 0, 2]), Err(CarrierError::ZeroUsid));
        assert_eq!(
            Carrier::new(block, &[0x1_0000]),
            Err(CarrierError::WideUsid { usid: 0x1_0000, usid_len: 16 })
        );
        assert_eq!(Carrier::new(block, &[1; 7]), Err(CarrierError::TooMany { count: 7, capacity: 6 }));
        assert_eq!(Segments::new(Vec::new()), Err(CarrierError::NoSegments));
        assert!(SidFormat::new(120, 16).is_err());
        assert!(SidFormat::new(0, 16).is_err());
    }

    #[test]
    fn the_function_stays_with_its_node_when_a_path_is_split() {
        let packed = Segments::pack(block("fc00:0::"), &[1, 2, 3, 4, 5, 6, 0xfe06], 2).unwrap();
        let text: Vec<String> = packed.as_slice().iter().map(ToString::to_string).collect();
        assert_eq!(text, ["fc00:0:1:2:3:4:5:0", "fc00:0:6:fe06::"]);
    }

    proptest! {
        #[test]
        fn pack_keeps_order_and_splits_late(
            usids in prop::collection::vec(1u32..=0xffff, 1..40),
            tail in 1usize..=2,
        ) {
            let packed = Segments::pack(block("fc00:0::"), &usids, tail).unwrap();
            let carriers: Vec<Carrier> = packed
                .as_slice()
                .iter()
                .map(|a| Carrier::unpack(*a, SidFormat::F3216).unwrap())
                .collect();
            let back: Vec<u32> = carriers.iter().flat_map(|c| c.usids().to_vec()).collect();
            prop_assert_eq!(back, usids.clone());
            prop_assert_eq!(carriers.len(), usids.len().div_ceil(6));
            prop_assert!(carriers.last().unwrap().usids().len() >= tail.min(usids.len()));
        }

        #[test]
        fn unpack_of_any_address_packs_to_the_same_prefix(bits in any::<u128>()) {
            let address = Ipv6Addr::from_bits(bits);
            if let Ok(carrier) = Carrier::unpack(address, SidFormat::F3216) {
                let n = 32 + 16 * carrier.usids().len();
                let mask = if n >= 128 { u128::MAX } else { !(u128::MAX >> n) };
                prop_assert_eq!(carrier.address().to_bits(), bits & mask);
            } else {
                prop_assert_eq!(SidFormat::F3216.field(address, 0), 0);
            }
        }
    }
}
