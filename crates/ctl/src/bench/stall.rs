//! Ends a job in which nothing moves any more.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use srv6_netdrive::{Abort, Pulse};

/// Gives the order to abort when, while operations are under way, nothing has moved for too long.
///
/// A rank that dies is noticed by its closed connection; this is for a network that silently carries nothing. It is no
/// limit to how long operations take: a slow network still moves something.
#[derive(Debug)]
pub(super) struct StallGuard {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What is under way.
    guarded: Option<String>,
    over: bool,
}

/// While it lives, operations are under way.
#[derive(Debug)]
pub(super) struct Guarded<'a>(&'a Shared);

impl StallGuard {
    pub(super) fn start(abort: &Abort, pulse: Pulse, limit: Duration) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (watching, abort) = (Arc::clone(&shared), abort.clone());
        std::thread::Builder::new()
            .name("stall guard".into())
            .spawn(move || watching.watch(&abort, &pulse, limit))
            .context("starting a thread")?;
        Ok(Self { shared })
    }

    /// Guards until the result is dropped.
    pub(super) fn guard(&self, what: String) -> Guarded<'_> {
        self.shared.set(Some(what));
        Guarded(&self.shared)
    }
}

impl Shared {
    fn set(&self, guarded: Option<String>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).guarded = guarded;
        self.changed.notify_all();
    }

    fn watch(&self, abort: &Abort, pulse: &Pulse, limit: Duration) {
        let mut seen = pulse.count();
        let mut since = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.over {
            let count = pulse.count();
            if count != seen || state.guarded.is_none() {
                (seen, since) = (count, Instant::now());
            }
            if let Some(what) = &state.guarded
                && since.elapsed() >= limit
            {
                return abort.now(format!("{what}: nothing has moved for {limit:?}"));
            }
            // Often enough that the limit is kept to an eighth; nobody is woken while nothing is under way.
            let rest = state.guarded.as_ref().map_or(Duration::MAX, |_| limit / 8);
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Guarded<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

impl Drop for StallGuard {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_under_way_can_stall() {
        let abort = Abort::default();
        let guard = StallGuard::start(&abort, Pulse::default(), Duration::from_millis(100)).unwrap();
        // What is tested is the passing of time.
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!(abort.reason(), None);
        let _guarded = guard.guard("the all-reduce".into());
        let deadline = Instant::now() + Duration::from_secs(60);
        while abort.reason().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(abort.reason(), Some("the all-reduce: nothing has moved for 100ms"));
    }
}
