//! The live connections of this process, for whoever wants to look: agents, command lines, metrics.
//!
//! The data path only stores numbers that readers load; nobody waits for anybody. What the kernel knows about a socket
//! the reader asks itself. Other processes of the host ask by a socket, if this one wants to be asked.

mod document;
mod reading;
mod service;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use socket2::Socket;

pub(crate) use document::micros;
pub use reading::{HostConnections, ProcessConnections, Unread, read_connections};
use service::Service;

use crate::subflow::{Subflow, TcpInfo};
use crate::uninherited::Uninherited;

/// Which way a connection carries messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From here to the peer.
    Send,
    /// From the peer to here.
    Receive,
}

/// What a connection has carried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectionStats {
    /// Random number that both ends know the connection by.
    #[serde(with = "document::hexadecimal")]
    pub connection: u64,
    /// Which way it carries messages.
    pub direction: Direction,
    /// Its subflows by index.
    pub subflows: Vec<SubflowStats>,
}

/// What a subflow has carried, over all its sockets, and how it fares.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubflowStats {
    /// Place in its connection, from 0; the same on both sides.
    pub index: usize,
    /// Its path: names of hops joined by ` > `, empty where nobody knows.
    #[serde(with = "document::text")]
    pub path: Arc<str>,
    /// Our end, of the newest socket; port 0 as long as there was none.
    pub local: SocketAddr,
    /// The peer's end, of the newest socket.
    pub peer: SocketAddr,
    /// Payload bytes written (sender) or landed (receiver).
    pub bytes: u64,
    /// Its part of the connection's bytes, 0 to 1.
    pub share: f64,
    /// Chunks begun (sender) or landed (receiver).
    pub chunks: u64,
    /// Chunks sent here because another subflow did not deliver them.
    pub reissued: u64,
    /// Chunks sent here because another subflow was slow with them.
    pub hedged: u64,
    /// Chunks that came here and had come before by another way (receiver).
    pub duplicates: u64,
    /// How it fares.
    pub state: SubflowState,
    /// Times that the state has changed.
    pub changes: u64,
    /// Time since it was last suspected, if it was.
    #[serde(rename = "suspected_us", with = "document::maybe_micros")]
    pub suspected: Option<Duration>,
    /// Sockets that have replaced the first.
    pub replaced: u64,
    /// Bytes per second at which it delivers when it has enough to do, by the transport's own measure; 0: not known.
    pub rate: u64,
    /// Smoothed time from a chunk's first byte to the receiver's acknowledgement; 0: not known.
    #[serde(rename = "ack_us", with = "micros")]
    pub ack_time: Duration,
    /// What the kernel knows about its socket; none if it has no socket now.
    pub tcp: Option<TcpInfo>,
}

/// How a subflow fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubflowState {
    /// It takes chunks.
    Good,
    /// What was given to it doesn't arrive, so its chunks go elsewhere.
    Suspect,
    /// It has no socket.
    Down,
    /// Its new socket is being tried.
    Trial,
}

/// What this process's live connections have carried until now.
///
/// Locks nothing that the data path waits for. Costs one system call per subflow.
#[must_use]
pub fn connections() -> Vec<ConnectionStats> {
    let live: Vec<Arc<Published>> = lock().all.iter().filter_map(Weak::upgrade).collect();
    live.iter().map(|published| published.stats()).collect()
}

/// From the next connection on, tells other processes of its network namespace, if root or this user runs them, what the
/// connections of this process carry: see [`read_connections`].
///
/// A thread, `srv6-stats`, waits for them, until the last connection has ended. It costs nothing while nobody asks.
pub fn serve_connections() {
    lock().served = true;
}

/// Says whether a live connection of this process receives under this number.
pub(crate) fn is_receiving(connection: u64) -> bool {
    lock()
        .all
        .iter()
        .filter_map(Weak::upgrade)
        .any(|published| published.connection == connection && published.direction == Direction::Receive)
}

/// All of this process.
#[derive(Debug)]
pub(crate) struct Live {
    all: Vec<Weak<Published>>,
    /// Others may ask about them.
    served: bool,
    service: Weak<Service>,
}

static LIVE: std::sync::Mutex<Live> =
    std::sync::Mutex::new(Live { all: Vec::new(), served: false, service: Weak::new() });

/// For a fork, and whoever looks or adds: nobody else does meanwhile.
pub(crate) fn lock() -> MutexGuard<'static, Live> {
    // Nothing in here panics half way.
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// In a child of fork: these are the parent's.
    pub(crate) fn forget(&mut self) {
        self.all.clear();
        self.service = Weak::new();
    }

    /// Lets others ask, if they may, for as long as somebody has what this gives.
    fn serve(&mut self) -> Option<Arc<Service>> {
        if !self.served {
            return None;
        }
        if let Some(service) = self.service.upgrade() {
            return Some(service);
        }
        match Service::open() {
            Ok(service) => {
                self.service = Arc::downgrade(&service);
                Some(service)
            }
            Err(error) => {
                log::debug!("other processes can't ask about connections: {error}");
                None
            }
        }
    }
}

/// The numbers of one connection that others may read.
#[derive(Debug)]
pub(crate) struct Published {
    connection: u64,
    direction: Direction,
    began: Instant,
    subflows: Vec<Numbers>,
    /// Of the process; ends with its last connection.
    _service: Option<Arc<Service>>,
}

#[derive(Debug)]
struct Numbers {
    bytes: AtomicU64,
    chunks: AtomicU64,
    reissued: AtomicU64,
    hedged: AtomicU64,
    duplicates: AtomicU64,
    changes: AtomicU64,
    replaced: AtomicU64,
    rate: AtomicU64,
    ack_micros: AtomicU64,
    /// Microseconds after the beginning, and 1; 0: never.
    suspected: AtomicU64,
    state: AtomicU8,
    // Changed when a socket is, or its path; a reader holds it to copy three words.
    place: Mutex<Place>,
}

/// Which socket a subflow has now, and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: Arc<str>,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    socket: Weak<Uninherited<Socket>>,
}

/// A subflow's numbers at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) bytes: u64,
    pub(crate) chunks: u64,
    pub(crate) reissued: u64,
    pub(crate) hedged: u64,
    pub(crate) duplicates: u64,
    pub(crate) state: SubflowState,
    pub(crate) changes: u64,
    pub(crate) suspected: Option<Instant>,
    pub(crate) replaced: u64,
    pub(crate) rate: u64,
    pub(crate) ack_time: Duration,
}

impl Place {
    /// A subflow without a socket, which is to have this source.
    pub(crate) fn nowhere(path: Arc<str>, source: Option<IpAddr>, peer: SocketAddr) -> Place {
        let any: IpAddr =
            if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let local = SocketAddr::new(source.unwrap_or(any), 0);
        Place { path, local, peer, socket: Weak::new() }
    }

    /// The same socket over another path.
    pub(crate) fn on(self, path: Arc<str>) -> Place {
        Place { path, ..self }
    }

    /// Where a subflow's socket is.
    pub(crate) fn of(path: Arc<str>, subflow: &Subflow) -> Place {
        Place { path, local: subflow.local(), peer: subflow.peer(), socket: subflow.watch() }
    }
}

impl Published {
    /// Lists a connection with these subflows until the last reference to it goes.
    pub(crate) fn new(
        connection: u64,
        direction: Direction,
        places: Vec<Place>,
        now: Instant,
    ) -> Arc<Published> {
        let number = || AtomicU64::new(0);
        let subflows = places.into_iter().map(|place| Numbers {
            bytes: number(),
            chunks: number(),
            reissued: number(),
            hedged: number(),
            duplicates: number(),
            changes: number(),
            replaced: number(),
            rate: number(),
            ack_micros: number(),
            suspected: number(),
            state: AtomicU8::new(SubflowState::Good as u8),
            place: Mutex::new(place),
        });
        let mut live = lock();
        let published = Arc::new(Published {
            connection,
            direction,
            began: now,
            subflows: subflows.collect(),
            _service: live.serve(),
        });
        live.all.retain(|other| other.strong_count() > 0);
        live.all.push(Arc::downgrade(&published));
        published
    }

    /// Publishes one subflow's numbers: stores only.
    pub(crate) fn count(&self, subflow: usize, count: &Count) {
        let Some(numbers) = self.subflows.get(subflow) else { return };
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let suspected = count.suspected.map_or(0, |at| micros(at.saturating_duration_since(self.began)) + 1);
        for (number, value) in [
            (&numbers.bytes, count.bytes),
            (&numbers.chunks, count.chunks),
            (&numbers.reissued, count.reissued),
            (&numbers.hedged, count.hedged),
            (&numbers.duplicates, count.duplicates),
            (&numbers.changes, count.changes),
            (&numbers.replaced, count.replaced),
            (&numbers.rate, count.rate),
            (&numbers.ack_micros, micros(count.ack_time)),
            (&numbers.suspected, suspected),
        ] {
            number.store(value, Ordering::Relaxed);
        }
        numbers.state.store(count.state as u8, Ordering::Relaxed);
    }

    /// Tells which socket a subflow has from now on.
    pub(crate) fn move_to(&self, subflow: usize, place: Place) {
        if let Some(numbers) = self.subflows.get(subflow) {
            *numbers.place.lock() = place;
        }
    }

    pub(crate) fn place(&self, subflow: usize) -> Option<Place> {
        Some(self.subflows.get(subflow)?.place.lock().clone())
    }

    pub(crate) fn stats(&self) -> ConnectionStats {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let total: u64 = self.subflows.iter().map(|numbers| load(&numbers.bytes)).sum();
        let subflows = self.subflows.iter().enumerate().map(|(index, numbers)| {
            let Place { path, local, peer, socket } = numbers.place.lock().clone();
            let bytes = load(&numbers.bytes);
            let suspected = load(&numbers.suspected).checked_sub(1).map(Duration::from_micros);
            SubflowStats {
                index,
                path,
                local,
                peer,
                bytes,
                share: if total == 0 { 0.0 } else { bytes as f64 / total as f64 },
                chunks: load(&numbers.chunks),
                reissued: load(&numbers.reissued),
                hedged: load(&numbers.hedged),
                duplicates: load(&numbers.duplicates),
                state: SubflowState::of(numbers.state.load(Ordering::Relaxed)),
                changes: load(&numbers.changes),
                suspected: suspected.map(|at| self.began.elapsed().saturating_sub(at)),
                replaced: load(&numbers.replaced),
                rate: load(&numbers.rate),
                ack_time: Duration::from_micros(load(&numbers.ack_micros)),
                tcp: socket.upgrade().and_then(|socket| TcpInfo::of(&socket).ok()),
            }
        });
        ConnectionStats {
            connection: self.connection,
            direction: self.direction,
            subflows: subflows.collect(),
        }
    }
}

impl SubflowState {
    fn of(byte: u8) -> SubflowState {
        [SubflowState::Good, SubflowState::Suspect, SubflowState::Trial]
            .into_iter()
            .find(|state| *state as u8 == byte)
            .unwrap_or(SubflowState::Down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_listed_while_it_lives() {
        let (source, peer) = ("10.0.0.1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
        let places =
            vec![Place::nowhere("a".into(), Some(source), peer), Place::nowhere("b".into(), None, peer)];
        let now = Instant::now();
        let published = Published::new(0x77, Direction::Receive, places, now);
        let count = Count {
            bytes: 30,
            chunks: 3,
            reissued: 1,
            hedged: 2,
            duplicates: 4,
            state: SubflowState::Suspect,
            changes: 5,
            suspected: Some(now),
            replaced: 6,
            rate: 7,
            ack_time: Duration::from_micros(8),
        };
        published.count(0, &count);
        published.count(1, &Count { bytes: 10, suspected: None, ..count });
        let mine = |all: Vec<ConnectionStats>| all.into_iter().find(|stats| stats.connection == 0x77);
        let stats = mine(connections()).unwrap();
        let [first, second] = stats.subflows.try_into().unwrap();
        assert_eq!(
            (&*first.path, first.peer, first.bytes, first.state),
            ("a", peer, 30, SubflowState::Suspect)
        );
        assert_eq!((first.local, second.local), ((source, 0).into(), ([0; 4], 0).into()));
        assert_eq!((first.share, second.share), (0.75, 0.25));
        assert!(first.suspected.is_some() && second.suspected.is_none() && first.tcp.is_none());
        assert!(is_receiving(0x77) && !is_receiving(0x78));
        drop(published);
        assert!(mine(connections()).is_none() && !is_receiving(0x77));
    }
}
