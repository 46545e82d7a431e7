//! What the one that serves a host does with its steering, beside asking for flows.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use srv6_fabric::Flow;

use crate::worker::Job;
use crate::{Denials, Moved, Report, Steer};

/// An answer that the background thread still works on.
#[derive(Debug)]
pub struct Awaited<T>(mpsc::Receiver<T>);

impl<T> Awaited<T> {
    /// An answer that is given by the sender.
    pub fn channel() -> (mpsc::Sender<T>, Self) {
        let (done, wait) = mpsc::channel();
        (done, Self(wait))
    }

    /// The answer; `None` if it takes longer than `patience`, or the thread has ended.
    pub fn wait(self, patience: Duration) -> Option<T> {
        self.0.recv_timeout(patience).ok()
    }
}

impl Steer {
    /// Says what flows and lanes are to keep off from now on, in the place of what was said before. Returns at once.
    ///
    /// Every flow whose path meets it moves, if it has a path that less is against, by one atomic replace; so the last path is
    /// never taken away. What it no longer says lets those that had left return to the policy's own path.
    pub fn deny(&self, denials: Denials) -> Awaited<Moved> {
        self.asked(|done| Job::Deny { denials, since: Instant::now(), done })
    }

    /// Flows and lanes that would have no path left that isn't drained or dead if this were denied, and have one now. Nothing is changed.
    pub fn stranded(&self, denials: Denials) -> Awaited<Vec<Flow>> {
        self.asked(|done| Job::Stranded { denials, done })
    }

    /// Reads the fabric anew and lets flows follow it: off paths that it no longer has, and back to the policy's own. Where it
    /// can't be read, or has no path for a flow, nothing changes.
    pub fn refresh(&self) -> Awaited<Moved> {
        self.asked(|done| Job::Refresh { since: Instant::now(), done })
    }

    /// What is steered, and what has happened so far.
    pub fn report(&self) -> Awaited<Report> {
        self.asked(Job::Report)
    }

    /// Paths that flows and lanes take now, as names from host to host.
    pub fn paths_in_use(&self) -> Awaited<BTreeSet<Vec<String>>> {
        self.asked(Job::PathsInUse)
    }

    fn asked<T>(&self, job: impl FnOnce(mpsc::Sender<T>) -> Job) -> Awaited<T> {
        let (done, awaited) = Awaited::channel();
        // If the thread is gone, so is the other end of the answer's channel, and nobody waits.
        let _ended = self.jobs.send(job(done));
        awaited
    }
}
