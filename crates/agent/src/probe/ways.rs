//! Which ways through the fabric are probed, and what their state says about its links. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use srv6_fabric::{Encoding, Path, Topology, VertexIndex, segments};
use srv6_steer::Place;

use super::health::{Health, Trust};

/// Most ways that one namespace probes. With one round every 200 ms that is some 20 000 packets a second at most.
const MOST: usize = 4096;

/// From a host up to the last of these switches, and back to the host by the same ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Way {
    /// The host's own address.
    pub own: Ipv6Addr,
    /// Names of the switches on the way out, two at least.
    pub switches: Vec<String>,
}

impl Way {
    /// The link that it has more than the way that is one shorter.
    pub fn link(&self) -> Option<Place> {
        match self.switches.as_slice() {
            [.., near, far] => Some(Place::link(near, far)),
            _ => None,
        }
    }
}

/// The ways to probe for these paths in use, each as names from host to host, with their carriers.
///
/// That is every uplink of the hosts' own leaves, so that more is known than the state of the one in use, and every further link of
/// the paths, each as deep as one carrier reaches.
pub(super) fn ways(
    topology: &Topology,
    paths: &BTreeSet<Vec<String>>,
    algo: u8,
    function: Option<u32>,
) -> BTreeMap<Way, Ipv6Addr> {
    let mut found = BTreeMap::new();
    for hops in paths {
        let [host, switches @ .., _destination] = hops.as_slice() else { continue };
        let Some((host, own)) = own_address(topology, host) else { continue };
        let Some(leaf) = switches.first().and_then(|name| topology.by_name(name)) else { continue };
        let mut outward: Vec<Vec<VertexIndex>> = topology
            .outgoing(leaf)
            .map(|edge| edge.to)
            .filter(|&to| !topology.vertex(to).is_host())
            .map(|to| vec![leaf, to])
            .collect();
        let positions: Option<Vec<VertexIndex>> =
            switches.iter().map(|name| topology.by_name(name)).collect();
        let positions = positions.unwrap_or_default();
        outward.extend((3..=positions.len()).filter_map(|depth| positions.get(..depth).map(<[_]>::to_vec)));
        for out in outward {
            if found.len() >= MOST {
                return found;
            }
            let name = |&vertex: &VertexIndex| topology.vertex(vertex).name.clone();
            let way = Way { own, switches: out.iter().map(name).collect() };
            if !found.contains_key(&way)
                && let Some(carrier) = carrier(topology, host, &out, algo, function)
            {
                found.insert(way, carrier);
            }
        }
    }
    found
}

/// The host of this name and its IPv6 address.
fn own_address(topology: &Topology, name: &str) -> Option<(VertexIndex, Ipv6Addr)> {
    let host = topology.by_name(name)?;
    topology.vertex(host).addresses.iter().find_map(|address| match address {
        IpAddr::V6(address) => Some((host, *address)),
        IpAddr::V4(_) => None,
    })
}

/// Out and back in one carrier; `None` where that needs more than one.
fn carrier(
    topology: &Topology,
    host: VertexIndex,
    out: &[VertexIndex],
    algo: u8,
    function: Option<u32>,
) -> Option<Ipv6Addr> {
    let back = out.iter().rev().skip(1);
    let vertices = std::iter::once(&host).chain(out).chain(back).chain(std::iter::once(&host)).copied();
    let encoding = Encoding { algo, function, ..Encoding::of(srv6_fabric::Family::V6) };
    let segments = segments(topology, &Path { vertices: vertices.collect() }, &encoding).ok()?;
    match segments.as_slice() {
        [carrier] => Some(*carrier),
        _ => None,
    }
}

/// The links that are assumed bad.
///
/// A way fails at the first link that makes it fail: what lies behind says nothing new. One that never worked counts only if others
/// as deep do, since a fabric may not carry such probes at all.
pub(super) fn bad(ways: &BTreeMap<Way, Health>) -> BTreeSet<Place> {
    let works = |depth: usize| {
        ways.iter().any(|(way, health)| way.switches.len() == depth && health.trust == Trust::Good)
    };
    let is_bad = |way: &Way, health: &Health| {
        health.trust == Trust::AssumedBad && (health.ever_good || works(way.switches.len()))
    };
    let shorter_is_bad = |way: &Way| {
        (2..way.switches.len()).filter_map(|depth| way.switches.get(..depth)).any(|switches| {
            let shorter = Way { own: way.own, switches: switches.to_vec() };
            ways.get(&shorter).is_some_and(|health| is_bad(&shorter, health))
        })
    };
    ways.iter()
        .filter(|(way, health)| is_bad(way, health) && !shorter_is_bad(way))
        .filter_map(|(way, _)| way.link())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn topology() -> Topology {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json");
        srv6_paths::read_topology(&file, "fabric_graph", "hosts").unwrap().1
    }

    fn hops(names: &str) -> Vec<String> {
        names.split(' ').map(str::to_owned).collect()
    }

    fn way(names: &str) -> Way {
        Way { own: "2001:db8:1000::2".parse().unwrap(), switches: hops(names) }
    }

    fn health(works: bool) -> Health {
        let mut health = Health::default();
        health.answered(Duration::from_millis(1));
        for _ in 0..3 * usize::from(!works) {
            health.lost();
        }
        health
    }

    #[test]
    fn every_uplink_is_probed_and_every_further_link_in_use() {
        let paths = BTreeSet::from([
            hops("host00 leaf00 spine01 leaf01 host01"),
            hops("host00 leaf00 spine03 leaf02 host02"),
            hops("nowhere leaf00 spine03 leaf02 host02"),
        ]);
        let found = ways(&topology(), &paths, 0, None);
        let carrier = |names: &str| found[&way(names)].to_string();
        assert_eq!(carrier("leaf00 spine00"), "fc00:0:1200:1000:1200:fe06::");
        assert_eq!(carrier("leaf00 spine01 leaf01"), "fc00:0:1200:1001:1201:1001:1200:fe06");
        assert_eq!(carrier("leaf00 spine03 leaf02"), "fc00:0:1200:1003:1202:1003:1200:fe06");
        assert_eq!(found.len(), 6, "four uplinks and two links behind them: {found:?}");
    }

    #[test]
    fn a_fault_is_where_the_shortest_failing_way_ends() {
        let near = [("leaf00 spine00", true), ("leaf00 spine01", true), ("leaf00 spine02", true)];
        let all = |changes: &[(&str, bool)]| -> Vec<String> {
            let ways =
                near.iter().chain(changes).map(|(names, works)| (way(names), health(*works))).collect();
            bad(&ways).iter().map(ToString::to_string).collect()
        };
        assert!(all(&[]).is_empty());
        assert_eq!(all(&[("leaf00 spine01", false)]), ["leaf00-spine01"]);
        assert_eq!(all(&[("leaf00 spine01", false), ("leaf00 spine01 leaf01", false)]), ["leaf00-spine01"]);
        assert_eq!(all(&[("leaf00 spine01 leaf01", false)]), ["leaf01-spine01"]);
    }

    #[test]
    fn a_fabric_that_does_not_carry_probes_has_no_bad_links() {
        let mut never = Health::default();
        for _ in 0..10 {
            never.lost();
        }
        let deaf: BTreeMap<Way, Health> =
            ["leaf00 spine00", "leaf00 spine01"].map(|names| (way(names), never)).into();
        assert!(bad(&deaf).is_empty());
        // One that never answered among others that do is dead since before the start.
        let mut one = deaf;
        one.insert(way("leaf00 spine00"), health(true));
        assert_eq!(bad(&one), BTreeSet::from([Place::link("leaf00", "spine01")]));
    }
}
