//! Kinds of routing compared over the same workloads, in alternation.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::ensure;
use serde::Serialize;

use super::{Effort, Routing, Scene, Shaped, Trial, Workload, statistics};
use crate::{progress, table};

/// All trials of all workloads over all kinds of routing.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) rate_mbps: u32,
    /// TCP's in all hosts.
    pub(crate) congestion_control: String,
    /// Payload in Mbit/s that a link carries after all headers, by routing.
    pub(crate) wire_mbps: BTreeMap<&'static str, f64>,
    /// Names of the kinds of routing, in the order of tables.
    pub(crate) routings: Vec<&'static str>,
    pub(crate) trials: Vec<Trial>,
}

/// All trials of one workload over one kind of routing, in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) workload: Workload,
    pub(crate) routing: &'static str,
    pub(crate) trials: usize,
    /// Payload of the slowest flow or of the collective over what the wire carries: worst, middle and best trial.
    pub(crate) fraction_min: Option<f64>,
    pub(crate) fraction_median: Option<f64>,
    pub(crate) fraction_max: Option<f64>,
    /// Medians of all trials from here on. Of the mean flow.
    pub(crate) mean_fraction: Option<f64>,
    pub(crate) mbps: Option<f64>,
    pub(crate) seconds: Option<f64>,
    /// Load of the worst link between switches, and of the mean one.
    pub(crate) worst_link: Option<f64>,
    pub(crate) mean_link: Option<f64>,
    /// Jain's index of the loads of links between switches, and of the flows' rates.
    pub(crate) jain_links: Option<f64>,
    pub(crate) jain_flows: Option<f64>,
}

/// Ports don't matter to what is steered; some trials show the spread of the measurement itself.
const STEERED_PER_ECMP: u32 = 3;

impl Comparison {
    /// Runs all workloads over all kinds of routing: ECMP `trials` times, what is steered a third of that. Stops at the
    /// first wrong byte.
    pub(crate) fn measure(
        scene: &Scene,
        plugin: &Path,
        shaped: &Shaped,
        routings: &[Routing],
        trials: u32,
        effort: &Effort,
    ) -> anyhow::Result<Self> {
        let rounds = trials.div_ceil(STEERED_PER_ECMP);
        let bar = progress::bar("shaped fabric", u64::from(rounds));
        let mut all = Vec::new();
        for round in 0..rounds {
            for routing in routings {
                let name = format!("{}-{round}", routing.name());
                let mut crew = shaped.crew(scene, plugin, &name, routing)?;
                let repeats = match routing {
                    Routing::Ecmp => STEERED_PER_ECMP.min(trials - round * STEERED_PER_ECMP),
                    _ => 1,
                };
                for workload in Workload::ALL {
                    for _ in 0..repeats {
                        let trial = shaped.trial(&mut crew, routing, workload, effort)?;
                        let wrong = trial.wrong;
                        ensure!(wrong == 0, "{name}, {}: {wrong} bytes are wrong", workload.name());
                        all.push(trial);
                    }
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(Self {
            rate_mbps: shaped.mbps,
            congestion_control: shaped.congestion.clone(),
            wire_mbps: routings.iter().map(|r| (r.name(), shaped.wire(r).mbps())).collect(),
            routings: routings.iter().map(Routing::name).collect(),
            trials: all,
        })
    }

    /// Fractions of what the wire carries, of every trial.
    pub(crate) fn fractions(&self, workload: Workload, routing: &str) -> Vec<f64> {
        self.of(workload, routing).map(|trial| trial.fraction).collect()
    }

    /// Trials of a workload over a kind of routing.
    pub(crate) fn of(&self, workload: Workload, routing: &str) -> impl Iterator<Item = &Trial> {
        self.trials.iter().filter(move |t| t.workload == workload && t.routing == routing)
    }

    /// All trials in numbers, in the order of tables.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let pairs = Workload::ALL.into_iter().flat_map(|w| self.routings.iter().map(move |r| (w, *r)));
        pairs.map(|(workload, routing)| self.row(workload, routing)).collect()
    }

    /// The least idle time of a trial, as a share of the processors' time: near 0, links were not the limit.
    pub(crate) fn least_idle(&self) -> Option<f64> {
        statistics::least(&self.trials.iter().map(|trial| trial.idle).collect::<Vec<_>>())
    }

    fn row(&self, workload: Workload, routing: &'static str) -> Row {
        let fractions = self.fractions(workload, routing);
        let median = |value: &dyn Fn(&Trial) -> Option<f64>| {
            statistics::median(&self.of(workload, routing).filter_map(value).collect::<Vec<_>>())
        };
        Row {
            workload,
            routing,
            trials: fractions.len(),
            fraction_min: statistics::least(&fractions),
            fraction_median: statistics::median(&fractions),
            fraction_max: statistics::most(&fractions),
            mean_fraction: median(&|t| Some(t.mean_fraction)),
            mbps: median(&|t| Some(t.mbps)),
            seconds: median(&|t| Some(t.seconds)),
            worst_link: median(&|t| statistics::most(&t.between_switches())),
            mean_link: median(&|t| statistics::mean(&t.between_switches())),
            jain_links: median(&|t| statistics::jain(&t.between_switches())),
            jain_flows: median(&|t| Some(t.jain)),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings = [
            "WORKLOAD",
            "ROUTING",
            "TRIALS",
            "MIN",
            "MEDIAN",
            "MAX",
            "MEAN FLOW",
            "MBIT/S",
            "SECONDS",
            "WORST LINK",
            "MEAN LINK",
            "JAIN LINKS",
            "JAIN FLOWS",
        ];
        let mut shown = table::new(&headings);
        let cell = |value: Option<f64>, decimals: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
        };
        for row in self.rows() {
            shown.add_row([
                row.workload.name().to_owned(),
                row.routing.to_owned(),
                row.trials.to_string(),
                cell(row.fraction_min, 3),
                cell(row.fraction_median, 3),
                cell(row.fraction_max, 3),
                cell(row.mean_fraction, 3),
                cell(row.mbps, 1),
                cell(row.seconds, 2),
                cell(row.worst_link, 2),
                cell(row.mean_link, 2),
                cell(row.jain_links, 3),
                cell(row.jain_flows, 3),
            ]);
        }
        writeln!(f, "{shown}")?;
        let wire = |routing: &str| cell(self.wire_mbps.get(routing).copied(), 1);
        write!(
            f,
            "MIN, MEDIAN, MAX: payload of the slowest flow or of the collective over what the wire carries after all \
             headers\n({} Mbit/s plain, {} steered). Congestion control: {}. Least idle processor time of a trial: {}.",
            wire("ecmp"),
            wire("spread"),
            self.congestion_control,
            cell(self.least_idle(), 2)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::LinkLoad;

    fn trial(routing: &'static str, fraction: f64, loads: [f64; 2]) -> Trial {
        let link =
            |from: &str, to: &str, load| LinkLoad { from: from.into(), to: to.into(), load, switches: true };
        let host = LinkLoad { switches: false, ..link("host00", "leaf00", 1.0) };
        let [one, two] = loads;
        Trial {
            workload: Workload::Ring,
            routing,
            seconds: 1.0,
            fraction,
            mean_fraction: fraction,
            mbps: 100.0 * fraction,
            jain: 1.0,
            links: vec![link("leaf00", "spine00", one), link("leaf00", "spine01", two), host],
            wrong: 0,
            idle: fraction / 2.0,
        }
    }

    #[test]
    fn rows_are_medians_of_their_trials() {
        let comparison = Comparison {
            rate_mbps: 200,
            congestion_control: "cubic".into(),
            wire_mbps: BTreeMap::new(),
            routings: vec!["ecmp", "spread"],
            trials: vec![
                trial("ecmp", 0.25, [1.0, 0.0]),
                trial("ecmp", 0.5, [1.0, 0.5]),
                trial("ecmp", 1.0, [0.75, 0.75]),
                trial("spread", 0.75, [0.5, 0.5]),
            ],
        };
        let rows = comparison.rows();
        assert_eq!(rows.len(), 6);
        let ecmp = &rows[0];
        assert_eq!((ecmp.trials, ecmp.fraction_min, ecmp.fraction_median), (3, Some(0.25), Some(0.5)));
        // Worst links 1, 1 and 0.75; means 0.5, 0.75, 0.75; Jain 0.5, 0.9, 1.
        assert_eq!((ecmp.worst_link, ecmp.mean_link, ecmp.jain_links), (Some(1.0), Some(0.75), Some(0.9)));
        assert_eq!((rows[1].trials, rows[1].jain_links), (1, Some(1.0)));
        assert_eq!((rows[2].trials, rows[2].fraction_median), (0, None));
        assert_eq!(comparison.least_idle(), Some(0.125));
        assert!(comparison.to_string().contains("ring all-reduce"));
    }
}
