//! Which path a flow takes, and the carrier that makes it take it. The one place that decides this.

use srv6_fabric::{
    CarrierError, Encoding, Family, Flow, Path, Policy, Segments, SidFormat, Topology, VertexIndex,
    equal_cost_paths, segments, spread,
};
use srv6_paths::{Answer, MAX_PATHS};

use crate::{Config, Denials, Objection};

/// The path that was picked.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) path: Path,
    pub(crate) hops: Vec<String>,
    pub(crate) segments: Segments,
    pub(crate) against: Objection,
    /// Whether it is the one that the policy gives as long as nothing is against it.
    pub(crate) own: bool,
}

/// Two hosts of a fabric.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) source: VertexIndex,
    pub(crate) destination: VertexIndex,
}

impl<'a> Ends<'a> {
    /// The hosts of a flow, if this fabric has both.
    pub(crate) fn of(topology: &'a Topology, flow: Flow) -> Option<Self> {
        let (source, destination) = (topology.host_of(flow.src)?, topology.host_of(flow.dst)?);
        (source != destination).then_some(Self { topology, source, destination })
    }

    /// All equal-cost paths between them.
    pub(crate) fn paths(self) -> Vec<Path> {
        equal_cost_paths(self.topology, self.source, self.destination, MAX_PATHS)
    }

    /// Position that this flow takes among paths that all hosts see alike.
    fn spread(self, paths: &[Path]) -> usize {
        spread(self.topology, self.source, self.destination, paths)
    }
}

/// How carriers of a flow are written.
pub(crate) fn encoding(config: &Config, flow: Flow) -> Encoding {
    Encoding {
        family: Family::of(flow.dst),
        algo: config.algo,
        function: config.function,
        format: SidFormat::F3216,
    }
}

/// Picks by policy, of the paths that least is against. One that no carrier can express (a spine without a SID) is passed over
/// for the next one.
pub(crate) fn choose(
    config: &Config,
    flow: Flow,
    answer: &Answer,
    denials: &Denials,
) -> Result<Choice, CarrierError> {
    let ends = Ends { topology: &answer.topology, source: answer.source, destination: answer.destination };
    let mut paths = answer.candidates.paths.clone();
    let own = match config.policy {
        _ if answer.candidates.chosen => {
            // The source names one path, and knows nothing of what is denied here.
            let others =
                ends.paths().into_iter().filter(|path| answer.candidates.paths.first() != Some(path));
            paths.extend(others.collect::<Vec<_>>());
            0
        }
        Policy::Hops => 0,
        Policy::Spread | Policy::Load | Policy::Latency | Policy::Utilization => ends.spread(&paths),
    };
    let (choices, refused) = choices(config, flow, ends.topology, paths, own, denials);
    for (path, error) in &refused {
        log::warn!("path {} can't be used: {error}", path.names(ends.topology).join(" > "));
    }
    pick(&choices, ends)
        .cloned()
        .ok_or_else(|| refused.into_iter().next().map_or(CarrierError::NoSegments, |(_, error)| error))
}

/// The path that a flow in use by `current` is to change to; `None` if it is to stay.
///
/// It changes if its path is no longer one of the fabric's, if there is one that less is against, and, where `home`, if the
/// policy's own path is as good as any.
pub(crate) fn rechoose(
    config: &Config,
    flow: Flow,
    topology: &Topology,
    current: &Segments,
    home: bool,
    denials: &Denials,
) -> Option<Choice> {
    let ends = Ends::of(topology, flow)?;
    let paths = ends.paths();
    let encoding = encoding(config, flow);
    let is_current = |path: &Path| segments(topology, path, &encoding).is_ok_and(|s| s == *current);
    let own = match config.policy {
        Policy::Spread => ends.spread(&paths),
        Policy::Hops => 0,
        // Only the path API knows; what it said stands as long as it can.
        Policy::Load | Policy::Latency | Policy::Utilization => {
            paths.iter().position(is_current).unwrap_or_else(|| ends.spread(&paths))
        }
    };
    let (choices, _) = choices(config, flow, topology, paths, own, denials);
    let best = pick(&choices, ends)?;
    match choices.iter().find(|choice| choice.segments == *current) {
        Some(present) if present.segments == best.segments => None,
        Some(present) if present.against == best.against && !(home && best.own) => None,
        _ => Some(best.clone()),
    }
}

/// What the paths come to as carriers, and those that come to none; the policy's own path first, then around.
fn choices(
    config: &Config,
    flow: Flow,
    topology: &Topology,
    mut paths: Vec<Path>,
    own: usize,
    denials: &Denials,
) -> (Vec<Choice>, Vec<(Path, CarrierError)>) {
    let encoding = encoding(config, flow);
    let (mut choices, mut refused) = (Vec::with_capacity(paths.len()), Vec::new());
    if !paths.is_empty() {
        let own = own % paths.len();
        paths.rotate_left(own);
    }
    for path in paths {
        match segments(topology, &path, &encoding) {
            Ok(segments) => {
                let hops = path.names(topology);
                let against = denials.against(&hops);
                choices.push(Choice { own: choices.is_empty(), path, hops, segments, against });
            }
            Err(error) => refused.push((path, error)),
        }
    }
    (choices, refused)
}

/// The policy's own path if nothing is better. Otherwise flows divide what is left among themselves: were it the next path for
/// all, it would get twice the load.
fn pick<'a>(choices: &'a [Choice], ends: Ends<'_>) -> Option<&'a Choice> {
    let least = choices.iter().map(|choice| choice.against).min()?;
    let mut left: Vec<&Choice> = choices.iter().filter(|choice| choice.against == least).collect();
    if let Some(own) = left.first().filter(|choice| choice.own) {
        return Some(own);
    }
    left.sort_by(|a, b| a.path.vertices.cmp(&b.path.vertices));
    let paths: Vec<Path> = left.iter().map(|choice| choice.path.clone()).collect();
    left.get(ends.spread(&paths)).copied()
}

/// Names of the path with these segments: a route that another process chose.
pub(crate) fn names_of(
    config: &Config,
    flow: Flow,
    topology: &Topology,
    wanted: &Segments,
) -> Option<Vec<String>> {
    let encoding = encoding(config, flow);
    Ends::of(topology, flow)?
        .paths()
        .iter()
        .find(|path| segments(topology, path, &encoding).is_ok_and(|s| s == *wanted))
        .map(|path| path.names(topology))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path as FilePath;

    use super::*;
    use crate::{Place, Source};

    fn topology() -> Topology {
        let file = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json");
        srv6_paths::read_topology(&file, "fabric_graph", "hosts").unwrap().1
    }

    fn config(policy: Policy) -> Config {
        Config { policy, ..Config::new(Source::File("none".into())) }
    }

    fn flow(from: usize, to: usize) -> Flow {
        let address = |host: usize| format!("2001:db8:100{host}::2").parse().unwrap();
        Flow { src: address(from), dst: address(to) }
    }

    fn by(topology: &Topology, flow: Flow, spine: &str) -> Segments {
        let ends = Ends::of(topology, flow).unwrap();
        let encoding = encoding(&config(Policy::Spread), flow);
        let has = |path: &Path| path.names(topology).contains(&spine.to_owned());
        segments(topology, ends.paths().iter().find(|path| has(path)).unwrap(), &encoding).unwrap()
    }

    fn places(names: &[&str]) -> BTreeSet<Place> {
        names.iter().map(|name| Place::Switch((*name).to_owned())).collect()
    }

    fn bad(names: &[&str]) -> Denials {
        Denials { bad: places(names), ..Denials::default() }
    }

    fn moves(policy: Policy, current: &str, home: bool, denials: &Denials) -> Option<String> {
        let (topology, flow) = (topology(), flow(0, 1));
        let current = by(&topology, flow, current);
        rechoose(&config(policy), flow, &topology, &current, home, denials).map(|c| c.hops[2].clone())
    }

    #[test]
    fn a_flow_moves_off_what_is_denied_and_only_then() {
        // Leaves 0 and 1: spine01 is its own.
        assert_eq!(moves(Policy::Spread, "spine01", true, &bad(&["spine00"])), None);
        let moved = moves(Policy::Spread, "spine01", false, &bad(&["spine01"])).unwrap();
        assert!(["spine00", "spine02", "spine03"].contains(&moved.as_str()), "{moved}");
        assert_eq!(
            moves(Policy::Spread, "spine01", false, &bad(&["spine00", "spine01", "spine03"])).unwrap(),
            "spine02"
        );
        // On another path it stays there, unless it is to go home and can.
        assert_eq!(moves(Policy::Spread, "spine03", false, &Denials::default()), None);
        assert_eq!(moves(Policy::Spread, "spine03", true, &Denials::default()).as_deref(), Some("spine01"));
        assert_eq!(moves(Policy::Spread, "spine03", true, &bad(&["spine01"])), None);
        assert_eq!(moves(Policy::Load, "spine03", true, &Denials::default()), None);
    }

    #[test]
    fn never_the_last_path_and_the_lesser_evil() {
        let all = ["spine00", "spine01", "spine02", "spine03"];
        assert_eq!(moves(Policy::Spread, "spine01", false, &bad(&all)), None);
        // All but one dead, that one drained: a drained path may work.
        let denials =
            Denials { drained: places(&["spine02"]), bad: places(&["spine00", "spine01", "spine03"]) };
        assert_eq!(moves(Policy::Spread, "spine01", false, &denials).as_deref(), Some("spine02"));
        assert_eq!(moves(Policy::Spread, "spine02", true, &denials), None);
    }

    #[test]
    fn displaced_flows_divide_what_is_left() {
        let topology = topology();
        let denials = bad(&["spine01"]);
        let mut displaced: BTreeMap<String, usize> = BTreeMap::new();
        for from in 0..4 {
            for to in (0..4).filter(|to| *to != from) {
                let flow = flow(from, to);
                let ends = Ends::of(&topology, flow).unwrap();
                let (paths, config) = (ends.paths(), config(Policy::Spread));
                let own = ends.spread(&paths);
                let (all, _) = choices(&config, flow, &topology, paths, own, &denials);
                let chosen = pick(&all, ends).unwrap();
                assert!(chosen.against.is_none());
                assert_eq!(chosen.own, all[0].against.is_none(), "no other flow moves");
                if !chosen.own {
                    *displaced.entry(chosen.hops[2].clone()).or_default() += 1;
                }
            }
        }
        let counts: Vec<usize> = displaced.values().copied().collect();
        assert_eq!(counts, [2, 2], "{displaced:?}");
    }

    #[test]
    fn a_path_that_the_fabric_no_longer_has_is_left() {
        let (topology, flow) = (topology(), flow(0, 1));
        let gone = Segments::new(vec!["fc00:0:1200:1009:1201:fe06::".parse().unwrap()]).unwrap();
        let config = config(Policy::Spread);
        let denials = Denials::default();
        let chosen = rechoose(&config, flow, &topology, &gone, false, &denials).unwrap();
        assert_eq!((chosen.hops[2].as_str(), chosen.own), ("spine01", true));
        assert_eq!(names_of(&config, flow, &topology, &gone), None);
        assert_eq!(names_of(&config, flow, &topology, &chosen.segments), Some(chosen.hops));
        // A fabric without one of the hosts says nothing about the flow.
        let stranger = Flow { dst: "2001:db8:ffff::1".parse().unwrap(), ..flow };
        assert!(rechoose(&config, stranger, &topology, &gone, true, &denials).is_none());
    }
}
