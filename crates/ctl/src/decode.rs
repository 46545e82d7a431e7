//! From the segments of a route back to the switches that it leads over.

use std::net::IpAddr;

use srv6_fabric::{
    Block, Carrier, Family, Flow, Path, Policy, Segments, SidFormat, Topology, equal_cost_paths, segments,
    spread,
};
use srv6_paths::MAX_PATHS;

use crate::path_source::PathSettings;

/// What the segments of a route mean in a topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Names of the hops: hosts at the ends where the topology knows them; a uSID that no switch has stays a number.
    pub(crate) hops: Vec<String>,
    /// The path of the topology that has exactly these segments; `None` if there is no such path now.
    pub(crate) path: Option<Path>,
    /// The hops that the policy would choose for this flow, where it needs no server for that.
    pub(crate) by_policy: Option<Vec<String>>,
}

impl Decoded {
    /// Whether the route's path is the policy's choice; `true` where that can't be told.
    pub(crate) fn is_by_policy(&self) -> bool {
        self.by_policy.as_ref().is_none_or(|hops| *hops == self.hops)
    }

    /// Why these segments aren't what they should be: no path at all, or, where it isn't `any_path` that is right, another one
    /// than the policy's.
    pub(crate) fn contradiction(
        &self,
        segments: &Segments,
        policy: Policy,
        any_path: bool,
    ) -> Option<String> {
        if self.path.is_none() {
            let hops = self.hops.join(" > ");
            return Some(format!("segments {segments} ({hops}) are no path of the topology now"));
        }
        (!any_path && !self.is_by_policy()).then(|| {
            let chosen = self.by_policy.as_ref().map(|hops| hops.join(" > ")).unwrap_or_default();
            format!("policy {policy} gives {chosen}, and the route another path")
        })
    }
}

/// Looks for the path of a flow that has these segments.
pub(crate) fn decode(topology: &Topology, settings: &PathSettings, flow: Flow, found: &Segments) -> Decoded {
    let ends = topology.host_of(flow.src).zip(topology.host_of(flow.dst));
    let encoding = settings.encoding(Family::of(flow.dst));
    let paths = ends.map_or_else(Vec::new, |(src, dst)| equal_cost_paths(topology, src, dst, MAX_PATHS));
    let usable: Vec<&Path> =
        paths.iter().filter(|path| segments(topology, path, &encoding).is_ok()).collect();
    // The same uSIDs may be spread over more carriers than they need.
    let wanted = usids(found);
    let path = usable
        .iter()
        .find(|path| segments(topology, path, &encoding).is_ok_and(|own| usids(&own) == wanted))
        .map(|path| (*path).clone());
    let chosen = ends.and_then(|(src, dst)| match settings.policy {
        Policy::Spread => paths.get(spread(topology, src, dst, &paths)),
        Policy::Hops => paths.first(),
        // These are the server's to choose, and asking it again would count as another flow.
        Policy::Load | Policy::Latency | Policy::Utilization => None,
    });
    let by_policy = chosen.filter(|path| usable.contains(path)).map(|path| path.names(topology));
    let hops = path.as_ref().map_or_else(|| spelled(topology, flow, found), |path| path.names(topology));
    Decoded { hops, path, by_policy }
}

/// Each uSID as the switch that has it.
fn spelled(topology: &Topology, flow: Flow, found: &Segments) -> Vec<String> {
    let host = |address: IpAddr| {
        let known = topology.host_of(address).map(|v| topology.vertex(v).name.clone());
        known.unwrap_or_else(|| address.to_string())
    };
    let switches = usids(found).into_iter().map(|(block, usid)| {
        let format = block.format();
        let owner = topology.vertices().find(|(_, vertex)| {
            let own = |address| Block::of(address, format) == block && format.field(address, 0) == usid;
            let is_node = |address| own(address) && format.field(address, 1) == 0;
            !vertex.is_host() && vertex.sids.iter().any(|sid| is_node(sid.address))
        });
        owner.map_or_else(|| format!("{usid:04x}"), |(_, vertex)| vertex.name.clone())
    });
    std::iter::once(host(flow.src)).chain(switches).chain([host(flow.dst)]).collect()
}

/// All uSIDs in travel order, each with its block.
fn usids(segments: &Segments) -> Vec<(Block, u32)> {
    let carriers =
        segments.as_slice().iter().filter_map(|&segment| Carrier::unpack(segment, SidFormat::F3216).ok());
    carriers.flat_map(|c| c.usids().iter().map(|&usid| (c.block(), usid)).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path_source::Place;

    fn example() -> (Topology, PathSettings) {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/fabrics/4x4.json");
        let (_, topology) = srv6_paths::read_topology(file.as_ref(), "fabric_graph", "hosts").unwrap();
        let settings = PathSettings {
            place: Place::File(file.into()),
            graph: "fabric_graph".to_owned(),
            hosts: "hosts".to_owned(),
            policy: Policy::Spread,
            algo: 0,
            function: None,
        };
        (topology, settings)
    }

    fn flow() -> Flow {
        Flow { src: "2001:db8:1000::2".parse().unwrap(), dst: "2001:db8:1001::2".parse().unwrap() }
    }

    fn carrier(text: &str) -> Segments {
        Segments::new(vec![text.parse().unwrap()]).unwrap()
    }

    #[test]
    fn the_route_of_a_path_has_its_names() {
        let (topology, settings) = example();
        let decoded = decode(&topology, &settings, flow(), &carrier("fc00:0:1200:1001:1201:fe06::"));
        assert_eq!(decoded.hops, ["host00", "leaf00", "spine01", "leaf01", "host01"]);
        assert!(decoded.path.is_some() && decoded.is_by_policy(), "{decoded:?}");
    }

    #[test]
    fn another_path_than_the_policys_is_told_apart() {
        let (topology, settings) = example();
        let decoded = decode(&topology, &settings, flow(), &carrier("fc00:0:1200:1002:1201:fe06::"));
        assert_eq!(decoded.hops[2], "spine02");
        assert!(decoded.path.is_some() && !decoded.is_by_policy(), "{decoded:?}");
        assert_eq!(decoded.by_policy.as_ref().unwrap()[2], "spine01");
        let load = PathSettings { policy: Policy::Load, ..settings };
        assert!(decode(&topology, &load, flow(), &carrier("fc00:0:1200:1002:1201:fe06::")).is_by_policy());
    }

    #[test]
    fn carriers_may_be_longer_than_they_must() {
        let (topology, settings) = example();
        let two = ["fc00:0:1200:1001::", "fc00:0:1201:fe06::"].map(|text| text.parse().unwrap());
        let decoded = decode(&topology, &settings, flow(), &Segments::new(two.to_vec()).unwrap());
        assert_eq!(decoded.hops, ["host00", "leaf00", "spine01", "leaf01", "host01"]);
    }

    #[test]
    fn segments_of_no_path_are_spelled_out() {
        let (topology, settings) = example();
        let decoded = decode(&topology, &settings, flow(), &carrier("fc00:0:1200:1001:1202:abcd::"));
        assert_eq!(decoded.path, None);
        assert_eq!(decoded.hops, ["host00", "leaf00", "spine01", "leaf02", "abcd", "host01"]);
    }
}
