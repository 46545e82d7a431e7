//! The messages of a sender: posted, cut into chunks, and known to have arrived.

use std::time::Instant;

use super::piece::Posted;
use crate::proto::frame::{Chunk, MAX_CHUNKS};
use crate::proto::{EAGER_LIMIT, EAGER_SLOTS};
use crate::request::{MAX_REQUESTS, RequestId, Requests, Transfer, UnknownRequest};

/// The posted messages.
///
/// A message is complete when the receiver says so, or when each of its chunks is *secure*: the
/// receiver or its kernel has it. If its memory was lent only the receiver's word counts. A short one is copied by the caller, and the copy is kept until it is
/// secure: it is complete when our kernel has it, or when a newer message is posted. Of the newest the
/// kernel's copy is waited for, so that the caller goes on calling until all are on their way.
#[derive(Debug)]
pub(super) struct Outbox {
    requests: Requests<Outbound>,
    queue: [Queued; QUEUE],
    /// The message that the next chunk comes from, how much of it has been cut, into how many chunks.
    message: u64,
    taken: u64,
    number: u32,
    /// Bytes that are posted and not cut.
    uncut: u64,
    eager: [Copied; EAGER_SLOTS],
    /// Eager slots in use, a bit each.
    used: u64,
    /// Messages that the receiver has, with all before them.
    delivered: u64,
}

/// A chunk without what its message says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) message: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) number: u32,
    pub(super) source: Source,
}

/// Where a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In the buffer of the message's request.
    Request,
    /// In an eager slot.
    Eager(u8),
    /// It is a ping and has none.
    Ping,
}

impl Part {
    pub(super) fn ping(length: u32) -> Part {
        Part { message: 0, offset: 0, length, number: 0, source: Source::Ping }
    }
}

#[derive(Clone, Copy, Debug)]
struct Outbound {
    total: usize,
    posted: Instant,
    /// It was copied, and our kernel has it: nobody has to call us for it to go out.
    sent: bool,
    /// It was copied, and the caller goes on calling for the sake of a newer one.
    followed: bool,
    delivered: bool,
    /// All chunks have been cut.
    cut: bool,
    /// Chunks that were cut and are not secure.
    insecure: u32,
    /// Frames of it that are written in part. Their rest needs the buffer.
    writing: u32,
    secure: [u64; MAX_CHUNKS / 64],
    /// Some of it was given to a socket without a copy.
    lent: bool,
}

/// A message that is not cut to its end. Its request may have ended, if it was copied.
#[derive(Clone, Copy, Debug)]
struct Queued {
    total: u64,
    source: Source,
}

#[derive(Clone, Copy, Debug)]
struct Copied {
    message: u64,
    posted: Instant,
    secure: bool,
    writing: u32,
}

/// More than can be posted and not cut: those with a request, and those with an eager slot.
const QUEUE: usize = (MAX_REQUESTS + EAGER_SLOTS).next_power_of_two();

/// Chunks end on page boundaries of the message, which keeps the kernel's copies aligned.
const PAGE: u64 = 4 << 10;

impl Transfer for Outbound {
    fn is_complete(&self) -> bool {
        self.sent || self.followed || self.delivered || (self.is_secure() && !self.lent)
    }
    fn bytes(&self) -> usize {
        self.total
    }
}

impl Outbox {
    pub(super) fn new(now: Instant) -> Outbox {
        Outbox {
            requests: Requests::new(),
            queue: [Queued { total: 0, source: Source::Request }; QUEUE],
            message: 0,
            taken: 0,
            number: 0,
            uncut: 0,
            eager: [Copied { message: 0, posted: now, secure: false, writing: 0 }; EAGER_SLOTS],
            used: 0,
            delivered: 0,
        }
    }

    pub(super) fn post(&mut self, total: usize, now: Instant) -> Option<Posted> {
        let free = (!self.used).trailing_zeros();
        let slot =
            u8::try_from(free).ok().filter(|slot| total <= EAGER_LIMIT && usize::from(*slot) < EAGER_SLOTS);
        let request = self.requests.post(Outbound {
            total,
            posted: now,
            sent: false,
            followed: false,
            delivered: false,
            cut: false,
            insecure: 0,
            writing: 0,
            secure: [0; MAX_CHUNKS / 64],
            lent: false,
        })?;
        let message = request.message();
        self.follow(message);
        if let Some(slot) = slot {
            self.used |= 1 << slot;
            if let Some(copied) = self.eager.get_mut(usize::from(slot)) {
                *copied = Copied { message, posted: now, secure: false, writing: 0 };
            }
        }
        if let Some(place) = self.queue.get_mut(place(message)) {
            *place = Queued { total: total as u64, source: slot.map_or(Source::Request, Source::Eager) };
        }
        self.uncut += total as u64;
        Some(Posted { request, eager: slot.map(usize::from) })
    }

    /// The one before this message is complete if it was copied: for this one's sake the caller goes on calling.
    fn follow(&mut self, message: u64) {
        let Some(before) = message.checked_sub(1) else { return };
        let copied = self.queue.get(place(before)).is_some_and(|queued| queued.source != Source::Request);
        if copied && let Some(outbound) = self.requests.get_mut(before) {
            outbound.followed = true;
            self.requests.settle();
        }
    }

    pub(super) fn posted(&self) -> u64 {
        self.requests.posted()
    }

    pub(super) fn is_complete(&self, request: RequestId) -> bool {
        request.message() < self.requests.complete()
    }

    pub(super) fn retire(&mut self, request: RequestId) -> Result<Option<usize>, UnknownRequest> {
        self.requests.retire(request)
    }

    /// Says whether something was posted that is neither complete nor secure.
    pub(super) fn is_waiting(&self) -> bool {
        self.requests.is_waiting() || self.used != 0
    }

    /// The oldest message that is not complete, or complete only as a copy, and when it was posted.
    pub(super) fn oldest(&self) -> Option<(u64, Instant)> {
        let message = self.requests.complete();
        let incomplete = self.requests.get(message).map(|outbound| (message, outbound.posted));
        let used = |slot: usize| self.used & (1 << slot) != 0;
        let copies = self.eager.iter().enumerate().filter(|(slot, copied)| used(*slot) && !copied.secure);
        copies.map(|(_, copied)| (copied.message, copied.posted)).chain(incomplete).min()
    }

    /// Messages that the receiver has.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Says whether there is a chunk to be cut; it may be without bytes.
    pub(super) fn has_next(&self) -> bool {
        self.message < self.requests.posted()
    }

    /// Bytes that are posted and not cut, with what has been cut of the message that is being cut, or with all of the
    /// `in_flight` bytes, if they are more.
    pub(super) fn open(&self, in_flight: u64) -> u64 {
        self.uncut + self.taken.max(in_flight)
    }

    /// The next chunk, of about `size` bytes; it stays next until it is taken.
    pub(super) fn peek(&self, size: u64) -> Option<Part> {
        if !self.has_next() {
            return None;
        }
        let queued = self.queue.get(place(self.message))?;
        let least = (queued.total / MAX_CHUNKS as u64 + 1).next_multiple_of(PAGE);
        let rest = queued.total - self.taken;
        let length = match size.next_multiple_of(PAGE).max(least) {
            // A copied message is one chunk, so that its slot needs no accounts.
            _ if queued.source != Source::Request => rest,
            // A last chunk that is shorter than half a piece costs more than it helps.
            size if rest < size + size / 2 => rest,
            size => size,
        };
        Some(Part {
            message: self.message,
            offset: self.taken,
            length: u32::try_from(length).unwrap_or(u32::MAX),
            number: self.number,
            source: queued.source,
        })
    }

    /// The message behind a part that is its own message's last, if none of it was cut and it has `most` bytes at most.
    pub(super) fn behind(&self, last: &Part, most: u64) -> Option<Part> {
        let total = |message: u64| Some(self.queue.get(place(message))?.total);
        let message = if self.message > last.message {
            Some(self.message).filter(|_| self.taken == 0)?
        } else {
            let ends = last.offset + u64::from(last.length) == total(last.message)?;
            Some(last.message + 1).filter(|_| ends && self.message == last.message)?
        };
        let queued = self.queue.get(place(message)).filter(|_| message < self.requests.posted())?;
        let length = u32::try_from(queued.total).ok().filter(|_| queued.total <= most)?;
        Some(Part { message, offset: 0, length, number: 0, source: queued.source })
    }

    /// A subflow has begun to send the next chunk.
    pub(super) fn take(&mut self, part: &Part) {
        let Some(queued) = self.queue.get(place(part.message)) else { return };
        self.taken += u64::from(part.length);
        self.uncut -= u64::from(part.length);
        self.number += 1;
        let cut = self.taken >= queued.total;
        if part.source == Source::Request
            && let Some(outbound) = self.requests.get_mut(part.message)
        {
            outbound.insecure += 1;
            outbound.cut = cut;
        }
        if cut {
            self.message += 1;
            (self.taken, self.number) = (0, 0);
        }
    }

    /// The header's content for a part that is still needed.
    pub(super) fn chunk(&self, part: &Part) -> Chunk {
        let total = match part.source {
            Source::Request => self.requests.get(part.message).map_or(0, |outbound| outbound.total as u64),
            Source::Eager(_) | Source::Ping => u64::from(part.length),
        };
        let Part { message, offset, length, number, source } = *part;
        Chunk { message, number, offset, length, total, urgent: source == Source::Request }
    }

    /// Says whether the receiver may not have the part: neither complete nor secure.
    pub(super) fn is_needed(&self, part: &Part) -> bool {
        match part.source {
            Source::Ping => false,
            Source::Request => {
                self.requests.get(part.message).is_some_and(|outbound| !outbound.has(part.number))
            }
            Source::Eager(slot) => self.copied(slot, part.message).is_some_and(|copied| !copied.secure),
        }
    }

    /// Says whether the part's memory may be gone, which is only so when the receiver has its message.
    pub(super) fn is_delivered(&self, part: &Part) -> bool {
        part.message < self.delivered
    }

    /// The receiver or its kernel has the part.
    pub(super) fn secure(&mut self, part: &Part) {
        match part.source {
            Source::Ping => {}
            Source::Request => {
                if let Some(outbound) = self.requests.get_mut(part.message)
                    && !outbound.has(part.number)
                    && let Some(word) = outbound.secure.get_mut(part.number as usize / 64)
                {
                    *word |= 1 << (part.number % 64);
                    outbound.insecure -= 1;
                    self.requests.settle();
                }
            }
            Source::Eager(slot) => self.change(slot, part.message, |copied| copied.secure = true),
        }
    }

    /// A frame of the part is written in part: its memory is needed until [`Outbox::written`].
    pub(super) fn writing(&mut self, part: &Part) {
        match part.source {
            Source::Ping => {}
            Source::Request => {
                if let Some(outbound) = self.requests.get_mut(part.message) {
                    outbound.writing += 1;
                }
            }
            Source::Eager(slot) => self.change(slot, part.message, |copied| copied.writing += 1),
        }
    }

    /// A frame that was written in part is written to its end, or never will be.
    pub(super) fn written(&mut self, part: &Part) {
        match part.source {
            Source::Ping => {}
            Source::Request => {
                if let Some(outbound) = self.requests.get_mut(part.message) {
                    outbound.writing -= 1;
                    self.requests.settle();
                }
            }
            Source::Eager(slot) => self.change(slot, part.message, |copied| copied.writing -= 1),
        }
    }

    /// Some of the part was given to a socket that refers to its memory.
    pub(super) fn lent(&mut self, part: &Part) {
        if part.source == Source::Request
            && let Some(outbound) = self.requests.get_mut(part.message)
        {
            outbound.lent = true;
        }
    }

    /// Says whether a socket may refer to the memory of a message that is not complete.
    pub(super) fn is_lending(&self) -> bool {
        let open = self.requests.complete()..self.requests.posted();
        open.into_iter().any(|message| self.requests.get(message).is_some_and(|outbound| outbound.lent))
    }

    /// The oldest message that is not complete, if all that it lacks is the receiver's word.
    pub(super) fn unconfirmed(&self) -> Option<u64> {
        let message = self.requests.complete();
        self.requests.get(message).filter(|outbound| outbound.is_secure()).map(|_| message)
    }

    /// A frame of the part is written to its end.
    pub(super) fn sent(&mut self, part: &Part) {
        if let Source::Eager(_) = part.source
            && let Some(outbound) = self.requests.get_mut(part.message)
        {
            outbound.sent = true;
            self.requests.settle();
        }
    }

    /// The receiver has this many messages.
    pub(super) fn deliver(&mut self, complete: u64) {
        for message in self.requests.complete().max(self.delivered)..complete {
            if let Some(outbound) = self.requests.get_mut(message) {
                outbound.delivered = true;
            }
        }
        self.delivered = complete;
        self.requests.settle();
        let mut used = self.used;
        while used != 0 {
            let slot = used.trailing_zeros();
            used &= used - 1;
            let copied = self.eager.get(slot as usize);
            if copied.is_some_and(|copied| copied.message < complete) {
                self.used &= !(1 << slot);
            }
        }
    }

    fn copied(&self, slot: u8, message: u64) -> Option<&Copied> {
        let copied = self.eager.get(usize::from(slot))?;
        (self.used & (1 << slot) != 0 && copied.message == message).then_some(copied)
    }

    fn change(&mut self, slot: u8, message: u64, change: impl FnOnce(&mut Copied)) {
        if self.copied(slot, message).is_some()
            && let Some(copied) = self.eager.get_mut(usize::from(slot))
        {
            change(copied);
            if copied.secure && copied.writing == 0 {
                self.used &= !(1 << slot);
            }
        }
    }
}

impl Outbound {
    /// The receiver or its kernel has all of it, and nothing of it is still to be written.
    fn is_secure(&self) -> bool {
        self.cut && self.insecure == 0 && self.writing == 0
    }

    fn has(&self, number: u32) -> bool {
        let word = self.secure.get(number as usize / 64).copied().unwrap_or_default();
        word & (1 << (number % 64)) != 0
    }
}

/// The place of a message in the queue.
#[expect(clippy::cast_possible_truncation, reason = "the remainder is below QUEUE")]
fn place(message: u64) -> usize {
    (message % QUEUE as u64) as usize
}
