//! The sending side: which chunk is next, and how much of it a subflow has sent.

use std::ops::Range;

use super::Chunk;
use crate::request::{RequestId, Requests, Transfer, UnknownRequest, slot};

/// The posted messages, cut into chunks in order.
///
/// A message is complete when all its chunks are in the kernel's hands.
#[derive(Debug)]
pub(crate) struct SendQueue {
    requests: Requests<Outbound>,
    /// The message that the next chunk comes from, and how much of it has been taken.
    message: u64,
    taken: u64,
    paths: u64,
    largest: u32,
}

#[derive(Clone, Copy, Debug)]
struct Outbound {
    total: usize,
    piece: u32,
    /// All chunks have been taken.
    taken: bool,
    /// Chunks that were taken and are not sent to their end.
    open: u32,
}

impl Transfer for Outbound {
    fn is_complete(&self) -> bool {
        self.taken && self.open == 0
    }
    fn bytes(&self) -> usize {
        self.total
    }
}

impl SendQueue {
    /// A queue for `paths` subflows with chunks of up to `largest` bytes.
    pub(crate) fn new(paths: usize, largest: u32) -> SendQueue {
        SendQueue { requests: Requests::new(), message: 0, taken: 0, paths: paths.max(1) as u64, largest }
    }

    /// Adds a message of `total` bytes, unless too many are outstanding.
    pub(crate) fn post(&mut self, total: usize) -> Option<RequestId> {
        self.requests.post(Outbound {
            total,
            piece: piece(total as u64, self.paths, self.largest),
            taken: false,
            open: 0,
        })
    }

    /// The chunk that is to be sent next; it stays next until it is taken.
    pub(crate) fn next(&self) -> Option<Chunk> {
        let outbound = self.requests.get(self.message)?;
        let total = outbound.total as u64;
        let rest = total - self.taken;
        Some(Chunk {
            message: self.message,
            offset: self.taken,
            length: u32::try_from(rest).map_or(outbound.piece, |rest| rest.min(outbound.piece)),
            total,
        })
    }

    pub(crate) fn is_complete(&self, request: RequestId) -> bool {
        request.message() < self.requests.complete()
    }

    /// The length of the message if it is complete; its request then ends.
    pub(crate) fn retire(&mut self, request: RequestId) -> Result<Option<usize>, UnknownRequest> {
        self.requests.retire(request)
    }

    /// A subflow has begun to send the next chunk.
    fn take(&mut self, chunk: &Chunk) {
        debug_assert_eq!(Some(*chunk), self.next(), "only the next chunk is taken");
        self.taken += u64::from(chunk.length);
        let whole = self.taken >= chunk.total;
        if let Some(outbound) = self.requests.get_mut(chunk.message) {
            outbound.open += 1;
            outbound.taken = whole;
        }
        if whole {
            self.message += 1;
            self.taken = 0;
        }
    }

    /// A subflow has sent a chunk to its end.
    fn sent(&mut self, chunk: &Chunk) {
        if let Some(outbound) = self.requests.get_mut(chunk.message) {
            outbound.open -= 1;
        }
        self.requests.settle();
    }
}

/// One subflow's sending side: the chunk that it is in the middle of.
#[derive(Debug)]
pub(crate) struct Outgoing {
    chunk: Option<Chunk>,
    header: [u8; Chunk::HEADER],
    /// Bytes sent of header and payload together; 0: the chunk is still the queue's.
    sent: usize,
}

/// What a subflow is to write: the rest of a header, then a range of its message's buffer.
#[derive(Debug)]
pub(crate) struct Rest<'a> {
    pub(crate) header: &'a [u8],
    /// Place of the message's buffer among the outstanding requests.
    pub(crate) slot: usize,
    pub(crate) payload: Range<usize>,
}

/// What a write came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Payload bytes.
    pub(crate) payload: usize,
    /// It was the first of its chunk.
    pub(crate) begun: bool,
}

impl Rest<'_> {
    pub(crate) fn len(&self) -> usize {
        self.header.len() + self.payload.len()
    }
}

impl Outgoing {
    pub(crate) fn new() -> Outgoing {
        Outgoing { chunk: None, header: [0; Chunk::HEADER], sent: 0 }
    }

    /// What to write next: the rest of the chunk that was begun, else the queue's next chunk.
    ///
    /// A chunk of which nothing could be written stays in the queue, so another subflow gets it.
    pub(crate) fn rest(&mut self, queue: &SendQueue) -> Option<Rest<'_>> {
        if self.sent == 0 {
            self.chunk = queue.next();
            self.header = self.chunk?.encode();
        }
        let chunk = self.chunk?;
        let payload_sent = self.sent.saturating_sub(Chunk::HEADER);
        let offset = usize::try_from(chunk.offset).ok()?;
        Some(Rest {
            header: self.header.get(self.sent..).unwrap_or_default(),
            slot: slot(chunk.message),
            payload: offset + payload_sent..offset + chunk.length as usize,
        })
    }

    /// `count` more bytes were written of what [`Outgoing::rest`] gave.
    pub(crate) fn advance(&mut self, count: usize, queue: &mut SendQueue) -> Sent {
        let Some(chunk) = self.chunk.filter(|_| count > 0) else {
            return Sent::default();
        };
        let begun = self.sent == 0;
        if begun {
            queue.take(&chunk);
        }
        let before = self.sent.saturating_sub(Chunk::HEADER);
        self.sent += count;
        let after = self.sent.saturating_sub(Chunk::HEADER);
        if self.sent == Chunk::HEADER + chunk.length as usize {
            queue.sent(&chunk);
            self.chunk = None;
            self.sent = 0;
        }
        Sent { payload: after - before, begun }
    }
}

/// A message isn't cut finer than this: below it a second system call costs more than it gains.
const SMALLEST: u64 = 64 << 10;

/// Chunks end on page boundaries of the message, which keeps the kernel's copies aligned.
const PAGE: u64 = 4 << 10;

/// The chunk length for a message: an equal part for each subflow, within limits.
fn piece(total: u64, paths: u64, largest: u32) -> u32 {
    let part = total.div_ceil(paths).next_multiple_of(PAGE).max(SMALLEST);
    u32::try_from(part).map_or(largest, |part| part.min(largest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_into_equal_parts_within_limits() {
        assert_eq!(piece(0, 4, 512 << 10), 64 << 10);
        assert_eq!(piece(64 << 10, 4, 512 << 10), 64 << 10);
        assert_eq!(piece(1 << 20, 4, 512 << 10), 256 << 10);
        assert_eq!(piece((1 << 20) + 1, 4, 512 << 10), (256 << 10) + 4096);
        assert_eq!(piece(1 << 30, 8, 512 << 10), 512 << 10);
        assert_eq!(piece(u64::MAX - PAGE, 1, 512 << 10), 512 << 10);
        assert_eq!(piece(1 << 20, 1, 4096), 4096);
    }

    #[test]
    fn a_chunk_without_room_goes_to_another_subflow() {
        let mut queue = SendQueue::new(2, 64 << 10);
        let request = queue.post(100 << 10).unwrap();
        let (mut full, mut open) = (Outgoing::new(), Outgoing::new());
        assert_eq!(full.rest(&queue).unwrap().payload, 0..64 << 10);
        assert_eq!(full.advance(0, &mut queue), Sent::default());

        let rest = open.rest(&queue).unwrap();
        assert_eq!(rest.payload, 0..64 << 10, "the same chunk");
        let len = rest.len();
        let sent = |payload, begun| Sent { payload, begun };
        assert_eq!(open.advance(20, &mut queue), sent(0, true), "in the header");
        assert_eq!(open.advance(len - 20, &mut queue), sent(64 << 10, false));

        assert_eq!(full.rest(&queue).unwrap().payload, 64 << 10..100 << 10);
        full.advance(Chunk::HEADER + 1, &mut queue);
        assert!(open.rest(&queue).is_none());
        assert_eq!(queue.retire(request), Ok(None), "one chunk is not sent");
        let rest = full.rest(&queue).unwrap();
        assert_eq!((rest.header, rest.payload.start), (&[][..], (64 << 10) + 1));
        let len = rest.len();
        full.advance(len, &mut queue);
        assert!(queue.is_complete(request));
        assert_eq!(queue.retire(request), Ok(Some(100 << 10)));
    }

    #[test]
    fn a_message_without_bytes_is_one_header() {
        let mut queue = SendQueue::new(4, 64 << 10);
        let request = queue.post(0).unwrap();
        let mut subflow = Outgoing::new();
        assert_eq!(subflow.rest(&queue).unwrap().len(), Chunk::HEADER);
        subflow.advance(Chunk::HEADER - 1, &mut queue);
        assert_eq!(queue.retire(request), Ok(None));
        subflow.advance(1, &mut queue);
        assert_eq!(queue.retire(request), Ok(Some(0)));
        assert!(queue.next().is_none());
    }
}
