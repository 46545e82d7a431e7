//! One route per destination, for connections that take a single path.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use srv6_fabric::{Flow, Prefix};
use srv6_paths::Query;
use srv6_routes::{Route, RouteKey, Target};

use super::Worker;
use crate::choice::{choose, names_of};
use crate::{SteerError, Steered};

/// Flows that are steered, by their route.
pub(super) type Flows = HashMap<RouteKey, Steering>;

/// A flow of this process and how many connections it has.
#[derive(Debug)]
pub(super) struct Steering {
    connections: usize,
    source: IpAddr,
    steered: Steered,
    /// First carrier of the route in place.
    carrier: Ipv6Addr,
    /// The block route that it depends on.
    block: Option<RouteKey>,
}

impl Steering {
    fn keys(&self, key: RouteKey) -> Vec<RouteKey> {
        self.block.into_iter().chain([key]).collect()
    }
}

impl Worker {
    fn key(&mut self, flow: Flow) -> RouteKey {
        let table = self.dataplane.capabilities(flow.src).table.unwrap_or(self.config.table);
        RouteKey { table, destination: Prefix::host(flow.dst) }
    }

    pub(super) fn unsteer(&mut self, flow: Flow) {
        let key = self.key(flow);
        let Some(steering) = self.flows.get_mut(&key) else { return };
        steering.connections -= 1;
        let keys = steering.keys(key);
        if steering.connections == 0 {
            self.flows.remove(&key);
            self.ledger.release(self.dataplane.as_mut(), &keys, &[]);
        }
    }

    pub(super) fn steer(&mut self, flow: Flow, since: Instant) -> Result<Steered, SteerError> {
        let key = self.key(flow);
        if let Some(steering) = self.flows.get(&key) {
            if steering.source != flow.src {
                return Err(SteerError::SharedDestination { other: steering.source });
            }
            let (keys, carrier, block) = (steering.keys(key), steering.carrier, steering.block);
            // A link that was down for a moment, or an operator, may have taken it away since.
            let lost_block = match block {
                Some(block) => !self.dataplane.carries(carrier, None, &block)?,
                None => false,
            };
            if lost_block || self.dataplane.takes(flow, &key).is_err() {
                self.ledger.repair(self.dataplane.as_mut(), &keys, &[])?;
                self.dataplane.takes(flow, &key)?;
            }
            let Some(steering) = self.flows.get_mut(&key) else {
                return Err(SteerError::SharedDestination { other: flow.src });
            };
            steering.connections += 1;
            return Ok(Steered {
                origin: "the route in use".to_owned(),
                took: since.elapsed(),
                asking: Duration::ZERO,
                ..steering.steered.clone()
            });
        }
        let deadline = self.check(flow, since)?;
        let interface = self.interface(flow.src)?;

        let asked = Instant::now();
        let query = Query { policy: self.config.policy, algo: self.config.algo };
        let answer = self.paths.candidates(flow, query, deadline)?;
        let asking = asked.elapsed();

        let choice = choose(&self.config, flow, &answer)?;
        let mut hops = choice.path.names(&answer.topology);
        let carrier = choice.segments.first();
        let block = self.block_route(carrier, flow, &interface)?;
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
        let mut steering = Steering {
            connections: 1,
            source: flow.src,
            steered: Steered::default(),
            carrier,
            block: block_key,
        };
        if let Err(error) = self.dataplane.takes(flow, &key) {
            self.ledger.release(self.dataplane.as_mut(), &steering.keys(key), &[]);
            return Err(error.into());
        }
        let mut segments = choice.segments;
        if let Some(Route { target: Target::Encap { segments: present, .. }, .. }) = installed.last()
            && *present != segments
        {
            log::info!("{flow}: another process of this host already steers it, by {present}");
            hops = names_of(&self.config, flow, &answer, present).unwrap_or_else(|| vec!["?".to_owned()]);
            segments = present.clone();
        }
        steering.carrier = segments.first();
        steering.steered = Steered {
            hops,
            carrier: segments.to_string(),
            origin: answer.origin.to_string(),
            took: since.elapsed(),
            asking,
        };
        let steered = steering.steered.clone();
        self.flows.insert(key, steering);
        Ok(steered)
    }
}
