//! Taking switches and links out of use, and giving them back.

mod sockets;
mod state;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use srv6_fabric::{Flow, chain};
use srv6_paths::{PathError, PathSource};
use srv6_steer::{Awaited, Denials, Moved, Place};

use crate::{Agent, Denied, Host};
use sockets::Connections;

/// Longest wait for the steering threads.
const STEERING: Duration = Duration::from_secs(10);

/// Time between two looks at what is still under way.
const LOOK: Duration = Duration::from_millis(5);

/// Why nothing was drained or given back.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The fabric isn't known.
    #[error("the fabric can't be read, so nothing can be said about {place:?}")]
    Fabric {
        /// What was asked for.
        place: String,
        /// Why.
        #[source]
        source: PathError,
    },
    /// No such switch or link.
    #[error("{place:?} is no switch or link of the fabric: want a name or an id, a link as leaf00-spine01")]
    Unknown {
        /// What was asked for.
        place: String,
    },
    /// Flows would have no way left.
    #[error("draining {place} would cut off {}; give something back first", listed(flows))]
    Stranded {
        /// What was asked for.
        place: Place,
        /// Flows that have no other path.
        flows: Vec<Flow>,
    },
    /// A steering thread is stuck.
    #[error("steering in network namespace {namespace} doesn't answer; nothing was drained")]
    Silent {
        /// The namespace's inode number.
        namespace: u64,
    },
    /// It isn't drained.
    #[error("{place} isn't drained")]
    NotDrained {
        /// What was asked for.
        place: String,
    },
    /// The file can't be written, so it wouldn't last.
    #[error("{} can't be written; nothing was changed", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file can't be read.
    #[error("{} doesn't say what is drained: {reason}; mend or remove it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

fn listed(flows: &[Flow]) -> String {
    let shown: Vec<String> = flows.iter().take(5).map(ToString::to_string).collect();
    let more = flows.len().saturating_sub(shown.len());
    let rest = if more == 0 { String::new() } else { format!(" and {more} more flows") };
    format!("{}{rest}", shown.join(", "))
}

/// What became of a drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drained {
    /// What is drained now, beside what was before.
    pub place: Place,
    /// Routes and lanes that moved.
    pub moved: usize,
    /// From the order until the last of them had moved.
    pub moved_after: Duration,
    /// TCP connections of those flows that were watched.
    pub connections: usize,
    /// From the order until everything that they had sent before the move was acknowledged.
    pub empty_after: Duration,
    /// Connections for which that had not happened when patience was at its end.
    pub unfinished: usize,
    /// Inode numbers of network namespaces whose steering didn't answer in time: nothing is known about their flows.
    pub silent: Vec<u64>,
}

/// What became of giving something back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undrained {
    /// What isn't drained any more.
    pub place: Place,
    /// Routes and lanes that moved.
    pub moved: usize,
    /// As in [`Drained`].
    pub silent: Vec<u64>,
}

/// The drained places of a host.
#[derive(Debug)]
pub struct Drains {
    path: PathBuf,
    denied: Arc<Denied>,
    /// One order at a time: the second has to count on what the first has changed.
    order: Mutex<BTreeSet<Place>>,
}

impl Drains {
    /// Drains what the file says, and keeps it there from now on.
    ///
    /// # Errors
    /// A file that is there and can't be read.
    pub fn load(path: PathBuf, denied: Arc<Denied>) -> Result<Self, DrainError> {
        let drained = state::load(&path)?;
        drop(denied.set_drained(drained.clone()));
        Ok(Self { path, denied, order: Mutex::new(drained) })
    }

    /// Writes the file again if it is gone: without it the next agent would know of no drains. One that can't be written now will be
    /// at the next call.
    pub(crate) fn restore(&self) {
        // Who has an order under way writes it himself.
        let Some(order) = self.order.try_lock() else { return };
        if order.is_empty() || self.path.exists() {
            return;
        }
        match state::store(&self.path, &order) {
            Ok(()) => log::warn!("state={} was gone and is made again", self.path.display()),
            Err(error) => log::warn!("{}", chain(&error)),
        }
    }

    /// What is drained.
    pub fn places(&self) -> BTreeSet<Place> {
        self.order.lock().clone()
    }

    /// Takes a switch or link out of use. Flows move at once; then waits until what they had sent before has arrived, for `patience` at
    /// most. Blocks.
    ///
    /// One host can only know about its own TCP connections: of other traffic it is known that it has moved. What peers send to this
    /// host moves when their agents are told.
    ///
    /// # Errors
    /// It isn't there, or a flow would have no path left; then nothing has changed.
    pub fn drain(&self, agent: &Agent, place: &str, patience: Duration) -> Result<Drained, DrainError> {
        let started = Instant::now();
        let place = find(agent, place)?;
        let mut order = self.order.lock();
        let mut drained = order.clone();
        drained.insert(place.clone());
        let denials = Denials { drained: drained.clone(), ..self.denied.denials() };
        let mut stranded = Vec::new();
        for (namespace, asked) in all(agent, |host| host.steer().stranded(denials.clone())) {
            stranded.extend(asked.wait(STEERING).ok_or(DrainError::Silent { namespace })?);
        }
        if !stranded.is_empty() {
            return Err(DrainError::Stranded { place, flows: stranded });
        }
        state::store(&self.path, &drained)?;
        *order = drained.clone();
        let moving = self.denied.set_drained(drained);
        drop(order);
        let deadline = started + patience.max(STEERING);
        let (mut moved, mut watched, mut silent) = (0, Vec::new(), Vec::new());
        for (host, moving) in moving {
            let left = deadline.saturating_duration_since(Instant::now());
            match moving.wait(left) {
                Some(done) => {
                    moved += done.moved;
                    watched.push(Watched::new(host, &done));
                }
                None => silent.push(host.id().inode),
            }
        }
        let moved_after = started.elapsed();
        let connections = watched.iter().map(|watched| watched.goals.len()).sum();
        let deadline = started + patience;
        loop {
            watched.retain_mut(Watched::is_under_way);
            if watched.is_empty() || Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(LOOK);
        }
        let unfinished = watched.iter().map(|watched| watched.goals.len()).sum();
        log::info!(
            "drained={place} moved={moved} connections={connections} unfinished={unfinished} silent={silent:?}"
        );
        let empty_after = started.elapsed();
        Ok(Drained { place, moved, moved_after, connections, empty_after, unfinished, silent })
    }

    /// Gives a switch or link back. Flows that had left it return. Blocks until they have.
    ///
    /// # Errors
    /// It isn't drained, or the file can't be written; then nothing has changed.
    pub fn undrain(&self, agent: &Agent, place: &str) -> Result<Undrained, DrainError> {
        let mut order = self.order.lock();
        // What is drained may have left the fabric meanwhile.
        let named = order.iter().find(|drained| drained.to_string() == place).cloned();
        let found = match named {
            Some(place) => place,
            None => find(agent, place)?,
        };
        let mut drained = order.clone();
        if !drained.remove(&found) {
            return Err(DrainError::NotDrained { place: found.to_string() });
        }
        state::store(&self.path, &drained)?;
        *order = drained.clone();
        let moving = self.denied.set_drained(drained);
        drop(order);
        let deadline = Instant::now() + STEERING;
        let (mut moved, mut silent) = (0, Vec::new());
        for (host, moving) in moving {
            match moving.wait(deadline.saturating_duration_since(Instant::now())) {
                Some(done) => moved += done.moved,
                None => silent.push(host.id().inode),
            }
        }
        log::info!("undrained={found} moved={moved} silent={silent:?}");
        Ok(Undrained { place: found, moved, silent })
    }
}

fn all<T>(agent: &Agent, ask: impl Fn(&Host) -> Awaited<T>) -> Vec<(u64, Awaited<T>)> {
    agent.hosts().all().iter().map(|host| (host.id().inode, ask(host))).collect()
}

/// The place that a text means in the fabric as it is known, or, if it isn't, as it is read now.
fn find(agent: &Agent, text: &str) -> Result<Place, DrainError> {
    let topology = match agent.paths().known() {
        Some(topology) => topology,
        None => agent
            .paths()
            .clone()
            .topology(Instant::now() + agent.config().steering.deadline)
            .map_err(|source| DrainError::Fabric { place: text.to_owned(), source })?,
    };
    Place::find(&topology, text).ok_or_else(|| DrainError::Unknown { place: text.to_owned() })
}

/// Connections of one namespace whose flows have moved, and how much each has to have acknowledged.
struct Watched {
    host: Arc<Host>,
    goals: HashMap<u64, u64>,
}

impl Watched {
    fn new(host: Arc<Host>, moved: &Moved) -> Self {
        let flows: BTreeSet<Flow> = moved.flows.iter().copied().collect();
        let connections = if flows.is_empty() { Connections::new() } else { connections_in(&host) };
        let goals = connections
            .into_iter()
            .filter(|(_, (flow, progress))| flows.contains(flow) && progress.queued > 0)
            .map(|(cookie, (_, progress))| (cookie, progress.goal()))
            .collect();
        Self { host, goals }
    }

    /// Whether something that was sent before the move may still be on its way; what is over is forgotten.
    fn is_under_way(&mut self) -> bool {
        if self.goals.is_empty() {
            return false;
        }
        let now = connections_in(&self.host);
        self.goals.retain(|cookie, goal| now.get(cookie).is_some_and(|(_, p)| p.acknowledged < *goal));
        !self.goals.is_empty()
    }
}

/// The connections in a host's namespace; none where they can't be listed, which is told.
pub(crate) fn connections_in(host: &Host) -> Connections {
    let found = host.namespace().inside(sockets::connections);
    match found {
        Ok(Ok(connections)) => connections,
        Ok(Err(error)) => {
            log::warn!("namespace={} connections can't be listed: {error}", host.id().inode);
            Connections::new()
        }
        Err(error) => {
            log::warn!("namespace={} {error}", host.id().inode);
            Connections::new()
        }
    }
}
