//! One route per destination, for connections that take a single path.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use srv6_fabric::{Flow, Prefix, Segments};
use srv6_paths::{Answer, Query};
use srv6_routes::{Interface, Route, RouteKey, Target};

use super::{Asked, Worker};
use crate::choice::{Choice, choose, names_of, rechoose};
use crate::report::Moves;
use crate::resolver::Question;
use crate::{Slot, Status, SteerError, Steered};

/// Flows that are steered, by their route.
pub(super) type Flows = HashMap<RouteKey, Steering>;

/// A flow of this process and the connections that it has.
#[derive(Debug)]
pub(super) struct Steering {
    pub(super) connections: Vec<Arc<Slot>>,
    pub(super) flow: Flow,
    pub(super) steered: Steered,
    /// Of the route that is wanted.
    pub(super) segments: Segments,
    /// The block route that it depends on.
    pub(super) block: Option<RouteKey>,
    /// It has left the policy's own path, and goes back when it can.
    pub(super) away: bool,
    pub(super) since: Instant,
    pub(super) moves: Moves,
}

impl Steering {
    fn keys(&self, key: RouteKey) -> Vec<RouteKey> {
        self.block.into_iter().chain([key]).collect()
    }

    /// Tells all connections what their path is now.
    pub(super) fn publish(&self) {
        let steered = Arc::new(self.steered.clone());
        for slot in &self.connections {
            slot.publish(Status::Ready(Arc::clone(&steered)));
        }
    }
}

impl Worker {
    fn key(&mut self, flow: Flow) -> RouteKey {
        let table = self.dataplane.capabilities(flow.src).table.unwrap_or(self.config.table);
        RouteKey { table, destination: Prefix::host(flow.dst) }
    }

    /// Gives connections back, all with one look at who else holds their routes.
    pub(super) fn unsteer(&mut self, slots: &[Arc<Slot>]) {
        let mut unused = Vec::new();
        for slot in slots {
            let own = |steering: &Steering| steering.connections.iter().any(|other| Arc::ptr_eq(other, slot));
            let mut key = self.key(slot.flow);
            if !self.flows.get(&key).is_some_and(own) {
                // Its address was in another dataplane then.
                let Some((other, _)) = self.flows.iter().find(|(_, steering)| own(steering)) else {
                    continue;
                };
                key = *other;
            }
            let Some(steering) = self.flows.get_mut(&key) else { continue };
            steering.connections.retain(|other| !Arc::ptr_eq(other, slot));
            if steering.connections.is_empty() {
                unused.extend(steering.keys(key));
                self.flows.remove(&key);
            }
        }
        if !unused.is_empty() {
            self.ledger.release(self.dataplane.as_mut(), &unused, &[]);
        }
    }

    /// Steers a connection's flow, at once if it is steered already; `None` if its paths have to be asked for.
    pub(super) fn steer(&mut self, slot: &Arc<Slot>) -> Result<Option<Steered>, SteerError> {
        if let Some(steered) = self.join(slot)? {
            return Ok(Some(steered));
        }
        let (flow, policy) = (slot.flow, self.config.policy);
        let deadline = self.check(flow, slot.since)?;
        let asked = Asked::Flow(Arc::clone(slot), self.interface(flow.src)?);
        let query = Query { policy, algo: self.config.algo };
        self.resolver.ask(Question::Candidates { asked, flow, query, deadline });
        Ok(None)
    }

    /// One more connection of a flow that is steered.
    pub(super) fn join(&mut self, slot: &Arc<Slot>) -> Result<Option<Steered>, SteerError> {
        let (flow, key) = (slot.flow, self.key(slot.flow));
        let Some(steering) = self.flows.get(&key) else { return Ok(None) };
        if steering.flow.src != flow.src {
            return Err(SteerError::SharedDestination { other: steering.flow.src });
        }
        let (keys, carrier, block) = (steering.keys(key), steering.segments.first(), steering.block);
        // A link that was down for a moment, or an operator, may have taken it away since.
        let lost_block = match block {
            Some(block) => !self.dataplane.carries(carrier, None, &block)?,
            None => false,
        };
        if lost_block || self.dataplane.takes(flow, &key).is_err() {
            self.ledger.repair(self.dataplane.as_mut(), &keys, &[])?;
            self.dataplane.takes(flow, &key)?;
        }
        let Some(steering) = self.flows.get_mut(&key) else { return Ok(None) };
        steering.connections.push(Arc::clone(slot));
        Ok(Some(Steered {
            origin: "the route in use".to_owned(),
            took: slot.since.elapsed(),
            asking: Duration::ZERO,
            ..steering.steered.clone()
        }))
    }

    /// Steers a flow over one of the paths that were asked for.
    pub(super) fn place(
        &mut self,
        slot: &Arc<Slot>,
        interface: &Interface,
        answer: &Answer,
        asking: Duration,
    ) -> Result<Steered, SteerError> {
        let (flow, key) = (slot.flow, self.key(slot.flow));
        let mut choice = choose(&self.config, flow, answer, &self.denials)?;
        if self.serves {
            choice = self.taken_over(flow, &key, answer, choice)?;
        }
        let carrier = choice.segments.first();
        let block = self.block_route(carrier, flow, interface)?;
        let route = Route {
            key,
            interface: interface.index,
            source: Some(flow.src),
            mtu: self.config.mtu.or_else(|| choice.path.mtu(&answer.topology)),
            target: Target::Encap { mode: self.config.encap, segments: choice.segments.clone() },
        };
        let block_key = block.as_ref().map(|route| route.key);
        let routes: Vec<Route> = block.into_iter().chain([route]).collect();
        let installed = self.ledger.claim(self.dataplane.as_mut(), &routes, &[])?;
        if let Err(error) = self.dataplane.takes(flow, &key) {
            let keys: Vec<RouteKey> = routes.iter().map(|route| route.key).collect();
            self.ledger.release(self.dataplane.as_mut(), &keys, &[]);
            return Err(error.into());
        }
        let mut steering = Steering {
            connections: vec![Arc::clone(slot)],
            flow,
            steered: Steered::default(),
            segments: choice.segments,
            block: block_key,
            away: !choice.own,
            since: Instant::now(),
            moves: Moves::new(),
        };
        let mut hops = choice.hops;
        if let Some(Route { target: Target::Encap { segments: present, .. }, .. }) = installed.last()
            && *present != steering.segments
        {
            log::info!("{flow}: another process of this host already steers it, by {present}");
            hops = self.names(flow, present);
            steering.segments = present.clone();
        }
        steering.steered = Steered {
            hops,
            carrier: steering.segments.to_string(),
            origin: answer.origin.to_string(),
            took: slot.since.elapsed(),
            asking,
        };
        let steered = steering.steered.clone();
        self.flows.insert(key, steering);
        Ok(steered)
    }

    /// What a steering before this one left for a flow, if it is as good: connections go over it.
    fn taken_over(
        &mut self,
        flow: Flow,
        key: &RouteKey,
        answer: &Answer,
        choice: Choice,
    ) -> Result<Choice, SteerError> {
        let present = match self.dataplane.find(key)?.map(|route| route.target) {
            Some(Target::Encap { segments, .. }) if segments != choice.segments => segments,
            _ => return Ok(choice),
        };
        let stays = rechoose(&self.config, flow, &answer.topology, &present, false, &self.denials).is_none();
        let hops = names_of(&self.config, flow, &answer.topology, &present).filter(|_| stays);
        let Some(hops) = hops else { return Ok(choice) };
        let path = answer.candidates.paths.iter().find(|path| path.names(&answer.topology) == hops);
        let path = path.unwrap_or(&choice.path).clone();
        log::info!("{flow}: already steered by {present}, left as it is");
        let against = self.denials.against(&hops);
        Ok(Choice { path, hops, segments: present, against, own: false })
    }

    /// The path behind segments that this process didn't choose.
    pub(super) fn names(&self, flow: Flow, segments: &Segments) -> Vec<String> {
        let names = self.topology.as_ref().and_then(|t| names_of(&self.config, flow, t, segments));
        names.unwrap_or_else(|| vec!["?".to_owned()])
    }
}
