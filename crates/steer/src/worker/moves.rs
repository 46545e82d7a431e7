//! Lanes that change their path while they are in use.

use std::time::Instant;

use srv6_fabric::Segments;
use srv6_routes::{Route, Slot, Target};

use super::Worker;
use super::connections::{Connections, lane_key};
use crate::Pinning;
use crate::error::chain;
use crate::lanes::LanesClaim;

impl Worker {
    /// Lets a lane whose path is dead take a spare one, if there is one.
    pub(super) fn avoid(&mut self, claim: &LanesClaim, lane: usize, seen: &Segments, hops: &[String]) {
        let now = Instant::now();
        let Connections { open, avoided, .. } = &mut self.connections;
        avoided.note(hops, now);
        let Some(connection) = open.get(&claim.number) else { return };
        let Some(used) = connection.uses.get(lane).filter(|used| used.segments == *seen) else {
            // It has moved since: said by several connections, or several times.
            return;
        };
        let others: Vec<usize> = connection
            .uses
            .iter()
            .filter(|other| other.segments != *seen)
            .filter_map(|other| other.way)
            .collect();
        let spare = connection.ways.spare(used.way, &others, |way| avoided.contains(&way.hops, now));
        self.change(claim, lane, spare);
        self.mend(claim.number);
    }

    /// Puts back what a connection's lanes have lost: a path may seem dead because a link that was down for a moment took
    /// routes along.
    fn mend(&mut self, number: u64) {
        let Some(connection) = self.connections.open.remove(&number) else { return };
        if let Err(error) = self.verify(&connection) {
            log::warn!("{}: not all lanes lead anywhere: {}", connection.claim.flow, chain(&error));
        }
        self.connections.open.insert(number, connection);
    }

    /// Lets a lane take the reverse of the path that the peer's lane has now.
    pub(super) fn follow(&mut self, claim: &LanesClaim, lane: usize, path: &[String]) {
        let Some(connection) = self.connections.open.get(&claim.number) else { return };
        let reverse = connection.ways.reverse_of(path);
        if reverse.is_some() && connection.uses.get(lane).is_some_and(|used| used.way != reverse) {
            self.change(claim, lane, reverse);
        }
    }

    /// Moves a lane to another way; without one, sees whether another process has moved it.
    fn change(&mut self, claim: &LanesClaim, lane: usize, to: Option<usize>) {
        let Some(connection) = self.connections.open.get(&claim.number) else { return };
        let Some(used) = connection.uses.get(lane) else { return };
        match connection.pinning {
            Pinning::RoutingHeader => self.change_header(claim.number, lane, to),
            Pinning::Mark | Pinning::Ports => {
                let (slot, lost) = (used.slot, used.segments.clone());
                self.change_route(claim, slot, &lost, to);
            }
        }
    }

    fn change_header(&mut self, number: u64, lane: usize, to: Option<usize>) {
        let Connections { open, avoided, .. } = &mut self.connections;
        let Some(connection) = open.get_mut(&number) else { return };
        let Some((to, way)) = to.and_then(|to| Some((to, connection.ways.get(to)?))) else { return };
        let segments = way.segments.clone();
        log::info!("{}: lane {lane} goes by {} now", connection.claim.flow, way.hops.join(" > "));
        if let Some(used) = connection.uses.get_mut(lane) {
            used.segments = segments;
            used.way = Some(to);
        }
        connection.publish(avoided);
    }

    fn change_route(&mut self, claim: &LanesClaim, slot: Slot, lost: &Segments, to: Option<usize>) {
        let key = lane_key(slot, claim.flow);
        let Some(connection) = self.connections.open.get(&claim.number) else { return };
        let stand_in = to.and_then(|to| connection.ways.get(to)).and_then(|way| {
            let target = Target::Encap { mode: self.config.encap, segments: way.segments.clone() };
            Some(Route { mtu: way.mtu, target, ..self.ledger.route(&key)?.clone() })
        });
        let now = match self.ledger.exchange(self.dataplane.as_mut(), &key, lost, stand_in) {
            Ok(Some(route)) => route,
            Ok(None) => return,
            Err(error) => {
                log::warn!("{}: slot {slot} stays on its path: {}", claim.flow, chain(&error));
                return;
            }
        };
        log::info!("{}: slot {slot} is routed anew: {now}", claim.flow);
        let Connections { open, avoided, .. } = &mut self.connections;
        for connection in open.values_mut().filter(|connection| connection.routes.contains(&key)) {
            connection.adopt(std::slice::from_ref(&now));
            connection.publish(avoided);
        }
    }
}
