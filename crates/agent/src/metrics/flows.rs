//! Metrics of single flows, as many as the settings allow.

use std::collections::BTreeMap;
use std::fmt;

use srv6_steer::FlowReport;

use super::{Labels, Page};
use crate::{Carried, Snapshot};

/// What stands for everything that has no series of its own.
const OTHERS: &str = "others";

/// Text for the labels of one flow.
struct Named<'a> {
    job: &'a str,
    rank: String,
    src: String,
    dst: String,
    slot: String,
    path: String,
    carried: Option<&'a Carried>,
    report: &'a FlowReport,
}

pub(super) fn encode(snapshot: &Snapshot, most: usize, page: &mut Page<'_>) -> fmt::Result {
    states(snapshot, page)?;
    paths(snapshot, most, page)?;
    // The first by address, so that a flow doesn't come and go between scrapes.
    let own: Vec<Named<'_>> = snapshot
        .flows()
        .take(most)
        .map(|(namespace, report)| Named::of(snapshot, namespace, report))
        .collect();
    let rest = || snapshot.flows().skip(most).map(|(_, report)| report);
    let left_out = rest().count();
    page.gauge(
        "srv6d_flows_without_series",
        "Flows that are counted among the others: SRV6D_METRIC_FLOWS",
        left_out,
    )?;
    page.gauges(
        "srv6d_flow_carrier",
        "Always 1; the labels say which path and carrier a flow has now",
        own.iter().map(|flow| {
            (
                [flow.labels(), vec![("path", flow.path.as_str()), ("carrier", &flow.report.carrier)]]
                    .concat(),
                1_u64,
            )
        }),
    )?;
    let others = || -> Labels<'static> {
        vec![("job", OTHERS), ("rank", ""), ("src", OTHERS), ("dst", OTHERS), ("slot", "")]
    };
    let mut connections: Vec<_> = own.iter().map(|flow| (flow.labels(), flow.report.connections)).collect();
    let carried = || own.iter().filter_map(|flow| Some((flow, flow.carried?)));
    page.gauges(
        "srv6d_flow_acknowledged_bytes",
        "Bytes that the peer has acknowledged on the flow's TCP connections that are open",
        carried().map(|(flow, carried)| (flow.labels(), carried.acknowledged)),
    )?;
    page.gauges(
        "srv6d_flow_round_trip_seconds",
        "Mean of the smoothed round-trip times of the flow's TCP connections",
        carried().map(|(flow, carried)| (flow.labels(), carried.round_trip.as_secs_f64())),
    )?;
    let moves: Vec<_> =
        own.iter().map(|flow| (flow.labels(), flow.report.moves.values().sum::<u64>())).collect();
    if left_out > 0 {
        connections.push((others(), rest().map(|report| report.connections).sum()));
    }
    page.gauges("srv6d_flow_connections", "Connections that use a flow's path", connections)?;
    // Those of the others would shrink when a flow ends, which a counter must not.
    page.counters("srv6d_flow_moves", "How often a flow has changed its path", moves)
}

/// How many flows are how well off.
fn states(snapshot: &Snapshot, page: &mut Page<'_>) -> fmt::Result {
    let mut states = BTreeMap::from([("clear", 0_u64), ("drained", 0), ("bad", 0), ("absent", 0)]);
    for (_, report) in snapshot.flows() {
        let state = match report {
            FlowReport { in_place: false, .. } => "absent",
            FlowReport { against, .. } if against.bad => "bad",
            FlowReport { against, .. } if against.drained => "drained",
            _ => "clear",
        };
        *states.entry(state).or_default() += 1;
    }
    page.gauges(
        "srv6d_flows",
        "Flows and lanes: on a clear path, on a drained or bad one for want of a better, or absent from the kernel",
        states.into_iter().map(|(state, count)| (vec![("state", state)], count)),
    )
}

/// How many flows each path has. Paths beyond the limit are the others.
fn paths(snapshot: &Snapshot, most: usize, page: &mut Page<'_>) -> fmt::Result {
    let mut paths: BTreeMap<String, u64> = BTreeMap::new();
    for (_, report) in snapshot.flows() {
        *paths.entry(switches(report)).or_default() += 1;
    }
    let others: u64 = paths.values().skip(most).sum();
    let mut values: Vec<_> =
        paths.iter().take(most).map(|(path, count)| (vec![("path", path.as_str())], *count)).collect();
    if others > 0 {
        values.push((vec![("path", OTHERS)], others));
    }
    page.gauges("srv6d_path_flows", "Flows and lanes over these switches", values)
}

/// The switches between the hosts: what flows of different hosts can have in common.
fn switches(report: &FlowReport) -> String {
    match report.hops.as_slice() {
        [_, switches @ .., _] if !switches.is_empty() => switches.join(">"),
        hops => hops.join(">"),
    }
}

impl<'a> Named<'a> {
    fn of(snapshot: &'a Snapshot, namespace: u64, report: &'a FlowReport) -> Self {
        let owner = snapshot.owner(namespace, report.flow);
        let rank = owner.and_then(|owner| owner.rank);
        Self {
            job: owner.map_or("", |owner| &owner.job),
            rank: rank.map(|rank| rank.to_string()).unwrap_or_default(),
            src: report.flow.src.to_string(),
            dst: report.flow.dst.to_string(),
            slot: report.slot.map(|slot| slot.to_string()).unwrap_or_default(),
            path: report.hops.join(">"),
            carried: snapshot.carried(namespace, report),
            report,
        }
    }

    fn labels(&self) -> Labels<'_> {
        vec![
            ("job", self.job),
            ("rank", self.rank.as_str()),
            ("src", &self.src),
            ("dst", &self.dst),
            ("slot", &self.slot),
        ]
    }
}
