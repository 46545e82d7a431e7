//! Paths for the subflows of a connection: asked for, waited for, and handed to the transport as lanes.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use srv6_fabric::Flow;
use srv6_steer::{LanePath, Lanes, LanesHold, LanesStatus, LanesWanted, Pinning, Steer};
use srv6_transport::{Lane, PathKeeper, Pin};

use crate::connect::Progress;
use crate::error::Error;

/// Gives lanes. Returns at once; the work is done elsewhere.
pub(crate) trait LaneSource: Send + Sync {
    /// Asks for lanes of `flow`. They stay as long as what is returned lives.
    fn request(&self, flow: Flow, wanted: LanesWanted) -> Arc<dyn HeldLanes>;

    /// Waits until everything given back so far is out of the kernel, at most for `patience`.
    fn settle(&self, patience: Duration);
}

/// A connection's claim on its lanes. Dropping gives it back.
pub(crate) trait HeldLanes: Send + Sync + fmt::Debug {
    /// How far they are, and the lanes as they are now.
    fn status(&self) -> LanesStatus;

    /// Says that this lane's present path carries nothing. Never blocks.
    fn avoid(&self, lane: usize);
}

impl LaneSource for Steer {
    fn request(&self, flow: Flow, wanted: LanesWanted) -> Arc<dyn HeldLanes> {
        Arc::new(self.request_lanes(flow, wanted))
    }

    fn settle(&self, patience: Duration) {
        Self::settle(self, patience);
    }
}

impl HeldLanes for LanesHold {
    fn status(&self) -> LanesStatus {
        Self::status(self)
    }

    fn avoid(&self, lane: usize) {
        Self::avoid(self, lane);
    }
}

/// What both sides of a connection do about its lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Fail rather than go unpinned.
    pub(crate) strict: bool,
    /// A guard, longer than the steering's own deadline: if that doesn't answer at all, connections still go on.
    pub(crate) patience: Duration,
    /// What ties subflows to paths; `None`: whatever works first.
    pub(crate) pinning: Option<Pinning>,
    /// Only log what would be done.
    pub(crate) dry_run: bool,
}

/// Lanes on their way.
#[derive(Debug)]
pub(super) struct Asking {
    flow: Flow,
    held: Arc<dyn HeldLanes>,
    since: Instant,
}

/// Lanes that are there, with the claim on them.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) held: Arc<dyn HeldLanes>,
    pub(super) lanes: Vec<Lane>,
}

/// A comm, and the claim on its lanes if it has some.
#[derive(Debug)]
pub(super) struct Connected<C> {
    pub(super) comm: C,
    pub(super) held: Option<Arc<dyn HeldLanes>>,
}

impl Asking {
    pub(super) fn begin(source: &dyn LaneSource, flow: Flow, wanted: LanesWanted, now: Instant) -> Self {
        Self { flow, held: source.request(flow, wanted), since: now }
    }

    /// The lanes, once they are there.
    ///
    /// # Errors
    /// There are none, and why.
    pub(super) fn poll(&self, now: Instant, terms: Terms) -> Result<Progress<Pinned>, Error> {
        let waited = now.saturating_duration_since(self.since);
        let reason = match self.held.status() {
            LanesStatus::Ready(lanes) => return Ok(Progress::Ready(self.pinned(&lanes, terms))),
            LanesStatus::Pending if waited < terms.patience => return Ok(Progress::Pending),
            LanesStatus::Pending => format!("no answer in {waited:?}").into(),
            LanesStatus::Failed(reason) => reason,
        };
        Err(Error::Unsteered { flow: self.flow, reason })
    }

    fn pinned(&self, lanes: &Lanes, terms: Terms) -> Pinned {
        log::info!("connection {}: {lanes}", self.flow);
        let pin = |path: &LanePath| if terms.dry_run { Pin::None } else { pin(lanes.pinning, path) };
        let lane = |path: &LanePath| Lane { pin: pin(path), path: name(path).into() };
        Pinned { held: Arc::clone(&self.held), lanes: lanes.lanes.iter().map(lane).collect() }
    }
}

fn pin(pinning: Pinning, path: &LanePath) -> Pin {
    match pinning {
        Pinning::Mark => Pin::Mark(path.mark()),
        Pinning::Ports => Pin::SourcePorts(path.ports()),
        Pinning::RoutingHeader => {
            Pin::RoutingHeader { carriers: path.segments.as_slice().to_vec(), mtu: path.mtu }
        }
    }
}

/// How hops are joined in what ranks tell each other.
pub(super) const ARROW: &str = " > ";

fn name(path: &LanePath) -> String {
    path.steered.hops.join(ARROW)
}

/// Lets the transport move a lane off a dead path.
///
/// Holds no claim of its own: the plugin gives all claims back at the last finalize, when NCCL may have leaked comms.
#[derive(Debug)]
pub(super) struct Keeper(Weak<dyn HeldLanes>);

impl Keeper {
    pub(super) fn new(held: &Arc<dyn HeldLanes>) -> Self {
        Self(Arc::downgrade(held))
    }
}

impl PathKeeper for Keeper {
    fn avoid(&self, lane: usize) {
        if let Some(held) = self.0.upgrade() {
            held.avoid(lane);
        }
    }

    fn path(&self, lane: usize) -> Option<Arc<str>> {
        match self.0.upgrade()?.status() {
            LanesStatus::Ready(lanes) => Some(name(lanes.lanes.get(lane)?).into()),
            LanesStatus::Pending | LanesStatus::Failed(_) => None,
        }
    }
}
