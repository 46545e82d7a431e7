//! One byte stream on its way in: headers, payload behind them, and what it is in the middle of.

use std::ops::Range;

use super::inbound::{self, Inbound, Verdict};
use super::{Landing, Refused, Want};
use crate::proto::frame::{Chunk, Frame, HEADER};
use crate::request::{Requests, slot};

/// Payload that one read may bring behind a header.
///
/// Makes a small message one system call. Of a long chunk it is copied once more, which is little.
const READ_AHEAD: usize = 1 << 10;

#[derive(Debug)]
pub(super) struct Stream {
    open: bool,
    incarnation: u16,
    /// Frames that have come whole.
    finished: u64,
    inbox: [u8; HEADER + READ_AHEAD],
    /// Bytes of the inbox that have come, and of these, that have been looked at.
    filled: usize,
    taken: usize,
    /// The next header's message has no receive.
    parked: bool,
    rest: Option<Place>,
}

/// The chunk that a stream is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) message: u64,
    pub(super) number: u32,
    /// Where it began.
    pub(super) offset: usize,
    length: usize,
    /// Bytes that are still to come.
    left: usize,
    urgent: bool,
    /// Nothing of it is written any more.
    useless: bool,
    /// It is a ping.
    probe: bool,
}

/// A frame that has come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Bytes of its payload.
    pub(super) length: usize,
    /// It was a chunk, and the first of its copies.
    pub(super) landed: bool,
    pub(super) urgent: bool,
    /// It was a ping.
    pub(super) probe: bool,
}

/// What there was to do with what had come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: more has to come.
    Nothing,
    /// Nothing: a receive has to be posted.
    Parked,
    /// A chunk has begun.
    Begun(Place),
    /// A chunk has begun that is of no use.
    Useless,
    /// A ping has begun.
    Ping,
    Ended(Ended),
    /// This range of the inbox belongs there.
    Copy {
        slot: usize,
        offset: usize,
        from: Range<usize>,
        ended: Option<Ended>,
    },
}

impl Stream {
    pub(super) fn new(open: bool) -> Stream {
        Stream {
            open,
            incarnation: 0,
            finished: 0,
            inbox: [0; HEADER + READ_AHEAD],
            filled: 0,
            taken: 0,
            parked: false,
            rest: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn close(&mut self) {
        self.open = false;
    }

    /// Incarnation, and frames of it that have come whole.
    pub(super) fn finished(&self) -> (u16, u64) {
        (self.incarnation, self.finished)
    }

    /// Begins anew with another socket; gives the stream as it was.
    pub(super) fn replace(&mut self, incarnation: u16) -> Stream {
        std::mem::replace(self, Stream { incarnation, ..Stream::new(true) })
    }

    /// The chunk that is landing here.
    pub(super) fn place(&self) -> Option<Place> {
        self.rest
    }

    /// Bytes that are still to come of the chunk that is landing here, for a message from the `first` on.
    pub(super) fn lacks(&self, first: u64) -> usize {
        let place = self.rest.filter(|place| self.open && !place.useless && place.message >= first);
        place.map_or(0, |place| place.left)
    }

    /// Bytes that have landed of the chunk of this message that it is in the middle of.
    pub(super) fn landed(&self, message: u64) -> Option<usize> {
        let place = self.rest.filter(|place| self.open && place.message == message && !place.useless)?;
        Some(place.length - place.left)
    }

    /// Says whether a message has begun here that no receive is posted for.
    pub(super) fn is_parked(&self) -> bool {
        self.open && self.parked
    }

    pub(super) fn read(&self, range: Range<usize>) -> &[u8] {
        self.inbox.get(range).unwrap_or_default()
    }

    pub(super) fn wants(&mut self, requests: &Requests<Inbound>) -> Option<Want<'_>> {
        if !self.open || self.parked {
            return None;
        }
        self.revise(requests);
        let landing = self.rest.map(|place| match place.useless {
            true => Landing::Discard(place.left),
            false => place.landing(),
        });
        // Dropped bytes can't be read together with others: MSG_TRUNC is for the whole call.
        let from = if matches!(landing, Some(Landing::Discard(_))) { self.inbox.len() } else { self.filled };
        Some(Want { landing, inbox: self.inbox.get_mut(from..).unwrap_or_default() })
    }

    /// So many bytes were read; gives the frame that came whole by it.
    pub(super) fn came(&mut self, count: usize, requests: &mut Requests<Inbound>) -> Option<Ended> {
        let (mut landed, mut ended) = (0, None);
        if let Some(place) = &mut self.rest {
            landed = count.min(place.left);
            place.left -= landed;
            if place.left == 0 {
                ended = self.end(requests);
            }
        }
        self.filled += count - landed;
        debug_assert!(self.filled <= self.inbox.len(), "more came than was wanted");
        ended
    }

    pub(super) fn step(&mut self, requests: &mut Requests<Inbound>) -> Result<Step, Refused> {
        if self.rest.is_some() && self.taken < self.filled {
            return Ok(self.step_payload(requests));
        }
        if self.rest.is_some_and(|place| place.left == 0)
            && let Some(ended) = self.end(requests)
        {
            return Ok(Step::Ended(ended));
        }
        let header = self.inbox.get(self.taken..self.filled).and_then(<[u8]>::first_chunk);
        let (None, Some(header)) = (self.rest, header) else {
            self.compact();
            return Ok(Step::Nothing);
        };
        let frame = Frame::decode(header).map_err(Refused::Violation)?;
        let chunk = match frame {
            Frame::Data(chunk) => chunk,
            Frame::Ping { length } => {
                self.taken += HEADER;
                self.rest = Some(Place::ping(length as usize));
                return Ok(Step::Ping);
            }
        };
        let verdict = inbound::judge(requests, &chunk)?;
        if verdict == Verdict::Wait {
            // Such a stream is not read. TCP's flow control then stops the sender on this subflow, and
            // the other subflows go on.
            self.parked = true;
            return Ok(Step::Parked);
        }
        self.parked = false;
        self.taken += HEADER;
        let place = Place::new(&chunk, verdict == Verdict::Useless);
        self.rest = Some(place);
        Ok(if place.useless { Step::Useless } else { Step::Begun(place) })
    }

    /// Uses payload that came behind its header.
    fn step_payload(&mut self, requests: &mut Requests<Inbound>) -> Step {
        self.revise(requests);
        let Some(place) = &mut self.rest else { return Step::Nothing };
        let from = self.taken..self.taken + place.left.min(self.filled - self.taken);
        let to = (slot(place.message), place.offset + place.length - place.left);
        place.left -= from.len();
        self.taken = from.end;
        let (left, useless) = (place.left, place.useless);
        let ended = if left == 0 { self.end(requests) } else { None };
        match ended {
            _ if !useless && !from.is_empty() => Step::Copy { slot: to.0, offset: to.1, from, ended },
            Some(ended) => Step::Ended(ended),
            None => {
                self.compact();
                Step::Nothing
            }
        }
    }

    /// Another copy may have come whole since this one began.
    fn revise(&mut self, requests: &Requests<Inbound>) {
        if let Some(place) = &mut self.rest
            && !place.useless
        {
            place.useless = !inbound::is_wanted(requests, place.message, place.number);
        }
    }

    fn end(&mut self, requests: &mut Requests<Inbound>) -> Option<Ended> {
        let place = self.rest.take()?;
        self.finished += 1;
        let Place { length, urgent, probe, .. } = place;
        let landed = !place.useless && inbound::land(requests, place.message, place.number, length);
        Some(Ended { length, landed, urgent, probe })
    }

    /// Moves what has not been looked at to the front.
    fn compact(&mut self) {
        if self.taken > 0 {
            self.inbox.copy_within(self.taken..self.filled, 0);
            self.filled -= self.taken;
            self.taken = 0;
        }
    }
}

impl Place {
    fn new(chunk: &Chunk, useless: bool) -> Place {
        let length = chunk.length as usize;
        Place {
            message: chunk.message,
            number: chunk.number,
            // The chunk lies within a message that fits into memory.
            offset: usize::try_from(chunk.offset).unwrap_or(usize::MAX),
            length,
            left: length,
            urgent: chunk.urgent,
            useless,
            probe: false,
        }
    }

    /// A ping's payload, which belongs to no message.
    fn ping(length: usize) -> Place {
        Place {
            message: u64::MAX,
            number: 0,
            offset: 0,
            length,
            left: length,
            urgent: false,
            useless: true,
            probe: true,
        }
    }

    fn landing(&self) -> Landing {
        let offset = self.offset + self.length - self.left;
        Landing::Buffer { slot: slot(self.message), offset, length: self.left }
    }
}
