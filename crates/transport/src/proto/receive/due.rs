//! When the sender is told what has come, and over which subflow.

use std::time::{Duration, Instant};

use crate::config::MAX_PATHS;
use crate::proto::LEAST_AHEAD;
use crate::proto::state::State;

/// Bytes of whole frames that may come before the sender is told.
///
/// A state frame costs both sides a system call, 2 to 4 microseconds together: a hundredth of the time
/// it takes to move this much over a veth.
const BYTES: u64 = 1 << 20;

/// Bytes over one subflow that the sender is told of after [`WAIT`]: in two chunks or more, and in one alone.
///
/// It has two chunks on their way at least, and goes on with the second until it hears of both. A state frame is a packet on
/// the wire, and its acknowledgement another: one a millisecond from each of seven peers took a twentieth of a link of 100 Mbit/s.
const MUCH: u64 = LEAST_AHEAD * 3 / 4;
const MUCH_IN_ONE: u64 = LEAST_AHEAD * 2;

/// Frames that may come before the sender is told; small ones reach this first.
const FRAMES: u32 = 16;

/// How long news may wait for more, if a state frame has gone out as recently.
const WAIT: Duration = Duration::from_millis(1);

/// The same for less than [`MUCH`] on each subflow.
const LONG_WAIT: Duration = Duration::from_millis(10);

/// The state frames of a connection.
#[derive(Debug)]
pub(super) struct Due {
    lanes: [Lane; MAX_PATHS],
    /// Subflows on which a frame is to go out now, a bit each.
    now: u8,
    /// The subflow that brought the last news, of which the sender has not been told.
    news: Option<usize>,
    /// What came since, over each subflow.
    brought: [Brought; MAX_PATHS],
    last: Instant,
}

/// Frames that came whole.
#[derive(Clone, Copy, Debug, Default)]
struct Brought {
    bytes: u64,
    frames: u32,
}

/// The reverse direction of a subflow.
#[derive(Clone, Copy, Debug)]
struct Lane {
    frame: [u8; State::LEN],
    /// Bytes of the frame that are out; 0: none is on its way.
    written: usize,
    open: bool,
}

impl Due {
    pub(super) fn new(paths: usize, now: Instant) -> Due {
        let lane = |index| Lane { frame: [0; State::LEN], written: 0, open: index < paths };
        Due {
            lanes: std::array::from_fn(lane),
            now: 0,
            news: None,
            brought: [Brought::default(); MAX_PATHS],
            last: now,
        }
    }

    /// A frame with so many bytes came over the subflow: the sender is to know, but does not wait for it.
    pub(super) fn news(&mut self, subflow: usize, bytes: usize) {
        if let Some(brought) = self.brought.get_mut(subflow) {
            brought.bytes += bytes as u64;
            brought.frames += 1;
        }
        self.news = Some(self.open(subflow));
    }

    /// The sender waits for what the subflow brought.
    pub(super) fn at_once(&mut self, subflow: usize) {
        self.now |= 1 << self.open(subflow);
    }

    pub(super) fn is_due(&self, subflow: usize, now: Instant) -> bool {
        self.lanes.get(subflow).is_some_and(|lane| {
            lane.open
                && (lane.written > 0
                    || self.now & (1 << subflow) != 0
                    || (self.news == Some(subflow) && self.is_enough(now)))
        })
    }

    /// When news will have waited long enough.
    #[cfg(test)]
    pub(super) fn timer(&self) -> Option<Instant> {
        self.news.map(|_| self.last + self.wait())
    }

    /// The rest of the frame that was begun on the subflow, else one that says `state`.
    pub(super) fn frame(&mut self, subflow: usize, state: impl FnOnce() -> State) -> &[u8] {
        let Some(lane) = self.lanes.get_mut(subflow) else { return &[] };
        if lane.written == 0 {
            lane.frame = state().encode();
        }
        lane.frame.get(lane.written..).unwrap_or_default()
    }

    /// `count` more bytes of the subflow's frame are out; true if they were the first.
    pub(super) fn written(&mut self, subflow: usize, count: usize, now: Instant) -> bool {
        let Some(lane) = self.lanes.get_mut(subflow).filter(|_| count > 0) else { return false };
        let first = lane.written == 0;
        lane.written += count;
        if lane.written >= State::LEN {
            lane.written = 0;
        }
        if first {
            self.now &= !(1 << subflow);
            (self.news, self.brought, self.last) = (None, [Brought::default(); MAX_PATHS], now);
        }
        first
    }

    /// The subflow's socket is gone, and with it the frame that was on its way.
    pub(super) fn closed(&mut self, subflow: usize) {
        let Some(lane) = self.lanes.get_mut(subflow) else { return };
        (lane.open, lane.written) = (false, 0);
        self.now &= !(1 << subflow);
        // What it was to tell, another one tells.
        self.at_once(subflow);
    }

    /// The subflow has another socket.
    pub(super) fn replaced(&mut self, subflow: usize) {
        if let Some(lane) = self.lanes.get_mut(subflow) {
            (lane.open, lane.written) = (true, 0);
        }
        self.at_once(subflow);
    }

    fn is_enough(&self, now: Instant) -> bool {
        self.brought.iter().map(|brought| brought.bytes).sum::<u64>() >= BYTES
            || self.brought.iter().map(|brought| brought.frames).sum::<u32>() >= FRAMES
            || now.saturating_duration_since(self.last) >= self.wait()
    }

    fn wait(&self) -> Duration {
        if self.brought.iter().any(Brought::is_much) { WAIT } else { LONG_WAIT }
    }

    /// The subflow, or another one if it has no socket.
    fn open(&self, subflow: usize) -> usize {
        match self.lanes.get(subflow) {
            Some(lane) if lane.open => subflow,
            _ => self.lanes.iter().position(|lane| lane.open).unwrap_or(subflow),
        }
    }
}

impl Brought {
    fn is_much(&self) -> bool {
        self.bytes >= if self.frames > 1 { MUCH } else { MUCH_IN_ONE }
    }
}
