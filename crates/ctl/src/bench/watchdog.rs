//! Ends what takes too long.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use srv6_netdrive::Abort;

/// Gives the order to abort when something watched does not end in time.
///
/// A rank that dies is noticed by its closed connection; this is for a network that silently carries nothing.
#[derive(Debug)]
pub(super) struct Watchdog {
    shared: Arc<Shared>,
    limit: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    watched: Option<(Instant, String)>,
    over: bool,
}

/// While it lives, something is watched.
#[derive(Debug)]
pub(super) struct Watched<'a>(&'a Shared);

impl Watchdog {
    pub(super) fn start(abort: &Abort, limit: Duration) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (watching, abort) = (Arc::clone(&shared), abort.clone());
        std::thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || watching.watch(&abort, limit))
            .context("starting a thread")?;
        Ok(Self { shared, limit })
    }

    /// Watches until the result is dropped.
    pub(super) fn watch(&self, what: String) -> Watched<'_> {
        self.shared.set(Some((Instant::now() + self.limit, what)));
        Watched(&self.shared)
    }
}

impl Shared {
    fn set(&self, watched: Option<(Instant, String)>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).watched = watched;
        self.changed.notify_all();
    }

    fn watch(&self, abort: &Abort, limit: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.over {
            let rest = match &state.watched {
                None => Duration::MAX,
                Some((deadline, what)) => {
                    let rest = deadline.saturating_duration_since(Instant::now());
                    if rest.is_zero() {
                        return abort.now(format!("{what} did not end within {limit:?}"));
                    }
                    rest
                }
            };
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_too_long_is_ended() {
        let abort = Abort::default();
        let watchdog = Watchdog::start(&abort, Duration::from_millis(200)).unwrap();
        drop(watchdog.watch("something short".into()));
        let _watched = watchdog.watch("something long".into());
        let deadline = Instant::now() + Duration::from_secs(60);
        while abort.reason().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(abort.reason(), Some("something long did not end within 200ms"));
    }
}
