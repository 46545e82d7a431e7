//! A dataplane that may be restarted is watched, and given everything again.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use srv6_routes::{Change, Watch};

use super::{Job, Worker, first};
use crate::error::chain;

/// How soon the steering thread finds out that it has something to put back.
const PERIOD: Duration = Duration::from_millis(250);

/// How soon it tries again what could not be put back.
const RETRY: Duration = Duration::from_secs(1);

/// The thread that waits for a restart. It ends with this.
pub(super) struct Watching {
    lost: Arc<AtomicBool>,
    stop: Box<dyn Fn() + Send>,
    /// When to try again.
    again: Cell<Option<Instant>>,
}

impl Watching {
    /// The next job: putting back what was lost before all others.
    pub(super) fn next(&self, waiting: &mut VecDeque<Job>, inbox: &Receiver<Job>) -> Option<Job> {
        loop {
            let due = self.again.get().is_some_and(|at| Instant::now() >= at);
            if self.lost.swap(false, Ordering::AcqRel) || due {
                return Some(Job::Restore);
            }
            if !waiting.is_empty() {
                return first(waiting, inbox);
            }
            match inbox.recv_timeout(PERIOD) {
                Ok(job) => waiting.push_back(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        (self.stop)();
    }
}

impl Worker {
    /// Begins to watch where that is needed.
    pub(super) fn watch(&mut self) -> Option<Watching> {
        if !self.dataplane.restarts() {
            return None;
        }
        let watch = match self.dataplane.watch() {
            Ok(watch) => watch?,
            Err(error) => {
                log::warn!("restarts of the dataplane go unnoticed: {}", chain(&error));
                return None;
            }
        };
        let lost = Arc::new(AtomicBool::new(false));
        let stop = watch.stopper();
        let told = Arc::clone(&lost);
        let thread = std::thread::Builder::new().name("srv6-watch".to_owned());
        if let Err(error) = thread.spawn(move || wait(watch, &told)) {
            log::warn!("restarts of the dataplane go unnoticed: no thread to be had: {error}");
            return None;
        }
        Some(Watching { lost, stop, again: Cell::new(None) })
    }

    /// Puts back what the dataplane has forgotten.
    pub(super) fn restore(&mut self, watching: Option<&Watching>) {
        let failed = match self.ledger.restore(self.dataplane.as_mut()) {
            Ok(failed) => {
                let reasons =
                    failed.iter().map(|(key, error)| format!("{}: {}", key.destination, chain(error)));
                reasons.collect::<Vec<_>>()
            }
            Err(error) => vec![chain(&error)],
        };
        let Some(watching) = watching else { return };
        let [first, ..] = failed.as_slice() else {
            watching.again.set(None);
            log::info!("the dataplane was restarted; its routes are back");
            return;
        };
        // Said once: it may not have all its interfaces and tables yet.
        let level = if watching.again.get().is_none() { log::Level::Warn } else { log::Level::Debug };
        log::log!(level, "the dataplane was restarted; {} routes are not back yet: {first}", failed.len());
        watching.again.set(Some(Instant::now() + RETRY));
    }
}

/// Until there is nothing to wait for any more.
fn wait(mut watch: Box<dyn Watch>, lost: &AtomicBool) {
    loop {
        match watch.wait() {
            Ok(Some(changes)) if changes.contains(&Change::Lost) => lost.store(true, Ordering::Release),
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => {
                log::warn!("restarts of the dataplane go unnoticed from now on: {}", chain(&error));
                return;
            }
        }
    }
}
