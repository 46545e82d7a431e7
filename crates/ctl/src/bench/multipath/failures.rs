//! Failures in the middle of a long all-reduce: how long until the rest of the fabric is used, and whether data is lost.

use std::fmt;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::{Bench, cell};
use crate::experiment::{Routing, Shaped, statistics};
use crate::{progress, table};

use super::failure::{FailureKind, Outcome, Run};

/// All runs of all kinds of failure.
#[derive(Debug, Serialize)]
pub(super) struct Failures {
    rate_mbps: u32,
    /// Payload in Mbit/s for each host: before, and with three of four paths.
    pub(super) capacity_mbps: f64,
    pub(super) remaining_mbps: f64,
    pub(super) kinds: Vec<Kind>,
    /// The same with the earlier plugin, a few runs for contrast.
    previous: Vec<Kind>,
}

/// All runs of one kind of failure.
#[derive(Debug, Serialize)]
pub(super) struct Kind {
    pub(super) kind: FailureKind,
    pub(super) outcomes: Vec<Outcome>,
}

/// Runs of each kind with the earlier plugin.
const CONTRAST: u32 = 2;

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Failures> {
    let shaped = Shaped::up(&bench.fabric, bench.rate, &bench.congestion)?;
    let capacity = shaped.wire(&Routing::Multipath);
    let kinds = runs(bench, &shaped, &bench.plugin, "failures", bench.runs)?;
    let previous = match &bench.previous {
        Some(plugin) => runs(bench, &shaped, plugin, "failures-previous", CONTRAST.min(bench.runs))?,
        None => Vec::new(),
    };
    Ok(Failures {
        rate_mbps: bench.rate,
        capacity_mbps: capacity.mbps(),
        remaining_mbps: capacity.mbps() * REMAINING,
        kinds,
        previous,
    })
}

/// Three of four paths are left, for all hosts of a leaf together.
pub(super) const REMAINING: f64 = 0.75;

fn runs(bench: &Bench, shaped: &Shaped, plugin: &Path, name: &str, runs: u32) -> anyhow::Result<Vec<Kind>> {
    let bar = progress::bar(name, u64::from(runs) * FailureKind::ALL.len() as u64);
    let mut kinds: Vec<Kind> =
        FailureKind::ALL.into_iter().map(|kind| Kind { kind, outcomes: Vec::new() }).collect();
    // Kinds in turn, so that what the machine does meanwhile hits all alike.
    for _ in 0..runs {
        for Kind { kind, outcomes } in &mut kinds {
            // A job of its own: new connections of one that has seen a path die keep off it for seconds.
            let mut crew = shaped.crew(&bench.scene, plugin, name, &Routing::Multipath)?;
            let outcome = Run { shaped, kind: *kind }.play(&mut crew);
            // However it ended, the next run finds a fabric without faults.
            shaped.lab.heal_all().context("healing the fabric")?;
            outcomes.push(outcome?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(kinds)
}

impl Failures {
    /// This percentile of the milliseconds to 90 % of the remaining capacity, of the worst kind.
    pub(super) fn worst_failover_ms(&self, percent: u32) -> Option<f64> {
        let of = |kind: &Kind| statistics::percentile(&kind.values(|o| o.failover_ms), percent);
        statistics::most(&self.kinds.iter().filter_map(of).collect::<Vec<_>>())
    }

    /// Median of the milliseconds until a healed path carries its share, of the worst kind.
    pub(super) fn worst_heal_ms(&self) -> Option<f64> {
        let of = |kind: &Kind| statistics::median(&kind.values(|o| o.heal_ms));
        statistics::most(&self.kinds.iter().filter_map(of).collect::<Vec<_>>())
    }

    /// Bytes lost or wrong in all runs.
    pub(super) fn lost_bytes(&self) -> u64 {
        self.kinds.iter().flat_map(|kind| &kind.outcomes).map(|outcome| outcome.lost_bytes).sum()
    }
}

impl Kind {
    fn values(&self, value: impl Fn(&Outcome) -> f64) -> Vec<f64> {
        self.outcomes.iter().map(value).collect()
    }

    /// The run in the middle by time to recover: the one to show.
    pub(super) fn typical(&self) -> Option<&Outcome> {
        let mut sorted: Vec<&Outcome> = self.outcomes.iter().collect();
        sorted.sort_by(|a, b| a.failover_ms.total_cmp(&b.failover_ms));
        sorted.get(sorted.len() / 2).copied()
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings = [
            "PLUGIN",
            "FAILURE",
            "RUNS",
            "BEFORE",
            "AFTER",
            "TO 90 % P50",
            "P99",
            "LONGEST GAP",
            "LOST BYTES",
            "HEALED P50",
            "HEALED MAX",
        ];
        let mut shown = table::new(&headings);
        for (plugin, kinds) in [("this", &self.kinds), ("previous", &self.previous)] {
            for kind in kinds {
                let failover = kind.values(|o| o.failover_ms);
                let heal = kind.values(|o| o.heal_ms);
                let median = |value: fn(&Outcome) -> f64| cell(statistics::median(&kind.values(value)), 1);
                shown.add_row([
                    plugin.to_owned(),
                    kind.kind.name().to_owned(),
                    kind.outcomes.len().to_string(),
                    median(|o| o.before_mbps),
                    median(|o| o.after_mbps),
                    cell(statistics::percentile(&failover, 50), 1),
                    cell(statistics::percentile(&failover, 99), 1),
                    median(|o| o.gap_ms),
                    kind.outcomes.iter().map(|o| o.lost_bytes).sum::<u64>().to_string(),
                    cell(statistics::median(&heal), 0),
                    cell(statistics::most(&heal), 0),
                ]);
            }
        }
        writeln!(f, "{shown}")?;
        write!(
            f,
            "BEFORE, AFTER: Mbit/s of payload for each host, {:.1} and {:.1} possible; times in ms. TO 90 %: from the \
             failure until 90 % of the remaining capacity is used. HEALED: from the repair until the path has 80 % of \
             its share, as of the first 100 ms.",
            self.capacity_mbps, self.remaining_mbps
        )?;
        for (plugin, kind) in [("", &self.kinds), ("previous: ", &self.previous)]
            .into_iter()
            .flat_map(|(p, k)| k.iter().map(move |k| (p, k)))
        {
            for died in kind.outcomes.iter().filter_map(|outcome| outcome.died.as_ref()) {
                write!(f, "\n{plugin}{}: the job died: {died}", kind.kind.name())?;
            }
        }
        Ok(())
    }
}
