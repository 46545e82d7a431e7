//! Who has which address on which interface.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use srv6_fabric::{Prefix, Topology, Vertex};

use super::{Cable, CableKind, End, NodePlan};

/// Prefix length around a host's IPv6 address whose document gives none.
const V6_LENGTH: u8 = 64;

/// Prefix length around a host's IPv4 address; documents have no field for it.
const V4_LENGTH: u8 = 24;

/// Fills in addresses and neighbours of every end.
///
/// Between switches and on the switch side of host links everything runs over the link-local addresses fe80::1
/// (first end) and fe80::2. A host's own addresses are on the first of its data interfaces.
pub(super) fn assign(topology: &Topology, nodes: &[NodePlan], cables: &mut [Cable]) {
    let mut addressed = HashSet::new();
    for cable in cables {
        let [first, second] = &mut cable.ends;
        match cable.kind {
            CableKind::Fabric => link_local(first, second),
            CableKind::Host => {
                link_local(first, second);
                let Some((_, host)) = topology.vertices().nth(second.node) else { continue };
                for subnet in subnets(topology, host) {
                    if let Some(gateway) = subnet.gateway {
                        first.addresses.push((gateway, full_length(gateway)));
                        second.neighbours.push(gateway);
                    }
                    first.neighbours.push(subnet.host);
                    if !addressed.contains(&second.node) {
                        second.addresses.push((subnet.host, subnet.prefix.length()));
                    }
                }
                addressed.insert(second.node);
            }
            CableKind::Management => {
                if let Some(address) = nodes.get(second.node).and_then(|n| n.management) {
                    second.addresses.push((address.into(), V4_LENGTH));
                }
            }
        }
    }
}

/// One address of a host and what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    pub(super) host: IpAddr,
    pub(super) prefix: Prefix,
    /// The leaf's address; none in prefixes that have no second address.
    pub(super) gateway: Option<IpAddr>,
}

/// A host's addresses with their prefixes.
pub(super) fn subnets(topology: &Topology, host: &Vertex) -> Vec<Subnet> {
    let taken: HashSet<IpAddr> = topology.vertices().flat_map(|(_, v)| v.addresses.iter().copied()).collect();
    host.addresses
        .iter()
        .map(|&address| {
            let length = if address.is_ipv4() { V4_LENGTH } else { V6_LENGTH };
            let prefix = host
                .prefix
                .filter(|p| p.contains(address))
                .or_else(|| Prefix::new(address, length).ok())
                .unwrap_or_else(|| Prefix::host(address));
            Subnet { host: address, prefix, gateway: gateway(prefix, &taken) }
        })
        .collect()
}

/// Link-local address of an end: 0 the first, 1 the second.
pub(super) fn link_local_address(side: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, side + 1)
}

/// 32 or 128.
pub(super) fn full_length(address: IpAddr) -> u8 {
    Prefix::host(address).length()
}

fn link_local(first: &mut End, second: &mut End) {
    let [a, b] = [0, 1].map(|side| IpAddr::from(link_local_address(side)));
    first.addresses.push((a, 64));
    second.addresses.push((b, 64));
    first.neighbours.push(b);
    second.neighbours.push(a);
}

/// The first address after the prefix itself (in IPv6 that one is the routers' anycast address, RFC 4291 section
/// 2.6.1) that isn't a host's.
fn gateway(prefix: Prefix, taken: &HashSet<IpAddr>) -> Option<IpAddr> {
    // One more than there are hosts is always enough.
    (1..=taken.len() + 1)
        .map(|n| match prefix.address() {
            IpAddr::V4(base) => {
                let offset = u32::try_from(n).unwrap_or(u32::MAX);
                Ipv4Addr::from_bits(base.to_bits().saturating_add(offset)).into()
            }
            IpAddr::V6(base) => Ipv6Addr::from_bits(base.to_bits().saturating_add(n as u128)).into(),
        })
        .find(|&address| !taken.contains(&address) && prefix.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::plan::Plan;
    use crate::plan::tests::{DUAL_STACK, topology};

    #[test]
    fn the_gateway_is_the_first_free_address_of_the_prefix() {
        let of = |host: &str, length| {
            let host = host.parse().unwrap();
            gateway(Prefix::new(host, length).unwrap(), &HashSet::from([host])).map(|g| g.to_string())
        };
        assert_eq!(of("2001:db8:1000::2", 64).as_deref(), Some("2001:db8:1000::1"));
        assert_eq!(of("2001:db8:1000::1", 64).as_deref(), Some("2001:db8:1000::2"));
        assert_eq!(of("fcbb:0:800::10", 64).as_deref(), Some("fcbb:0:800::1"));
        assert_eq!(of("2001:db8::", 127).as_deref(), Some("2001:db8::1"));
        assert_eq!(of("2001:db8::1", 127), None);
        assert_eq!(of("2001:db8::1", 128), None);
        assert_eq!(of("10.1.0.2", 24).as_deref(), Some("10.1.0.1"));

        let shared: Prefix = "2001:db8::/64".parse().unwrap();
        let both = HashSet::from(["2001:db8::1", "2001:db8::2"].map(|a| a.parse().unwrap()));
        assert_eq!(gateway(shared, &both).unwrap().to_string(), "2001:db8::3", "never another host's");
    }

    #[test]
    fn each_end_knows_the_addresses_of_the_other() {
        let plan = Plan::new(&topology(DUAL_STACK), &Options::default()).unwrap();
        let cable = plan.cables.iter().find(|c| c.kind == CableKind::Host).unwrap();
        let text = |end: &End| {
            let own: Vec<String> = end.addresses.iter().map(|(a, l)| format!("{a}/{l}")).collect();
            let there: Vec<String> = end.neighbours.iter().map(ToString::to_string).collect();
            (own.join(" "), there.join(" "))
        };
        let leaf = ("fe80::1/64 2001:db8:1000::1/128 10.1.0.1/32", "fe80::2 2001:db8:1000::2 10.1.0.2");
        let host = ("fe80::2/64 2001:db8:1000::2/64 10.1.0.2/24", "fe80::1 2001:db8:1000::1 10.1.0.1");
        assert_eq!(text(&cable.ends[0]), (leaf.0.to_owned(), leaf.1.to_owned()));
        assert_eq!(text(&cable.ends[1]), (host.0.to_owned(), host.1.to_owned()));
    }
}
