//! Lanes that change their path while they are in use.

use std::sync::Arc;
use std::time::Instant;

use srv6_fabric::{Flow, Segments, Topology, chain};
use srv6_routes::{Route, Slot, Target};

use super::Worker;
use super::connections::{Connection, Connections, lane_key};
use super::reroute::why;
use crate::lanes::{LanesClaim, Ways};
use crate::report::Reason;
use crate::{Denials, Pinning};

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
        self.change(claim, lane, spare, Reason::Transport);
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

    /// Lets a lane take the reverse of the path that the peer's lane has now, unless another lane is to stay where both are, or
    /// something is against it here.
    pub(super) fn follow(&mut self, claim: &LanesClaim, lane: usize, path: &[String]) {
        let Some(connection) = self.connections.open.get_mut(&claim.number) else { return };
        let Some(used) = connection.uses.get_mut(lane) else { return };
        used.peer = Some(path.to_vec());
        let (now, reverse) = (used.way, connection.ways.reverse_of(path));
        let against = |way: Option<usize>| {
            way.and_then(|way| connection.ways.get(way))
                .map(|way| self.denials.against(&way.hops))
                .unwrap_or_default()
        };
        let stays = now == reverse || against(reverse) > against(now) || connection.is_met_by_another(lane);
        if reverse.is_some() && !stays {
            self.change(claim, lane, reverse, Reason::Peer);
        }
    }

    /// Moves a lane to another way; without one, sees whether another process has moved it.
    fn change(&mut self, claim: &LanesClaim, lane: usize, to: Option<usize>, reason: Reason) {
        let Some(connection) = self.connections.open.get(&claim.number) else { return };
        let Some(used) = connection.uses.get(lane) else { return };
        match connection.pinning {
            Pinning::RoutingHeader => self.change_header(claim.number, lane, to, reason),
            Pinning::Mark | Pinning::Ports => {
                let (slot, lost) = (used.slot, used.segments.clone());
                self.change_route(claim, slot, &lost, to, reason);
            }
        }
    }

    fn change_header(&mut self, number: u64, lane: usize, to: Option<usize>, reason: Reason) {
        let Connections { open, avoided, .. } = &mut self.connections;
        let Some(connection) = open.get_mut(&number) else { return };
        let Some((to, way)) = to.and_then(|to| Some((to, connection.ways.get(to)?))) else { return };
        let segments = way.segments.clone();
        log::info!("{}: lane {lane} goes by {} now", connection.claim.flow, way.hops.join(" > "));
        if let Some(used) = connection.uses.get_mut(lane) {
            used.segments = segments;
            used.way = Some(to);
            *used.moves.entry(reason).or_default() += 1;
        }
        connection.publish(avoided);
        self.count(reason);
    }

    fn change_route(
        &mut self,
        claim: &LanesClaim,
        slot: Slot,
        lost: &Segments,
        to: Option<usize>,
        reason: Reason,
    ) {
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
        log::info!("{}: slot {slot} is routed anew: {now} ({reason})", claim.flow);
        self.adopt(&now, reason);
        self.count(reason);
    }

    /// Tells the connections of a slot where its route leads now.
    fn adopt(&mut self, now: &Route, reason: Reason) {
        let Connections { open, avoided, .. } = &mut self.connections;
        for connection in open.values_mut().filter(|connection| connection.routes.contains(&now.key)) {
            connection.adopt(std::slice::from_ref(now), Some(reason));
            connection.publish(avoided);
        }
    }

    /// Takes over what another process of the host has made of a slot's route.
    pub(super) fn adopt_lanes(&mut self, route: &Route) {
        self.adopt(route, Reason::Host);
        self.count(Reason::Host);
    }

    /// Lets lanes leave paths that something is against, as far as there are better ones, and, where something was `lifted`,
    /// return to their slot's own. Gives the flow of each route and header that changed.
    pub(super) fn reroute_lanes(&mut self, lifted: bool) -> Vec<Flow> {
        let mut moved = Vec::new();
        let claims: Vec<Arc<LanesClaim>> =
            self.connections.open.values().map(|connection| Arc::clone(&connection.claim)).collect();
        for claim in claims {
            let lanes = self.connections.open.get(&claim.number).map_or(0, |c| c.uses.len());
            for lane in 0..lanes {
                let Some((to, reason)) = self.better_way(&claim, lane, lifted) else { continue };
                let before = self.total_moves();
                self.change(&claim, lane, Some(to), reason);
                if self.total_moves() > before {
                    moved.push(claim.flow);
                }
            }
        }
        moved
    }

    /// Lets the lanes of open connections follow the fabric as it is now: off paths that it no longer has, and back to their slots'
    /// own when it has more. A fabric without any path for a flow may be wrong, and changes nothing. Gives the flow of each
    /// route and header that changed.
    pub(super) fn refresh_lanes(&mut self, topology: &Topology) -> Vec<Flow> {
        let (mut lost, mut grown, mut moved) = (Vec::new(), false, Vec::new());
        for connection in self.connections.open.values_mut() {
            let claim = Arc::clone(&connection.claim);
            let ways = Ways::now(&self.config, claim.flow, topology, connection.pinning);
            let Some(ways) = ways.filter(|ways| *ways != connection.ways) else { continue };
            grown |= ways.len() > connection.ways.len();
            for (lane, used) in connection.uses.iter_mut().enumerate() {
                let before = std::mem::replace(&mut used.way, ways.position(&used.segments));
                if before.is_some() && used.way.is_none() {
                    lost.push((Arc::clone(&claim), lane));
                }
            }
            connection.ways = ways;
            // The number of spares is another.
            connection.publish(&self.connections.avoided);
        }
        for (claim, lane) in lost {
            let Some(connection) = self.connections.open.get(&claim.number) else { continue };
            // Another connection's turn may have moved the route that both use.
            if connection.uses.get(lane).is_none_or(|used| used.way.is_some()) {
                continue;
            }
            let others: Vec<usize> = connection.uses.iter().filter_map(|other| other.way).collect();
            let is_denied = |hops: &[String]| !self.denials.against(hops).is_none();
            let free = connection.ways.spare(None, &others, |way| is_denied(&way.hops));
            let shared = || connection.ways.spare(None, &[], |way| is_denied(&way.hops));
            let Some(to) = free.or_else(shared) else { continue };
            let before = self.total_moves();
            self.change(&claim, lane, Some(to), Reason::Refresh);
            if self.total_moves() > before {
                moved.push(claim.flow);
            }
        }
        if grown {
            moved.extend(self.reroute_lanes(true));
        }
        moved
    }

    fn total_moves(&self) -> u64 {
        self.moves.values().sum()
    }

    /// The way that a lane is to change to, and why.
    fn better_way(&self, claim: &LanesClaim, lane: usize, lifted: bool) -> Option<(usize, Reason)> {
        let connection = self.connections.open.get(&claim.number)?;
        let used = connection.uses.get(lane)?;
        let against = |way: usize| {
            connection.ways.get(way).map(|way| self.denials.against(&way.hops)).unwrap_or_default()
        };
        // Of a path that isn't one of ours nothing is known.
        let present = used.way?;
        let least = (0..connection.ways.len()).map(against).min()?;
        if against(present) > least {
            let others: Vec<usize> = connection.uses.iter().filter_map(|other| other.way).collect();
            let is_worse = |hops: &[String]| self.denials.against(hops) > least;
            let free = connection.ways.spare(used.way, &others, |way| is_worse(&way.hops));
            // Two lanes on one path are better than one on none.
            let to = free.or_else(|| connection.ways.spare(used.way, &[], |way| is_worse(&way.hops)))?;
            return Some((to, why(against(present))));
        }
        let own = usize::from(used.slot.number());
        let (now, way) = (Instant::now(), connection.ways.get(own)?);
        let returns = lifted
            && present != own
            && against(own) == least
            && !self.connections.avoided.contains(&way.hops, now);
        returns.then_some((own, Reason::Return))
    }

    /// Flows with a lane on a path that something is against.
    pub(super) fn denied_lanes(&self) -> impl Iterator<Item = Flow> {
        self.connections.open.values().filter(|c| self.meets(c, &self.denials)).map(|c| c.claim.flow)
    }

    /// Flows whose lanes these denials would leave without a path that nothing is against, and that have one now.
    pub(super) fn stranded_lanes(&self, denials: &Denials) -> Vec<Flow> {
        let has_way = |connection: &Connection, denials: &Denials| {
            let ways = (0..connection.ways.len()).filter_map(|way| connection.ways.get(way));
            ways.into_iter().any(|way| denials.against(&way.hops).is_none())
        };
        let stranded = self
            .connections
            .open
            .values()
            .filter(|c| self.meets(c, denials) && !has_way(c, denials) && has_way(c, &self.denials));
        stranded.map(|connection| connection.claim.flow).collect()
    }

    fn meets(&self, connection: &Connection, denials: &Denials) -> bool {
        let ways = connection.uses.iter().filter_map(|used| connection.ways.get(used.way?));
        ways.into_iter().any(|way| !denials.against(&way.hops).is_none())
    }
}
