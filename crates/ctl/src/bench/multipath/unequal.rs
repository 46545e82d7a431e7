//! One of four paths at a quarter of the rate: pull scheduling against equal shares.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use srv6_lab::{Lab, Mbps, Node, Options};

use super::{Bench, cell};
use crate::experiment::plot::Strip;
use crate::experiment::{Crew, Net, Pattern, Settings, Until, Wire, fabric, statistics};
use crate::table;

/// What came out.
#[derive(Debug, Serialize)]
pub(super) struct Unequal {
    rate_mbps: u32,
    slow_mbps: u32,
    /// Payload that all paths together carry, in Mbit/s.
    possible_mbps: f64,
    multipath: Striping,
    equal: Striping,
}

#[derive(Debug, Serialize)]
struct Striping {
    mbps: Vec<f64>,
    fraction: f64,
    /// Share of each spine in what the leaf sent up.
    shares: BTreeMap<String, f64>,
}

const MTU: u32 = 1500;
/// Above four times the rate between switches, so that paths are the limit and not the hosts' links.
const HOST_FACTOR: u32 = 5;
const SLOW: &str = "leaf00-spine02";
const LEAF: &str = "leaf00";
const SLOT: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Unequal> {
    let rate = bench.rate / 2;
    let slow = rate / 4;
    let options = Options {
        rate_fabric: Some(Mbps::new(rate)?),
        rate_host: Some(Mbps::new(rate * HOST_FACTOR)?),
        mtu: Some(MTU),
        congestion: Some(bench.congestion.clone()),
        ..Options::default()
    };
    let lab = Lab::up(&fabric(&bench.fabric)?, &options).context("raising the fabric")?;
    lab.rate(SLOW, Some(Mbps::new(slow)?))?;
    let all = Wire::steered(rate, MTU).at(f64::from(3 * rate + slow));
    let paths = Paths { bench, lab: &lab, possible: all.bytes_per_s() };
    let (mut multipath, mut equal) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        multipath.push(paths.multipath(round)?);
        equal.push(paths.equal(round)?);
    }
    Ok(Unequal {
        rate_mbps: rate,
        slow_mbps: slow,
        possible_mbps: all.mbps(),
        multipath: paths.striping(multipath)?,
        equal: paths.striping(equal)?,
    })
}

/// A fabric with a slow path.
struct Paths<'a> {
    bench: &'a Bench,
    lab: &'a Lab,
    /// Bytes of payload per second over all paths.
    possible: f64,
}

/// Bytes per second of one run, and what each spine got meanwhile.
type Run = (f64, BTreeMap<String, f64>);

impl Paths<'_> {
    /// One connection of four subflows from a host to one of the other leaf.
    fn multipath(&self, round: u32) -> anyhow::Result<Run> {
        let nodes = [self.lab.node("host00")?, self.lab.node("host04")?];
        let mut crew = self.crew(&format!("unequal-multipath-{round}"), &nodes, 4)?;
        crew.connect(&Pattern::Streams(vec![(0, 1)]), SLOT)?;
        let time = Duration::from_secs(if self.bench.quick { 3 } else { 5 });
        let before = self.lab.sent_by(LEAF)?;
        let sent = crew.send(SLOT, Until::Time(time), true, false, PATIENCE)?;
        let shares = shares(&before, &self.lab.sent_by(LEAF)?);
        crew.close()?;
        let flow = sent.flows.first().context("nothing came")?;
        ensure!(flow.wrong == 0, "{} bytes are wrong", flow.wrong);
        Ok((flow.rate(sent.began), shares))
    }

    /// A quarter of the same data over each path, by a connection of its own between hosts of its own: what a
    /// transport reaches that deals chunks out in turn. It is done when the slowest is.
    fn equal(&self, round: u32) -> anyhow::Result<Run> {
        let hosts = ["host00", "host04", "host01", "host05", "host02", "host06", "host03", "host07"];
        let nodes = hosts.map(|host| self.lab.node(host)).into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut crew = self.crew(&format!("unequal-equal-{round}"), &nodes, 1)?;
        let pairs = vec![(0, 1), (2, 3), (4, 5), (6, 7)];
        crew.connect(&Pattern::Streams(pairs), SLOT)?;
        let before = self.lab.sent_by(LEAF)?;
        let quarter = (QUARTER * u64::from(self.bench.rate) / 200).max(1);
        let sent = crew.send(SLOT, Until::Messages(quarter), true, false, PATIENCE)?;
        let shares = shares(&before, &self.lab.sent_by(LEAF)?);
        crew.close()?;
        let wrong: u64 = sent.flows.iter().map(|flow| flow.wrong).sum();
        ensure!(wrong == 0, "{wrong} bytes are wrong");
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let bytes = sent.flows.iter().map(|flow| flow.bytes).sum::<u64>() as f64;
        Ok((bytes / sent.seconds, shares))
    }

    fn crew(&self, name: &str, nodes: &[&Node], paths: u32) -> anyhow::Result<Crew> {
        let file = self.bench.fabric.canonicalize().context("finding the fabric")?;
        let settings = Settings::steered(&file, paths);
        Crew::start(&self.bench.scene, Net::Plugin(&self.bench.plugin), name, nodes, &settings)
    }

    fn striping(&self, runs: Vec<Run>) -> anyhow::Result<Striping> {
        let rates: Vec<f64> = runs.iter().map(|(rate, _)| *rate).collect();
        let median = statistics::median(&rates).context("no runs")?;
        let (_, shares) = runs.into_iter().next_back().context("no runs")?;
        let mbps = rates.iter().map(|rate| rate * 8.0 / 1e6).collect();
        Ok(Striping { mbps, fraction: median / self.possible, shares })
    }
}

/// Messages over each path where all get the same, at 200 Mbit/s: two seconds over the slow one.
const QUARTER: u64 = 24;

/// What each spine got of what a leaf sent up.
fn shares(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, f64> {
    let grown: BTreeMap<&String, u64> = after
        .iter()
        .filter(|(to, _)| to.starts_with("spine"))
        .map(|(to, bytes)| (to, bytes - before.get(to).copied().unwrap_or(0)))
        .collect();
    let all = grown.values().sum::<u64>().max(1);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    grown.into_iter().map(|(to, bytes)| (to.clone(), bytes as f64 / all as f64)).collect()
}

impl Unequal {
    /// The share of each path: in what all could carry, and in what went over them.
    pub(super) fn strips(&self) -> Vec<Strip> {
        let all = f64::from(3 * self.rate_mbps + self.slow_mbps);
        let capacity = |spine: &str| {
            let rate = if SLOW.ends_with(spine) { self.slow_mbps } else { self.rate_mbps };
            f64::from(rate) / all
        };
        let capacities: BTreeMap<String, f64> =
            self.multipath.shares.keys().map(|spine| (spine.clone(), capacity(spine))).collect();
        let groups = [
            ("capacity", &capacities),
            ("multipath", &self.multipath.shares),
            ("equal shares", &self.equal.shares),
        ];
        let strip = |group: &str, (spine, share): (&String, &f64)| Strip {
            group: group.to_owned(),
            name: spine.clone(),
            values: vec![*share],
        };
        let strips = |(group, shares): (&'static str, &'_ BTreeMap<String, f64>)| {
            shares.iter().map(|entry| strip(group, entry)).collect::<Vec<_>>()
        };
        groups.into_iter().flat_map(strips).collect()
    }

    /// Multipath over the summed capacity.
    pub(super) fn fraction(&self) -> f64 {
        self.multipath.fraction
    }
}

impl fmt::Display for Unequal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spines = self.multipath.shares.keys().map(String::as_str);
        let headings: Vec<&str> = ["", "MBIT/S", "OF THE SUM"].into_iter().chain(spines).collect();
        let mut shown = table::new(&headings);
        for (name, striping) in [("multipath", &self.multipath), ("equal shares", &self.equal)] {
            let shares = striping.shares.values().map(|share| cell(Some(*share), 2));
            let row = [
                name.to_owned(),
                cell(statistics::median(&striping.mbps), 1),
                cell(Some(striping.fraction), 3),
            ];
            shown.add_row(row.into_iter().chain(shares));
        }
        let Self { rate_mbps, slow_mbps, possible_mbps, .. } = self;
        writeln!(f, "{shown}")?;
        write!(
            f,
            "three paths at {rate_mbps} Mbit/s, one at {slow_mbps}: {possible_mbps:.1} Mbit/s of payload together. \
             Equal shares: four connections, one over each path, a quarter of the data each."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plot_s_groups_are_whole() {
        let shares: BTreeMap<String, f64> = (0..4).map(|spine| (format!("spine{spine:02}"), 0.25)).collect();
        let striping = || Striping { mbps: vec![1.0], fraction: 0.9, shares: shares.clone() };
        let (multipath, equal) = (striping(), striping());
        let unequal = Unequal { rate_mbps: 100, slow_mbps: 25, possible_mbps: 300.0, multipath, equal };
        let strips = unequal.strips();
        for group in ["capacity", "multipath", "equal shares"] {
            let values = strips.iter().filter(|strip| strip.group == group).map(|strip| strip.values[0]);
            let values: Vec<f64> = values.collect();
            assert!(values.len() == 4 && (values.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{values:?}");
        }
        let slow = strips.iter().find(|strip| strip.name == "spine02").unwrap();
        assert!((slow.values[0] - 25.0 / 325.0).abs() < 1e-12, "the slow path's part of the capacity");
    }

    #[test]
    fn shares_are_of_what_went_up() {
        let counters = |counts: [u64; 3]| -> BTreeMap<String, u64> {
            ["host00", "spine00", "spine01"].map(str::to_owned).into_iter().zip(counts).collect()
        };
        let shares = shares(&counters([0, 100, 100]), &counters([9999, 400, 200]));
        assert_eq!(shares.len(), 2, "hosts are no path: {shares:?}");
        assert!((shares["spine00"] - 0.75).abs() < 1e-12 && (shares["spine01"] - 0.25).abs() < 1e-12);
    }
}
