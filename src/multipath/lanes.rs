//! Paths for the subflows of a connection: asked for, waited for, and handed to the transport as lanes.

use std::fmt;
use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use srv6_fabric::{Flow, chain};
use srv6_routes::Slot;
use srv6_steer::{LanePath, Lanes, LanesHold, LanesStatus, LanesWanted, Pinning, Steer, SteerError};
use srv6_transport::{Lane, MarkAnswer, Marker, PathKeeper, Pin, SocketCopy};

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

    /// Says which path the peer's lane takes now. Never blocks.
    fn follow(&self, lane: usize, path: Vec<String>);

    /// Changes whenever the status does.
    fn generation(&self) -> u64;

    /// Whether sockets get their marks by [`Self::mark`], since this process may not set them.
    fn marks(&self) -> bool;

    /// Has a socket marked, and the outcome told. Never blocks.
    fn mark(&self, socket: SocketCopy, slot: Slot, answer: MarkAnswer);
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

    fn follow(&self, lane: usize, path: Vec<String>) {
        Self::follow(self, lane, path);
    }

    fn generation(&self) -> u64 {
        Self::generation(self)
    }

    fn marks(&self) -> bool {
        self.marker().is_some()
    }

    fn mark(&self, socket: SocketCopy, slot: Slot, answer: MarkAnswer) {
        let Some(steer) = self.marker() else { return };
        steer.mark(socket, slot, move |marked| {
            answer.give(marked.map_err(|error| {
                let kind = match error {
                    SteerError::Unmarked { .. } => io::ErrorKind::PermissionDenied,
                    // The next agent may be there in a moment.
                    _ => io::ErrorKind::NotConnected,
                };
                io::Error::new(kind, chain(&error))
            }));
        });
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

    /// The claim where the answer is that there are no lanes. A dataplane that can't tell sockets apart steers the flow as a
    /// whole, for as long as somebody holds the claim.
    pub(super) fn whole(&self) -> Option<Arc<dyn HeldLanes>> {
        matches!(self.held.status(), LanesStatus::Failed(_)).then(|| Arc::clone(&self.held))
    }

    fn pinned(&self, lanes: &Lanes, terms: Terms) -> Pinned {
        log::info!("connection {}: {lanes}", self.flow);
        let lane = |path: &LanePath| Lane {
            pin: pin(&self.held, lanes.pinning, path, terms),
            path: name(path).into(),
        };
        Pinned { held: Arc::clone(&self.held), lanes: lanes.lanes.iter().map(lane).collect() }
    }
}

fn pin(held: &Arc<dyn HeldLanes>, pinning: Pinning, path: &LanePath, terms: Terms) -> Pin {
    match pinning {
        _ if terms.dry_run => Pin::None,
        Pinning::Mark if held.marks() => Pin::MarkBy { mark: path.mark(), marker: marker(held, path.slot) },
        Pinning::Mark => Pin::Mark(path.mark()),
        Pinning::Ports => Pin::SourcePorts(path.ports()),
        Pinning::RoutingHeader => {
            Pin::RoutingHeader { carriers: path.segments.as_slice().to_vec(), mtu: path.mtu }
        }
    }
}

/// Holds no claim, as [`Keeper`].
fn marker(held: &Arc<dyn HeldLanes>, slot: Slot) -> Marker {
    let held = Arc::downgrade(held);
    Marker::new(move |socket, _mark, answer| {
        if let Some(held) = held.upgrade() {
            held.mark(socket, slot, answer);
        }
    })
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
pub(super) struct Keeper {
    held: Weak<dyn HeldLanes>,
    terms: Terms,
}

impl Keeper {
    pub(super) fn new(held: &Arc<dyn HeldLanes>, terms: Terms) -> Self {
        Self { held: Arc::downgrade(held), terms }
    }

    /// What `of` says about a lane as it is now.
    fn now<T>(&self, lane: usize, of: impl FnOnce(&Arc<dyn HeldLanes>, &Lanes, &LanePath) -> T) -> Option<T> {
        let held = self.held.upgrade()?;
        match held.status() {
            LanesStatus::Ready(lanes) => Some(of(&held, &lanes, lanes.lanes.get(lane)?)),
            LanesStatus::Pending | LanesStatus::Failed(_) => None,
        }
    }
}

impl PathKeeper for Keeper {
    fn avoid(&self, lane: usize) {
        if let Some(held) = self.held.upgrade() {
            held.avoid(lane);
        }
    }

    fn follow(&self, lane: usize, path: &str) {
        if let Some(held) = self.held.upgrade() {
            held.follow(lane, path.split(ARROW).map(str::to_owned).collect());
        }
    }

    fn path(&self, lane: usize) -> Option<Arc<str>> {
        self.now(lane, |_, _, path| name(path).into())
    }

    fn pin(&self, lane: usize) -> Option<Pin> {
        self.now(lane, |held, lanes, path| pin(held, lanes.pinning, path, self.terms))
    }

    fn generation(&self) -> u64 {
        self.held.upgrade().map_or(0, |held| held.generation())
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use srv6_fabric::Segments;
    use srv6_steer::Steered;

    use super::*;

    /// Lanes whose state the test sets.
    #[derive(Debug)]
    struct Prop {
        status: Mutex<LanesStatus>,
        avoided: Mutex<Vec<usize>>,
        followed: Mutex<Vec<(usize, Vec<String>)>>,
        /// Slots whose mark somebody else is to set; none: this process may.
        marked: Option<Mutex<Vec<Slot>>>,
    }

    struct Script(Arc<Prop>);

    impl LaneSource for Script {
        fn request(&self, _flow: Flow, _wanted: LanesWanted) -> Arc<dyn HeldLanes> {
            Arc::clone(&self.0) as Arc<dyn HeldLanes>
        }

        fn settle(&self, _patience: Duration) {}
    }

    impl HeldLanes for Prop {
        fn status(&self) -> LanesStatus {
            self.status.lock().clone()
        }

        fn avoid(&self, lane: usize) {
            self.avoided.lock().push(lane);
        }

        fn follow(&self, lane: usize, path: Vec<String>) {
            self.followed.lock().push((lane, path));
        }

        fn generation(&self) -> u64 {
            7
        }

        fn marks(&self) -> bool {
            self.marked.is_some()
        }

        fn mark(&self, socket: SocketCopy, slot: Slot, answer: MarkAnswer) {
            self.marked.as_ref().unwrap().lock().push(slot);
            drop(socket);
            answer.give(Ok(()));
        }
    }

    const TERMS: Terms =
        Terms { strict: false, patience: Duration::from_secs(6), pinning: None, dry_run: false };

    fn ready(pinning: Pinning) -> LanesStatus {
        LanesStatus::Ready(Arc::new(Lanes { pinning, lanes: vec![lane(1), lane(0)], spares: 0 }))
    }

    fn lane(slot: usize) -> LanePath {
        LanePath {
            slot: Slot::new(slot).unwrap(),
            segments: Segments::new(vec!["fc00:0:1:2:3::".parse().unwrap()]).unwrap(),
            mtu: Some(9000),
            steered: Steered {
                hops: ["host00", "leaf00", "spine01", "leaf01", "host04"].map(String::from).to_vec(),
                carrier: "fc00:0:1:2:3::".to_owned(),
                origin: "topology file".to_owned(),
                took: Duration::ZERO,
                asking: Duration::ZERO,
            },
        }
    }

    fn begin(status: LanesStatus, now: Instant) -> (Arc<Prop>, Asking) {
        let prop = Arc::new(Prop {
            status: Mutex::new(status),
            avoided: Mutex::default(),
            followed: Mutex::default(),
            marked: None,
        });
        let flow = Flow { src: "2001:db8::1".parse().unwrap(), dst: "2001:db8::2".parse().unwrap() };
        let wanted = LanesWanted { count: 2, pinning: None, along: Vec::new() };
        let asking = Asking::begin(&Script(Arc::clone(&prop)), flow, wanted, now);
        (prop, asking)
    }

    fn pins(pinning: Pinning, terms: Terms) -> Vec<Pin> {
        let now = Instant::now();
        match begin(ready(pinning), now).1.poll(now, terms).unwrap() {
            Progress::Ready(pinned) => pinned.lanes.into_iter().map(|lane| lane.pin).collect(),
            Progress::Pending => panic!("the lanes were there"),
        }
    }

    #[test]
    fn each_pinning_becomes_its_pin_and_a_dry_run_none() {
        assert_eq!(pins(Pinning::Mark, TERMS), [Pin::Mark(0x5352_0001), Pin::Mark(0x5352_0000)]);
        assert_eq!(
            pins(Pinning::Ports, TERMS),
            [Pin::SourcePorts(20736..=20991), Pin::SourcePorts(20480..=20735)]
        );
        let header =
            Pin::RoutingHeader { carriers: vec!["fc00:0:1:2:3::".parse().unwrap()], mtu: Some(9000) };
        assert_eq!(pins(Pinning::RoutingHeader, TERMS), [header.clone(), header]);
        assert_eq!(pins(Pinning::Mark, Terms { dry_run: true, ..TERMS }), [Pin::None, Pin::None]);
    }

    #[test]
    fn a_process_that_may_not_mark_has_its_sockets_marked_by_slot() {
        let prop = Arc::new(Prop {
            status: Mutex::new(ready(Pinning::Mark)),
            avoided: Mutex::default(),
            followed: Mutex::default(),
            marked: Some(Mutex::default()),
        });
        let held: Arc<dyn HeldLanes> = Arc::clone(&prop) as Arc<dyn HeldLanes>;
        let Some(Pin::MarkBy { mark, .. }) = Keeper::new(&held, TERMS).pin(0) else { panic!("no mark") };
        assert_eq!(mark, 0x5352_0001);
        let ports = pin(&held, Pinning::Ports, &lane(3), TERMS);
        assert_eq!(ports, Pin::SourcePorts(lane(3).ports()));
    }

    #[test]
    fn an_answer_is_waited_for_but_not_for_ever() {
        let start = Instant::now();
        let (prop, asking) = begin(LanesStatus::Pending, start);
        let before = start + TERMS.patience - Duration::from_millis(1);
        assert!(matches!(asking.poll(before, TERMS), Ok(Progress::Pending)));
        let error = asking.poll(start + TERMS.patience, TERMS).unwrap_err().to_string();
        assert_eq!(error, "connection 2001:db8::1 -> 2001:db8::2 can't be steered: no answer in 6s");
        *prop.status.lock() = LanesStatus::Failed("no path from leaf00".into());
        let error = asking.poll(start, TERMS).unwrap_err().to_string();
        assert!(error.ends_with("can't be steered: no path from leaf00"), "{error}");
    }

    #[test]
    fn the_keeper_reaches_the_lanes_as_long_as_they_are_held() {
        let now = Instant::now();
        let (prop, asking) = begin(ready(Pinning::Mark), now);
        let held: Arc<dyn HeldLanes> = Arc::clone(&prop) as Arc<dyn HeldLanes>;
        let keeper = Keeper::new(&held, TERMS);
        keeper.avoid(1);
        assert_eq!(*prop.avoided.lock(), [1]);
        keeper.follow(1, "host04 > leaf01 > spine03");
        assert_eq!(*prop.followed.lock(), [(1, ["host04", "leaf01", "spine03"].map(String::from).to_vec())]);
        assert_eq!((keeper.pin(0), keeper.generation()), (Some(Pin::Mark(0x5352_0001)), 7));
        assert_eq!(keeper.path(0).as_deref(), Some("host00 > leaf00 > spine01 > leaf01 > host04"));
        assert_eq!(keeper.path(2), None);
        let weak = Arc::downgrade(&prop);
        drop((prop, asking, held));
        assert_eq!(weak.strong_count(), 0, "the keeper holds no claim");
        keeper.avoid(0);
        assert_eq!((keeper.path(0), keeper.pin(0)), (None, None));
    }
}
