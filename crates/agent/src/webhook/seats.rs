//! Who is connected, and who goes when it gets crowded: no peer can keep the others out.
//!
//! Whoever reaches the port may connect, and only the API server brings reviews. So a peer has a bound, and when all places
//! are taken the peer with the most makes room, with what has waited longest.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// How many of what at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections.
    pub(super) connections: usize,
    /// Connections of one peer.
    pub(super) per_peer: usize,
    /// Bodies that are being read.
    pub(super) bodies: usize,
    /// What hasn't gone on for so long may have to go for others'.
    pub(super) grace: Duration,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Seats {
    limits: Limits,
    taken: Mutex<Taken>,
    /// A body has been read, or its reader is gone.
    read: Notify,
}

/// One connection's place, free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    peer: IpAddr,
    asked: AtomicBool,
    leave: Arc<Notify>,
}

/// A body that is being read, until dropped.
#[derive(Debug)]
pub(super) struct Reading<'a>(&'a Seat);

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    entries: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    peer: IpAddr,
    doing: Doing,
    since: Instant,
    leave: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Nothing that is known: TLS, a head, or waiting for the next.
    Nothing,
    /// Waiting until its body may be read.
    Queued,
    /// Its body is read.
    Body,
}

impl Seats {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default(), read: Notify::new() })
    }

    /// A place for a connection of this peer; none: the peer has all that it may have, and uses them.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        let peer = peer.to_canonical();
        let mut taken = self.taken.lock();
        let (largest, most) = taken.largest(|_| true);
        let own = taken.entries.values().filter(|entry| entry.peer == peer).count();
        let full = taken.entries.len() >= self.limits.connections;
        if own >= self.limits.per_peer || (full && own >= most) {
            let (idle, since) = taken.longest(peer, |doing| doing == Doing::Nothing)?;
            // A peer that opens more than it may in a moment is short of places, and not of places that it needs.
            if since.elapsed() < self.limits.grace {
                return None;
            }
            taken.dismiss(idle);
        } else if full && let Some(largest) = largest {
            let idle = taken.longest(largest, |doing| doing == Doing::Nothing);
            let (longest, _) = idle.or_else(|| taken.longest(largest, |_| true))?;
            taken.dismiss(longest);
        }
        let number = taken.next;
        taken.next += 1;
        let leave = Arc::new(Notify::new());
        let entry = Entry { peer, doing: Doing::Nothing, since: Instant::now(), leave: Arc::clone(&leave) };
        taken.entries.insert(number, entry);
        drop(taken);
        Some(Seat { seats: Arc::clone(self), number, peer, asked: AtomicBool::new(false), leave })
    }
}

impl Seat {
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Whether the connection has brought a review, or what could become one.
    pub(super) fn has_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Ends when the place is wanted for others.
    pub(super) async fn dismissed(&self) {
        self.leave.notified().await;
    }

    /// Waits until the connection's body may be read.
    pub(super) async fn reading(&self) -> Reading<'_> {
        self.asked.store(true, Ordering::Relaxed);
        loop {
            let mut read = std::pin::pin!(self.seats.read.notified());
            read.as_mut().enable();
            if self.begin() {
                return Reading(self);
            }
            // Somebody's grace ends in a while, even if nothing is read until then.
            let _either = tokio::time::timeout(self.seats.limits.grace, read).await;
        }
    }

    /// Takes one of the places for bodies if there is one, or another peer has more of them and is slow.
    fn begin(&self) -> bool {
        let mut taken = self.seats.taken.lock();
        let is_body = |entry: &Entry| entry.doing == Doing::Body;
        let bodies = taken.entries.values().filter(|entry| is_body(entry)).count();
        let mut room = bodies < self.seats.limits.bodies;
        if !room {
            let own =
                taken.entries.values().filter(|entry| is_body(entry) && entry.peer == self.peer).count();
            let (largest, most) = taken.largest(is_body);
            let slowest = largest.and_then(|peer| taken.longest(peer, |doing| doing == Doing::Body));
            if let Some((slowest, since)) = slowest
                && most > own + 1
                && since.elapsed() >= self.seats.limits.grace
            {
                taken.dismiss(slowest);
                room = true;
            }
        }
        taken.set(self.number, if room { Doing::Body } else { Doing::Queued });
        room
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.lock().entries.remove(&self.number);
        self.seats.read.notify_waiters();
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let Self(seat) = self;
        seat.seats.taken.lock().set(seat.number, Doing::Nothing);
        seat.seats.read.notify_waiters();
    }
}

impl Taken {
    /// The peer with the most of these, and how many.
    fn largest(&self, of: impl Fn(&Entry) -> bool) -> (Option<IpAddr>, usize) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for entry in self.entries.values().filter(|entry| of(entry)) {
            *counts.entry(entry.peer).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.map_or((None, 0), |(peer, count)| (Some(peer), count))
    }

    /// Of the peer's connections that do this, the one that has for longest.
    fn longest(&self, peer: IpAddr, doing: impl Fn(Doing) -> bool) -> Option<(u64, Instant)> {
        let those = self.entries.iter().filter(|(_, entry)| entry.peer == peer && doing(entry.doing));
        those.map(|(number, entry)| (*number, entry.since)).min_by_key(|(number, since)| (*since, *number))
    }

    fn dismiss(&mut self, number: u64) {
        if let Some(entry) = self.entries.remove(&number) {
            entry.leave.notify_one();
        }
    }

    /// What a connection does from now on; one that was dismissed does nothing.
    fn set(&mut self, number: u64, doing: Doing) {
        if let Some(entry) = self.entries.get_mut(&number)
            && entry.doing != doing
        {
            (entry.doing, entry.since) = (doing, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    const LIMITS: Limits = Limits { connections: 6, per_peer: 4, bodies: 4, grace: Duration::ZERO };

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn take(seats: &Arc<Seats>, last: u8, count: usize) -> Vec<Seat> {
        (0..count).map(|_| seats.take(peer(last)).unwrap()).collect()
    }

    fn now<T>(future: impl Future<Output = T>) -> Poll<T> {
        std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Which of these are told to go, since the last look.
    fn dismissed(seats: &[Seat]) -> Vec<bool> {
        seats.iter().map(|seat| now(seat.dismissed()).is_ready()).collect()
    }

    #[test]
    fn a_peer_has_a_bound_and_its_own_longest_idle_goes() {
        let seats = Seats::new(LIMITS);
        let first = take(&seats, 1, 4);
        assert!(first[0].begin());
        let _fifth = seats.take(peer(1)).unwrap();
        assert_eq!(dismissed(&first), [false, true, false, false]);
        // In IPv6's spelling it is the same peer.
        let mapped = std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped();
        let _sixth = seats.take(mapped.into()).unwrap();
        assert_eq!(dismissed(&first), [false, false, true, false]);
    }

    #[test]
    fn a_peer_that_uses_all_it_may_have_gets_no_more() {
        let seats = Seats::new(LIMITS);
        let busy = take(&seats, 1, 4);
        assert!(busy.iter().all(Seat::begin));
        assert!(seats.take(peer(1)).is_none());
        let slow = Seats::new(Limits { grace: Duration::from_secs(3600), ..LIMITS });
        let _fresh = take(&slow, 1, 4);
        assert!(slow.take(peer(1)).is_none(), "none of them has been idle for long");
    }

    #[test]
    fn when_all_is_taken_the_peer_with_the_most_makes_room() {
        let seats = Seats::new(Limits { grace: Duration::from_secs(3600), ..LIMITS });
        let (many, few) = (take(&seats, 1, 4), take(&seats, 2, 2));
        let _other = seats.take(peer(3)).unwrap();
        assert_eq!((dismissed(&many), dismissed(&few)), (vec![true, false, false, false], vec![false; 2]));
        // Also when each of its connections is busy.
        let seats = Seats::new(Limits { bodies: 1, grace: Duration::from_secs(3600), ..LIMITS });
        let (many, few) = (take(&seats, 1, 4), take(&seats, 2, 2));
        assert_eq!(many.iter().filter(|seat| seat.begin()).count(), 1);
        let _other = seats.take(peer(3)).unwrap();
        assert_eq!((dismissed(&many), dismissed(&few)), (vec![true, false, false, false], vec![false; 2]));
    }

    #[test]
    fn who_reads_slowly_loses_to_others_and_not_to_itself() {
        let seats = Seats::new(LIMITS);
        let slow = take(&seats, 1, 4);
        assert!(slow.iter().all(Seat::begin));
        let api_server = take(&seats, 2, 2);
        assert!(api_server[0].begin());
        assert_eq!(dismissed(&slow), [true, false, false, false]);
        assert!(api_server[1].begin());
        assert_eq!(dismissed(&slow), [false, true, false, false]);
        drop(slow);
        let more = take(&seats, 2, 2);
        assert!(more.iter().all(Seat::begin));
        // Whose peer has the most itself waits.
        let seats = Seats::new(Limits { per_peer: 5, ..LIMITS });
        let own = take(&seats, 1, 5);
        assert_eq!(own.iter().filter(|seat| seat.begin()).count(), 4);
        assert_eq!(dismissed(&own), [false; 5]);
        assert!(!own[4].begin());
        seats.taken.lock().set(own[0].number, Doing::Nothing);
        assert!(own[4].begin());
    }

    #[test]
    fn what_is_dropped_is_free_again() {
        let seats = Seats::new(LIMITS);
        drop(take(&seats, 1, 4));
        assert!(seats.taken.lock().entries.is_empty());
        let seat = seats.take(peer(1)).unwrap();
        assert!(!seat.has_asked());
        assert!(now(seat.reading()).is_ready());
        assert!(seat.has_asked());
        assert_eq!(seats.taken.lock().entries[&seat.number].doing, Doing::Nothing);
    }
}
