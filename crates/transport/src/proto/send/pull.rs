//! Which chunk a subflow gets when it asks.

use std::time::{Duration, Instant};

use super::Sender;
use super::flight::Flight;
use super::lane::{Lane, Origin};
use super::outbox::Part;

/// Messages below this are one chunk, and longer ones are not spread in smaller pieces: another system
/// call costs more than it gains.
const WHOLE: u64 = 64 << 10;

/// What the one usable subflow of the one busy connection may have on its way, in multiples of what it may beside others:
/// nobody else waits for it.
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

    /// The frame that the subflow may begin.
    pub(super) fn offer(&mut self, subflow: usize, now: Instant) -> Option<(Part, Origin)> {
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
        if self.question_due(subflow, now) {
            return Some((Part::ping(0), Origin::Question));
        }
        if self.budget.weight(subflow) == 0 && self.others(bit).any(|other| self.budget.weight(other) > 0) {
            return None;
        }
        let lane = self.lanes.get(subflow)?;
        let spent = if self.is_alone(bit) {
            lane.in_flight() >= lane.pace.limit() * ALONE
        } else {
            lane.in_flight() >= lane.pace.limit() || self.is_spent()
        };
        if spent || !self.budget.has_tokens(subflow, now) {
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

    /// Says whether no other subflow of this process than `subflow`, a bit, has anything to carry.
    fn is_alone(&self, subflow: u8) -> bool {
        self.allowance.is_whole() && (self.good | subflow).is_power_of_two()
    }

    /// Says whether the good subflows together have on their way what this connection may.
    fn is_spent(&self) -> bool {
        let lanes = || self.others(0).filter_map(|subflow| self.lanes.get(subflow));
        let carried: u64 = lanes().map(|lane| lane.pace.carries()).sum();
        lanes().map(Lane::on_its_way).sum::<u64>() >= carried.max(self.allowance.share())
    }

    /// Subflows, a bit each, whose kernel is to be asked how much it holds: what has arrived and was not told of yet may be all
    /// that keeps more from being sent.
    ///
    /// A receiver tells of little late, to send few packets: too late for a link that is faster than this connection's share.
    pub(crate) fn doubtful(&mut self, now: Instant) -> u8 {
        let waits = self.outbox.has_next() || !self.backlog.is_empty();
        let spent = waits && !self.is_alone(0) && self.is_spent();
        if spent && self.allowance.ask(now) { self.good } else { 0 }
    }

    /// The subflow's kernel holds so many bytes that the peer's has not acknowledged.
    pub(crate) fn holds(&mut self, subflow: usize, count: u64) {
        if let Some(lane) = self.lanes.get_mut(subflow) {
            lane.stream.left = lane.stream.left.max(lane.stream.pushed.saturating_sub(count));
        }
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
        self.outbox.peek(chunk.min((self.outbox.open(self.in_flight()) / usable).max(WHOLE)))
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
