//! Who needs a route or a rule: references that end with their process, however it ends.
//!
//! A reference is a bound socket in the abstract unix namespace, named after the route or rules. That namespace
//! belongs to the network namespace, exactly as the routes do: containers that share a network see each
//! other's references, others don't, no directory has to be writable, and the kernel takes the name away
//! when the last process that holds the socket is gone, SIGKILL included. `/proc/net/unix` lists them.
//!
//! Any process of the network namespace can bind such a name and so keep a route alive or hold the lock for a
//! while; it can't change or remove a route.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::{PerProcess, RouteError, RouteKey, RuleKey};

const LOCK: &str = "srv6/lock";
const HOLD: &str = "srv6/hold/";

/// The references of one process. A forked child has its own: the parent's lock may be held for ever in it.
static HELD: PerProcess<Mutex<Option<Held>>> = PerProcess::new();

#[derive(Default)]
struct Held {
    /// Sockets of all references, by number; each with its inode.
    sockets: HashMap<u64, (OwnedFd, u64)>,
    /// Inodes of sockets that were closed here but may live on for a moment in a child between fork and exec:
    /// `popen` at the wrong moment must not keep a route.
    closed: HashSet<u64>,
}

/// Numbers references of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The references of one network namespace: that of the thread that uses it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Holders;

/// Mutual exclusion among the processes of a network namespace, while one compares references with routes.
#[derive(Debug)]
pub struct HoldersLock {
    _private: (),
}

impl Drop for HoldersLock {
    fn drop(&mut self) {
        drop(LOCKED.lock().take());
        CHANGING.store(false, Ordering::Release);
    }
}

/// The lock's socket, where a forked child finds its copy: with one it would keep every process of the host from changing
/// routes for as long as it lives.
static LOCKED: Mutex<Option<UnixDatagram>> = Mutex::new(None);

/// Set while a thread of this process has, or tries to get, the lock. A fork waits for it, so that the socket isn't just being
/// made.
static CHANGING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread's fork holds [`CHANGING`].
    static FORKING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Longest that a fork waits for a change of routes to be over; it takes well under a millisecond.
const FORK_PATIENCE: Duration = Duration::from_millis(100);

/// For `pthread_atfork`, before the fork: waits until no thread has the lock.
pub fn before_fork() {
    let started = Instant::now();
    while started.elapsed() < FORK_PATIENCE {
        if try_change() {
            FORKING.set(true);
            return;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// For `pthread_atfork`, after the fork, in the parent.
pub fn after_fork_in_parent() {
    if FORKING.replace(false) {
        CHANGING.store(false, Ordering::Release);
    }
}

fn try_change() -> bool {
    CHANGING.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
}

/// One reference on a route or on rules; given back on drop.
#[derive(Debug)]
pub struct Hold {
    number: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(held) = HELD.get().lock().as_mut()
            && let Some((socket, inode)) = held.sockets.remove(&self.number)
        {
            held.closed.insert(inode);
            drop(socket);
        }
    }
}

impl Holders {
    /// Waits for the lock.
    ///
    /// # Errors
    /// [`RouteError::Locked`] after `patience`, or the kernel's refusal.
    pub fn lock(self, patience: Duration) -> Result<HoldersLock, RouteError> {
        let started = Instant::now();
        loop {
            if try_change() {
                match bind(LOCK) {
                    Ok(socket) => {
                        *LOCKED.lock() = Some(socket);
                        return Ok(HoldersLock { _private: () });
                    }
                    Err(error) => {
                        CHANGING.store(false, Ordering::Release);
                        if error.kind() != io::ErrorKind::AddrInUse {
                            return Err(kernel("bind the route lock", error));
                        }
                    }
                }
            }
            if started.elapsed() >= patience {
                return Err(RouteError::Locked { waited: started.elapsed() });
            }
            // A holder works for about 100 us; there is nothing to wait on but time.
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Takes a reference on a route.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn hold(self, _lock: &HoldersLock, key: &RouteKey) -> Result<Hold, RouteError> {
        reference(&name(key))
    }

    /// Takes a reference on the rules of a slot.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn hold_rule(self, _lock: &HoldersLock, key: &RuleKey) -> Result<Hold, RouteError> {
        reference(&rule_name(key))
    }

    /// How many references each route has, over all processes of the network namespace.
    ///
    /// # Errors
    /// `/proc` can't be read.
    pub fn count(self, _lock: &HoldersLock) -> Result<HoldCounts, RouteError> {
        let mut held = HELD.get().lock();
        let closed = &mut held.get_or_insert_default().closed;
        let mut sockets = listed()?;
        let mut seen = HashSet::new();
        for inodes in sockets.values_mut() {
            seen.extend(inodes.extract_if(|inode| closed.contains(inode)));
        }
        *closed = seen;
        Ok(HoldCounts(sockets))
    }
}

/// Inodes of the reference sockets in the calling thread's network namespace, by the name of what they refer to.
pub(crate) fn listed() -> Result<HashMap<String, HashSet<u64>>, RouteError> {
    let path = "/proc/thread-self/net/unix";
    // Twice: the kernel gives the list page by page, and a socket that is closed in between can make it skip
    // another one. A route must not go because of that.
    let read = || std::fs::read_to_string(path).map_err(|source| kernel("read /proc/net/unix", source));
    let lists = [read()?, read()?];
    let mut found: HashMap<String, HashSet<u64>> = HashMap::new();
    for line in lists.iter().flat_map(|list| list.lines()) {
        let Some((fields, name)) = line.rsplit_once('@') else { continue };
        let Some((route, _)) = name.strip_prefix(HOLD).and_then(|n| n.rsplit_once('/')) else { continue };
        let inode = fields.split_whitespace().next_back().and_then(|i| i.parse().ok()).unwrap_or(0);
        found.entry(route.to_owned()).or_default().insert(inode);
    }
    Ok(found)
}

/// References by route.
#[derive(Debug)]
pub struct HoldCounts(HashMap<String, HashSet<u64>>);

impl HoldCounts {
    /// References on this route.
    pub fn of(&self, key: &RouteKey) -> usize {
        self.of_name(&name(key))
    }

    /// References on the rules of a slot.
    pub fn of_rule(&self, key: &RuleKey) -> usize {
        self.of_name(&rule_name(key))
    }

    fn of_name(&self, name: &str) -> usize {
        self.0.get(name).map_or(0, HashSet::len)
    }
}

/// Closes the copies of all reference sockets that a forked child inherited, so that the parent's references
/// end with the parent, and that of the lock's. For `pthread_atfork`, after the fork, in the child: takes no lock that could be held.
pub fn after_fork_in_child() {
    after_fork_in_parent();
    // If the fork didn't wait until the end: the thread that has the lock is in the parent only.
    if let Some(mut locked) = LOCKED.try_lock() {
        *locked = None;
        CHANGING.store(false, Ordering::Release);
    }
    // Were the map being changed at the moment of the fork, the child keeps its copies until it ends: the
    // routes then stay longer than they must, which harms nobody.
    if let Some(mut held) = HELD.last().and_then(Mutex::try_lock) {
        *held = None;
    }
}

pub(crate) fn name(key: &RouteKey) -> String {
    format!("{}/{}", key.table, key.destination)
}

fn rule_name(key: &RuleKey) -> String {
    format!("rule/{}/{}", key.slot.table(), key.pinning)
}

/// Binds the socket of one reference on what is called `name`.
fn reference(name: &str) -> Result<Hold, RouteError> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Process ids repeat across containers that share a network: a taken name is tried again with
    // another suffix.
    for attempt in 0..64 {
        let address = format!("{HOLD}{name}/{}.{number}.{attempt}", std::process::id());
        match bind(&address) {
            Ok(socket) => {
                let file = File::from(OwnedFd::from(socket));
                let inode = file.metadata().map_err(|source| kernel("look at a reference", source))?.ino();
                let mut held = HELD.get().lock();
                held.get_or_insert_default().sockets.insert(number, (file.into(), inode));
                return Ok(Hold { number });
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(source) => return Err(kernel("bind a reference", source)),
        }
    }
    Err(kernel("bind a reference", io::Error::from(io::ErrorKind::AddrInUse)))
}

fn bind(name: &str) -> io::Result<UnixDatagram> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

pub(crate) fn kernel(doing: &str, source: io::Error) -> RouteError {
    RouteError::Kernel { doing: doing.to_owned(), source }
}
