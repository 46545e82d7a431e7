//! Which chunk a subflow gets when it asks.

use std::time::{Duration, Instant};

use super::Sender;
use super::flight::Flight;
use super::lane::{Current, Lane, Origin, Ping};
use super::outbox::{Part, Source};
use super::piece::{Payload, Piece};
use crate::proto::frame::{Frame, HEADER};
use crate::request::slot;

/// Messages below this are one chunk, and longer ones are not spread in smaller pieces: another system
/// call costs more than it gains.
const WHOLE: u64 = 64 << 10;

/// What one usable subflow may have on its way, in multiples of what it may beside others: nobody else
/// waits for it.
const ALONE: u64 = 8;

/// A chunk waits for a subflow that would have it delivered sooner by half and by this much.
const WORTH: Duration = Duration::from_micros(50);

/// How often one chunk is hedged.
const HEDGES: u8 = 2;

/// A chunk is hedged when it takes this multiple of what it should, and this long at least.
const HEDGE_FACTOR: u32 = 3;
const HEDGE_AFTER: Duration = Duration::from_millis(4);

impl Sender {
    /// The subflow to offer the next chunk to first.
    pub(crate) fn first(&self) -> usize {
        self.favourite
    }

    /// What the subflow is to write next; none: nothing for it now, whether or not it has room.
    ///
    /// A chunk may be held back for a subflow that is better or has nothing to do. So offer all that
    /// have room, [`Sender::first`] before the others, and go around until none takes anything.
    /// Followed by [`Sender::pushed`] before anything else.
    pub(crate) fn next(&mut self, subflow: usize, now: Instant) -> Option<Piece<'_>> {
        let lane = self.lanes.get(subflow)?;
        if lane.current.as_ref().is_none_or(|current| current.sent == 0) {
            let offer = self.offer(subflow, now);
            let header = offer.as_ref().map(|(part, _)| self.header(part));
            let lane = self.lanes.get_mut(subflow)?;
            lane.current = None;
            let ((part, origin), header) = (offer?, header?);
            lane.current = Some(Current { part, header, sent: 0, origin });
        }
        let current = self.lanes.get(subflow)?.current.as_ref()?;
        let part = &current.part;
        let header = current.header.get(current.sent..).unwrap_or_default();
        let sent = current.sent.saturating_sub(HEADER);
        let length = part.length as usize;
        let start = usize::try_from(part.offset).ok()?;
        let range = start + sent..start + length;
        let payload = match part.source {
            // What was offered only now is needed, and what was written in part keeps its memory until
            // the receiver has the message.
            _ if self.outbox.is_delivered(part) => Payload::Filler(length - sent),
            Source::Ping => Payload::Filler(length - sent),
            Source::Request => Payload::Buffer { slot: slot(part.message), range },
            Source::Eager(slot) => Payload::Eager { slot: usize::from(slot), range },
        };
        Some(Piece { header, payload })
    }

    /// `count` bytes were written of what [`Sender::next`] gave; 0: the socket has no room.
    pub(crate) fn pushed(&mut self, subflow: usize, count: usize, now: Instant) {
        let Some(lane) = self.lanes.get_mut(subflow) else { return };
        lane.blocked = count == 0;
        let Some(current) = lane.current.as_mut().filter(|_| count > 0) else { return };
        let before = current.sent;
        current.sent += count;
        lane.stream.pushed += count as u64;
        let payload = (current.sent.max(HEADER) - before.max(HEADER)) as u64;
        let (part, ended) = (current.part, current.sent == current.len());
        lane.blocked = !ended;
        lane.counters.bytes += if part.source == Source::Ping { 0 } else { payload };
        let origin = current.origin;
        if ended {
            lane.current = None;
        }
        if before == 0 {
            self.begin(subflow, part, origin, now);
        }
        match (before == 0, ended) {
            (true, false) => self.outbox.writing(&part),
            (false, true) => self.outbox.written(&part),
            _ => {}
        }
        if ended {
            self.outbox.sent(&part);
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
        if part.source == Source::Ping {
            lane.trouble.ping = Some(Ping { sent: now, end: lane.stream.begun });
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

    fn header(&self, part: &Part) -> [u8; HEADER] {
        match part.source {
            Source::Ping => Frame::Ping { length: part.length }.encode(),
            _ => Frame::Data(self.outbox.chunk(part)).encode(),
        }
    }

    /// The frame that the subflow may begin.
    fn offer(&mut self, subflow: usize, now: Instant) -> Option<(Part, Origin)> {
        let lane = self.lanes.get(subflow)?;
        if !lane.connected || lane.flights.is_full() {
            return None;
        }
        if lane.ping_due(now) {
            return Some((lane.ping(), Origin::Ping));
        }
        let bit = 1 << subflow;
        if self.good & bit == 0 && self.last != Some(subflow) {
            return None;
        }
        if self.budget.weight(subflow) == 0 && self.others(bit).any(|other| self.budget.weight(other) > 0) {
            return None;
        }
        let alone = if self.others(bit).next().is_none() { ALONE } else { 1 };
        if lane.in_flight() >= lane.pace.limit() * alone || !self.budget.has_tokens(subflow, now) {
            return None;
        }
        if !self.backlog.is_empty() {
            return self.again(subflow);
        }
        if self.outbox.has_next() {
            return self.fresh(subflow, now).map(|part| (part, Origin::New));
        }
        let lane = self.lanes.get_mut(subflow)?;
        lane.pace.starved(lane.in_flight());
        let idle = lane.flights.len() == 0 && self.good & bit != 0;
        if idle { self.hedge(subflow, now) } else { None }
    }

    /// A chunk that another subflow may not deliver. New ones wait: the oldest are waited for.
    fn again(&mut self, subflow: usize) -> Option<(Part, Origin)> {
        let outbox = &self.outbox;
        self.backlog.retain(|again| outbox.is_needed(&again.part));
        let incarnation = self.lanes.get(subflow)?.incarnation;
        // What this very stream was given before comes by it or not at all.
        let again =
            self.backlog.find(|again| (again.subflow, again.incarnation) != (subflow, incarnation))?;
        Some((again.part, Origin::Again))
    }

    /// The next new chunk, if it is for this subflow.
    fn fresh(&mut self, subflow: usize, now: Instant) -> Option<Part> {
        let lane = self.lanes.get(subflow)?;
        let bit = 1 << subflow;
        let cap = self.budget.cap(subflow);
        let mut chunk = lane.pace.chunk();
        if cap != 0 {
            chunk = chunk.min((cap / 200).max(16 << 10));
        }
        if self.budget.is_weighted() && self.budget.weight(subflow) > 0 {
            let waits = |other: usize| {
                let lane = self.lanes.get(other);
                self.budget.weight(other) > 0
                    && self.budget.cap(other) == 0
                    && !lane.is_some_and(|lane| lane.pace.is_broken())
                    && self.budget.is_ahead(subflow, other, 2 * chunk)
            };
            if self.others(bit).any(waits) {
                return None;
            }
        }
        let offered = self.outbox.peek(u64::MAX / 2)?;
        let whole = offered.offset == 0 && u64::from(offered.length) < WHOLE;
        if whole {
            let elsewhere = self.favourite != subflow
                && !self.budget.is_weighted()
                && self.good & (1 << self.favourite) != 0
                && self.would_take(self.favourite, now);
            return (!elsewhere).then_some(offered);
        }
        let mine = self.lanes.get(subflow)?.expect();
        let better = |other: usize| {
            let lane = self.lanes.get(other);
            lane.is_some_and(|lane| lane.has_room() && lane.expect().saturating_mul(3) / 2 + WORTH < mine)
        };
        // Weights say themselves whose turn it is, and caps when. What isn't used isn't measured: one bad look at a
        // path would count for ever while others have room.
        let forgotten = self.lanes.get(subflow)?.is_forgotten(now);
        let free = !self.budget.is_weighted() && self.budget.cap(subflow) == 0 && !forgotten;
        if free && self.others(bit).any(|other| self.budget.cap(other) == 0 && better(other)) {
            return None;
        }
        let usable = u64::from(self.good.count_ones().max(1));
        // A message goes faster in parts, one for each subflow, unless the others are busy with those before it.
        let in_flight: u64 = self.lanes.iter().take(self.paths).map(Lane::payload_in_flight).sum();
        self.outbox.peek(chunk.min((self.outbox.open(in_flight) / usable).max(WHOLE)))
    }

    /// Says whether a good subflow with nothing to do would take a chunk if it were asked.
    fn would_take(&mut self, subflow: usize, now: Instant) -> bool {
        self.lanes.get(subflow).is_some_and(Lane::is_free)
            && (self.budget.weight(subflow) > 0 || !self.budget.is_weighted())
            && self.budget.has_tokens(subflow, now)
    }

    /// The oldest chunk of a subflow that is much slower with it than it should be.
    fn hedge(&self, subflow: usize, now: Instant) -> Option<(Part, Origin)> {
        let open = |flight: &Flight| {
            flight.charged && flight.part.message < self.posted && self.outbox.is_needed(&flight.part)
        };
        let late = |(index, lane): (usize, &Lane)| {
            let mut insecure = lane.flights.oldest_insecure()..lane.flights.len();
            let at = insecure.find(|at| lane.flights.get(*at).is_some_and(open))?;
            let flight = lane.flights.get(at).filter(|_| index != subflow)?;
            let waited = now.saturating_duration_since(flight.begun);
            let may = flight.hedges < HEDGES && waited > (flight.expected * HEDGE_FACTOR).max(HEDGE_AFTER);
            may.then_some((
                waited,
                flight.part,
                Origin::Hedge { lane: index, index: at, hedges: flight.hedges },
            ))
        };
        let lanes = self.lanes.iter().enumerate().take(self.paths);
        let (_, part, origin) = lanes.filter_map(late).max_by_key(|(waited, ..)| *waited)?;
        Some((part, origin))
    }

    /// The good subflows but those of `without`.
    pub(super) fn others(&self, without: u8) -> impl Iterator<Item = usize> + use<> {
        let good = self.good & !without;
        (0..self.paths).filter(move |subflow| good & (1 << subflow) != 0)
    }
}
