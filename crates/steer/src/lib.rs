//! The life of a steered flow: ask for paths, choose one, plan its route, ready.
//!
//! [`Steer`] is the face that connects see: [`Steer::request`] returns at once, [`Hold::status`] says how far it
//! is, dropping the [`Hold`] gives the route back. [`Steer::request_lanes`] does the same for a connection that takes several
//! paths at once. Everything that blocks happens on one background thread.
#![forbid(unsafe_code)]

mod choice;
mod config;
mod error;
mod lanes;
mod notice;
mod permission;
mod steered;
mod worker;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

pub use config::{Config, Source};
pub use error::SteerError;
pub use lanes::{LanePath, Lanes, LanesHold, LanesStatus, LanesWanted};
use notice::Notice;
use parking_lot::Mutex;
pub use permission::may_change_routes;
use srv6_fabric::{Flow, Topology};
use srv6_paths::PathError;
pub use srv6_routes::Pinning;
pub use steered::{Status, Steered};
use worker::{Job, Worker};

/// Name of the background thread, as the kernel shows it.
pub const THREAD: &str = "srv6-steer";

/// Steering of one process and network namespace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Steer {
    jobs: mpsc::Sender<Job>,
    process: u32,
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
    pub(crate) status: Mutex<Status>,
    pub(crate) notice: Mutex<Option<Notice<Steered, SteerError>>>,
    /// Set when the connection is given up: an answer not yet worked out needn't be.
    pub(crate) abandoned: AtomicBool,
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
        let (jobs, inbox) = mpsc::channel();
        let worker = Worker::new(config)?;
        std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || worker.run(&inbox))
            .map_err(|source| SteerError::Thread { source })?;
        Ok(Self { jobs, process: std::process::id() })
    }

    /// Asks for a flow to be steered. Returns at once; never blocks.
    pub fn request(&self, flow: Flow) -> Hold {
        self.submit(flow, None)
    }

    /// As [`Self::request`], and calls `done` with the answer, on the background thread.
    ///
    /// Where there will be no answer (a forked process, the thread has ended, the hold was dropped first) `done` is dropped
    /// uncalled; the hold's status says why.
    pub fn request_then(
        &self,
        flow: Flow,
        done: impl FnOnce(Result<Arc<Steered>, SteerError>) + Send + 'static,
    ) -> Hold {
        self.submit(flow, Some(Notice::new(done)))
    }

    fn submit(&self, flow: Flow, notice: Option<Notice<Steered, SteerError>>) -> Hold {
        let slot = Arc::new(Slot {
            flow: Flow { src: flow.src.to_canonical(), dst: flow.dst.to_canonical() },
            since: Instant::now(),
            status: Mutex::new(Status::Pending),
            notice: Mutex::new(notice),
            abandoned: AtomicBool::new(false),
        });
        // A forked child has the channel but not the thread behind it.
        if std::process::id() != self.process {
            *slot.status.lock() = Status::Failed("this process was forked from the one that steers".into());
            slot.notice.lock().take();
            return Hold { slot, owner: None };
        }
        if self.jobs.send(Job::Acquire(Arc::clone(&slot))).is_err() {
            *slot.status.lock() = Status::Failed("the steering thread has ended".into());
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
        let flow = Flow { src: flow.src.to_canonical(), dst: flow.dst.to_canonical() };
        let (hold, claim) = LanesHold::new(flow, wanted);
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

    /// Waits until everything asked for and given back before this call is done, at most for `patience`.
    pub fn settle(&self, patience: Duration) {
        let (done, wait) = mpsc::channel();
        if std::process::id() == self.process && self.jobs.send(Job::Settle(done)).is_ok() {
            // Nothing is ever sent: the thread drops its end when it comes to the job, or when it ends.
            let _over = wait.recv_timeout(patience);
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
        self.slot.status.lock().clone()
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
