//! Flows that change their path while they are in use: something on it is denied, or the fabric has changed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use srv6_fabric::{Flow, Prefix, Topology, chain};
use srv6_paths::PathError;
use srv6_routes::{Route, RouteError, RouteKey, Target};

use super::Worker;
use super::ledger::{Exchange, Outcome};
use crate::choice::{Choice, rechoose};
use crate::report::{Moved, Reason};
use crate::{Denials, Objection, SteerError};

impl Worker {
    /// Lets everything keep off what is denied now.
    pub(super) fn deny(&mut self, denials: Denials, since: Instant) -> Moved {
        let before = std::mem::replace(&mut self.denials, denials);
        let lifted = self.denials.lifts(&before);
        let Some(topology) = self.topology.clone() else { return Moved::default() };
        let mut wanted = Vec::new();
        for (key, steering) in &self.flows {
            let against = self.denials.against(&steering.steered.hops);
            let home = lifted && steering.away;
            if !home && against.is_none() {
                continue;
            }
            let (flow, current) = (steering.flow, &steering.segments);
            let choice = rechoose(&self.config, flow, &topology, current, home, &self.denials);
            wanted.extend(choice.map(|choice| (*key, choice, why(against))));
        }
        let mut flows = self.move_flows(&topology, wanted);
        flows.extend(self.reroute_lanes(lifted));
        let moved = self.moved(flows, since);
        if moved.moved > 0 {
            log::info!("{} flows and lanes moved in {:.1} ms", moved.moved, moved.took.as_secs_f64() * 1e3);
        }
        moved
    }

    /// Lets everything follow the fabric as it is now.
    pub(super) fn refreshed(&mut self, topology: Result<Arc<Topology>, PathError>, since: Instant) -> Moved {
        let topology = match topology {
            Ok(topology) => topology,
            Err(error) => {
                log::warn!("the fabric could not be read anew, flows stay as they are: {error}");
                return Moved { took: since.elapsed(), ..Moved::default() };
            }
        };
        self.topology = Some(Arc::clone(&topology));
        let mut wanted = Vec::new();
        for (key, steering) in &self.flows {
            let choice =
                rechoose(&self.config, steering.flow, &topology, &steering.segments, true, &self.denials);
            wanted.extend(choice.map(|choice| (*key, choice, Reason::Refresh)));
        }
        let mut flows = self.move_flows(&topology, wanted);
        flows.extend(self.refresh_lanes(&topology));
        self.moved(flows, since)
    }

    fn moved(&self, mut flows: Vec<Flow>, since: Instant) -> Moved {
        let (moved, took) = (flows.len(), since.elapsed());
        flows.sort_unstable();
        flows.dedup();
        Moved { moved, flows, stranded: self.denied(), took }
    }

    /// Flows that these denials would leave without a path that nothing is against, and that have one now.
    pub(super) fn would_strand(&self, denials: &Denials) -> Vec<Flow> {
        let mut stranded = self.stranded_lanes(denials);
        for steering in self.flows.values() {
            let hops = &steering.steered.hops;
            if denials.against(hops).is_none() || !self.denials.against(hops).is_none() {
                continue;
            }
            let better = self.topology.as_ref().and_then(|topology| {
                rechoose(&self.config, steering.flow, topology, &steering.segments, false, denials)
            });
            if !better.is_some_and(|choice| choice.against.is_none()) {
                stranded.push(steering.flow);
            }
        }
        stranded.sort_unstable();
        stranded.dedup();
        stranded
    }

    /// Flows that are on a path that something is against.
    fn denied(&self) -> Vec<Flow> {
        let mut denied: Vec<Flow> = self
            .flows
            .values()
            .filter(|steering| !self.denials.against(&steering.steered.hops).is_none())
            .map(|steering| steering.flow)
            .chain(self.denied_lanes())
            .collect();
        denied.sort_unstable();
        denied.dedup();
        denied
    }

    /// Replaces the routes of all these flows under one lock, and tells their connections.
    fn move_flows(&mut self, topology: &Topology, wanted: Vec<(RouteKey, Choice, Reason)>) -> Vec<Flow> {
        let mut exchanges = Vec::with_capacity(wanted.len());
        let mut choices = HashMap::with_capacity(wanted.len());
        let mut reachable: HashMap<(IpAddr, Prefix), bool> = HashMap::new();
        // The old blocks' routes are given back last: until it is replaced, a route leads over them.
        let mut unused = Vec::new();
        for (key, choice, reason) in wanted {
            let Some(present) = self.ledger.route(&key).cloned() else { continue };
            if let Err(error) = self.prepare(&key, &choice, present.interface, &mut reachable, &mut unused) {
                log::warn!("{} stays on its path: {}", key.destination, chain(&error));
                continue;
            }
            let target = Target::Encap { mode: self.config.encap, segments: choice.segments.clone() };
            let mtu = self.config.mtu.or_else(|| choice.path.mtu(topology));
            exchanges.push(Exchange { before: present.clone(), after: Route { mtu, target, ..present } });
            choices.insert(key, (choice, reason));
        }
        let outcomes = match self.ledger.exchange_all(self.dataplane.as_mut(), &exchanges) {
            Ok(outcomes) => outcomes,
            Err(error) => {
                log::warn!("{} flows stay on their paths: {}", exchanges.len(), chain(&error));
                return Vec::new();
            }
        };
        let mut moved = Vec::new();
        for (exchange, outcome) in exchanges.into_iter().zip(outcomes) {
            let key = exchange.after.key;
            let Some((choice, reason)) = choices.remove(&key) else { continue };
            let Some(steering) = self.flows.get_mut(&key) else { continue };
            match outcome {
                // Another process of this host was faster; the next look at the kernel takes its choice over.
                Outcome::Theirs => self.keeping.hurry(),
                Outcome::Placed | Outcome::Later => {
                    if matches!(outcome, Outcome::Later) {
                        self.keeping.hurry();
                    }
                    log::info!("{}: by {} now ({reason})", steering.flow, choice.hops.join(" > "));
                    steering.away = !choice.own;
                    steering.steered.carrier = choice.segments.to_string();
                    steering.steered.hops = choice.hops;
                    steering.segments = choice.segments;
                    *steering.moves.entry(reason).or_default() += 1;
                    steering.publish();
                    moved.push(steering.flow);
                    self.count(reason);
                }
            }
        }
        if !unused.is_empty() {
            self.ledger.release(self.dataplane.as_mut(), &unused, &[]);
        }
        moved
    }

    /// Sees to it that the outer packets of a new path have a way out: one look per block and source, not per flow.
    fn prepare(
        &mut self,
        key: &RouteKey,
        choice: &Choice,
        interface: u32,
        reachable: &mut HashMap<(IpAddr, Prefix), bool>,
        unused: &mut Vec<RouteKey>,
    ) -> Result<(), SteerError> {
        let Some(steering) = self.flows.get(key) else { return Ok(()) };
        let (flow, old, carrier) = (steering.flow, steering.block, choice.segments.first());
        match self.config.gateway {
            Some(gateway) => {
                let block = self.block_through(gateway, self.config.table, carrier, flow, interface);
                if Some(block.key) == old {
                    return Ok(());
                }
                self.ledger.claim(self.dataplane.as_mut(), std::slice::from_ref(&block), &[])?;
                if let Some(steering) = self.flows.get_mut(key) {
                    steering.block = Some(block.key);
                }
                unused.extend(old);
            }
            None => {
                let way = (flow.src, self.block_of(carrier, flow));
                let reaches = match reachable.get(&way) {
                    Some(reaches) => *reaches,
                    None => self.dataplane.reach_from(flow.src, carrier)?.is_some(),
                };
                reachable.insert(way, reaches);
                if !reaches {
                    let interface = format!("if{interface}");
                    return Err(RouteError::UnreachableCarrier { carrier, interface }.into());
                }
            }
        }
        Ok(())
    }

    pub(super) fn count(&mut self, reason: Reason) {
        *self.moves.entry(reason).or_default() += 1;
    }
}

/// Why a flow moves that has this against its path.
pub(super) fn why(against: Objection) -> Reason {
    match against {
        Objection { bad: true, .. } => Reason::Bad,
        Objection { drained: true, .. } => Reason::Drain,
        Objection { .. } => Reason::Return,
    }
}
