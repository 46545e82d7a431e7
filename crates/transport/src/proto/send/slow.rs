//! What a sender says about a message that takes long: since when, and what it waits for.

use std::time::Instant;

use super::Sender;
use super::action::{Action, Stuck};
use super::flight::Flight;
use super::lane::Lane;
use crate::proto::slow::SLOW;

impl Sender {
    /// The warning that is due, if a message is slow.
    pub(super) fn slow(&mut self, now: Instant) -> Option<Action> {
        let (message, posted) = self.outbox.oldest()?;
        let waited = now.saturating_duration_since(posted);
        if waited < SLOW || !self.warnings.is_due(now) {
            return None;
        }
        Some(Action::Slow { message, waited, stuck: self.stuck(message, now) })
    }

    /// When [`Sender::slow`] is to be asked next.
    pub(super) fn slow_at(&self, now: Instant) -> Option<Instant> {
        let (_, posted) = self.outbox.oldest()?;
        let slow = posted + SLOW;
        Some(if slow > now { slow } else { self.warnings.next_look(now) })
    }

    /// What a message waits for.
    fn stuck(&self, message: u64, now: Instant) -> Stuck {
        // What was issued again elsewhere is that one's to deliver, and of what the peer's kernel has the path is not
        // to blame, nor where TCP has nothing to wait for: there the receiver has no room.
        let needed = |flight: &Flight| {
            flight.charged && flight.part.message == message && self.outbox.is_needed(&flight.part)
        };
        let oldest = |(subflow, lane): (usize, &Lane)| {
            let mut insecure = lane.flights.oldest_insecure()..lane.flights.len();
            let flight = insecure.find_map(|at| lane.flights.get(at).filter(|flight| needed(flight)))?;
            (!lane.drained).then_some((flight.begun, subflow))
        };
        let lanes = self.lanes.iter().enumerate().take(self.paths);
        if let Some((begun, subflow)) = lanes.filter_map(oldest).min() {
            return Stuck::OnWay { subflow, since: now.saturating_duration_since(begun) };
        }
        let lost =
            self.backlog.find(|again| again.part.message == message && self.outbox.is_needed(&again.part));
        if let Some(again) = lost {
            return Stuck::Lost { subflow: again.subflow };
        }
        let heard = now.saturating_duration_since(self.heard_at);
        match self.good == 0 && self.last.is_none() {
            true => Stuck::NoPath,
            false if message >= self.posted => Stuck::NoReceive { heard },
            false => Stuck::NotTaken { heard },
        }
    }
}
