//! Which path a flow takes, and the carrier that makes it take it. The one place that decides this.

use srv6_fabric::{
    CarrierError, Encoding, Family, Flow, Path, Policy, Segments, SidFormat, segments, spread,
};
use srv6_paths::Answer;

use crate::Config;

/// The path that was picked.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) path: Path,
    pub(crate) segments: Segments,
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

/// Picks by policy. A path that no carrier can express (a spine without a SID) is passed over for the next one.
pub(crate) fn choose(config: &Config, flow: Flow, answer: &Answer) -> Result<Choice, CarrierError> {
    let paths = &answer.candidates.paths;
    let first = match config.policy {
        _ if answer.candidates.chosen => 0,
        Policy::Hops => 0,
        Policy::Spread | Policy::Load | Policy::Latency | Policy::Utilization => {
            spread(&answer.topology, answer.source, answer.destination, paths)
        }
    };
    let encoding = encoding(config, flow);
    let mut refused = CarrierError::NoSegments;
    for (turn, path) in paths.iter().cycle().skip(first).take(paths.len()).enumerate() {
        match segments(&answer.topology, path, &encoding) {
            Ok(segments) => return Ok(Choice { path: path.clone(), segments }),
            Err(error) => {
                log::warn!("path {} can't be used: {error}", path.names(&answer.topology).join(" > "));
                if turn == 0 {
                    refused = error;
                }
            }
        }
    }
    Err(refused)
}

/// Names of the candidate with these segments: a route that another process chose.
pub(crate) fn names_of(
    config: &Config,
    flow: Flow,
    answer: &Answer,
    wanted: &Segments,
) -> Option<Vec<String>> {
    let encoding = encoding(config, flow);
    answer
        .candidates
        .paths
        .iter()
        .find(|path| segments(&answer.topology, path, &encoding).is_ok_and(|s| s == *wanted))
        .map(|path| path.names(&answer.topology))
}
