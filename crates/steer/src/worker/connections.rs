//! Connections with lanes, and what they use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use srv6_fabric::{Flow, Prefix, Segments};
use srv6_routes::{PinningReport, Route, RouteKey, RuleKey, Slot, Target};

use crate::lanes::{Avoided, LanesClaim, Ways};
use crate::report::{Moves, Reason};
use crate::{LanePath, Lanes, LanesStatus, Pinning, Steered};

/// The connections with lanes of this process, and what was learned with them.
#[derive(Debug, Default)]
pub(super) struct Connections {
    pub(super) open: HashMap<u64, Connection>,
    /// Those that could not have lanes, and have their flow steered as a whole.
    pub(super) whole: HashMap<u64, Arc<crate::Slot>>,
    /// How many connections each flow has had: where the next one begins.
    pub(super) begun: HashMap<Flow, usize>,
    pub(super) avoided: Avoided,
    /// What works here; a process doesn't gain or lose it.
    pub(super) report: Option<PinningReport>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) claim: Arc<LanesClaim>,
    pub(super) pinning: Pinning,
    pub(super) ways: Ways,
    pub(super) uses: Vec<Use>,
    /// What it has references on.
    pub(super) routes: Vec<RouteKey>,
    pub(super) rules: Vec<RuleKey>,
    /// Data interface, for messages.
    pub(super) interface: String,
    pub(super) origin: String,
    pub(super) asking: Duration,
    pub(super) took: Duration,
}

/// What a lane uses.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) slot: Slot,
    pub(super) segments: Segments,
    /// Position of that path; `None` for one of another process that isn't among ours.
    pub(super) way: Option<usize>,
    /// The path that the peer's lane has, if it said one.
    pub(super) peer: Option<Vec<String>>,
    /// How often this connection's lane has moved.
    pub(super) moves: Moves,
}

impl Connection {
    /// The lanes as they are now.
    pub(super) fn lanes(&self, avoided: &Avoided) -> Lanes {
        let now = Instant::now();
        let lanes = self.uses.iter().map(|used| {
            let way = used.way.and_then(|way| self.ways.get(way));
            LanePath {
                slot: used.slot,
                segments: used.segments.clone(),
                mtu: way.and_then(|way| way.mtu),
                steered: Steered {
                    hops: way.map_or_else(|| vec!["?".to_owned()], |way| way.hops.clone()),
                    carrier: used.segments.to_string(),
                    origin: self.origin.clone(),
                    took: self.took,
                    asking: self.asking,
                },
            }
        });
        let in_use: Vec<usize> = self.uses.iter().filter_map(|used| used.way).collect();
        let is_spare = |way: &usize| {
            !in_use.contains(way) && self.ways.get(*way).is_some_and(|w| !avoided.contains(&w.hops, now))
        };
        Lanes {
            pinning: self.pinning,
            lanes: lanes.collect(),
            spares: (0..self.ways.len()).filter(is_spare).count(),
        }
    }

    /// Whether the path that a lane's slot leads over is the one that another lane's peer has: they share the slot.
    pub(super) fn is_met_by_another(&self, lane: usize) -> bool {
        let meets = |used: &Use| {
            let reverse = used.peer.as_deref().and_then(|path| self.ways.reverse_of(path));
            reverse.is_some() && reverse == used.way
        };
        let slot = self.uses.get(lane).map(|used| used.slot);
        let mut others = self.uses.iter().enumerate().filter(|(other, _)| *other != lane);
        others.any(|(_, used)| Some(used.slot) == slot && meets(used))
    }

    /// Tells the connection what its lanes are now.
    pub(super) fn publish(&self, avoided: &Avoided) {
        self.claim.publish(LanesStatus::Ready(Arc::new(self.lanes(avoided))));
    }

    /// Takes over what routes of its slots say: another process may have chosen, or, for a `reason`, something has moved them.
    pub(super) fn adopt(&mut self, routes: &[Route], reason: Option<Reason>) {
        for used in &mut self.uses {
            let key = lane_key(used.slot, self.claim.flow);
            let route = routes.iter().find(|route| route.key == key);
            if let Some(Route { target: Target::Encap { segments, .. }, .. }) = route
                && *segments != used.segments
            {
                used.way = self.ways.position(segments);
                used.segments = segments.clone();
                if let Some(reason) = reason {
                    *used.moves.entry(reason).or_default() += 1;
                }
            }
        }
    }
}

/// The route of a flow in a slot's table.
pub(super) fn lane_key(slot: Slot, flow: Flow) -> RouteKey {
    RouteKey { table: slot.table(), destination: Prefix::host(flow.dst) }
}
