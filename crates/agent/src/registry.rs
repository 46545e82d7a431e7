//! Who is attached, and what each has registered: the desired state of all namespaces together.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use srv6_fabric::Flow;
use srv6_steer::protocol::Hello;
use srv6_steer::{Hold, LanesHold};

use crate::{HintClaim, Host, Limits};

/// All sessions.
#[derive(Debug)]
pub struct Registry {
    limits: Limits,
    last: AtomicU64,
    sessions: Mutex<BTreeMap<u64, Arc<Session>>>,
    users: Mutex<HashMap<u32, Usage>>,
}

/// What one user has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Usage {
    sessions: usize,
    flows: usize,
}

/// A process that is attached.
#[derive(Debug)]
pub struct Session {
    number: u64,
    pid: u32,
    uid: u32,
    hello: Hello,
    since: Instant,
    // Before the host, whose thread gives the routes back.
    wishes: Mutex<BTreeMap<u32, Wish>>,
    host: Arc<Host>,
}

/// What a session has registered; given back when it is dropped.
#[derive(Debug)]
pub enum Wish {
    /// A flow.
    Flow(Hold),
    /// A connection with lanes, and its flow's slot for weights if it has one.
    Lanes(LanesHold, Option<HintClaim>),
}

impl Wish {
    /// Which flow it is for.
    pub fn flow(&self) -> Flow {
        match self {
            Self::Flow(hold) => hold.flow(),
            Self::Lanes(hold, _) => hold.flow(),
        }
    }
}

/// A user has all that one user may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("user {uid} has {limit} {what} already, which is the most that {setting} allows")]
pub struct LimitError {
    /// Whose.
    pub uid: u32,
    /// How many.
    pub limit: usize,
    /// Of what.
    pub what: &'static str,
    /// What says so.
    pub setting: &'static str,
}

/// A place among a user's sessions; given back when the last copy is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Seat>);

#[derive(Debug)]
struct Seat {
    registry: Arc<Registry>,
    uid: u32,
}

/// An entry in the list of sessions; leaves it on drop, and its flows with it.
#[derive(Debug)]
pub(crate) struct Entered {
    place: Place,
    session: Arc<Session>,
}

impl Registry {
    /// Nobody yet.
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            last: AtomicU64::new(0),
            sessions: Mutex::default(),
            users: Mutex::default(),
        })
    }

    /// The sessions that are open, the oldest first.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.sessions.lock().values().cloned().collect()
    }

    /// A place for one more session of a user.
    pub(crate) fn admit(self: &Arc<Self>, uid: u32) -> Result<Place, LimitError> {
        let mut users = self.users.lock();
        let usage = users.entry(uid).or_default();
        if usage.sessions >= self.limits.sessions {
            let limit = self.limits.sessions;
            return Err(LimitError { uid, limit, what: "sessions", setting: "SRV6D_SESSIONS_PER_UID" });
        }
        usage.sessions += 1;
        Ok(Place(Arc::new(Seat { registry: Arc::clone(self), uid })))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut users = self.registry.users.lock();
        if let Some(usage) = users.get_mut(&self.uid) {
            usage.sessions -= 1;
            if *usage == Usage::default() {
                users.remove(&self.uid);
            }
        }
    }
}

impl Place {
    /// Whose it is.
    pub(crate) fn uid(&self) -> u32 {
        self.0.uid
    }

    /// Enters a process that has said who it is.
    pub(crate) fn enter(self, pid: u32, hello: Hello, host: Arc<Host>) -> Entered {
        let number = self.0.registry.last.fetch_add(1, Ordering::Relaxed) + 1;
        let session = Arc::new(Session {
            number,
            pid,
            uid: self.uid(),
            hello,
            since: Instant::now(),
            wishes: Mutex::default(),
            host,
        });
        self.0.registry.sessions.lock().insert(number, Arc::clone(&session));
        Entered { place: self, session }
    }
}

impl Entered {
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Registers what `make` asks for under this id, which must be free.
    pub(crate) fn register(&self, id: u32, make: impl FnOnce(&Host) -> Wish) -> Result<(), LimitError> {
        let (uid, registry) = (self.place.uid(), &self.place.0.registry);
        let limit = registry.limits.flows;
        {
            let mut users = registry.users.lock();
            let usage = users.entry(uid).or_default();
            if usage.flows >= limit {
                return Err(LimitError { uid, limit, what: "flows", setting: "SRV6D_FLOWS_PER_UID" });
            }
            usage.flows += 1;
        }
        let wish = make(&self.session.host);
        self.session.wishes.lock().insert(id, wish);
        Ok(())
    }

    /// Gives one registration back; nothing if there is none.
    pub(crate) fn deregister(&self, id: u32) {
        let wish = self.session.wishes.lock().remove(&id);
        if wish.is_some() {
            self.give_back(1);
        }
    }

    fn give_back(&self, count: usize) {
        if let Some(usage) = self.place.0.registry.users.lock().get_mut(&self.place.uid()) {
            usage.flows = usage.flows.saturating_sub(count);
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.place.0.registry.sessions.lock().remove(&self.session.number);
        // Somebody who lists sessions may hold this one for a moment longer; its flows go now.
        let wishes = std::mem::take(&mut *self.session.wishes.lock());
        self.give_back(wishes.len());
    }
}

impl Session {
    /// Counts up over the agent's life.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Process id as the agent sees it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// User id as the agent sees it.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// What the process said of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// When it was opened.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Its network namespace.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Looks at each registration.
    pub fn each(&self, mut look: impl FnMut(u32, &Wish)) {
        for (id, wish) in &*self.wishes.lock() {
            look(*id, wish);
        }
    }

    /// Looks at one registration.
    pub(crate) fn with<T>(&self, id: u32, look: impl FnOnce(&Wish) -> T) -> Option<T> {
        self.wishes.lock().get(&id).map(look)
    }
}
