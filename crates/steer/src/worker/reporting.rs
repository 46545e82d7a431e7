//! What is steered at the moment.

use std::collections::{BTreeMap, BTreeSet};

use srv6_routes::Slot;

use super::Worker;
use super::connections::lane_key;
use crate::Pinning;
use crate::report::{FlowReport, Moves, Report};

impl Worker {
    /// All flows and lanes, and what has happened so far.
    pub(super) fn report(&self) -> Report {
        let plain = self.flows.iter().map(|(key, steering)| FlowReport {
            flow: steering.flow,
            slot: None,
            hops: steering.steered.hops.clone(),
            carrier: steering.steered.carrier.clone(),
            origin: steering.steered.origin.clone(),
            connections: steering.connections.len(),
            against: self.denials.against(&steering.steered.hops),
            in_place: !self.keeping.missing.contains(key),
            age: steering.since.elapsed(),
            moves: steering.moves.clone(),
        });
        let mut flows: Vec<FlowReport> = plain.chain(self.lane_reports()).collect();
        flows.sort_by_key(|report| (report.flow, report.slot));
        Report {
            flows,
            moves: self.moves.clone(),
            checks: self.keeping.checks,
            last_check: self.keeping.last_check,
            repaired: self.keeping.repaired,
            incomplete: self.keeping.incomplete,
            source: self.resolver.report(),
        }
    }

    /// Paths of flows and lanes, each once.
    pub(super) fn paths_in_use(&self) -> BTreeSet<Vec<String>> {
        let plain = self.flows.values().map(|steering| &steering.steered.hops);
        let lanes = self.connections.open.values().flat_map(|connection| {
            let ways = connection.uses.iter().filter_map(|used| connection.ways.get(used.way?));
            ways.map(|way| &way.hops)
        });
        // Many flows, few paths: only those are copied.
        let paths: BTreeSet<&Vec<String>> = plain.chain(lanes).collect();
        paths.into_iter().cloned().collect()
    }

    /// One for each slot and path that lanes of a flow use.
    fn lane_reports(&self) -> Vec<FlowReport> {
        let mut reports: BTreeMap<_, FlowReport> = BTreeMap::new();
        for connection in self.connections.open.values() {
            let flow = connection.claim.flow;
            for (lane, used) in connection.lanes(&self.connections.avoided).lanes.iter().zip(&connection.uses)
            {
                let place: (_, Slot, _) = (flow, used.slot, lane.steered.carrier.clone());
                let report = reports.entry(place).or_insert_with(|| FlowReport {
                    flow,
                    slot: Some(used.slot),
                    hops: lane.steered.hops.clone(),
                    carrier: lane.steered.carrier.clone(),
                    origin: lane.steered.origin.clone(),
                    connections: 0,
                    against: self.denials.against(&lane.steered.hops),
                    in_place: connection.pinning == Pinning::RoutingHeader
                        || !self.keeping.missing.contains(&lane_key(used.slot, flow)),
                    age: connection.claim.since.elapsed(),
                    moves: Moves::new(),
                });
                report.connections += 1;
                report.age = report.age.max(connection.claim.since.elapsed());
                for (reason, count) in &used.moves {
                    let most = report.moves.entry(*reason).or_default();
                    *most = (*most).max(*count);
                }
            }
        }
        reports.into_values().collect()
    }
}
