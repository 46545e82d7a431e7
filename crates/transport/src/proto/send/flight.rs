//! Frames that a subflow was given and the receiver has not acknowledged.

use std::time::{Duration, Instant};

use super::outbox::Part;

/// Frames that one subflow can have on their way.
///
/// Bounds what is kept and what has to be issued again. Twice the messages that can be outstanding, so
/// that short messages don't wait for it.
pub(super) const FLIGHTS: usize = 64;

/// A frame on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) part: Part,
    /// Bytes of the stream up to its end.
    pub(super) end: u64,
    pub(super) begun: Instant,
    /// How long it is expected to take.
    pub(super) expected: Duration,
    /// Nobody else is charged with its part.
    pub(super) charged: bool,
    /// Nothing newer was on its way on this subflow when it began. A receiver may not read on at a
    /// newer message before it has this one, so else its kernel's word is not enough.
    pub(super) orderly: bool,
    /// Times that its part was hedged before.
    pub(super) hedges: u8,
    /// What the subflow had delivered when it began, and when that was.
    pub(super) delivered: u64,
    pub(super) delivered_at: Instant,
    /// The subflow had less to do than it could, or the receiver may have been the one to wait for.
    pub(super) limited: bool,
}

/// Flights in the order of their stream.
#[derive(Debug)]
pub(super) struct Flights {
    ring: [Option<Flight>; FLIGHTS],
    first: usize,
    len: usize,
    /// Of these, the first few that the peer's kernel has.
    secure: usize,
    /// Frames of this incarnation that came before the first.
    finished: u64,
}

impl Flights {
    pub(super) fn new() -> Flights {
        Flights { ring: [None; FLIGHTS], first: 0, len: 0, secure: 0, finished: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many more there is room for.
    pub(super) fn room(&self) -> usize {
        FLIGHTS - self.len
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == FLIGHTS
    }

    /// Frames of this incarnation, finished or not.
    pub(super) fn begun(&self) -> u64 {
        self.finished + self.len as u64
    }

    /// Frames that the receiver has.
    pub(super) fn finished(&self) -> u64 {
        self.finished
    }

    pub(super) fn get(&self, index: usize) -> Option<&Flight> {
        if index >= self.len {
            return None;
        }
        self.ring.get((self.first + index) % FLIGHTS)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Flight> {
        if index >= self.len {
            return None;
        }
        self.ring.get_mut((self.first + index) % FLIGHTS)?.as_mut()
    }

    /// The oldest that the receiver does not have.
    pub(super) fn front(&self) -> Option<&Flight> {
        self.get(0)
    }

    /// The index of the oldest that not even the peer's kernel has, as far as is known.
    pub(super) fn oldest_insecure(&self) -> usize {
        self.secure
    }

    pub(super) fn push(&mut self, flight: Flight) {
        debug_assert!(!self.is_full(), "asked before");
        if let Some(place) = self.ring.get_mut((self.first + self.len) % FLIGHTS) {
            *place = Some(flight);
            self.len += 1;
        }
    }

    /// Takes the oldest, which the receiver has.
    pub(super) fn pop(&mut self) -> Option<Flight> {
        let flight = self.ring.get_mut(self.first)?.take()?;
        self.first = (self.first + 1) % FLIGHTS;
        self.len -= 1;
        self.secure = self.secure.saturating_sub(1);
        self.finished += 1;
        Some(flight)
    }

    /// The next that the peer's kernel has, now that it has acknowledged so many bytes.
    pub(super) fn secure_next(&mut self, acked: u64) -> Option<&Flight> {
        let at = self.secure;
        self.get(at).filter(|flight| flight.end <= acked)?;
        self.secure += 1;
        self.get(at)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Flight> {
        (0..self.len).filter_map(|index| self.get(index))
    }

    /// Begins another stream.
    pub(super) fn clear(&mut self) {
        *self = Flights::new();
    }
}
