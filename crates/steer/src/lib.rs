//! The life of a steered flow: ask for paths, choose one, plan its route, ready.
//!
//! [`Steer`] is the face that connects see: [`Steer::request`] returns at once, [`Hold::status`] says how far it
//! is, dropping the [`Hold`] gives the route back. [`Steer::request_lanes`] does the same for a connection that takes several
//! paths at once. Everything that blocks happens on one background thread.
#![forbid(unsafe_code)]

mod agent;
mod choice;
mod config;
mod control;
mod denials;
mod error;
mod lanes;
mod notice;
mod on_change;
mod permission;
pub mod protocol;
mod report;
mod resolver;
mod serving;
mod steered;
mod worker;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

pub use agent::{AgentSession, Attachment};
pub use config::{Config, Source};
pub use control::Awaited;
pub use denials::{Denials, Objection, Place};
pub use error::SteerError;
pub use lanes::{LanePath, Lanes, LanesHold, LanesStatus, LanesWanted};
use notice::{AtEnd, Notice};
pub use on_change::OnChange;
use parking_lot::Mutex;
pub use permission::may_change_routes;
pub use report::{FlowReport, Moved, Moves, Reason, Report, SourceReport};
pub use serving::Serving;
use srv6_fabric::{Flow, Topology};
use srv6_paths::PathError;
pub use srv6_routes::Pinning;
pub use steered::{Status, Steered};
use worker::{Job, Jobs, Worker};

/// Where clients find the agent unless told otherwise.
pub const AGENT_SOCKET: &str = "/run/srv6/agent.sock";

/// Names of the background threads, as the kernel shows them: who works, asks for paths, listens to the dataplane, and holds the
/// session with the agent.
pub const THREADS: [&str; 4] = [STEERING, ASKING, LISTENING, ATTACHED];
pub(crate) const STEERING: &str = "srv6-steer";
pub(crate) const ASKING: &str = "srv6-paths";
pub(crate) const LISTENING: &str = "srv6-watch";
pub(crate) const ATTACHED: &str = "srv6-session";

/// Steering of one process and network namespace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Steer {
    jobs: Arc<Jobs>,
    process: u32,
    marks_by_agent: bool,
}

/// One connection's claim on the route of its flow. Given back on drop; the last one withdraws the route.
#[derive(Debug)]
pub struct Hold {
    slot: Arc<Slot>,
    owner: Option<Steer>,
}

/// Where the background thread leaves its answer.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) flow: Flow,
    pub(crate) since: Instant,
    status: Mutex<Status>,
    notice: Mutex<Option<Notice<Steered, SteerError>>>,
    on_change: Option<OnChange>,
    /// Set when the connection is given up: an answer not yet worked out needn't be.
    pub(crate) abandoned: AtomicBool,
}

impl Slot {
    /// A request of our own: `tell` gets each of its answers.
    pub(crate) fn answering(
        flow: Flow,
        since: Instant,
        tell: impl Fn(Status) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new_cyclic(|slot: &Weak<Self>| {
            let slot = slot.clone();
            let tell = move || {
                if let Some(slot) = slot.upgrade() {
                    tell(slot.status());
                }
            };
            Self {
                flow,
                since,
                status: Mutex::new(Status::Pending),
                notice: Mutex::new(None),
                on_change: Some(OnChange::new(tell)),
                abandoned: AtomicBool::new(false),
            }
        })
    }

    /// Leaves an answer, or a changed one.
    pub(crate) fn publish(&self, status: Status) {
        *self.status.lock() = status;
        if let Some(on_change) = &self.on_change {
            on_change.call();
        }
    }

    /// Tells who waits for the first answer.
    pub(crate) fn notify(&self, answer: Result<Arc<Steered>, SteerError>) {
        let notice = self.notice.lock().take();
        if let Some(notice) = notice {
            notice.give(answer);
        }
    }

    /// The answer as it is.
    pub(crate) fn status(&self) -> Status {
        self.status.lock().clone()
    }

    /// Whether the connection was given up.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}

impl Steer {
    /// Starts the background thread in the calling thread's network namespace, and removes routes and rules that
    /// processes before this one left behind.
    ///
    /// Needs no privilege: without CAP_NET_ADMIN, flows fail one by one and lanes are left with what needs no route.
    ///
    /// # Errors
    /// A path source or dataplane that can't work at all: a wrong address, no netlink socket, no thread.
    pub fn start(config: Config) -> Result<Self, SteerError> {
        Self::run(config, None)
    }

    /// Starts the background thread in the calling thread's network namespace, for flows of other processes in it.
    ///
    /// What it finds is left alone until [`Self::tidy`]: it may belong to processes that ask again, and a route that
    /// leads over a path of the flow's is taken over as it is.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn serve(config: Config, serving: Serving) -> Result<Self, SteerError> {
        Self::run(config, Some(serving))
    }

    fn run(config: Config, serving: Option<Serving>) -> Result<Self, SteerError> {
        let (jobs, inbox) = mpsc::channel();
        let worker = Worker::new(config, serving, &jobs)?;
        std::thread::Builder::new()
            .name(STEERING.to_owned())
            .spawn(move || worker.run(&inbox))
            .map_err(|source| SteerError::Thread { source })?;
        Ok(Self { jobs: Arc::new(Jobs::new(jobs)), process: std::process::id(), marks_by_agent: false })
    }

    /// Asks for a flow to be steered. Returns at once; never blocks.
    pub fn request(&self, flow: Flow) -> Hold {
        self.submit(flow, None, None)
    }

    /// As [`Self::request`]; `on_change` is called whenever [`Hold::status`] changes, also later, when the flow is moved.
    pub fn request_watched(&self, flow: Flow, on_change: Option<OnChange>) -> Hold {
        self.submit(flow, on_change, None)
    }

    /// As [`Self::request`], and calls `done` with the first answer, on the background thread.
    ///
    /// Where that thread gives no answer (a forked process, the thread has ended, the hold was dropped first) `done` is
    /// dropped uncalled; the hold's status says why.
    pub fn request_then(
        &self,
        flow: Flow,
        done: impl FnOnce(Result<Arc<Steered>, SteerError>) + Send + 'static,
    ) -> Hold {
        self.submit(flow, None, Some(Notice::new(done)))
    }

    fn submit(
        &self,
        flow: Flow,
        on_change: Option<OnChange>,
        notice: Option<Notice<Steered, SteerError>>,
    ) -> Hold {
        let slot = Arc::new(Slot {
            flow: Flow { src: flow.src.to_canonical(), dst: flow.dst.to_canonical() },
            since: Instant::now(),
            status: Mutex::new(Status::Pending),
            notice: Mutex::new(notice),
            on_change,
            abandoned: AtomicBool::new(false),
        });
        // A forked child has the channel but not the thread behind it.
        if std::process::id() != self.process {
            slot.publish(Status::Failed("this process was forked from the one that steers".into()));
            slot.notice.lock().take();
            return Hold { slot, owner: None };
        }
        if self.jobs.send(Job::Acquire(Arc::clone(&slot))).is_err() {
            slot.publish(Status::Failed("the steering thread has ended".into()));
            slot.notice.lock().take();
            return Hold { slot, owner: None };
        }
        Hold { slot, owner: Some(self.clone()) }
    }

    /// Asks for the whole fabric, from memory or the source, and calls `done` with it on the background thread. Returns at
    /// once. In a forked process `done` is dropped uncalled.
    pub fn topology_then(&self, done: impl FnOnce(Result<Arc<Topology>, PathError>) + Send + 'static) {
        if std::process::id() == self.process {
            let _ended = self.jobs.send(Job::Topology(Notice::new(done)));
        }
    }

    /// Asks for several paths of a flow at once, for one connection. Returns at once; never blocks.
    ///
    /// Connections of a flow begin at different paths. Those of this host to the same destination share routes, each with its
    /// own references; a plain [`Self::request`] for the same flow has a route of its own and isn't disturbed.
    pub fn request_lanes(&self, flow: Flow, wanted: LanesWanted) -> LanesHold {
        self.request_lanes_watched(flow, wanted, None)
    }

    /// As [`Self::request_lanes`]; `on_change` is called whenever [`LanesHold::status`] changes.
    pub fn request_lanes_watched(
        &self,
        flow: Flow,
        wanted: LanesWanted,
        on_change: Option<OnChange>,
    ) -> LanesHold {
        let flow = Flow { src: flow.src.to_canonical(), dst: flow.dst.to_canonical() };
        let (hold, claim) = LanesHold::new(flow, wanted, on_change);
        // A forked child has the channel but not the thread behind it.
        if std::process::id() != self.process {
            claim.publish(LanesStatus::Failed("this process was forked from the one that steers".into()));
            return hold;
        }
        if self.jobs.send(Job::AcquireLanes(Arc::clone(&claim))).is_err() {
            claim.publish(LanesStatus::Failed("the steering thread has ended".into()));
            return hold;
        }
        hold.owned_by(self.clone())
    }

    /// Removes routes and rules that nobody holds, once it is known who still needs some. Returns at once.
    pub fn tidy(&self) {
        // An error means that the thread is gone, and nobody can tidy then.
        let _ended = self.jobs.send(Job::Tidy);
    }

    /// Waits until everything asked for and given back before this call is done, at most for `patience`.
    pub fn settle(&self, patience: Duration) {
        let (done, wait) = mpsc::channel::<()>();
        self.settle_then(move || drop(done));
        // Nothing is ever sent: it is over when the other end is gone.
        let _over = wait.recv_timeout(patience);
    }

    /// Calls `over`, on a background thread as a rule, once everything asked for and given back before this call is done, or
    /// nobody will do it any more: the thread has ended, or this process was forked. Returns at once.
    pub fn settle_then(&self, over: impl FnOnce() + Send + 'static) {
        let over = AtEnd::new(over);
        if std::process::id() == self.process {
            // What can't be sent is dropped, here as by the thread when it comes to it.
            let _ended = self.jobs.send(Job::Settle(over));
        }
    }
}

impl Hold {
    /// The flow it is for.
    pub fn flow(&self) -> Flow {
        self.slot.flow
    }

    /// How far it is. Never blocks for longer than the copy of an answer takes.
    pub fn status(&self) -> Status {
        self.slot.status()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(owner) = &self.owner
            && std::process::id() == owner.process
        {
            self.slot.abandoned.store(true, Ordering::Relaxed);
            // An error means that the thread is gone; its references went with it.
            let _ended = owner.jobs.send(Job::Release(Arc::clone(&self.slot)));
        }
    }
}
