//! The receiving side: where bytes land, and what the sender is told.

mod due;
mod inbound;
mod slow;
mod stream;

use std::time::Instant;

use super::state::State;
use super::violation::Violation;
use super::{CLOSING, Closing, MAX_STREAMS};
use crate::config::MAX_PATHS;
use crate::request::{RequestId, Requests, UnknownRequest};
use due::Due;
use inbound::Inbound;
pub(crate) use slow::Late;
use slow::Lateness;
use stream::{Ended, Place, Step, Stream};

/// The receiving side of a connection.
///
/// The n-th receive that is posted takes the n-th message. Chunks may come in any order, over any
/// stream, and more than once. No byte of a late copy is written once its chunk has landed or its
/// message is complete.
#[derive(Debug)]
pub(crate) struct Receiver {
    paths: usize,
    requests: Requests<Inbound>,
    streams: [Stream; MAX_STREAMS],
    due: Due,
    port: u16,
    goodbye: bool,
    counters: [ReceiveCounters; MAX_PATHS],
    /// The last time that a stream was reset, for [`Receiver::peer_gone`], and that one ended in order.
    reset: Option<Instant>,
    ended: Option<Instant>,
    /// The complete messages that a state frame has told of, and whether a sender waits for more.
    told: u64,
    urgent: bool,
    late: Lateness,
}

/// Where a stream's next bytes go.
#[derive(Debug)]
pub(crate) struct Want<'a> {
    /// Comes first; none between chunks.
    pub(crate) landing: Option<Landing>,
    /// What follows the landing: the next header and what comes behind it. Empty with a discard.
    pub(crate) inbox: &'a mut [u8],
}

/// The rest of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    /// A range of the buffer that was posted for a message.
    Buffer {
        /// Place of the buffer among the outstanding requests.
        slot: usize,
        /// Bytes of the buffer before it.
        offset: usize,
        /// Its length, at least 1.
        length: usize,
    },
    /// This many bytes are of no use any more and are written nowhere.
    Discard(usize),
}

/// Payload that was read with its header, to be copied to its place before anything else is called.
#[derive(Debug)]
pub(crate) struct Inline<'a> {
    /// Place of the buffer among the outstanding requests.
    pub(crate) slot: usize,
    /// Bytes of the buffer before it.
    pub(crate) offset: usize,
    /// What to copy there; not empty.
    pub(crate) bytes: &'a [u8],
}

/// Why a chunk is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its message doesn't fit into what was posted for it.
    TooLong { message: u64, sent: u64, posted: usize },
    /// The peer broke the protocol.
    Violation(Violation),
}

/// What a subflow has brought, over all its incarnations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceiveCounters {
    /// Payload bytes that landed.
    pub(crate) bytes: u64,
    /// Chunks that landed.
    pub(crate) chunks: u64,
    /// Chunks that had landed before by another way.
    pub(crate) duplicates: u64,
    /// Sockets that have replaced the first.
    pub(crate) replaced: u64,
}

impl Receiver {
    /// A receiver over `paths` subflows, 1 to [`MAX_PATHS`].
    pub(crate) fn new(paths: usize, now: Instant) -> Receiver {
        Receiver {
            paths: paths.clamp(1, MAX_PATHS),
            requests: Requests::new(),
            streams: std::array::from_fn(|index| Stream::new(index < paths)),
            due: Due::new(paths, now),
            port: 0,
            goodbye: false,
            counters: [ReceiveCounters::default(); MAX_PATHS],
            reset: None,
            ended: None,
            told: 0,
            urgent: false,
            late: Lateness::new(now),
        }
    }

    /// Adds a receive of up to `capacity` bytes, unless too many are outstanding.
    pub(crate) fn post(&mut self, capacity: usize) -> Option<RequestId> {
        self.requests.post(Inbound::new(capacity))
    }

    /// Says whether the request's message is complete with all before it.
    pub(crate) fn is_complete(&self, request: RequestId) -> bool {
        request.message() < self.requests.complete()
    }

    /// The length of the message if it is complete; its request then ends.
    pub(crate) fn retire(&mut self, request: RequestId) -> Result<Option<usize>, UnknownRequest> {
        self.requests.retire(request)
    }

    /// Says whether a receive is posted and not complete.
    pub(crate) fn is_waiting(&self) -> bool {
        self.requests.is_waiting()
    }

    /// Bytes that are still to come of the chunk that lacks most, among those whose message waits for them.
    pub(crate) fn underway(&self) -> usize {
        let lacking = self.streams.iter().map(|stream| stream.lacks(self.requests.complete()));
        lacking.max().unwrap_or(0)
    }

    /// Where the stream's next bytes go; none if it has ended or waits for a receive to be posted.
    ///
    /// Only right after [`Receiver::step`] gave none for this stream, and good for one read: what
    /// another stream brings may turn a landing into a discard.
    pub(crate) fn wants(&mut self, stream: usize) -> Option<Want<'_>> {
        let stream = self.streams.get_mut(stream)?;
        stream.wants(&self.requests)
    }

    /// `count` bytes came on the stream, and went where [`Receiver::wants`] said.
    pub(crate) fn came(&mut self, stream: usize, count: usize) {
        let subflow = stream % MAX_PATHS;
        let Some(stream) = self.streams.get_mut(stream) else { return };
        if let Some(ended) = stream.came(count, &mut self.requests) {
            self.finish(subflow, ended);
        }
    }

    /// Takes one step in what has come: payload behind a header that is to be copied, or none.
    ///
    /// Call it until it gives none. The payload counts as landed when this returns, so it is copied
    /// before any other call.
    ///
    /// # Errors
    ///
    /// What the stream claims can't be true, or doesn't fit. Nothing was written for it; the
    /// connection has failed.
    pub(crate) fn step(&mut self, stream: usize) -> Result<Option<Inline<'_>>, Refused> {
        let index = stream;
        let subflow = index % MAX_PATHS;
        loop {
            let Some(stream) = self.streams.get_mut(index) else { return Ok(None) };
            match stream.step(&mut self.requests)? {
                Step::Nothing => return Ok(None),
                Step::Parked => {
                    self.due.news(subflow, 0);
                    return Ok(None);
                }
                Step::Begun(landing) => self.check(index, landing)?,
                Step::Ping => {}
                Step::Useless => {
                    // The sender may still be able to stop.
                    self.due.at_once(subflow);
                    if let Some(counters) = self.counters.get_mut(subflow) {
                        counters.duplicates += 1;
                    }
                }
                Step::Ended(ended) => self.finish(subflow, ended),
                Step::Copy { slot, offset, from, ended } => {
                    if let Some(ended) = ended {
                        self.finish(subflow, ended);
                    }
                    let bytes = self.streams.get(index).map(|stream| stream.read(from));
                    return Ok(Some(Inline { slot, offset, bytes: bytes.unwrap_or_default() }));
                }
            }
        }
    }

    /// Says whether the sender is to be told something over this subflow now.
    pub(crate) fn ack_due(&self, subflow: usize, now: Instant) -> bool {
        self.due.is_due(subflow, now)
    }

    /// The bytes to write on the subflow: the rest of the state frame that was begun, else a new one.
    pub(crate) fn ack(&mut self, subflow: usize) -> &[u8] {
        let state = || State {
            port: self.port,
            goodbye: self.goodbye,
            complete: self.requests.complete(),
            posted: self.requests.posted(),
            subflows: std::array::from_fn(|index| self.streams.get(index).map_or((0, 0), Stream::finished)),
        };
        self.due.frame(subflow, state)
    }

    /// `count` bytes of what [`Receiver::ack`] just gave were written.
    pub(crate) fn acked(&mut self, subflow: usize, count: usize, now: Instant) {
        if self.due.written(subflow, count, now) {
            self.told = self.requests.complete();
            self.urgent = false;
        }
    }

    /// A new socket has come for a subflow; its bytes are read as stream `subflow` from now on.
    ///
    /// The stream before it goes on as `subflow + MAX_PATHS`: the peer counts on what our kernel has
    /// acknowledged there. Read it until it would block with nothing parked, then tell
    /// [`Receiver::closed`]. False: not newer than the one there is, or the one replaced before is
    /// still being read; the new socket is dropped, the sender tries again.
    pub(crate) fn replace(&mut self, subflow: usize, incarnation: u16) -> bool {
        let newer = |stream: &Stream| incarnation.wrapping_sub(stream.finished().0).cast_signed() > 0;
        let Some([current, old]) = pair(&mut self.streams, subflow) else { return false };
        if subflow >= self.paths || !newer(current) || old.is_open() {
            return false;
        }
        *old = current.replace(incarnation);
        self.due.replaced(subflow);
        if let Some(counters) = self.counters.get_mut(subflow) {
            counters.replaced += 1;
        }
        true
    }

    /// The incarnation whose bytes are read as stream `subflow`.
    pub(crate) fn incarnation(&self, subflow: usize) -> u16 {
        self.streams.get(subflow).map_or(0, |stream| stream.finished().0)
    }

    /// A stream has come to its end: nothing more is read from it.
    pub(crate) fn closed(&mut self, stream: usize, how: Closing, now: Instant) {
        if stream < MAX_PATHS {
            self.due.closed(stream);
            if how == Closing::End {
                self.ended = Some(now);
                // Something to be acknowledged, for whoever has to know whether the others lead to anybody.
                for other in 0..self.paths {
                    self.due.at_once(other);
                }
            } else {
                self.reset = Some(now);
            }
        }
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.close();
        }
    }

    /// Says whether no stream will bring anything more, although a receive may wait.
    ///
    /// At once if the sender has ended them all; a sender that resets one may be about to replace it,
    /// so after a reset only when nothing has come for [`CLOSING`].
    pub(crate) fn peer_gone(&self, now: Instant) -> bool {
        self.streams.iter().all(|stream| !stream.is_open())
            && self.reset.is_none_or(|reset| now.saturating_duration_since(reset) >= CLOSING)
    }

    /// Says whether the sender has ended a stream in order so long ago that it has ended all that it could.
    ///
    /// It does so only when it closes: a stream that it replaces it resets. What is still open then is dead, or was
    /// opened since.
    pub(crate) fn is_closing(&self, now: Instant) -> bool {
        self.ended.is_some_and(|ended| now.saturating_duration_since(ended) >= CLOSING)
    }

    /// The port on which replacement sockets are taken; the sender is told over every subflow.
    pub(crate) fn set_port(&mut self, port: u16) {
        self.port = port;
        for subflow in 0..self.paths {
            self.due.at_once(subflow);
        }
    }

    /// From now on state frames say that the receiver closes on purpose; one is due on every subflow.
    pub(crate) fn say_goodbye(&mut self) {
        self.goodbye = true;
        for subflow in 0..self.paths {
            self.due.at_once(subflow);
        }
    }

    /// When [`Receiver::ack_due`] or [`Receiver::peer_gone`] will say yes at the latest, as far as is
    /// known now.
    #[cfg(test)]
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let gone = self.reset.map(|reset| reset + CLOSING);
        [self.due.timer(), gone].into_iter().flatten().min()
    }

    /// What the subflow has brought.
    pub(crate) fn counters(&self, subflow: usize) -> ReceiveCounters {
        self.counters.get(subflow).copied().unwrap_or_default()
    }

    /// A frame has come to its end.
    fn finish(&mut self, subflow: usize, ended: Ended) {
        if ended.landed
            && let Some(counters) = self.counters.get_mut(subflow)
        {
            counters.bytes += ended.length as u64;
            counters.chunks += 1;
        }
        if ended.urgent {
            self.urgent = true;
        }
        let complete = self.requests.complete();
        if ended.probe || (self.urgent && complete > self.told) {
            self.due.at_once(subflow);
        } else {
            self.due.news(subflow, ended.length);
        }
    }

    /// Compares a chunk that begins with those that other streams are in the middle of.
    fn check(&self, index: usize, begun: Place) -> Result<(), Refused> {
        for (other, stream) in self.streams.iter().enumerate() {
            if other != index
                && let Some(place) = stream.place()
                && (place.message, place.number) == (begun.message, begun.number)
                && place.offset != begun.offset
            {
                return Err(Refused::Violation(Violation::Place {
                    message: begun.message,
                    number: begun.number,
                    now: begun.offset as u64,
                    before: place.offset as u64,
                }));
            }
        }
        Ok(())
    }
}

/// A subflow's stream and the one that it replaced.
fn pair(streams: &mut [Stream; MAX_STREAMS], subflow: usize) -> Option<[&mut Stream; 2]> {
    streams.get_disjoint_mut([subflow, subflow + MAX_PATHS]).ok()
}
