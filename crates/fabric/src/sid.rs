//! SRv6 SIDs as the path API's documents describe them.

use std::net::Ipv6Addr;

use crate::Family;

/// Code point of an SRv6 endpoint behavior (IANA "SRv6 Endpoint Behaviors", RFC 8986, RFC 9800).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Behavior(pub u16);

impl Behavior {
    /// uN: End with NEXT-CSID, in all its flavors (43 to 50).
    pub fn is_node(self) -> bool {
        (43..=50).contains(&self.0) || self.0 == 1
    }

    /// Whether this behavior decapsulates packets of `family`: uDX6 60, uDX4 61, uDT6 62, uDT4 63,
    /// uDT46 64, and their plain forms End.DX6 16, DX4 17, DT6 18, DT4 19, DT46 20.
    pub fn decapsulates(self, family: Family) -> bool {
        match family {
            Family::V6 => matches!(self.0, 60 | 62 | 64 | 16 | 18 | 20),
            Family::V4 => matches!(self.0, 61 | 63 | 64 | 17 | 19 | 20),
        }
    }
}

/// How a SID's bits divide, in bits (RFC 9514 section 8, "SRv6 SID Structure").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SidStructure {
    /// Locator block.
    pub block: u8,
    /// Locator node.
    pub node: u8,
    /// Function.
    pub function: u8,
    /// Argument.
    pub argument: u8,
}

/// One SID of a vertex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sid {
    /// The SID itself.
    pub address: Ipv6Addr,
    /// Its behavior; documents may leave it out.
    pub behavior: Option<Behavior>,
    /// Flexible algorithm it belongs to (RFC 9350), 0 by default.
    pub algo: u8,
    /// How its bits divide, where the document says so.
    pub structure: Option<SidStructure>,
}
