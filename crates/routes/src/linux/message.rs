//! Our routes as netlink messages, and back. Pure.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteLwEnCapType, RouteLwTunnelEncap, RouteMessage,
    RouteMetric, RouteProtocol, RouteSeg6IpTunnel, RouteType, Seg6Mode,
};
use rtnetlink::RouteMessageBuilder;
use srv6_fabric::{Prefix, Segments};

use crate::{EncapMode, METRIC, PROTOCOL, Route, RouteKey, Selector, Target};

/// `SEG6_IPTUN_MODE_ENCAP_RED` of the kernel's `seg6_iptunnel.h`; the crate has no name for it.
const ENCAP_RED: u32 = 3;

/// `IPPROTO_TCP`.
const TCP: u8 = 6;

/// The message for `RTM_NEWROUTE`.
pub(super) fn route(route: &Route) -> RouteMessage {
    let mut message = builder(&route.key).output_interface(route.interface).build();
    message.header.kind = RouteType::Unicast;
    match &route.target {
        Target::Encap { mode, segments } => {
            let mode = match mode {
                EncapMode::Reduced => Seg6Mode::Other(ENCAP_RED),
                EncapMode::Full => Seg6Mode::Encap,
            };
            let encap =
                RouteMessageBuilder::<IpAddr>::new().output_seg6(mode, segments.as_slice().to_vec()).build();
            message.attributes.extend(encap.attributes);
        }
        Target::Gateway(gateway) => message.attributes.push(RouteAttribute::Gateway(address(*gateway))),
    }
    if let Some(source) = route.source {
        message.attributes.push(RouteAttribute::PrefSource(address(source)));
    }
    if let Some(mtu) = route.mtu {
        message.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
    }
    message
}

/// The message for `RTM_DELROUTE`. It names our protocol, so the kernel can't take another's route for it.
pub(super) fn key(key: &RouteKey) -> RouteMessage {
    builder(key).build()
}

/// Asks for all routes of one table and family, whoever made them.
pub(super) fn table(key: &RouteKey) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(key.destination.address());
    message.attributes.push(RouteAttribute::Table(key.table));
    message
}

/// Asks for our routes of one table and family.
pub(super) fn ours_in(key: &RouteKey) -> RouteMessage {
    let mut message = table(key);
    message.header.protocol = RouteProtocol::Other(PROTOCOL);
    message
}

/// Asks for the entry that a packet to `destination` would match, the entry itself rather than the outcome; with a
/// selector that of a TCP packet from such a socket.
pub(super) fn lookup(
    source: Option<IpAddr>,
    destination: IpAddr,
    selector: Option<Selector>,
) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = Prefix::host(destination).length();
    message.header.flags = RouteFlags::FibMatch;
    if destination.is_ipv4() {
        // Otherwise IPv4 says "main" whatever the table was; IPv6 always says the right one and refuses the flag.
        message.header.flags |= RouteFlags::LookupTable;
    }
    message.attributes.push(RouteAttribute::Destination(address(destination)));
    if let Some(source) = source {
        message.header.source_prefix_length = Prefix::host(source).length();
        message.attributes.push(RouteAttribute::Source(address(source)));
    }
    match selector {
        Some(Selector::Mark(mark)) => message.attributes.push(RouteAttribute::Mark(mark)),
        Some(Selector::SourcePort(port)) => {
            message.attributes.extend([RouteAttribute::IpProto(TCP), RouteAttribute::Sport(port)]);
        }
        None => {}
    }
    message
}

/// Asks for all routes of our protocol in one family; with strict checking the kernel filters.
pub(super) fn ours(family: AddressFamily) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.protocol = RouteProtocol::Other(PROTOCOL);
    message
}

/// Reads a dumped route. `None` for anything that isn't in the form that we write.
pub(super) fn read(message: &RouteMessage) -> Option<Route> {
    if u8::from(message.header.protocol) != PROTOCOL {
        return None;
    }
    let mut table = u32::from(message.header.table);
    let mut destination = None;
    let (mut interface, mut source, mut mtu, mut metric, mut target) = (None, None, None, 0, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(id) => table = *id,
            RouteAttribute::Destination(a) => destination = ip(a),
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::PrefSource(a) => source = ip(a),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Gateway(a) => target = ip(a).map(Target::Gateway),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics
                    .iter()
                    .find_map(|m| if let RouteMetric::Mtu(mtu) = m { Some(*mtu) } else { None });
            }
            RouteAttribute::Encap(encap) => target = encap.iter().find_map(tunnel),
            RouteAttribute::EncapType(kind) if *kind != RouteLwEnCapType::Seg6 => return None,
            _ => {}
        }
    }
    if metric != METRIC {
        return None;
    }
    let destination = Prefix::new(destination?, message.header.destination_prefix_length).ok()?;
    Some(Route { key: RouteKey { table, destination }, interface: interface?, source, mtu, target: target? })
}

/// Protocol, metric, table and prefix of any route.
pub(super) struct Entry {
    pub(super) protocol: u8,
    pub(super) metric: u32,
    pub(super) table: u32,
    pub(super) prefix_len: u8,
    pub(super) destination: Option<IpAddr>,
    pub(super) interface: Option<u32>,
    pub(super) gateway: Option<IpAddr>,
    pub(super) kind: RouteType,
}

impl Entry {
    /// Whether it stands where a route of ours with this key would.
    pub(super) fn is_at(&self, key: &RouteKey) -> bool {
        (self.table, self.metric, self.prefix_len) == (key.table, METRIC, key.destination.length())
            && self.destination.is_none_or(|d| d == key.destination.address())
    }
}

/// Reads what a lookup found.
pub(super) fn entry(message: &RouteMessage) -> Entry {
    let mut entry = Entry {
        protocol: u8::from(message.header.protocol),
        metric: 0,
        table: u32::from(message.header.table),
        prefix_len: message.header.destination_prefix_length,
        destination: None,
        interface: None,
        gateway: None,
        kind: message.header.kind,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(id) => entry.table = *id,
            RouteAttribute::Destination(a) => entry.destination = ip(a),
            RouteAttribute::Priority(priority) => entry.metric = *priority,
            RouteAttribute::Oif(index) => entry.interface = Some(*index),
            RouteAttribute::Gateway(a) => entry.gateway = ip(a),
            // The first of several equal ways: enough to say that there is one.
            RouteAttribute::MultiPath(hops) => {
                let first = hops.first();
                entry.interface = first.map(|hop| hop.interface_index);
                entry.gateway = first.and_then(|hop| {
                    hop.attributes.iter().find_map(|a| match a {
                        RouteAttribute::Gateway(a) => ip(a),
                        _ => None,
                    })
                });
            }
            _ => {}
        }
    }
    entry
}

fn builder(key: &RouteKey) -> RouteMessageBuilder<IpAddr> {
    let mut builder = RouteMessageBuilder::<IpAddr>::new()
        .table_id(key.table)
        .priority(METRIC)
        .protocol(RouteProtocol::Other(PROTOCOL));
    let message = builder.get_mut();
    message.header.address_family = family(key.destination.address());
    message.header.destination_prefix_length = key.destination.length();
    message.attributes.push(RouteAttribute::Destination(address(key.destination.address())));
    builder
}

fn tunnel(encap: &RouteLwTunnelEncap) -> Option<Target> {
    let RouteLwTunnelEncap::Seg6(RouteSeg6IpTunnel::Seg6(header)) = encap else { return None };
    let mode = match header.mode {
        Seg6Mode::Encap => EncapMode::Full,
        Seg6Mode::Other(ENCAP_RED) => EncapMode::Reduced,
        _ => return None,
    };
    let segments = Segments::new(header.segments.clone()).ok()?;
    Some(Target::Encap { mode, segments })
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(a) => RouteAddress::Inet(a),
        IpAddr::V6(a) => RouteAddress::Inet6(a),
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(a) => Some(IpAddr::V4(*a)),
        RouteAddress::Inet6(a) => Some(IpAddr::V6(*a)),
        _ => None,
    }
}
