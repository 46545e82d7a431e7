//! How much a connection may have on its way, over all its paths together.

use std::time::{Duration, Instant};

use crate::proto::SLOW_CHUNK;

/// What all connections of this process share out, bytes.
///
/// On slow paths it becomes a queue, most of it in front of the host's own link. Over links of 200 Mbit/s a ring all-reduce of
/// 8 hosts reaches 0.979 of what they carry; 0.936 with half of this, and 0.976 with twice as much, when its messages are
/// complete later than the ring can wait for them. An all-to-all reaches 0.970, 0.960 and 0.933: what is more than the links'
/// queues is dropped. Faster paths have what they deliver in a time instead.
const SHARED: u64 = 256 << 10;

/// Longest chunk on a path of which nothing is known, bytes.
const LONGEST_FIRST: u64 = 128 << 10;

/// How long connections count on that have nothing more to send, and those that may be about to begin.
///
/// They end one after another. What they leave free would go to receivers that the last ones have in common, and be lost
/// there.
const HOLD: Duration = Duration::from_millis(100);

/// How often the kernel is asked what of it has arrived.
const ASK: Duration = Duration::from_millis(1);

/// A connection's part of what its process may have on its way.
///
/// The paths of a connection have it in common, so that those that deliver have more while another is slow or dead.
#[derive(Debug)]
pub(super) struct Allowance {
    /// Connections that it is shared out among.
    connections: u32,
    /// The most that had something to send at once while this one last had, or has.
    most: u32,
    /// So many count at least until then.
    expected: u32,
    until: Instant,
    paths: u64,
    asked: Instant,
}

impl Allowance {
    pub(super) fn new(paths: usize, now: Instant) -> Allowance {
        // What is known of nobody may be true of all.
        let expected = u32::MAX;
        Allowance { connections: 1, most: expected, expected, until: now, paths: paths as u64, asked: now }
    }

    /// This connection had nothing to send, and has now.
    ///
    /// Others may be about to begin as well: a collective posts to one after the other. The first would take all, the second
    /// half of it, and what is too much is lost.
    pub(super) fn begin(&mut self, now: Instant) {
        self.expected = std::mem::replace(&mut self.most, 0);
        self.until = now + HOLD;
    }

    /// `busy` of the `all` connections of this process have something to send, and this one has. Gives whether its part is
    /// another now.
    pub(super) fn beside(&mut self, busy: u32, all: u32, now: Instant) -> bool {
        let busy = busy.max(1);
        self.most = self.most.max(busy);
        if busy >= self.expected || now >= self.until {
            (self.expected, self.until) = (busy, now + HOLD);
        }
        let connections = self.expected.min(all.max(busy));
        std::mem::replace(&mut self.connections, connections) != connections
    }

    /// Says whether no other connection of this process has something to send.
    pub(super) fn is_whole(&self) -> bool {
        self.connections == 1
    }

    /// Bytes that this connection may have on its way however slow its paths are.
    pub(super) fn share(&self) -> u64 {
        SHARED / u64::from(self.connections)
    }

    /// Length of a chunk on a slow path, bytes: half a share, so that one is in the socket while the other is acknowledged.
    ///
    /// The kernel cuts a packet at the end of each, so long ones carry more.
    pub(super) fn chunk(&self) -> u64 {
        (self.share() / 2).clamp(SLOW_CHUNK / 2, SLOW_CHUNK)
    }

    /// The same on a path of which nothing is known, one for each.
    ///
    /// All connections begin at once. What is too much for a queue then is lost, and two seconds later a permutation of 8
    /// hosts is still 0.03 behind.
    pub(super) fn first_chunk(&self) -> u64 {
        (self.share() / self.paths).clamp(self.chunk(), LONGEST_FIRST)
    }

    /// Says whether the kernel may be asked now, and takes it that it is.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.asked) >= ASK;
        if due {
            self.asked = now;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn one_that_never_sent_takes_its_part_of_all() {
        let mut now = Instant::now();
        let mut allowance = Allowance::new(4, now);
        allowance.begin(now);
        // The first of seven to begin; the others follow.
        for busy in 1..=7 {
            allowance.beside(busy, 7, now);
            assert_eq!(allowance.share(), SHARED / 7, "{busy}");
            now += MILLISECOND;
        }
        // Or not.
        now += HOLD;
        assert!(allowance.beside(1, 7, now) && allowance.is_whole());
        assert!(!allowance.beside(1, 7, now));
    }

    #[test]
    fn what_others_leave_is_shared_out_a_moment_later() {
        let mut now = Instant::now();
        let mut allowance = Allowance::new(4, now);
        allowance.begin(now);
        now += HOLD;
        for (busy, wait, shared) in
            [(7, 0, 7), (6, 50, 7), (3, 49, 7), (3, 1, 3), (4, 10, 4), (2, 99, 4), (2, 1, 2), (1, 100, 1)]
        {
            now += MILLISECOND * wait;
            allowance.beside(busy, 8, now);
            assert_eq!(allowance.share(), SHARED / shared, "{busy} after {wait} ms");
        }
    }

    #[test]
    fn one_that_begins_again_expects_as_many_as_last_time() {
        let mut now = Instant::now();
        let mut allowance = Allowance::new(4, now);
        for (shared, then) in [(16, &[7, 1][..]), (7, &[1, 3, 2]), (3, &[]), (1, &[])] {
            now += Duration::from_secs(1);
            allowance.begin(now);
            allowance.beside(1, 16, now);
            assert_eq!(allowance.share(), SHARED / shared, "before {then:?}");
            for &busy in then {
                now += MILLISECOND * 60;
                allowance.beside(busy, 16, now);
            }
        }
    }
}
