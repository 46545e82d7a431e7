//! The paths of a flow that have slots, and which of them a connection takes. Pure.

use srv6_fabric::{
    CarrierError, Flow, Path, Segments, Topology, disjoint, header_segments, least_shared, replacement,
    segments, sort_for_both_ends, spread,
};
use srv6_paths::Answer;
use srv6_routes::{Pinning, SLOTS};

use super::choosing::{Choosing, Demand, Pick, Verdict};
use crate::Config;
use crate::choice::{Ends, encoding};

/// Paths of a flow in the order of their slots: both directions of a pair of hosts number them alike.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ways {
    ways: Vec<Way>,
    pub(super) paths: Vec<Path>,
    /// Where the first connection of the flow begins.
    pub(crate) start: usize,
}

/// One path of a flow.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Way {
    pub(crate) hops: Vec<String>,
    pub(crate) segments: Segments,
    pub(crate) mtu: Option<u32>,
}

impl Ways {
    /// The ways of a flow, at most one per slot. Of more paths those are taken that share least.
    ///
    /// # Errors
    /// No path can be written as carriers: the reason for the first one.
    pub(crate) fn new(
        config: &Config,
        flow: Flow,
        answer: &Answer,
        pinning: Pinning,
    ) -> Result<Self, CarrierError> {
        let ends =
            Ends { topology: &answer.topology, source: answer.source, destination: answer.destination };
        let (ways, refused) = Self::over(config, flow, ends, answer.candidates.paths.clone(), pinning);
        for (path, error) in &refused {
            log::warn!("path {} can't be used: {error}", path.names(ends.topology).join(" > "));
        }
        if ways.ways.is_empty() {
            return Err(refused.into_iter().next().map_or(CarrierError::NoSegments, |(_, error)| error));
        }
        Ok(ways)
    }

    /// The ways of a flow in the fabric as it is now; `None` if it has none.
    pub(crate) fn now(config: &Config, flow: Flow, topology: &Topology, pinning: Pinning) -> Option<Self> {
        let ends = Ends::of(topology, flow)?;
        let (ways, _) = Self::over(config, flow, ends, ends.paths(), pinning);
        (!ways.ways.is_empty()).then_some(ways)
    }

    /// What these paths come to, and those that come to nothing.
    fn over(
        config: &Config,
        flow: Flow,
        Ends { topology, source, destination }: Ends<'_>,
        mut paths: Vec<Path>,
        pinning: Pinning,
    ) -> (Self, Vec<(Path, CarrierError)>) {
        let encoding = encoding(config, flow);
        let pack = |path: &Path| match pinning {
            Pinning::RoutingHeader => header_segments(topology, path, &encoding),
            Pinning::Mark | Pinning::Ports => segments(topology, path, &encoding),
        };
        sort_for_both_ends(&mut paths);
        if paths.len() > usize::from(SLOTS) {
            let (first, last) = (source.min(destination), source.max(destination));
            let mut chosen = disjoint(&paths, usize::from(SLOTS), spread(topology, first, last, &paths));
            chosen.sort_unstable();
            paths = chosen.iter().filter_map(|&i| paths.get(i).cloned()).collect();
        }
        let (mut ways, mut refused) = (Vec::new(), Vec::new());
        paths.retain(|path| match pack(path) {
            Ok(segments) => {
                let mtu = config.mtu.or_else(|| path.mtu(topology));
                ways.push(Way { hops: path.names(topology), segments, mtu });
                true
            }
            Err(error) => {
                refused.push((path.clone(), error));
                false
            }
        });
        let start = spread(topology, source, destination, &paths);
        (Self { ways, paths, start }, refused)
    }

    /// How many there are: never 0.
    pub(crate) fn len(&self) -> usize {
        self.ways.len()
    }

    /// The way at a position.
    pub(crate) fn get(&self, way: usize) -> Option<&Way> {
        self.ways.get(way)
    }

    /// Position of the way with these segments.
    pub(crate) fn position(&self, segments: &Segments) -> Option<usize> {
        self.ways.iter().position(|way| way.segments == *segments)
    }

    /// Position of the way that is a path of the other direction backwards.
    pub(crate) fn reverse_of(&self, path: &[String]) -> Option<usize> {
        self.ways.iter().position(|way| way.hops.iter().eq(path.iter().rev()))
    }

    /// What a connection takes, one slot per lane.
    ///
    /// Lanes that have a path to go along come first. Each of the others takes a slot that no lane has yet, of those over good
    /// ways the one whose path shares least with those taken. Where there is none any more, it takes one whose way is avoided:
    /// its socket is tried until the path is back, while a second lane on another path would stay there. Then one whose way is
    /// denied, over a good one until that is lifted. Only if there are more lanes than slots do two take the same one.
    pub(crate) fn choose(&self, demand: &Demand<'_>, verdict: impl Fn(&Way) -> Verdict) -> Vec<Pick> {
        let mut choosing = Choosing::new(self, demand, verdict);
        let along = demand.along.iter().take(demand.count);
        let mut lanes: Vec<Option<Pick>> = along.map(|path| choosing.along(path)).collect();
        lanes.resize(demand.count, None);
        lanes.into_iter().filter_map(|lane| lane.or_else(|| choosing.anywhere())).collect()
    }

    /// The way that stands in for a `lost` one beside `others` of the same connection; `None` if all are in use or avoided.
    pub(crate) fn spare(
        &self,
        lost: Option<usize>,
        others: &[usize],
        avoided: impl Fn(&Way) -> bool,
    ) -> Option<usize> {
        let free = |way: usize| !others.contains(&way) && self.ways.get(way).is_some_and(|w| !avoided(w));
        match lost {
            Some(lost) => replacement(&self.paths, lost, others, free),
            None => least_shared(&self.paths, others, self.start, free),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path as FilePath;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use srv6_fabric::{Documents, Policy, equal_cost_paths};
    use srv6_paths::{CacheLimits, Candidates, Origin, Paths, Query, TopologyFile};

    use super::*;
    use crate::Source;

    fn ways(fabric: &str, src: &str, dst: &str, pinning: Pinning) -> Ways {
        let file =
            FilePath::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/fabrics/{fabric}.json"));
        let config = Config::new(Source::File(file.clone()));
        let source = TopologyFile::new(file, config.graph.clone(), config.hosts.clone());
        let flow = Flow { src: src.parse().unwrap(), dst: dst.parse().unwrap() };
        let query = Query { policy: Policy::Spread, algo: 0 };
        let mut paths = Paths::new(Box::new(source), CacheLimits::default());
        let answer = paths.candidates(flow, query, Instant::now() + Duration::from_secs(5)).unwrap();
        Ways::new(&config, flow, &answer, pinning).unwrap()
    }

    fn four() -> Ways {
        ways("4x4", "2001:db8:1000::2", "2001:db8:1001::2", Pinning::Mark)
    }

    fn free(count: usize, start: usize) -> Demand<'static> {
        Demand { count, start, along: &[], present: &[] }
    }

    #[test]
    fn segments_are_those_of_the_pinning() {
        let marked = four();
        assert_eq!(marked.get(2).unwrap().segments.to_string(), "fc00:0:1200:1002:1201:fe06::");
        let headed = ways("4x4", "2001:db8:1000::2", "2001:db8:1001::2", Pinning::RoutingHeader);
        assert_eq!(headed.get(2).unwrap().segments.to_string(), "fc00:0:1200:1002:1201::");
        assert_eq!(marked.position(&marked.get(3).unwrap().segments), Some(3));
        assert_eq!(marked.position(&headed.get(3).unwrap().segments), None);
    }

    /// Slots that lead over their own ways.
    fn at_home<const N: usize>(slots: [usize; N]) -> [Pick; N] {
        slots.map(|slot| Pick { slot, way: slot })
    }

    #[test]
    fn connections_begin_at_different_paths_and_go_around() {
        let ways = four();
        let good = |_: &Way| Verdict::Good;
        assert_eq!(ways.choose(&free(2, 3), good), at_home([3, 0]));
        assert_eq!(ways.choose(&free(4, 1), good), at_home([1, 2, 3, 0]));
        assert_eq!(ways.choose(&free(6, 2), good), at_home([2, 3, 0, 1, 2, 3]));
    }

    /// What is said of the way over spine01; all others are good.
    fn over_spine01(verdict: Verdict) -> impl Fn(&Way) -> Verdict {
        move |way| if way.hops.contains(&"spine01".to_owned()) { verdict } else { Verdict::Good }
    }

    #[test]
    fn an_avoided_path_is_taken_after_all_others() {
        let (ways, dead) = (four(), over_spine01(Verdict::Avoided));
        assert_eq!(ways.choose(&free(3, 1), &dead), at_home([2, 3, 0]));
        assert_eq!(ways.choose(&free(4, 1), &dead), at_home([2, 3, 0, 1]));
        assert_eq!(ways.choose(&free(6, 1), &dead), at_home([2, 3, 0, 1, 2, 3]));
        assert_eq!(ways.choose(&free(3, 1), |_| Verdict::Avoided), at_home([1, 2, 3]));
        // Slot 1 leads over spine03 now, since the path over spine01 died: there are three paths to choose from, and
        // slots 1 and 3 are the same one.
        let present = [Some(0), Some(3), Some(2), Some(3)];
        let demand = Demand { present: &present, ..free(4, 1) };
        let moved = Pick { slot: 1, way: 3 };
        assert_eq!(ways.choose(&demand, &dead)[0], moved);
        assert_eq!(ways.choose(&demand, &dead)[1..], at_home([2, 0, 3]));
        let demand = Demand { present: &[Some(0), None, Some(2), Some(3)], ..free(4, 1) };
        assert_eq!(ways.choose(&demand, |_| Verdict::Good), at_home([2, 3, 0, 2]), "slot 1 is not known");
    }

    #[test]
    fn over_a_denied_path_goes_nothing_and_its_slot_leads_over_another() {
        let (ways, drained) = (four(), over_spine01(Verdict::Denied));
        assert_eq!(ways.choose(&free(3, 1), &drained), at_home([2, 3, 0]));
        let chosen = ways.choose(&free(4, 1), &drained);
        assert_eq!(chosen[..3], at_home([2, 3, 0]));
        assert_eq!(chosen[3], Pick { slot: 1, way: 2 }, "it can return when the denial is lifted");
        let along: Vec<Vec<String>> =
            (0..4).map(|way| ways.get(way).unwrap().hops.iter().rev().cloned().collect()).collect();
        let chosen = ways.choose(&Demand { along: &along, ..free(4, 0) }, &drained);
        assert_eq!(chosen, [(0, 0), (1, 0), (2, 2), (3, 3)].map(|(slot, way)| Pick { slot, way }));
        // The peer's slots do the same.
        let twice = [2, 3, 0, 2].map(|way: usize| along[way].clone());
        let chosen = ways.choose(&Demand { along: &twice, ..free(4, 0) }, &drained);
        let wanted = [(2, 2), (3, 3), (0, 0), (1, 2)].map(|(slot, way)| Pick { slot, way });
        assert_eq!(chosen, wanted);
        let demand = Demand { along: &twice, present: &[Some(0), Some(2), Some(2), Some(3)], ..free(4, 0) };
        assert_eq!(ways.choose(&demand, &drained), wanted, "also where the slot stands in already");
        // Nothing is better than the paths there are.
        assert_eq!(ways.choose(&free(5, 3), |_| Verdict::Denied), at_home([3, 0, 1, 2, 3]));
    }

    #[test]
    fn acknowledgements_go_back_over_the_peers_switches() {
        let (there, back) = (four(), ways("4x4", "2001:db8:1001::2", "2001:db8:1000::2", Pinning::Mark));
        let good = |_: &Way| Verdict::Good;
        let peers = there.choose(&free(4, 2), good);
        let along: Vec<Vec<String>> =
            peers.iter().map(|pick| there.get(pick.way).unwrap().hops.clone()).collect();
        let chosen = back.choose(&Demand { along: &along, ..free(4, 0) }, good);
        assert_eq!(chosen, peers, "both ends number the paths alike");
        // One that isn't known, and one said twice, stay in their places.
        let strange = [along[1].clone(), vec!["?".to_owned()], along[0].clone(), along[0].clone()];
        let chosen = back.choose(&Demand { along: &strange, ..free(4, 0) }, good);
        assert_eq!((chosen[0], chosen[2], chosen[3]), (peers[1], peers[0], peers[0]));
        assert!(!peers[..2].contains(&chosen[1]), "{chosen:?}");
    }

    #[test]
    fn a_spare_is_one_that_the_connection_does_not_use() {
        let ways = four();
        assert_eq!(ways.spare(Some(1), &[0, 2], |_| false), Some(3));
        assert_eq!(ways.spare(Some(1), &[0, 2, 3], |_| false), None);
        assert_eq!(ways.spare(None, &[0], |way| way.hops.contains(&"spine01".to_owned())), Some(2));
        assert_eq!(ways.spare(Some(0), &[], |_| true), None);
    }

    /// Two leaves with four hosts each and many spines.
    fn wide(spines: usize) -> Topology {
        let node = |name: &str, usid: usize, function: &str| {
            format!(
                r#"{{"_key": "{name}", "name": "{name}", "sids": [{{"srv6_sid": "fc00:0:{usid:x}::",
                "srv6_endpoint_behavior": {{"endpoint_behavior": 48, "algo": 0}}}}{function}]}}"#
            )
        };
        let link = |one: &str, other: &str| {
            let edge = |from: &str, to: &str| {
                let id = |name: &str| {
                    format!("{}/{name}", if name.starts_with("host") { "hosts" } else { "fabric_node" })
                };
                format!(r#"{{"_key": "{from}_{to}", "_from": "{}", "_to": "{}"}}"#, id(from), id(to))
            };
            [edge(one, other), edge(other, one)]
        };
        let decapsulates = |leaf: usize| {
            format!(
                r#", {{"srv6_sid": "fc00:0:{leaf:x}:fe06::",
                "srv6_endpoint_behavior": {{"endpoint_behavior": 62, "algo": 0}}}}"#
            )
        };
        let (mut nodes, mut hosts, mut edges) = (Vec::new(), Vec::new(), Vec::new());
        for leaf in 0..2 {
            nodes.push(node(&format!("leaf{leaf}"), 0x1200 + leaf, &decapsulates(0x1200 + leaf)));
            for host in 4 * leaf..4 * leaf + 4 {
                hosts.push(format!(
                    r#"{{"_key": "host{host}", "name": "host{host}", "ipv6_address": "2001:db8:{host}::2"}}"#
                ));
                edges.extend(link(&format!("host{host}"), &format!("leaf{leaf}")));
            }
            for spine in 0..spines {
                edges.extend(link(&format!("leaf{leaf}"), &format!("spine{spine:02}")));
            }
        }
        nodes.extend((0..spines).map(|spine| node(&format!("spine{spine:02}"), 0x1000 + spine, "")));
        let text = format!(
            r#"{{"hosts": [{}], "fabric_node": [{}], "fabric_graph": [{}]}}"#,
            hosts.join(","),
            nodes.join(","),
            edges.join(",")
        );
        let documents = Documents::parse([("test", text.as_str())], "fabric_graph", "hosts").unwrap();
        Topology::new(&documents, "fabric_graph").unwrap()
    }

    #[test]
    fn more_paths_than_slots_are_shared_out_alike_at_both_ends() {
        let topology = Arc::new(wide(40));
        let ways = |from: usize, to: usize| {
            let end = |host: usize| topology.by_name(&format!("host{host}")).unwrap();
            let (source, destination) = (end(from), end(to));
            let paths = equal_cost_paths(&topology, source, destination, 256);
            assert_eq!(paths.len(), 40);
            let answer = Answer {
                topology: Arc::clone(&topology),
                source,
                destination,
                candidates: Candidates { paths, chosen: false },
                origin: Origin::File,
            };
            let address = |host: usize| format!("2001:db8:{host}::2").parse().unwrap();
            let flow = Flow { src: address(from), dst: address(to) };
            Ways::new(&Config::new(Source::File("none".into())), flow, &answer, Pinning::Mark).unwrap()
        };
        let mut used = BTreeSet::new();
        for from in 0..4 {
            for to in 4..8 {
                let (there, back) = (ways(from, to), ways(to, from));
                assert_eq!((there.len(), back.len()), (16, 16));
                for slot in 0..16 {
                    let (one, other) = (there.get(slot).unwrap(), back.get(slot).unwrap());
                    assert!(one.hops.iter().eq(other.hops.iter().rev()), "{one:?} {other:?}");
                    used.insert(one.hops[2].clone());
                }
            }
        }
        assert!(used.len() > 16, "not every pair has the same sixteen: {used:?}");
    }
}
