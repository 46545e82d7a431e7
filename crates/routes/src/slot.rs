//! Slots: what a socket can have that leads its packets over one of several paths to the same destination.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Table of slot 0; the others follow. "SR" in ASCII, far from what people number their tables with.
pub const LANE_TABLE_BASE: u32 = 0x5352_0000;

/// First source port of slot 0; [`LANE_PORTS`] per slot follow, up to 24575.
///
/// Below the kernel's own choice (`ip_local_port_range`, 32768 to 60999 by default) and Kubernetes' NodePorts (30000 to
/// 32767), so nobody else's connection gets into a lane by accident.
pub const LANE_PORT_BASE: u16 = 20480;

/// Source ports per slot.
pub const LANE_PORTS: u16 = 256;

/// How many paths to one destination a host can tell apart.
pub const SLOTS: u8 = 16;

/// One of the [`SLOTS`] places for a path to a destination: a routing table, and what leads to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u8);

impl Slot {
    /// The slot with this number; `None` from [`SLOTS`] on.
    pub fn new(number: usize) -> Option<Self> {
        u8::try_from(number).ok().filter(|&n| n < SLOTS).map(Self)
    }

    /// All slots.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOTS).map(Self)
    }

    /// The slot that a table belongs to.
    pub fn of_table(table: u32) -> Option<Self> {
        usize::try_from(table.checked_sub(LANE_TABLE_BASE)?).ok().and_then(Self::new)
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its routing table.
    pub fn table(self) -> u32 {
        LANE_TABLE_BASE + u32::from(self.0)
    }

    /// The socket mark (`SO_MARK`) that leads to its table.
    pub fn mark(self) -> u32 {
        self.table()
    }

    /// The TCP source ports that lead to its table. As destination ports they do too, so that a peer's
    /// acknowledgements come back by its table of the same slot.
    pub fn ports(self) -> RangeInclusive<u16> {
        let first = LANE_PORT_BASE + LANE_PORTS * u16::from(self.0);
        first..=first + (LANE_PORTS - 1)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What ties a socket to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pinning {
    /// `SO_MARK`: needs CAP_NET_RAW or CAP_NET_ADMIN on the process, and rules and routes in the kernel.
    Mark,
    /// The port it is bound to: needs nothing on the process but rules and routes in the kernel. TCP only.
    Ports,
    /// An SRv6 routing header on the socket (`IPV6_RTHDR`): needs no route, but IPv6, and a far side that accepts it.
    RoutingHeader,
}

impl Pinning {
    /// All of them by the names that settings and logs use.
    pub const NAMES: [(&'static str, Self); 3] =
        [("mark", Self::Mark), ("ports", Self::Ports), ("routing-header", Self::RoutingHeader)];
}

impl fmt::Display for Pinning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES.iter().find(|(_, p)| p == self).map_or("", |(name, _)| name))
    }
}

impl FromStr for Pinning {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::NAMES.iter().find(|(name, _)| *name == text).map(|&(_, p)| p).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_have_tables_and_ports_of_their_own() {
        let slots: Vec<Slot> = Slot::all().collect();
        assert_eq!(slots.len(), 16);
        assert_eq!((slots[0].table(), slots[0].ports()), (0x5352_0000, 20480..=20735));
        assert_eq!((slots[15].table(), slots[15].ports()), (0x5352_000f, 24320..=24575));
        for pair in slots.windows(2) {
            assert_eq!(*pair[0].ports().end() + 1, *pair[1].ports().start());
        }
        for slot in slots {
            assert_eq!(Slot::of_table(slot.table()), Some(slot));
            assert_eq!(Slot::new(slot.number().into()), Some(slot));
        }
        assert_eq!(Slot::new(16), None);
        for table in [0, 254, LANE_TABLE_BASE - 1, LANE_TABLE_BASE + 16, u32::MAX] {
            assert_eq!(Slot::of_table(table), None);
        }
    }

    #[test]
    fn pinnings_are_read_as_they_are_written() {
        for (_, pinning) in Pinning::NAMES {
            assert_eq!(pinning.to_string().parse(), Ok(pinning));
        }
        assert_eq!("Mark".parse::<Pinning>(), Err(()));
    }
}
