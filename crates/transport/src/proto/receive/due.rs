//! When the sender is told what has come, and over which subflow.

use std::time::{Duration, Instant};

use crate::config::MAX_PATHS;
use crate::proto::SLOW_CHUNK;
use crate::proto::state::State;

/// Bytes of whole frames that may come before the sender is told.
///
/// A state frame costs both sides a system call, 2 to 4 microseconds together: a hundredth of the time
/// it takes to move this much over a veth.
const BYTES: u64 = 1 << 20;

/// Bytes of one subflow that the sender is told of after [`WAIT`]: a chunk of 32 KiB, or two of less.
///
/// A state frame is a packet on the wire, and its acknowledgement another: one a millisecond from each of seven peers took a
/// twentieth of a link of 100 Mbit/s.
const LANE_BYTES: u64 = SLOW_CHUNK * 3 / 4;

/// Frames that may come before the sender is told; small ones reach this first.
const FRAMES: u32 = 16;

/// How long news may wait for more, if a state frame has gone out as recently.
const WAIT: Duration = Duration::from_millis(1);

/// The same for less than [`LANE_BYTES`]: with 10 ms an all-to-all of 8 hosts over links of 200 Mbit/s has 0.004 less. What
/// waits for room asks its own kernel what has arrived.
const LONG_WAIT: Duration = Duration::from_millis(20);

/// The state frames of a connection.
#[derive(Debug)]
pub(super) struct Due {
    lanes: [Lane; MAX_PATHS],
    /// Subflows on which a frame is to go out now, a bit each.
    now: u8,
    /// The subflow that brought the last news, of which the sender has not been told.
    news: Option<usize>,
    /// Bytes of frames that came since, over each subflow, and how many frames.
    bytes: [u64; MAX_PATHS],
    frames: u32,
    last: Instant,
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
            bytes: [0; MAX_PATHS],
            frames: 0,
            last: now,
        }
    }

    /// A frame with so many bytes came over the subflow: the sender is to know, but does not wait for it.
    pub(super) fn news(&mut self, subflow: usize, bytes: usize) {
        if let Some(sum) = self.bytes.get_mut(subflow) {
            *sum += bytes as u64;
        }
        self.frames += 1;
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
            (self.news, self.bytes, self.frames, self.last) = (None, [0; MAX_PATHS], 0, now);
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
        self.bytes.iter().sum::<u64>() >= BYTES
            || self.frames >= FRAMES
            || now.saturating_duration_since(self.last) >= self.wait()
    }

    fn wait(&self) -> Duration {
        if self.bytes.iter().any(|&bytes| bytes >= LANE_BYTES) { WAIT } else { LONG_WAIT }
    }

    /// The subflow, or another one if it has no socket.
    fn open(&self, subflow: usize) -> usize {
        match self.lanes.get(subflow) {
            Some(lane) if lane.open => subflow,
            _ => self.lanes.iter().position(|lane| lane.open).unwrap_or(subflow),
        }
    }
}
