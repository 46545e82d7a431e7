//! What a subflow writes in one call, and what becomes of it.

use std::time::Instant;

use super::Sender;
use super::flight::Flight;
use super::lane::{FRAMES, Origin, Outgoing, Ping};
use super::outbox::{Part, Source};
use super::piece::{Given, Payload, Piece};
use crate::proto::frame::{Frame, HEADER};
use crate::request::slot;

/// Messages up to this length go out together with those that follow them, up to so many bytes in one write.
///
/// Four messages of 64 KiB in one system call are moved 1.3 times as fast over a veth as in one each; from 256 KiB on
/// a message gains nothing.
pub(super) const SHORT: u64 = 128 << 10;
const TOGETHER: u64 = 256 << 10;

/// With so much on its way nobody waits for a message that waits for others.
pub(super) const BUSY: u64 = 128 << 10;

impl Sender {
    /// Makes up what the subflow is to write next; false: nothing for it now, whether or not it has room.
    ///
    /// A chunk may be held back for a subflow that is better or has nothing to do. So offer all that
    /// have room, [`Sender::first`] before the others, and go around until none takes anything.
    /// Followed by [`Sender::pushed`] before anything else.
    pub(crate) fn prepare(&mut self, subflow: usize, now: Instant) -> bool {
        let Some(lane) = self.lanes.get_mut(subflow) else { return false };
        if lane.writing.front().is_none_or(|frame| !frame.begun) {
            // What was only offered may be for another one by now.
            lane.writing.clear();
            let Some((part, origin)) = self.offer(subflow, now) else { return false };
            self.line_up(subflow, part, origin);
        }
        self.gather(subflow, now);
        true
    }

    /// What [`Sender::prepare`] made up, in order; at least one and at most [`FRAMES`].
    pub(crate) fn pieces(&self, subflow: usize) -> impl Iterator<Item = Piece<'_>> {
        let writing = self.lanes.get(subflow).map(|lane| lane.writing.iter());
        writing.into_iter().flatten().map(|frame| self.piece(frame))
    }

    fn piece<'a>(&self, frame: &'a Outgoing) -> Piece<'a> {
        let part = &frame.part;
        let header = frame.header.get(frame.sent..).unwrap_or_default();
        let sent = frame.sent.saturating_sub(HEADER);
        let length = part.length as usize;
        // Offsets lie within a buffer of the caller's.
        let start = usize::try_from(part.offset).unwrap_or(usize::MAX - length);
        let range = start + sent..start + length;
        let payload = match part.source {
            // What was offered only now is needed, and what was written in part keeps its memory until
            // the receiver has the message.
            _ if self.outbox.is_delivered(part) => Payload::Filler(length - sent),
            Source::Ping => Payload::Filler(length - sent),
            Source::Request => Payload::Buffer { slot: slot(part.message), range },
            Source::Eager(slot) => Payload::Eager { slot: usize::from(slot), range },
        };
        Piece { header, payload }
    }

    /// `count` bytes were written of what [`Sender::pieces`] gave; 0: the socket has no room. Only payload of buffers is lent.
    pub(crate) fn pushed(&mut self, subflow: usize, count: usize, given: Given, now: Instant) {
        let mut rest = count;
        while rest > 0 {
            let writing = self.lanes.get(subflow).and_then(|lane| lane.writing.front());
            let Some(&Outgoing { part, origin, begun, .. }) = writing else { break };
            if !begun {
                self.begin(subflow, part, origin, now);
            }
            let Some(lane) = self.lanes.get_mut(subflow) else { return };
            let Some(frame) = lane.writing.front_mut() else { return };
            let before = frame.sent;
            let bytes = rest.min(frame.len() - before);
            rest -= bytes;
            frame.begun = true;
            frame.sent += bytes;
            lane.stream.pushed += bytes as u64;
            let payload = (frame.sent.max(HEADER) - before.max(HEADER)) as u64;
            lane.counters.bytes += if part.source == Source::Ping { 0 } else { payload };
            if given == Given::Lent && payload > 0 {
                self.outbox.lent(&part);
            }
            let (ended, held) = (frame.sent == frame.len(), frame.held);
            frame.held = !ended;
            if ended {
                lane.writing.pop_front();
            }
            match (held, ended) {
                (false, false) => self.outbox.writing(&part),
                (true, true) => self.outbox.written(&part),
                _ => {}
            }
            if ended {
                self.outbox.sent(&part);
            }
        }
        if let Some(lane) = self.lanes.get_mut(subflow) {
            lane.blocked = count == 0 || !lane.writing.is_empty();
        }
    }

    /// Adds messages that follow the last frame, if all are short.
    ///
    /// They are this subflow's from now on, as the rest of a long chunk would be.
    fn gather(&mut self, subflow: usize, now: Instant) {
        // A path under suspicion brings to an end what it has begun, and gets nothing new.
        if self.good & (1 << subflow) == 0 && self.last != Some(subflow) {
            return;
        }
        // Weights, caps and what has to be sent again are a matter of each chunk.
        if !self.backlog.is_empty() || self.budget.is_weighted() || self.budget.cap(subflow) != 0 {
            return;
        }
        while let Some(lane) = self.lanes.get(subflow)
            && lane.writing.len() < FRAMES
            && lane.flights.room() >= 2
            && let Some(last) = lane.writing.back().copied()
            && matches!(last.origin, Origin::New)
            && let Some(part) = self.outbox.behind(&last.part, SHORT)
        {
            let bytes: u64 = lane.writing.iter().map(|frame| u64::from(frame.part.length)).sum();
            let together = TOGETHER.min(lane.pace.chunk() / 4);
            let ahead = lane.in_flight() + if last.begun { 0 } else { bytes };
            if u64::from(last.part.length) > SHORT
                || bytes + u64::from(part.length) > together
                || ahead >= lane.pace.limit()
            {
                return;
            }
            if !last.begun {
                self.hold(subflow, last.part, now);
            }
            self.line_up(subflow, part, Origin::New);
            self.hold(subflow, part, now);
        }
    }

    fn line_up(&mut self, subflow: usize, part: Part, origin: Origin) {
        let header = match part.source {
            Source::Ping => Frame::Ping { length: part.length }.encode(),
            _ => Frame::Data(self.outbox.chunk(&part)).encode(),
        };
        if let Some(lane) = self.lanes.get_mut(subflow) {
            lane.writing.push_back(Outgoing { part, header, sent: 0, origin, begun: false, held: false });
        }
    }

    /// Begins the last frame in line before any of it is written: its memory is needed from now on.
    fn hold(&mut self, subflow: usize, part: Part, now: Instant) {
        self.begin(subflow, part, Origin::New, now);
        self.outbox.writing(&part);
        let lane = self.lanes.get_mut(subflow);
        if let Some(frame) = lane.and_then(|lane| lane.writing.back_mut()) {
            (frame.begun, frame.held) = (true, true);
        }
    }

    /// A subflow has begun to send a part.
    fn begin(&mut self, subflow: usize, part: Part, origin: Origin, now: Instant) {
        let length = part.length.into();
        let mut hedged = 0;
        match origin {
            Origin::New => self.outbox.take(&part),
            Origin::Again => self.backlog.remove(&part),
            Origin::Hedge { lane, index, hedges } => {
                hedged = hedges + 1;
                let lane = self.lanes.get_mut(lane);
                if let Some(flight) = lane.and_then(|lane| lane.flights.get_mut(index)) {
                    flight.charged = false;
                }
            }
            Origin::Ping => {}
            Origin::Question => self.confirming.asked(subflow, now),
        }
        self.budget.charge(subflow, length);
        let Some(lane) = self.lanes.get_mut(subflow) else { return };
        let idle = lane.flights.len() == 0;
        if idle && lane.drained {
            lane.drained = false;
            lane.progress = now;
        }
        lane.quiet = 0;
        let (delivered, delivered_at, limited) = lane.pace.begin(idle, now);
        let expected = lane.pace.expect(lane.in_flight() + length);
        lane.stream.begun += HEADER as u64 + length;
        let orderly = idle || part.source == Source::Ping || part.message >= lane.stream.newest;
        self.attention |= !orderly;
        if matches!(origin, Origin::Ping) {
            lane.trouble.ping = Some(Ping { sent: now, end: lane.stream.begun });
        } else if matches!(origin, Origin::Question) {
            lane.stream.asked = lane.stream.begun;
        } else {
            lane.stream.newest = if idle { part.message } else { lane.stream.newest.max(part.message) };
            lane.counters.chunks += 1;
            lane.counters.reissued += u64::from(matches!(origin, Origin::Again));
            lane.counters.hedged += u64::from(hedged > 0);
        }
        lane.flights.push(Flight {
            part,
            end: lane.stream.begun,
            begun: now,
            expected,
            charged: true,
            orderly,
            hedges: hedged,
            delivered,
            delivered_at,
            limited: limited || part.message >= self.posted,
        });
    }
}
