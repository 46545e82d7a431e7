//! What the thread is told, in the order in which it is done.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use srv6_fabric::{Flow, Segments, Topology};
use srv6_paths::{Answer, PathError};
use srv6_routes::{Change, Interface};

use crate::agent::Unmarked;
use crate::lanes::LanesClaim;
use crate::notice::{AtEnd, Notice};
use crate::report::{Moved, Report};
use crate::{Denials, Slot, SteerError};

/// What the thread is told.
#[derive(Debug)]
pub(crate) enum Job {
    Acquire(Arc<Slot>),
    Release(Arc<Slot>),
    AcquireLanes(Arc<LanesClaim>),
    ReleaseLanes(Arc<LanesClaim>),
    /// The path that the transport saw dead, as the lane had it then.
    Avoid {
        claim: Arc<LanesClaim>,
        lane: usize,
        seen: Segments,
        hops: Vec<String>,
    },
    /// The path that the peer's lane has now.
    Follow {
        claim: Arc<LanesClaim>,
        lane: usize,
        path: Vec<String>,
    },
    /// A socket that is to have the mark of a slot, for who steers by an agent and may not mark itself.
    Mark {
        socket: Unmarked,
        slot: srv6_routes::Slot,
        done: Notice<(), SteerError>,
    },
    /// What the path source says to a question.
    Answered {
        asked: Asked,
        answer: Box<Result<Answer, PathError>>,
        took: Duration,
    },
    /// What the dataplane has told.
    Changed(Vec<Change>),
    /// What everything is to keep off.
    Deny {
        denials: Denials,
        since: Instant,
        done: mpsc::Sender<Moved>,
    },
    /// Who would have no path left if this were denied.
    Stranded {
        denials: Denials,
        done: mpsc::Sender<Vec<Flow>>,
    },
    /// Read the fabric anew.
    Refresh {
        since: Instant,
        done: mpsc::Sender<Moved>,
    },
    /// The fabric as the path source has it, to the oldest `Refresh` that isn't answered.
    Refreshed(Result<Arc<Topology>, PathError>),
    /// The fabric as it is known, an older one too.
    Topology(Notice<Topology, PathError>),
    Report(mpsc::Sender<Report>),
    /// Paths that are in use.
    PathsInUse(mpsc::Sender<BTreeSet<Vec<String>>>),
    /// Remove what nobody holds.
    Tidy,
    /// Tell when all questions asked so far are answered.
    Settle(AtEnd),
    /// They are.
    Settled(AtEnd),
    /// The last one who could want something is gone.
    End,
}

/// Who asked the path source.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A connection, and the interface that it leaves by.
    Flow(Arc<Slot>, Interface),
    /// A connection with lanes, and the same.
    Lanes(Arc<LanesClaim>, Interface),
}

impl Asked {
    /// Whether the connection was given up meanwhile.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Flow(slot, _) => slot.is_abandoned(),
            Self::Lanes(claim, _) => claim.is_abandoned(),
        }
    }
}

/// The way to the thread: told when nobody else can tell it anything any more, since its own helpers have ways to it, too.
#[derive(Debug)]
pub(crate) struct Jobs(mpsc::Sender<Job>);

impl Jobs {
    pub(crate) fn new(jobs: mpsc::Sender<Job>) -> Self {
        Self(jobs)
    }

    pub(crate) fn send(&self, job: Job) -> Result<(), mpsc::SendError<Job>> {
        self.0.send(job)
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ended = self.0.send(Job::End);
    }
}

/// Jobs that have arrived and not been done.
#[derive(Debug, Default)]
pub(super) struct Queue {
    urgent: VecDeque<Job>,
    ordinary: VecDeque<Job>,
}

impl Queue {
    /// The next job, one that live traffic waits for before all others; `None` if there is none within `patience`.
    pub(super) fn next(&mut self, inbox: &mpsc::Receiver<Job>, patience: Duration) -> Option<Job> {
        if self.urgent.is_empty() && self.ordinary.is_empty() {
            match inbox.recv_timeout(patience) {
                Ok(job) => self.put(job),
                Err(mpsc::RecvTimeoutError::Timeout) => return None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Some(Job::End),
            }
        }
        while let Ok(job) = inbox.try_recv() {
            self.put(job);
        }
        self.urgent.pop_front().or_else(|| self.ordinary.pop_front())
    }

    /// The connections that are given back next, with nothing in between.
    pub(super) fn releases(&mut self) -> Vec<Arc<Slot>> {
        let mut slots = Vec::new();
        while let Some(Job::Release(_)) = self.ordinary.front() {
            if let Some(Job::Release(slot)) = self.ordinary.pop_front() {
                slots.push(slot);
            }
        }
        slots
    }

    fn put(&mut self, job: Job) {
        match job {
            Job::Avoid { .. }
            | Job::Follow { .. }
            | Job::Changed(_)
            | Job::Deny { .. }
            | Job::Stranded { .. }
            | Job::Refreshed(_)
            | Job::Report(_)
            | Job::PathsInUse(_) => self.urgent.push_back(job),
            _ => self.ordinary.push_back(job),
        }
    }
}
