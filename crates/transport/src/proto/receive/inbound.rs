//! A message on its way in: which of its chunks have landed.

use super::Refused;
use crate::proto::frame::{Chunk, MAX_CHUNKS};
use crate::proto::violation::Violation;
use crate::request::{Requests, Transfer};

/// A posted receive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inbound {
    capacity: usize,
    /// The message's length, once a chunk has said it.
    total: Option<usize>,
    /// Bytes of the chunks that have landed.
    landed: usize,
    chunks: [u64; MAX_CHUNKS / 64],
}

/// What is to become of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It lands.
    Take,
    /// It has landed before.
    Useless,
    /// Nothing is posted for its message yet.
    Wait,
}

impl Transfer for Inbound {
    fn is_complete(&self) -> bool {
        // A message without bytes is complete when its one chunk has come, not before.
        self.total == Some(self.landed) && (self.landed > 0 || self.has(0))
    }
    fn bytes(&self) -> usize {
        self.landed
    }
}

impl Inbound {
    pub(super) fn new(capacity: usize) -> Inbound {
        Inbound { capacity, total: None, landed: 0, chunks: [0; MAX_CHUNKS / 64] }
    }

    /// The message's length, once something of it has come.
    pub(super) fn total(&self) -> Option<usize> {
        self.total
    }

    fn has(&self, number: u32) -> bool {
        let word = self.chunks.get(number as usize / 64).copied().unwrap_or_default();
        word & (1 << (number % 64)) != 0
    }
}

/// Says what is to become of a chunk; everything it claims is checked before one byte of it is written.
pub(super) fn judge(requests: &mut Requests<Inbound>, chunk: &Chunk) -> Result<Verdict, Refused> {
    let message = chunk.message;
    if message >= requests.posted() {
        return Ok(Verdict::Wait);
    }
    let Some(inbound) = requests.get_mut(message) else {
        return Ok(Verdict::Useless);
    };
    let total = match usize::try_from(chunk.total) {
        Ok(total) if total <= inbound.capacity => total,
        _ => return Err(Refused::TooLong { message, sent: chunk.total, posted: inbound.capacity }),
    };
    if let Some(before) = inbound.total
        && before != total
    {
        let before = before as u64;
        return Err(Refused::Violation(Violation::Total { message, now: chunk.total, before }));
    }
    if inbound.has(chunk.number) {
        return Ok(Verdict::Useless);
    }
    if inbound.landed + chunk.length as usize > total {
        return Err(Refused::Violation(Violation::Excess { message, total: chunk.total }));
    }
    inbound.total = Some(total);
    Ok(Verdict::Take)
}

/// Says whether a chunk that is on its way may still be written.
pub(super) fn is_wanted(requests: &Requests<Inbound>, message: u64, number: u32) -> bool {
    requests.get(message).is_some_and(|inbound| !inbound.has(number))
}

/// Counts a chunk that has come whole; false if a copy of it came before.
pub(super) fn land(requests: &mut Requests<Inbound>, message: u64, number: u32, length: usize) -> bool {
    let Some(inbound) = requests.get_mut(message).filter(|inbound| !inbound.has(number)) else {
        return false;
    };
    if let Some(word) = inbound.chunks.get_mut(number as usize / 64) {
        *word |= 1 << (number % 64);
    }
    inbound.landed += length;
    requests.settle();
    true
}
