//! Interfaces, their addresses, and routing tables (VPP's `vnet/interface.api` and `vnet/ip/ip.api`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use srv6_fabric::Prefix;

use super::super::wire::{Malformed, Reader, Writer};
use super::{Reply, Request, named};

/// Asks for all interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceDump;

named!(InterfaceDump, "sw_interface_dump", 0xaa61_0c27);

impl Request for InterfaceDump {
    type Reply = InterfaceDetails;

    fn write(&self, writer: &mut Writer) {
        // Any interface, no filter: an empty string is its length and nothing else.
        writer.u32(u32::MAX).flag(false).u32(0);
    }
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceDetails {
    /// Its index (`sw_if_index`).
    pub index: u32,
    /// Its name.
    pub name: String,
}

named!(InterfaceDetails, "sw_interface_details", 0x6c22_1fc7);

impl Reply for InterfaceDetails {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let index = reader.u32("sw_if_index")?;
        reader.bytes(4 + 6 + 4 + 4 + 4 + 4, "link")?;
        reader.bytes(2 + 4 * 4, "mtu")?;
        reader.bytes(4 + 1 + 2 + 2 + 4, "sub-interface")?;
        reader.bytes(4 * 4 + 2 + 6 + 6 + 2 + 4, "tag rewriting")?;
        let name = reader.text(64, "interface_name")?;
        reader.bytes(64 + 64, "device type and tag")?;
        Ok(Self { index, name })
    }
}

/// Asks for the addresses of an interface, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressDump {
    /// The interface's index.
    pub interface: u32,
    /// IPv6 and not IPv4.
    pub ipv6: bool,
}

named!(AddressDump, "ip_address_dump", 0x2d03_3de4);

impl Request for AddressDump {
    type Reply = Address;

    fn write(&self, writer: &mut Writer) {
        writer.u32(self.interface).flag(self.ipv6);
    }
}

/// One address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The interface's index.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
}

named!(Address, "ip_address_details", 0xee29_b797);

impl Reply for Address {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let interface = reader.u32("sw_if_index")?;
        let address = reader.address("prefix")?;
        reader.u8("prefix length")?;
        Ok(Self { interface, address })
    }
}

/// Asks for all tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpTableDump;

named!(IpTableDump, "ip_table_dump", 0x5107_7d14);

impl Request for IpTableDump {
    type Reply = IpTable;

    fn write(&self, _writer: &mut Writer) {}
}

/// One table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpTable {
    /// Its number, in its family.
    pub number: u32,
    /// IPv6 and not IPv4.
    pub ipv6: bool,
}

named!(IpTable, "ip_table_details", 0xc79f_ca0f);

impl Reply for IpTable {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (number, ipv6) = (reader.u32("table_id")?, reader.flag("is_ip6")?);
        reader.bytes(64, "name")?;
        Ok(Self { number, ipv6 })
    }
}

/// Asks for the entry of a table that packets to a prefix match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// The table.
    pub table: u32,
    /// Only an entry for this very prefix.
    pub exact: bool,
    /// Where the packets go.
    pub prefix: Prefix,
}

named!(Lookup, "ip_route_lookup", 0x710d_6471);

impl Request for Lookup {
    type Reply = LookupReply;

    fn write(&self, writer: &mut Writer) {
        writer.u32(self.table).flag(self.exact).prefix(self.prefix);
    }
}

/// The answer to [`Lookup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupReply {
    /// 0, or VPP's number of an error.
    pub retval: i32,
    /// The entry's prefix.
    pub prefix: Prefix,
    /// Where it leads, over any of these.
    pub ways: Vec<Way>,
}

/// One path of a table's entry (`vl_api_fib_path_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// What becomes of the packets.
    pub kind: WayKind,
    /// The interface they leave by; `None` where the next hop is looked up in turn.
    pub interface: Option<u32>,
    /// The next hop; `None` where the destination is on the link.
    pub next_hop: Option<IpAddr>,
}

/// What becomes of packets (`vl_api_fib_path_type_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayKind {
    /// They are sent on.
    Normal,
    /// They are VPP's own.
    Local,
    /// They are lost.
    Drop,
    /// Anything else, by number.
    Other(u32),
}

named!(LookupReply, "ip_route_lookup_reply", 0x5d8f_ebcb);

impl Reply for LookupReply {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let retval = reader.i32("retval")?;
        reader.u32("table_id")?;
        reader.u32("stats_index")?;
        let prefix = reader.prefix("prefix")?;
        let count = reader.u8("n_paths")?;
        let ways = (0..count).map(|_| Way::read(reader)).collect::<Result<_, _>>()?;
        Ok(Self { retval, prefix, ways })
    }

    fn retval(&self) -> i32 {
        self.retval
    }
}

impl Way {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let interface = reader.u32("sw_if_index")?;
        reader.bytes(4 + 4 + 1 + 1, "path")?;
        let kind = match reader.u32("type")? {
            0 => WayKind::Normal,
            1 => WayKind::Local,
            2 => WayKind::Drop,
            other => WayKind::Other(other),
        };
        reader.u32("flags")?;
        let protocol = reader.u32("proto")?;
        let bytes = reader.ip6("nh")?;
        reader.bytes(4 + 4 + 4, "nh")?;
        // 16 labels, whether or not there are any.
        reader.bytes(1 + 16 * (1 + 4 + 1 + 1), "label_stack")?;
        let next_hop = match (protocol, bytes.octets()) {
            (0, [a, b, c, d, ..]) => Some(IpAddr::from(Ipv4Addr::new(a, b, c, d))),
            (1, _) => Some(bytes.into()),
            _ => None,
        };
        Ok(Self {
            kind,
            interface: (interface != u32::MAX).then_some(interface),
            next_hop: next_hop.filter(|address| !is_unspecified(*address)),
        })
    }
}

fn is_unspecified(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address == Ipv4Addr::UNSPECIFIED,
        IpAddr::V6(address) => address == Ipv6Addr::UNSPECIFIED,
    }
}
