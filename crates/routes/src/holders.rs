//! Who needs a route: references that end with their process, however it ends.
//!
//! A reference is a bound socket in the abstract unix namespace, named after the route. That namespace
//! belongs to the network namespace, exactly as the routes do: containers that share a network see each
//! other's references, others don't, no directory has to be writable, and the kernel takes the name away
//! when the last process that holds the socket is gone, SIGKILL included. `/proc/net/unix` lists them.
//!
//! Any process of the network namespace can bind such a name and so keep a route alive or hold the lock for a
//! while; it can't change or remove a route.

use std::collections::HashMap;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::{RouteError, RouteKey};

const LOCK: &str = "srv6/lock";
const HOLD: &str = "srv6/hold/";

/// Sockets of all references of this process, by number.
static HELD: Mutex<Option<HashMap<u64, UnixDatagram>>> = Mutex::new(None);

/// Numbers references of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The references of one network namespace: that of the thread that uses it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Holders;

/// Mutual exclusion among the processes of a network namespace, while one compares references with routes.
#[derive(Debug)]
pub struct HoldersLock {
    _socket: UnixDatagram,
}

/// One reference on a route; given back on drop.
#[derive(Debug)]
pub struct Hold {
    number: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(held) = HELD.lock().as_mut() {
            held.remove(&self.number);
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
            match bind(LOCK) {
                Ok(socket) => return Ok(HoldersLock { _socket: socket }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    if started.elapsed() >= patience {
                        return Err(RouteError::Locked { waited: started.elapsed() });
                    }
                    // A holder works for about 100 us; there is nothing to wait on but time.
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err(source) => return Err(kernel("bind the route lock", source)),
            }
        }
    }

    /// Takes a reference on a route.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn hold(self, _lock: &HoldersLock, key: &RouteKey) -> Result<Hold, RouteError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Process ids repeat across containers that share a network: a taken name is tried again with
        // another suffix.
        for attempt in 0..64 {
            let name = format!("{}{}.{number}.{attempt}", prefix(key), std::process::id());
            match bind(&name) {
                Ok(socket) => {
                    HELD.lock().get_or_insert_default().insert(number, socket);
                    return Ok(Hold { number });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(source) => return Err(kernel("bind a reference", source)),
            }
        }
        Err(kernel("bind a reference", io::Error::from(io::ErrorKind::AddrInUse)))
    }

    /// How many references each route has, over all processes of the network namespace.
    ///
    /// # Errors
    /// `/proc` can't be read.
    pub fn count(self, _lock: &HoldersLock) -> Result<HoldCounts, RouteError> {
        let path = "/proc/thread-self/net/unix";
        let list = std::fs::read_to_string(path).map_err(|source| kernel("read /proc/net/unix", source))?;
        let mut counts = HashMap::new();
        for name in list.lines().filter_map(|line| line.rsplit_once('@')).map(|(_, name)| name) {
            if let Some((route, _)) = name.strip_prefix(HOLD).and_then(|n| n.rsplit_once('/')) {
                *counts.entry(route.to_owned()).or_default() += 1;
            }
        }
        Ok(HoldCounts(counts))
    }
}

/// References by route.
#[derive(Debug)]
pub struct HoldCounts(HashMap<String, usize>);

impl HoldCounts {
    /// References on this route.
    pub fn of(&self, key: &RouteKey) -> usize {
        self.0.get(&name(key)).copied().unwrap_or(0)
    }
}

/// Closes the copies of all reference sockets that a forked child inherited, so that the parent's references
/// end with the parent. For a `pthread_atfork` child handler: takes no lock that could be held.
pub fn forget_holds_after_fork() {
    // Were the map being changed at the moment of the fork, the child keeps its copies until it ends: the
    // routes then stay longer than they must, which harms nobody.
    if let Some(mut held) = HELD.try_lock() {
        *held = None;
    }
}

fn name(key: &RouteKey) -> String {
    format!("{}/{}", key.table, key.destination)
}

fn prefix(key: &RouteKey) -> String {
    format!("{HOLD}{}/", name(key))
}

fn bind(name: &str) -> io::Result<UnixDatagram> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

fn kernel(doing: &str, source: io::Error) -> RouteError {
    RouteError::Kernel { doing: doing.to_owned(), source }
}
