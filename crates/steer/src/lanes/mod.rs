//! Several paths of one flow at once, each behind something that a socket can have.
//!
//! [`crate::Steer::request_lanes`] gives a [`LanesHold`] for one connection. A lane is one of its paths: the transport
//! pins a socket to it by a mark, a port or a routing header, and when it sees the path dead it says
//! [`LanesHold::avoid`].

mod avoided;
mod choosing;
mod ways;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

pub(crate) use avoided::Avoided;
pub(crate) use choosing::{Demand, Pick, Verdict};
use parking_lot::Mutex;
use srv6_fabric::{Flow, Segments};
use srv6_routes::{Pinning, Slot};
pub(crate) use ways::Ways;

use crate::worker::Job;
use crate::{OnChange, Steer, Steered};

/// What one connection wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanesWanted {
    /// How many lanes, 1 to 16; what is outside counts as the nearest. Where the fabric has fewer paths, several lanes
    /// take the same one.
    pub count: usize,
    /// What ties the sockets to the paths. `None`: the first of mark, ports and routing header that works here.
    pub pinning: Option<Pinning>,
    /// Paths, as names of hosts and switches, that the peer uses in the other direction, by lane. Lane `i` takes
    /// the reverse of the `i`th, where this host knows it: then a lane's acknowledgements meet the same switches. Empty
    /// for a connection that chooses freely.
    pub along: Vec<Vec<String>>,
}

/// How far a connection's lanes are.
#[derive(Debug, Clone)]
pub enum LanesStatus {
    /// Not yet.
    Pending,
    /// Rules and routes are in place, or none are needed.
    Ready(Arc<Lanes>),
    /// There are no lanes, and why.
    Failed(Arc<str>),
}

/// The lanes of one connection as they are at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lanes {
    /// What ties the sockets to the paths.
    pub pinning: Pinning,
    /// As many as were wanted.
    pub lanes: Vec<LanePath>,
    /// Further paths to the destination that no lane of this connection uses and that nobody avoids now.
    pub spares: usize,
}

/// One lane of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanePath {
    /// The slot whose mark or ports lead to the path. Of no meaning for [`Pinning::RoutingHeader`].
    pub slot: Slot,
    /// Carriers in travel order. For [`Pinning::RoutingHeader`] these are what goes into the header before the placeholder
    /// of the destination, and hold no decapsulation function.
    pub segments: Segments,
    /// MTU of the fabric on this path in bytes, where it is known. Routes carry it; a socket with a routing header
    /// has to see to it itself (`TCP_MAXSEG`), since the fabric's ICMP errors don't reach TCP.
    pub mtu: Option<u32>,
    /// The path by name, and where it came from.
    pub steered: Steered,
}

impl LanePath {
    /// What `SO_MARK` has to be for [`Pinning::Mark`].
    pub fn mark(&self) -> u32 {
        self.slot.mark()
    }

    /// The ports to bind to for [`Pinning::Ports`].
    pub fn ports(&self) -> RangeInclusive<u16> {
        self.slot.ports()
    }
}

impl fmt::Display for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lanes = if self.lanes.len() == 1 { "lane" } else { "lanes" };
        write!(f, "{} {lanes} by {}, {} spare", self.lanes.len(), self.pinning, self.spares)?;
        for (number, lane) in self.lanes.iter().enumerate() {
            write!(f, "; {number}: {} carrier {}", lane.steered.hops.join(" > "), lane.segments)?;
        }
        Ok(())
    }
}

/// One connection's claim on its lanes. Given back on drop; the last claim on a route or rule of this host withdraws it.
#[derive(Debug)]
pub struct LanesHold {
    claim: Arc<LanesClaim>,
    owner: Option<Steer>,
}

/// Where the background thread leaves what a connection may know.
#[derive(Debug)]
pub(crate) struct LanesClaim {
    pub(crate) number: u64,
    pub(crate) flow: Flow,
    pub(crate) wanted: LanesWanted,
    pub(crate) since: Instant,
    status: Mutex<LanesStatus>,
    generation: AtomicU64,
    on_change: Option<OnChange>,
    /// Set when the connection is given up: an answer not yet worked out needn't be.
    pub(crate) abandoned: AtomicBool,
}

/// Numbers the claims of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl LanesClaim {
    /// Leaves an answer, or a changed one.
    pub(crate) fn publish(&self, status: LanesStatus) {
        *self.status.lock() = status;
        self.generation.fetch_add(1, Ordering::Release);
        if let Some(on_change) = &self.on_change {
            on_change.call();
        }
    }

    /// The answer as it is.
    pub(crate) fn status(&self) -> LanesStatus {
        self.status.lock().clone()
    }

    /// Whether the connection was given up.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}

impl LanesHold {
    pub(crate) fn new(
        flow: Flow,
        wanted: LanesWanted,
        on_change: Option<OnChange>,
    ) -> (Self, Arc<LanesClaim>) {
        let claim = Arc::new(LanesClaim {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            flow,
            wanted,
            since: Instant::now(),
            status: Mutex::new(LanesStatus::Pending),
            generation: AtomicU64::new(0),
            on_change,
            abandoned: AtomicBool::new(false),
        });
        (Self { claim: Arc::clone(&claim), owner: None }, claim)
    }

    pub(crate) fn owned_by(mut self, owner: Steer) -> Self {
        self.owner = Some(owner);
        self
    }

    /// The flow it is for.
    pub fn flow(&self) -> Flow {
        self.claim.flow
    }

    /// How far it is, and the lanes as they are now. Never blocks for longer than the copy of an answer takes.
    pub fn status(&self) -> LanesStatus {
        self.claim.status()
    }

    /// Changes whenever [`Self::status`] does: one load, for a data path that asks often.
    pub fn generation(&self) -> u64 {
        self.claim.generation.load(Ordering::Acquire)
    }

    /// Names of hosts and switches on a lane's present path, in travel order.
    pub fn path(&self, lane: usize) -> Option<Vec<String>> {
        self.lane(lane).map(|lane| lane.steered.hops)
    }

    /// Says that a lane's present path doesn't work. Returns at once; never blocks.
    ///
    /// If another path to the destination is free, the background thread lets the lane take it: with a mark or ports by a
    /// replace of the route behind them, so that the socket goes on as it is; a routing header the transport sets anew
    /// (see [`Self::generation`]). Once per path, however often and by however many connections it is said. The path is not
    /// given to new connections for some seconds, and for longer each time it comes back and fails again.
    pub fn avoid(&self, lane: usize) {
        if let Some(path) = self.lane(lane) {
            self.avoid_seen(lane, path.segments, path.steered.hops);
        }
    }

    /// As [`Self::avoid`], for the path that the lane had when it was seen dead: it may have moved since.
    pub fn avoid_seen(&self, lane: usize, seen: Segments, hops: Vec<String>) {
        if let Some(owner) = &self.owner
            && std::process::id() == owner.process
        {
            // An error means that the thread is gone: nobody can move the lane then.
            let _ended = owner.jobs.send(Job::Avoid { claim: Arc::clone(&self.claim), lane, seen, hops });
        }
    }

    /// Says which path, as names of hosts and switches, the peer's lane takes in the other direction now: this lane takes the
    /// reverse of it. Returns at once; never blocks.
    ///
    /// For the accepting side. A peer that has moved its lane off a dead path gets no acknowledgement as long as
    /// those are pinned to the same dead switches. A path that this host doesn't know changes nothing.
    pub fn follow(&self, lane: usize, path: Vec<String>) {
        if let Some(owner) = &self.owner
            && std::process::id() == owner.process
        {
            // An error means that the thread is gone: nobody can move the lane then.
            let _ended = owner.jobs.send(Job::Follow { claim: Arc::clone(&self.claim), lane, path });
        }
    }

    /// The steering that sockets of these lanes get their marks from: [`Steer::mark`]. `None` where this process sets them.
    pub fn marker(&self) -> Option<&Steer> {
        self.owner.as_ref().filter(|owner| owner.marks_by_agent())
    }

    fn lane(&self, lane: usize) -> Option<LanePath> {
        match &*self.claim.status.lock() {
            LanesStatus::Ready(lanes) => lanes.lanes.get(lane).cloned(),
            LanesStatus::Pending | LanesStatus::Failed(_) => None,
        }
    }
}

impl Drop for LanesHold {
    fn drop(&mut self) {
        if let Some(owner) = &self.owner
            && std::process::id() == owner.process
        {
            self.claim.abandoned.store(true, Ordering::Relaxed);
            // An error means that the thread is gone; its references went with it.
            let _ended = owner.jobs.send(Job::ReleaseLanes(Arc::clone(&self.claim)));
        }
    }
}
