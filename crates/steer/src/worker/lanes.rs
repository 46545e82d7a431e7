//! Several routes per destination, each in the table of a slot, for connections that take several paths.

use std::sync::Arc;
use std::time::{Duration, Instant};

use srv6_fabric::{Family, Flow, Policy, Segments, chain};
use srv6_paths::{Answer, Query};
use srv6_routes::{Interface, Route, RouteError, RouteKey, RuleKey, Selector, Slot, Target, pinning};

use super::connections::{Connection, Use, lane_key};
use super::{Asked, Worker};
use crate::lanes::{Demand, LanesClaim, Pick, Verdict, Ways};
use crate::report::Moves;
use crate::resolver::Question;
use crate::{Lanes, LanesStatus, Pinning, Status, SteerError};

impl Worker {
    pub(super) fn ask_lanes(&mut self, claim: &Arc<LanesClaim>) -> Result<(), SteerError> {
        let flow = claim.flow;
        let deadline = self.check(flow, claim.since)?;
        let capabilities = self.dataplane.capabilities(flow.src);
        if let Some(reason) = capabilities.no_pinning {
            self.steer_whole(claim, capabilities.name, reason);
            return Ok(());
        }
        let asked = Asked::Lanes(Arc::clone(claim), self.interface(flow.src)?);
        // Several paths are wanted, whatever the policy for one is; the path API's own choice is always one.
        let query = Query { policy: Policy::Spread, algo: self.config.algo };
        self.resolver.ask(Question::Candidates { asked, flow, query, deadline });
        Ok(())
    }

    /// Steers the flow of a connection that can't have lanes as a whole: it is at least off the paths of others.
    fn steer_whole(&mut self, claim: &Arc<LanesClaim>, dataplane: &'static str, reason: &'static str) {
        let told = Arc::clone(claim);
        let slot = crate::Slot::answering(claim.flow, claim.since, move |status| {
            let answer = match status {
                Status::Pending => return,
                Status::Ready(steered) => {
                    let path = steered.hops.join(" > ");
                    chain(&SteerError::NoSockets { dataplane, reason, path }).into()
                }
                Status::Failed(reason) => reason,
            };
            told.publish(LanesStatus::Failed(answer));
        });
        self.connections.whole.insert(claim.number, Arc::clone(&slot));
        self.acquire(&slot);
    }

    pub(super) fn open_lanes(
        &mut self,
        claim: &Arc<LanesClaim>,
        interface: &Interface,
        answer: &Answer,
        asking: Duration,
    ) -> Result<Lanes, SteerError> {
        let flow = claim.flow;
        let mut reasons = Vec::new();
        let order = match claim.wanted.pinning {
            Some(pinning) => vec![pinning],
            None => self.offered(flow, &mut reasons)?,
        };
        for pinning in order {
            match self.pin(claim, pinning, answer, interface) {
                Ok(mut connection) => {
                    connection.asking = asking;
                    connection.took = claim.since.elapsed();
                    let lanes = connection.lanes(&self.connections.avoided);
                    self.connections.open.insert(claim.number, connection);
                    *self.connections.begun.entry(flow).or_default() += 1;
                    return Ok(lanes);
                }
                Err(error) if claim.wanted.pinning.is_some() => return Err(error),
                Err(error) => reasons.push((pinning, chain(&error))),
            }
        }
        Err(SteerError::NoPinning { reasons })
    }

    /// What ties sockets to paths here, the best first; and why the rest doesn't.
    fn offered(
        &mut self,
        flow: Flow,
        reasons: &mut Vec<(Pinning, String)>,
    ) -> Result<Vec<Pinning>, SteerError> {
        let report = match self.connections.report.take() {
            Some(report) => report,
            None => pinning(None)?,
        };
        let mut offered = Vec::new();
        for (_, pinning) in Pinning::NAMES {
            let missing = &report.of(pinning).missing;
            match self.offers(flow, pinning) {
                Err(error) => reasons.push((pinning, chain(&error))),
                // Nothing is changed in a dry run, so nothing is needed for it.
                Ok(()) if missing.is_empty() || self.config.dry_run => offered.push(pinning),
                Ok(()) => {
                    let words: Vec<String> = missing.iter().map(ToString::to_string).collect();
                    reasons.push((pinning, words.join(", ")));
                }
            }
        }
        self.connections.report = Some(report);
        Ok(offered)
    }

    fn offers(&mut self, flow: Flow, pinning: Pinning) -> Result<(), SteerError> {
        if !self.dataplane.lane_rules().is_some_and(|rules| rules.pinnings().contains(&pinning)) {
            return Err(SteerError::NotOffered { pinning });
        }
        if pinning == Pinning::RoutingHeader && Family::of(flow.dst) == Family::V4 {
            return Err(SteerError::HeaderFamily { destination: flow.dst });
        }
        Ok(())
    }

    /// Chooses the slots of a connection, and puts in place what they need.
    fn pin(
        &mut self,
        claim: &Arc<LanesClaim>,
        pinning: Pinning,
        answer: &Answer,
        interface: &Interface,
    ) -> Result<Connection, SteerError> {
        let flow = claim.flow;
        self.offers(flow, pinning)?;
        let ways = Ways::new(&self.config, flow, answer, pinning)?;
        let present: Vec<Option<usize>> = (0..ways.len())
            .map(|number| match self.present(flow, pinning, number) {
                Some(segments) => ways.position(segments),
                None => Some(number),
            })
            .collect();
        let begun = self.connections.begun.get(&flow).copied().unwrap_or(0);
        let demand = Demand {
            count: claim.wanted.count.clamp(1, usize::from(srv6_routes::SLOTS)),
            start: ways.start + begun,
            along: &claim.wanted.along,
            present: &present,
        };
        let now = Instant::now();
        let chosen = ways.choose(&demand, |way| {
            if !self.denials.against(&way.hops).is_none() {
                Verdict::Denied
            } else if self.connections.avoided.contains(&way.hops, now) {
                Verdict::Avoided
            } else {
                Verdict::Good
            }
        });

        let mut uses = Vec::with_capacity(chosen.len());
        for (lane, Pick { slot, way }) in chosen.into_iter().enumerate() {
            if let (Some(slot), Some(over)) = (Slot::new(slot), ways.get(way)) {
                let (segments, peer) = (over.segments.clone(), claim.wanted.along.get(lane).cloned());
                uses.push(Use { slot, segments, way: Some(way), peer, moves: Moves::new() });
            }
        }
        let (routes, rules) = self.needs(flow, pinning, &ways, &uses, interface)?;
        let installed = self.ledger.claim(self.dataplane.as_mut(), &routes, &rules)?;
        let mut connection = Connection {
            claim: Arc::clone(claim),
            pinning,
            ways,
            uses,
            routes: installed.iter().map(|route| route.key).collect(),
            rules,
            interface: interface.name.clone(),
            origin: answer.origin.to_string(),
            asking: Duration::ZERO,
            took: Duration::ZERO,
        };
        if let Err(error) = self.verify(&connection) {
            self.ledger.release(self.dataplane.as_mut(), &connection.routes, &connection.rules);
            return Err(error);
        }
        let present: Vec<Route> =
            connection.routes.iter().filter_map(|key| self.ledger.route(key).cloned()).collect();
        connection.adopt(&present, None);
        Ok(connection)
    }

    /// The segments behind a slot of this flow's destination, as far as this process has to do with it.
    fn present(&self, flow: Flow, pinning: Pinning, number: usize) -> Option<&Segments> {
        if pinning == Pinning::RoutingHeader {
            return None;
        }
        match &self.ledger.route(&lane_key(Slot::new(number)?, flow))?.target {
            Target::Encap { segments, .. } => Some(segments),
            Target::Gateway(_) => None,
        }
    }

    /// Routes and rules that lanes need, those that others depend on first.
    fn needs(
        &mut self,
        flow: Flow,
        pinning: Pinning,
        ways: &Ways,
        uses: &[Use],
        interface: &Interface,
    ) -> Result<(Vec<Route>, Vec<RuleKey>), SteerError> {
        let (mut routes, mut rules): (Vec<Route>, Vec<RuleKey>) = (Vec::new(), Vec::new());
        for used in uses {
            let (slot, carrier) = (used.slot, used.segments.first());
            let block = match pinning {
                // The mark is also on the outer packet, and so leads it to the slot's table, too. A block route there, as the
                // kernel resolves it now, makes the lane independent of every other table.
                Pinning::Mark => {
                    let gateway = match self.config.gateway {
                        Some(gateway) => Some((gateway, interface.index)),
                        None => {
                            let reach = self.way_out(carrier, flow, interface)?;
                            // A block without a router falls through to the table that has it.
                            reach.gateway.map(|gateway| (gateway, reach.interface))
                        }
                    };
                    gateway.map(|(gateway, index)| {
                        self.block_through(gateway, slot.table(), carrier, flow, index)
                    })
                }
                // The outer packet has no ports.
                Pinning::Ports | Pinning::RoutingHeader => self.block_route(carrier, flow, interface)?,
            };
            let lane = (pinning != Pinning::RoutingHeader).then(|| Route {
                key: lane_key(slot, flow),
                interface: interface.index,
                source: Some(flow.src),
                mtu: used.way.and_then(|way| ways.get(way)).and_then(|way| way.mtu),
                target: Target::Encap { mode: self.config.encap, segments: used.segments.clone() },
            });
            for route in block.into_iter().chain(lane) {
                if !routes.iter().any(|r| r.key == route.key) {
                    routes.push(route);
                }
            }
            let rule = RuleKey { slot, pinning };
            if pinning != Pinning::RoutingHeader && !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        Ok((routes, rules))
    }

    /// Whether packets of each lane take its routes; what somebody took away since is put back.
    pub(super) fn verify(&mut self, connection: &Connection) -> Result<(), SteerError> {
        if self.is_taken(connection).is_err() {
            self.ledger.repair(self.dataplane.as_mut(), &connection.routes, &connection.rules)?;
            self.is_taken(connection)?;
        }
        Ok(())
    }

    fn is_taken(&mut self, connection: &Connection) -> Result<(), SteerError> {
        let flow = connection.claim.flow;
        for used in &connection.uses {
            let selector = match connection.pinning {
                Pinning::Mark => Selector::Mark(used.slot.mark()),
                Pinning::Ports => Selector::SourcePort(*used.slot.ports().start()),
                Pinning::RoutingHeader => continue,
            };
            if let Some(rules) = self.dataplane.lane_rules() {
                rules.takes_by(flow, selector, &lane_key(used.slot, flow))?;
            }
        }
        let carriers = connection.uses.iter().map(|used| (used.slot, used.segments.first()));
        for (slot, carrier) in carriers {
            let covers = |key: &&RouteKey| key.destination.contains(carrier.into());
            let of_slot = |key: &&RouteKey| Slot::of_table(key.table).is_none_or(|s| s == slot);
            let Some(block) = connection.routes.iter().find(|key| covers(key) && of_slot(key)) else {
                continue;
            };
            let selector = (connection.pinning == Pinning::Mark).then(|| Selector::Mark(slot.mark()));
            if !self.dataplane.carries(carrier, selector, block)? && self.dataplane.find(block)?.is_none() {
                let interface = connection.interface.clone();
                return Err(RouteError::UnreachableCarrier { carrier, interface }.into());
            }
        }
        Ok(())
    }

    pub(super) fn release_lanes(&mut self, claim: &LanesClaim) {
        if let Some(slot) = self.connections.whole.remove(&claim.number)
            && matches!(slot.status(), Status::Ready(_))
        {
            self.unsteer(&[slot]);
        }
        if let Some(connection) = self.connections.open.remove(&claim.number) {
            self.ledger.release(self.dataplane.as_mut(), &connection.routes, &connection.rules);
        }
    }
}
