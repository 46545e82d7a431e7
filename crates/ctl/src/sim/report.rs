//! What came out, as a table and as JSON.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Map, Value, json};
use srv6_sim::{Clos, Distribution, Outcome, Policy, Rule, Workload};

use super::Input;
use crate::table;

/// One policy.
pub(super) struct Row {
    pub(super) policy: Policy,
    pub(super) paths: usize,
    /// Load of the worst link of every run, ascending.
    pub(super) worst: Vec<f64>,
    /// The run with the median worst link.
    pub(super) outcome: Outcome,
    /// Its loads by link; empty unless asked for.
    pub(super) loads: Vec<f32>,
    pub(super) seconds: f64,
}

/// All policies.
pub(super) struct Report<'a> {
    input: &'a Input<'a>,
    rows: Vec<Row>,
    flows: usize,
    /// Time that the hosts' ports need, in ms.
    ideal_ms: f64,
    seconds: f64,
    max_rss_mib: f64,
}

impl<'a> Report<'a> {
    pub(super) fn new(input: &'a Input<'_>, rows: Vec<Row>, took: Duration) -> anyhow::Result<Self> {
        let clos = &input.chosen.clos;
        let workload = Workload::new(clos, input.jobs, input.args.seed)?;
        let bits = workload.bytes_per_host(input.args.work.size * 1024.0 * 1024.0) * 8.0;
        Ok(Self {
            input,
            rows,
            flows: workload.flows(),
            ideal_ms: bits / (clos.planes as f64 * clos.host_rate * 1e6),
            seconds: took.as_secs_f64(),
            max_rss_mib: max_rss_mib()?,
        })
    }

    /// One object; docs/SIMULATION.md says what its keys mean.
    pub(super) fn json(&self) -> Value {
        let Clos { planes, pods, leaves, spines, cores, hosts_per_leaf, host_rate, fabric_rate } =
            self.input.chosen.clos;
        let args = self.input.args;
        let worst: Map<String, Value> =
            self.rows.iter().map(|row| (row.policy.to_string(), number(median(&row.worst)))).collect();
        json!({
            "fabric": {
                "name": self.input.chosen.name, "tiers": self.input.chosen.clos.tiers(), "planes": planes, "pods": pods,
                "leaves": leaves, "spines": spines, "cores": cores, "hosts_per_leaf": hosts_per_leaf,
                "rate_gbps": host_rate, "rate_fabric_gbps": fabric_rate,
                "switches": self.input.chosen.clos.switches(), "links": self.input.whole.links(),
            },
            "workload": {
                "pattern": format!("{:?}", args.work.workload).to_lowercase(), "channels": args.work.channels,
                "order": format!("{:?}", args.work.order).to_lowercase(), "jobs": args.work.jobs,
                "placement": format!("{:?}", args.work.placement).to_lowercase(), "size_mib": args.work.size,
            },
            "failed": args.fail,
            "seed": args.seed,
            "policies": self.rows.iter().map(|row| self.policy(row)).collect::<Vec<_>>(),
            "ideal_ms": number(self.ideal_ms),
            "gpus": self.input.chosen.clos.hosts(),
            "flows": self.flows,
            "seconds": number(self.seconds),
            "max_rss_mib": number(self.max_rss_mib),
            "worst_link_load": worst,
        })
    }

    fn policy(&self, row: &Row) -> Value {
        let outcome = &row.outcome;
        let name = |node| self.input.chosen.names.of(node);
        let links: Vec<Value> = row
            .loads
            .iter()
            .enumerate()
            .map(|(n, &load)| {
                let link = self.input.whole.link(n);
                json!({"from": name(link.from), "to": name(link.to), "load": number(f64::from(load))})
            })
            .collect();
        json!({
            "policy": row.policy.to_string(),
            "paths": row.paths,
            "worst_link_load": {
                "min": row.worst.first().copied().map(number), "median": number(median(&row.worst)),
                "max": row.worst.last().copied().map(number), "trials": row.worst.len(),
            },
            "worst_link": outcome.worst_link.map(|link| json!({
                "from": name(link.from), "to": name(link.to), "kind": link.kind(),
            })),
            "time_ms": number(outcome.worst * self.ideal_ms),
            "link_load": distribution(outcome.links),
            "jain_links": number(outcome.jain_links),
            "flow_slowdown": distribution(outcome.flows),
            "jain_flows": number(outcome.jain_flows),
            "job_slowdown": distribution(outcome.jobs),
            "cut_off_flows": outcome.cut_off,
            "hit_share": number(outcome.hit),
            "moved_share": number(outcome.moved),
            "max_min": outcome.fair.map(|fair| json!({
                "slowest": number(fair.slowest), "mean_rate": number(fair.mean_rate), "jain": number(fair.jain),
            })),
            "seconds": number(row.seconds),
            "links": self.input.args.links.then_some(links),
        })
    }

    fn heading(&self) -> String {
        let Clos { planes, pods, leaves, spines, cores, hosts_per_leaf, host_rate, fabric_rate } =
            self.input.chosen.clos;
        let pods = if cores == 0 { String::new() } else { format!("{pods} pods of ") };
        let cores = if cores == 0 { String::new() } else { format!(", {cores} cores above each spine") };
        format!(
            "{}: {} hosts; {planes} x {pods}{leaves} leaves, {spines} spines{cores}; {hosts_per_leaf} hosts per leaf; \
             ports {host_rate} Gbit/s, links {fabric_rate} Gbit/s",
            self.input.chosen.name,
            self.input.chosen.clos.hosts()
        )
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broken = !self.input.args.fail.is_empty();
        let trials = self.rows.iter().any(|row| row.worst.len() > 1);
        let mut headings = vec!["policy", "paths", "worst link"];
        headings.extend(trials.then_some("of runs"));
        headings.extend(["where", "mean link", "p99 link", "jain", "flow p50", "flow p99", "time (ms)"]);
        headings.extend(broken.then_some(["hit", "moved", "cut off"]).into_iter().flatten());
        let mut table = table::new(&headings);
        for row in &self.rows {
            let outcome = &row.outcome;
            let two = |value: f64| format!("{value:.2}");
            let paths = if row.policy.rule == Rule::All { "all".to_owned() } else { row.paths.to_string() };
            let mut cells = vec![row.policy.to_string(), paths, two(median(&row.worst))];
            let ends = row.worst.first().zip(row.worst.last());
            cells.extend(trials.then(|| ends.map_or_else(String::new, |(a, b)| format!("{a:.2}-{b:.2}"))));
            cells.push(outcome.worst_link.map_or_else(|| "-".to_owned(), |link| link.kind()));
            cells.extend([outcome.links.mean, outcome.links.p99, outcome.jain_links].map(two));
            cells.extend([outcome.flows.p50, outcome.flows.p99].map(two));
            cells.push(format!("{:.1}", outcome.worst * self.ideal_ms));
            if broken {
                cells.extend([outcome.hit, outcome.moved].map(|share| format!("{:.2}%", share * 100.0)));
                cells.push(outcome.cut_off.to_string());
            }
            table.add_row(cells);
        }
        writeln!(f, "{}", self.heading())?;
        writeln!(
            f,
            "{} flows; 1.00 is a link that is full while hosts send at line rate, {:.1} ms\n",
            self.flows, self.ideal_ms
        )?;
        writeln!(f, "{table}")?;
        writeln!(f, "\n{:.1} s, {:.0} MiB", self.seconds, self.max_rss_mib)
    }
}

/// The lower of both middle values where their number is even; as the shown run is one of them.
fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

fn distribution(values: Distribution) -> Value {
    let Distribution { mean, p50, p90, p99, max } = values;
    json!({
        "mean": number(mean), "p50": number(p50), "p90": number(p90), "p99": number(p99), "max": number(max),
    })
}

/// To six digits after the point: loads are counted with 24 bits.
fn number(value: f64) -> Value {
    json!((value * 1e6).round() / 1e6)
}

/// Most memory that this process has had, in MiB (`VmHWM`, proc_pid_status(5)).
fn max_rss_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM in /proc/self/status")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().with_context(|| format!("VmHWM: {line}"))?;
    Ok(kib / 1024.0)
}
