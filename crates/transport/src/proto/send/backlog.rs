//! Chunks that have to be issued again.

use super::flight::FLIGHTS;
use super::outbox::Part;
use crate::config::MAX_PATHS;

/// A chunk to be issued again, and where it was issued last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Again {
    pub(super) part: Part,
    pub(super) subflow: usize,
    pub(super) incarnation: u16,
}

/// Chunks to be issued again, oldest message first.
///
/// Oldest first, because a stream that has come to a message without a receive is not read on, and the
/// receiver may post no more before it has the oldest.
#[derive(Debug)]
pub(super) struct Backlog {
    /// The last is the first to go.
    chunks: [Option<Again>; CAPACITY],
    len: usize,
}

/// Each chunk is charged to one flight or to the backlog, and no chunk is cut while there is a backlog:
/// so there are never more than flights.
const CAPACITY: usize = MAX_PATHS * FLIGHTS;

impl Backlog {
    pub(super) fn new() -> Backlog {
        Backlog { chunks: [None; CAPACITY], len: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, again: Again) {
        debug_assert!(self.len < CAPACITY, "more chunks than flights");
        let key = |again: &Again| (again.part.message, again.part.number);
        let older = |at: &Option<Again>| at.as_ref().is_some_and(|at| key(at) > key(&again));
        let chunks = self.chunks.get(..self.len).unwrap_or_default();
        let at = chunks.partition_point(older);
        if self.len < CAPACITY
            && let Some(tail) = self.chunks.get_mut(at..=self.len)
        {
            tail.rotate_right(1);
            if let Some(place) = tail.first_mut() {
                *place = Some(again);
            }
            self.len += 1;
        }
    }

    /// The oldest that `fits`.
    pub(super) fn find(&self, mut fits: impl FnMut(&Again) -> bool) -> Option<Again> {
        let chunks = self.chunks.get(..self.len).unwrap_or_default();
        chunks.iter().rev().flatten().find(|again| fits(again)).copied()
    }

    pub(super) fn remove(&mut self, part: &Part) {
        self.retain(|again| again.part != *part);
    }

    /// Drops what is no longer to be issued.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Again) -> bool) {
        let mut kept = 0;
        for index in 0..self.len {
            let again = self.chunks.get(index).copied().flatten();
            if again.as_ref().is_some_and(&mut keep)
                && let Some(place) = self.chunks.get_mut(kept)
            {
                *place = again;
                kept += 1;
            }
        }
        self.len = kept;
    }
}
