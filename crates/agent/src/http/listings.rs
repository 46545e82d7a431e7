//! Flows and paths as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use srv6_steer::{FlowReport, Moves};

use crate::Snapshot;

/// Every flow and lane: namespace, flow, path and what has happened to it.
pub(super) fn flows(snapshot: &Snapshot) -> Value {
    let flows: Vec<Value> =
        snapshot.flows().map(|(namespace, report)| flow(snapshot, namespace, report)).collect();
    json!({ "flows": flows })
}

/// Every path in use, with the number of flows and connections on it.
pub(super) fn paths(snapshot: &Snapshot) -> Value {
    let mut paths: BTreeMap<(&[String], &str), (usize, usize, bool)> = BTreeMap::new();
    for (_, report) in snapshot.flows() {
        let (flows, connections, bad) = paths.entry((&report.hops, &report.carrier)).or_default();
        *flows += 1;
        *connections += report.connections;
        *bad |= report.against.bad;
    }
    let paths: Vec<Value> = paths
        .into_iter()
        .map(|((hops, carrier), (flows, connections, bad))| {
            json!({ "hops": hops, "carrier": carrier, "flows": flows, "connections": connections, "bad": bad })
        })
        .collect();
    json!({ "paths": paths })
}

fn flow(snapshot: &Snapshot, namespace: u64, report: &FlowReport) -> Value {
    let owner = snapshot.owner(namespace, report.flow);
    json!({
        "job": owner.map(|owner| &owner.job),
        "rank": owner.and_then(|owner| owner.rank),
        "namespace": namespace,
        "src": report.flow.src,
        "dst": report.flow.dst,
        "slot": report.slot.map(|slot| slot.to_string()),
        "hops": report.hops,
        "carrier": report.carrier,
        "origin": report.origin,
        "connections": report.connections,
        "bad": report.against.bad,
        "drained": report.against.drained,
        "in_place": report.in_place,
        "age_s": report.age.as_secs_f64(),
        "moves": moves(&report.moves),
    })
}

fn moves(moves: &Moves) -> BTreeMap<&'static str, u64> {
    moves.iter().map(|(reason, count)| (reason.name(), *count)).collect()
}
