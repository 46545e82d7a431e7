//! Threads for work that a client can make last: so many for each user, and some that are left to the agent itself.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::registry::Place;

/// Threads for one kind of work of one user.
const OF_USER: usize = 16;

/// Threads for one kind of work of all users. That of all kinds together is less than the 512 threads that the event loop has for
/// blocking work: health and metrics need some, too.
const OF_ALL: usize = 160;

/// What a thread is for. No kind waits for another, whose threads may all be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// Marks a socket: its owner may hold its lock.
    Mark,
    /// Closes what nobody asked for: that may be a file of the client's own file system.
    Close,
    /// Answers a person, who may read slowly.
    Control,
}

/// Who may have a thread now.
#[derive(Debug, Default)]
pub(super) struct Turns {
    all: Mutex<HashMap<Work, Arc<Semaphore>>>,
    users: Mutex<HashMap<(u32, Work), Weak<Semaphore>>>,
}

/// The right to a thread; given back on drop.
#[derive(Debug)]
struct Turn {
    _of_user: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Works on a thread as soon as there is one for this. Returns at once. The client's place stays taken until then: who comes
    /// back again and again can't make more work wait than a user may have sessions.
    pub(super) fn work(self: &Arc<Self>, work: Work, place: Place, job: impl FnOnce() + Send + 'static) {
        let turns = Arc::clone(self);
        tokio::spawn(async move {
            let turn = turns.take(place.uid(), work).await;
            tokio::task::spawn_blocking(move || {
                job();
                drop((turn, place));
            });
        });
    }

    async fn take(&self, uid: u32, work: Work) -> Turn {
        let of_user = {
            let mut users = self.users.lock();
            users.retain(|_, user| user.strong_count() > 0);
            let user = users.entry((uid, work)).or_default();
            user.upgrade().unwrap_or_else(|| {
                let fresh = Arc::new(Semaphore::new(OF_USER));
                *user = Arc::downgrade(&fresh);
                fresh
            })
        };
        let of_all =
            Arc::clone(self.all.lock().entry(work).or_insert_with(|| Arc::new(Semaphore::new(OF_ALL))));
        // The user's own first: who waits for it takes nothing from others. Errors are for semaphores that somebody closes.
        let _of_user = of_user.acquire_owned().await.ok();
        Turn { _of_user, _of_all: of_all.acquire_owned().await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Takes turns until the next one would have to wait.
    async fn take_all(turns: &Turns, uid: u32, work: Work) -> Vec<Turn> {
        let mut taken = Vec::new();
        // What doesn't have to wait is there before the time is looked at.
        while let Ok(turn) = tokio::time::timeout(Duration::ZERO, turns.take(uid, work)).await {
            taken.push(turn);
        }
        taken
    }

    #[test]
    fn a_user_who_holds_all_of_his_threads_leaves_those_of_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let turns = Turns::default();
            let mut held = take_all(&turns, 1, Work::Mark).await;
            assert_eq!(held.len(), OF_USER);
            assert_eq!(take_all(&turns, 2, Work::Mark).await.len(), OF_USER, "another user");
            assert_eq!(take_all(&turns, 1, Work::Control).await.len(), OF_USER, "other work");
            held.pop();
            assert_eq!(take_all(&turns, 1, Work::Mark).await.len(), 1, "one given back");
            drop(held);
            let mut crowd = Vec::new();
            for uid in 0..100 {
                crowd.extend(take_all(&turns, uid, Work::Mark).await);
            }
            assert_eq!(crowd.len(), OF_ALL);
            assert_eq!(
                take_all(&turns, 1, Work::Control).await.len(),
                OF_USER,
                "other work than the crowd's"
            );
            drop(crowd);
            assert_eq!(take_all(&turns, 7, Work::Mark).await.len(), OF_USER, "nobody holds any");
        });
    }
}
