//! How much a connection may have on its way, over all its paths together.

use std::time::{Duration, Instant};

use crate::proto::SLOW_CHUNK;

/// What all connections of this process share out, bytes.
///
/// On slow paths it becomes a queue, most of it in front of the host's own link. Over links of 200 Mbit/s a ring all-reduce of
/// 8 hosts reaches 0.979 of what they carry; 0.937 with half of this, and 0.973 with twice as much, when its messages are
/// complete later than the ring can wait for them. An all-to-all reaches 0.943, 0.941 and 0.913: what is more than the links'
/// queues is dropped. Faster paths have what they deliver in a time instead.
const SHARED: u64 = 256 << 10;

/// Longest chunk on a path of which nothing is known, bytes.
const LONGEST_FIRST: u64 = 128 << 10;

/// How often the kernel is asked what of it has arrived.
const ASK: Duration = Duration::from_millis(1);

/// A connection's part of what its process may have on its way.
///
/// The paths of a connection have it in common, so that those that deliver have more while another is slow or dead.
#[derive(Debug)]
pub(super) struct Allowance {
    /// Connections of this process that have something to send.
    connections: u32,
    paths: u64,
    asked: Instant,
}

impl Allowance {
    pub(super) fn new(paths: usize, now: Instant) -> Allowance {
        Allowance { connections: 1, paths: paths as u64, asked: now }
    }

    /// Gives whether the number of connections is new.
    pub(super) fn beside(&mut self, connections: u32) -> bool {
        let connections = connections.max(1);
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
