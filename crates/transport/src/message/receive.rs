//! The receiving side: what a subflow's stream says next, and where its bytes land.

use super::{Chunk, Violation};
use crate::request::{RequestId, Requests, Transfer, UnknownRequest, slot};

/// The posted receives.
///
/// The n-th receive takes the n-th message. It is complete when all the message's bytes have landed.
#[derive(Debug)]
pub(crate) struct ReceiveQueue {
    requests: Requests<Inbound>,
}

#[derive(Clone, Copy, Debug)]
struct Inbound {
    capacity: usize,
    /// The message's length, once a chunk has said it.
    total: Option<usize>,
    /// Bytes that the chunks seen so far have.
    announced: usize,
    /// Bytes that are in the buffer.
    landed: usize,
}

impl Transfer for Inbound {
    fn is_complete(&self) -> bool {
        self.total == Some(self.landed)
    }
    fn bytes(&self) -> usize {
        self.landed
    }
}

/// Why a chunk is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its message doesn't fit into what was posted for it.
    TooLong { message: u64, sent: u64, posted: usize },
    /// The peer broke the protocol.
    Violation(Violation),
}

impl ReceiveQueue {
    pub(crate) fn new() -> ReceiveQueue {
        ReceiveQueue { requests: Requests::new() }
    }

    /// Adds a receive of up to `capacity` bytes, unless too many are outstanding.
    pub(crate) fn post(&mut self, capacity: usize) -> Option<RequestId> {
        self.requests.post(Inbound { capacity, total: None, announced: 0, landed: 0 })
    }

    pub(crate) fn is_complete(&self, request: RequestId) -> bool {
        request.message() < self.requests.complete()
    }

    /// The length of the message if it is complete; its request then ends.
    pub(crate) fn retire(&mut self, request: RequestId) -> Result<Option<usize>, UnknownRequest> {
        self.requests.retire(request)
    }

    /// The first message that is posted and not complete.
    pub(crate) fn waiting(&self) -> Option<u64> {
        self.requests.is_waiting().then(|| self.requests.complete())
    }

    /// Takes a chunk's place in its message; false if no receive is posted for the message yet.
    fn announce(&mut self, chunk: &Chunk) -> Result<bool, Refused> {
        let message = chunk.message;
        if message >= self.requests.posted() {
            return Ok(false);
        }
        // Everything a chunk claims is checked here, before one byte of it is written.
        let violation = |violation| Err(Refused::Violation(violation));
        let Some(inbound) = self.requests.get_mut(message) else {
            return violation(Violation::Late { message });
        };
        let total = match usize::try_from(chunk.total) {
            Ok(total) if total <= inbound.capacity => total,
            _ => {
                return Err(Refused::TooLong { message, sent: chunk.total, posted: inbound.capacity });
            }
        };
        if let Some(before) = inbound.total
            && before != total
        {
            return violation(Violation::Total { message, now: chunk.total, before: before as u64 });
        }
        let announced = inbound.announced + chunk.length as usize;
        if announced > total {
            return violation(Violation::Excess { message, total: chunk.total });
        }
        // A second header of an empty message finds it complete, unless an earlier message isn't.
        if total == 0 && inbound.total.is_some() {
            return violation(Violation::Late { message });
        }
        inbound.total = Some(total);
        inbound.announced = announced;
        self.requests.settle();
        Ok(true)
    }

    fn landed(&mut self, message: u64, count: usize) {
        if let Some(inbound) = self.requests.get_mut(message) {
            inbound.landed += count;
        }
        self.requests.settle();
    }
}

/// One subflow's receiving side: what its stream is in the middle of.
#[derive(Debug)]
pub(crate) struct Incoming {
    header: [u8; Chunk::HEADER],
    /// Bytes of the next header that have come.
    filled: usize,
    /// A header that waits for its receive to be posted.
    parked: Option<Chunk>,
    /// Where payload goes until the chunk's end.
    landing: Option<Landing>,
}

/// A range of the buffer that was posted for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Landing {
    pub(crate) message: u64,
    /// Place of the buffer among the outstanding requests.
    pub(crate) slot: usize,
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

/// What a read came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Landed {
    /// Payload bytes.
    pub(crate) payload: usize,
    /// They were the last of their chunk.
    pub(crate) ended: bool,
}

impl Incoming {
    pub(crate) fn new() -> Incoming {
        Incoming { header: [0; Chunk::HEADER], filled: 0, parked: None, landing: None }
    }

    /// Says whether the stream has come to a chunk for which nothing is posted, still after looking.
    ///
    /// Such a stream is not read. TCP's flow control then stops the sender on this subflow, and the
    /// other subflows go on.
    pub(crate) fn is_parked(&mut self, queue: &mut ReceiveQueue) -> Result<bool, Refused> {
        if let Some(chunk) = self.parked {
            self.begin(chunk, queue)?;
        }
        Ok(self.parked.is_some())
    }

    /// Says whether the stream brings nothing before another receive is posted.
    pub(crate) fn is_stuck(&self, queue: &ReceiveQueue) -> bool {
        // The receive may have been posted since the stream was parked.
        self.parked.is_some_and(|chunk| chunk.message >= queue.requests.posted())
    }

    /// Says whether the stream may end here: after a whole chunk.
    pub(crate) fn is_between_chunks(&self) -> bool {
        self.filled == 0 && self.landing.is_none() && self.parked.is_none()
    }

    /// Where the stream's next bytes go: first the landing, then the next header.
    pub(crate) fn wants(&mut self) -> (Option<Landing>, &mut [u8]) {
        let header = self.header.get_mut(self.filled..).unwrap_or_default();
        (self.landing, header)
    }

    /// `count` more bytes came, and went where [`Incoming::wants`] said.
    pub(crate) fn advance(&mut self, count: usize, queue: &mut ReceiveQueue) -> Result<Landed, Refused> {
        let (mut payload, mut ended) = (0, false);
        if let Some(landing) = &mut self.landing {
            payload = count.min(landing.length);
            landing.offset += payload;
            landing.length -= payload;
            queue.landed(landing.message, payload);
            if landing.length == 0 {
                self.landing = None;
                ended = true;
            }
        }
        self.filled += count - payload;
        if self.filled == Chunk::HEADER {
            self.filled = 0;
            let chunk = Chunk::decode(&self.header).map_err(Refused::Violation)?;
            self.begin(chunk, queue)?;
        }
        Ok(Landed { payload, ended })
    }

    fn begin(&mut self, chunk: Chunk, queue: &mut ReceiveQueue) -> Result<(), Refused> {
        if !queue.announce(&chunk)? {
            self.parked = Some(chunk);
            return Ok(());
        }
        self.parked = None;
        if chunk.length > 0 {
            self.landing = Some(Landing {
                message: chunk.message,
                slot: slot(chunk.message),
                // The chunk lies within a message that fits into memory.
                offset: usize::try_from(chunk.offset).unwrap_or(usize::MAX),
                length: chunk.length as usize,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(message: u64, offset: u64, length: u32, total: u64) -> Chunk {
        Chunk { message, offset, length, total }
    }

    /// Feeds a header, as if it had come in one piece.
    fn feed(subflow: &mut Incoming, queue: &mut ReceiveQueue, chunk: Chunk) -> Result<Landed, Refused> {
        let (landing, header) = subflow.wants();
        assert_eq!(landing, None);
        header.copy_from_slice(&chunk.encode());
        subflow.advance(Chunk::HEADER, queue)
    }

    #[test]
    fn payload_and_the_next_header_come_together() {
        let mut queue = ReceiveQueue::new();
        let (a, b) = (queue.post(10).unwrap(), queue.post(10).unwrap());
        let mut subflow = Incoming::new();
        feed(&mut subflow, &mut queue, chunk(0, 0, 4, 4)).unwrap();
        let (landing, header) = subflow.wants();
        let wanted = Landing { message: 0, slot: 0, offset: 0, length: 4 };
        assert_eq!(landing, Some(wanted));
        header.copy_from_slice(&chunk(1, 0, 0, 0).encode());
        let landed = Landed { payload: 4, ended: true };
        assert_eq!(subflow.advance(4 + Chunk::HEADER, &mut queue), Ok(landed));
        assert_eq!(queue.retire(a), Ok(Some(4)));
        assert_eq!(queue.retire(b), Ok(Some(0)));
        assert!(subflow.is_between_chunks());
    }

    #[test]
    fn a_chunk_without_a_receive_waits_for_it() {
        let mut queue = ReceiveQueue::new();
        let mut subflow = Incoming::new();
        feed(&mut subflow, &mut queue, chunk(0, 0, 5, 5)).unwrap();
        assert_eq!(subflow.is_parked(&mut queue), Ok(true));
        assert!(!subflow.is_between_chunks());
        queue.post(5).unwrap();
        assert_eq!(subflow.is_parked(&mut queue), Ok(false));
        assert_eq!(subflow.advance(4, &mut queue).unwrap().payload, 4);
        assert!(subflow.advance(1, &mut queue).unwrap().ended);
        assert_eq!(queue.waiting(), None);
    }

    #[test]
    fn a_message_longer_than_its_receive_is_refused_before_it_is_written() {
        let mut queue = ReceiveQueue::new();
        queue.post(99).unwrap();
        let refused = feed(&mut Incoming::new(), &mut queue, chunk(0, 0, 50, 100)).unwrap_err();
        assert_eq!(refused, Refused::TooLong { message: 0, sent: 100, posted: 99 });
    }

    #[test]
    fn chunks_that_contradict_each_other_are_refused() {
        let refused = |chunks: &[Chunk]| {
            let mut queue = ReceiveQueue::new();
            for _ in 0..2 {
                queue.post(100).unwrap();
            }
            let mut result = Ok(Landed::default());
            for chunk in chunks {
                let mut subflow = Incoming::new();
                result = feed(&mut subflow, &mut queue, *chunk)
                    .and_then(|_| subflow.advance(chunk.length as usize, &mut queue));
            }
            match result {
                Err(Refused::Violation(violation)) => violation,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(&[chunk(0, 0, 9, 9), chunk(0, 0, 9, 9)]), Violation::Late { message: 0 });
        assert_eq!(refused(&[chunk(1, 0, 0, 0), chunk(1, 0, 0, 0)]), Violation::Late { message: 1 });
        assert_eq!(
            refused(&[chunk(0, 0, 5, 9), chunk(0, 0, 5, 9)]),
            Violation::Excess { message: 0, total: 9 }
        );
        assert_eq!(
            refused(&[chunk(0, 0, 5, 9), chunk(0, 5, 5, 10)]),
            Violation::Total { message: 0, now: 10, before: 9 }
        );
    }
}
