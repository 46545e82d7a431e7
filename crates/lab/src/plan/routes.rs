//! Plain routing: every host prefix and every locator along all shortest ways.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use srv6_fabric::{Block, Prefix, Topology, VertexIndex};

use super::addresses::{Subnet, link_local_address, subnets};
use super::{Cable, CableKind, NodePlan, Role, sids};

/// Metric of a host's plain routes: behind the default one (1024), so that a steered route to the same prefix
/// is a route beside the plain one and goes before it.
const HOST_METRIC: u32 = 2048;

/// One route of one node; its `Display` is what `ip` wants of it, without the verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub prefix: Prefix,
    /// Equally good ways there; never none.
    pub hops: Vec<Hop>,
    /// None: the kernel's default.
    pub metric: Option<u32>,
}

/// One way of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// None: the destination is on the link. May be IPv6 for an IPv4 destination (RFC 5549).
    pub via: Option<IpAddr>,
    /// Interface it leaves by.
    pub interface: String,
}

impl Route {
    /// The route over those of its interfaces that `usable` approves of; none if that is none.
    pub(super) fn over(&self, usable: impl Fn(&str) -> bool) -> Option<Self> {
        let hops: Vec<Hop> = self.hops.iter().filter(|h| usable(&h.interface)).cloned().collect();
        if hops.is_empty() { None } else { Some(Self { hops, ..self.clone() }) }
    }
}

/// Routes of every node, by position.
pub(super) fn routes(topology: &Topology, nodes: &[NodePlan], cables: &[Cable]) -> Vec<Vec<Route>> {
    let graph = Graph::new(nodes, cables);
    let vertices: Vec<VertexIndex> = topology.vertices().map(|(v, _)| v).collect();
    let mut all: Vec<Vec<Route>> = nodes.iter().map(|_| Vec::new()).collect();

    let destinations = destinations(topology);
    for (target, prefixes) in &destinations {
        let distance = graph.distances(*target);
        for (node, routes) in all.iter_mut().enumerate().filter(|(n, _)| graph.is_switch(*n)) {
            let hops = graph.next_hops(node, &distance);
            if !hops.is_empty() {
                routes.extend(prefixes.iter().map(|&p| Route {
                    prefix: p,
                    hops: hops.clone(),
                    metric: None,
                }));
            }
        }
    }

    let mut blocks: BTreeSet<Prefix> = BTreeSet::new();
    for (target, &vertex) in vertices.iter().enumerate() {
        let locators = sids::locators(topology.vertex(vertex));
        blocks.extend(locators.iter().map(|l| prefix_of_block(l.block)));
        let distance = graph.distances(target);
        for (node, routes) in all.iter_mut().enumerate().filter(|(n, _)| graph.is_switch(*n) && *n != target)
        {
            let hops = graph.next_hops(node, &distance);
            if !hops.is_empty() {
                let route = |l: &sids::Locator| Route { prefix: l.prefix, hops: hops.clone(), metric: None };
                routes.extend(locators.iter().map(route));
            }
        }
    }

    for (node, routes) in all.iter_mut().enumerate().filter(|(n, _)| graph.is_host(*n)) {
        let Some(&vertex) = vertices.get(node) else { continue };
        let subnets = subnets(topology, topology.vertex(vertex));
        host_routes(node, &subnets, &destinations, &blocks, cables, routes);
    }
    all
}

/// Routes of a host: its gateways, everything that other hosts have, and the uSID blocks.
fn host_routes(
    host: usize,
    subnets: &[Subnet],
    destinations: &BTreeMap<usize, Vec<Prefix>>,
    blocks: &BTreeSet<Prefix>,
    cables: &[Cable],
    routes: &mut Vec<Route>,
) {
    let uplinks: Vec<&str> = cables
        .iter()
        .filter(|c| c.kind == CableKind::Host)
        .map(|c| &c.ends[1])
        .filter(|end| end.node == host)
        .map(|end| end.interface.as_str())
        .collect();
    let hops_to = |prefix: Prefix| -> Vec<Hop> {
        let v4 = prefix.address().is_ipv4();
        // With several leaves the same gateway address would stand for each of them.
        let gateway = match uplinks.as_slice() {
            [_] => subnets.iter().filter_map(|s| s.gateway).find(|g| g.is_ipv4() == v4),
            _ => None,
        };
        let via = gateway.unwrap_or(link_local_address(0).into());
        uplinks.iter().map(|&i| Hop { via: Some(via), interface: i.to_owned() }).collect()
    };
    if let [interface] = uplinks.as_slice() {
        for gateway in subnets.iter().filter_map(|s| s.gateway) {
            let hops = vec![Hop { via: None, interface: (*interface).to_owned() }];
            routes.push(Route { prefix: Prefix::host(gateway), hops, metric: None });
        }
    }
    let others = destinations.iter().filter(|(other, _)| **other != host).flat_map(|(_, p)| p);
    for &prefix in others {
        // An IPv6 host has no way into IPv4 and the other way round.
        if subnets.iter().any(|s| s.host.is_ipv4() == prefix.address().is_ipv4()) && !uplinks.is_empty() {
            routes.push(Route { prefix, hops: hops_to(prefix), metric: Some(HOST_METRIC) });
        }
    }
    if !uplinks.is_empty() {
        routes.extend(blocks.iter().map(|&prefix| Route { prefix, hops: hops_to(prefix), metric: None }));
    }
}

/// What each host is reached by: its prefixes, or where hosts share one, its addresses.
fn destinations(topology: &Topology) -> BTreeMap<usize, Vec<Prefix>> {
    let all: Vec<(usize, Subnet)> = topology
        .vertices()
        .enumerate()
        .flat_map(|(i, (_, v))| subnets(topology, v).into_iter().map(move |s| (i, s)))
        .collect();
    let mut destinations: BTreeMap<usize, Vec<Prefix>> = BTreeMap::new();
    for (host, subnet) in &all {
        let shared = all.iter().any(|(other, s)| other != host && subnet.prefix.contains(s.host));
        // IPv4 documents have no prefix: the /24 is the lab's choice and says nothing about other addresses.
        let own = shared || subnet.host.is_ipv4();
        destinations.entry(*host).or_default().push(if own {
            Prefix::host(subnet.host)
        } else {
            subnet.prefix
        });
    }
    destinations
}

fn prefix_of_block(block: Block) -> Prefix {
    let address = IpAddr::from(block.address());
    Prefix::new(address, block.format().block_len()).unwrap_or_else(|_| Prefix::host(address))
}

/// Who is joined to whom inside the fabric.
struct Graph<'a> {
    roles: Vec<Role>,
    neighbours: Vec<Vec<Neighbour<'a>>>,
}

struct Neighbour<'a> {
    node: usize,
    interface: &'a str,
    link_local: Ipv6Addr,
}

impl<'a> Graph<'a> {
    fn new(nodes: &[NodePlan], cables: &'a [Cable]) -> Self {
        let mut neighbours: Vec<Vec<Neighbour<'a>>> = nodes.iter().map(|_| Vec::new()).collect();
        for cable in cables.iter().filter(|c| c.kind != CableKind::Management) {
            let [first, second] = &cable.ends;
            for (here, there, side) in [(first, second, 1), (second, first, 0)] {
                if let Some(list) = neighbours.get_mut(here.node) {
                    list.push(Neighbour {
                        node: there.node,
                        interface: &here.interface,
                        link_local: link_local_address(side),
                    });
                }
            }
        }
        Self { roles: nodes.iter().map(|n| n.role).collect(), neighbours }
    }

    fn is_host(&self, node: usize) -> bool {
        self.roles.get(node) == Some(&Role::Host)
    }

    fn is_switch(&self, node: usize) -> bool {
        self.roles.get(node) == Some(&Role::Switch)
    }

    /// Links from every node to `target`; hosts are ends, never transit.
    fn distances(&self, target: usize) -> Vec<Option<usize>> {
        let mut distance = vec![None; self.roles.len()];
        let mut queue = VecDeque::from([(target, 0usize)]);
        while let Some((node, d)) = queue.pop_front() {
            let Some(slot) = distance.get_mut(node) else { continue };
            if slot.is_some() {
                continue;
            }
            *slot = Some(d);
            if node == target || self.is_switch(node) {
                queue.extend(self.neighbours.get(node).into_iter().flatten().map(|n| (n.node, d + 1)));
            }
        }
        distance
    }

    fn next_hops(&self, node: usize, distance: &[Option<usize>]) -> Vec<Hop> {
        let of = |node: usize| distance.get(node).copied().flatten();
        let Some(here) = of(node) else { return Vec::new() };
        self.neighbours
            .get(node)
            .into_iter()
            .flatten()
            .filter(|n| of(n.node).is_some_and(|d| d + 1 == here))
            .map(|n| Hop {
                via: self.is_switch(n.node).then_some(n.link_local.into()),
                interface: n.interface.to_owned(),
            })
            .collect()
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} proto static", self.prefix)?;
        if let Some(metric) = self.metric {
            write!(f, " metric {metric}")?;
        }
        for hop in &self.hops {
            if self.hops.len() > 1 {
                write!(f, " nexthop")?;
            }
            match hop.via {
                // An IPv4 route over an IPv6 next hop (RFC 5549).
                Some(IpAddr::V6(via)) if self.prefix.address().is_ipv4() => write!(f, " via inet6 {via}")?,
                Some(via) => write!(f, " via {via}")?,
                None => {}
            }
            write!(f, " dev {}", hop.interface)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::Options;
    use crate::plan::Plan;
    use crate::plan::tests::{DUAL_STACK, THREE, topology};

    fn of(text: &str, node: &str) -> Vec<String> {
        let plan = Plan::new(&topology(text), &Options::default()).unwrap();
        plan.routes[plan.node(node).unwrap()].iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_leaf_reaches_its_own_host_directly_and_others_over_every_spine() {
        let routes = of(THREE, "leaf00");
        assert!(
            routes.contains(&"fcbb:0:800::/64 proto static dev srv6-pytorch-0".to_owned()),
            "{routes:#?}"
        );
        let remote = "fcbb:0:800:1::/64 proto static nexthop via fe80::1 dev spine00 nexthop via fe80::1 dev spine01 nexthop via \
                      fe80::1 dev spine02";
        assert!(routes.contains(&remote.to_owned()), "{routes:#?}");
        assert!(
            routes.contains(&"fcbb:0:1000::/48 proto static via fe80::1 dev spine00".to_owned()),
            "{routes:#?}"
        );
        assert!(!routes.iter().any(|r| r.starts_with("fcbb:0:1004::/48")), "its own locator is a SID");
        assert_eq!(
            routes.iter().filter(|r| r.starts_with("fcbb:0:1006::/48 proto static nexthop")).count(),
            1
        );
    }

    #[test]
    fn a_host_has_plain_routes_and_the_block_route() {
        let routes = of(DUAL_STACK, "host00");
        for want in [
            "2001:db8:1000::1/128 proto static dev eth1",
            "10.1.0.1/32 proto static dev eth1",
            "2001:db8:1003::/64 proto static metric 2048 via 2001:db8:1000::1 dev eth1",
            "10.1.3.2/32 proto static metric 2048 via 10.1.0.1 dev eth1",
            "fc00::/32 proto static via 2001:db8:1000::1 dev eth1",
        ] {
            assert!(routes.contains(&want.to_owned()), "{want} not in {routes:#?}");
        }
        assert!(!routes.iter().any(|r| r.starts_with("2001:db8:1000::/64")), "no way to itself: {routes:#?}");
    }

    #[test]
    fn ipv4_crosses_the_fabric_over_ipv6_next_hops() {
        let routes = of(DUAL_STACK, "leaf00");
        let want = "10.1.3.2/32 proto static nexthop via inet6 fe80::1 dev spine00 nexthop via inet6 fe80::1 dev spine01";
        assert!(routes.contains(&want.to_owned()), "{routes:#?}");
    }

    #[test]
    fn hosts_that_share_a_prefix_are_reached_by_address() {
        let shared = DUAL_STACK
            .replace("\"2001:db8:1001:0::2\"", "\"2001:db8:1000:0::7\"")
            .replace("\"2001:db8:1001:0::\"", "\"2001:db8:1000:0::\"");
        let routes = of(&shared, "leaf00");
        assert!(routes.contains(&"2001:db8:1000::2/128 proto static dev host00".to_owned()), "{routes:#?}");
        assert!(routes.contains(&"2001:db8:1000::7/128 proto static dev host01".to_owned()), "{routes:#?}");
        let from_neighbour = of(&shared, "host00");
        let want = "2001:db8:1000::7/128 proto static metric 2048 via 2001:db8:1000::1 dev eth1";
        assert!(from_neighbour.contains(&want.to_owned()), "{from_neighbour:#?}");
    }
}
