//! Asking the receiver what it has, when nothing else will make it say so.
//!
//! A message whose memory was lent is complete on the receiver's word alone, and that goes out once. If its path dies then,
//! nothing is left to be sent that would fail and show it: so a question goes over another path. It is a ping, which the
//! receiver answers with all that it has.

use std::time::{Duration, Instant};

use super::Sender;
use super::action::Health;
use super::lane::Lane;

/// How long the word of a receiver may take. Its kernel has the message, so it is a matter of when the receiver looks.
const WAIT: Duration = Duration::from_millis(20);

/// Longest wait between two questions about one message, of which the receiver has answered the first.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What is asked about.
#[derive(Debug)]
pub(super) struct Confirming {
    message: u64,
    due: Instant,
    wait: Duration,
    /// The subflow that was asked over last.
    last: Option<usize>,
}

impl Confirming {
    pub(super) fn new(now: Instant) -> Confirming {
        Confirming { message: u64::MAX, due: now, wait: WAIT, last: None }
    }

    /// A question is on its way over the subflow.
    pub(super) fn asked(&mut self, subflow: usize, now: Instant) {
        self.last = Some(subflow);
        self.due = now + self.wait;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }
}

impl Sender {
    /// Says whether a question is to go out over a subflow that may be used.
    ///
    /// One at a time over each: a receiver that has nothing posted yet reads none of them, for as long as it likes.
    pub(super) fn question_due(&mut self, subflow: usize, now: Instant) -> bool {
        let Some(message) = self.outbox.unconfirmed() else { return false };
        if self.confirming.message != message {
            self.confirming = Confirming { message, due: now + WAIT, ..Confirming::new(now) };
        }
        let Some(lane) = self.lanes.get(subflow) else { return false };
        let idle = |lane: &Lane| lane.flights.len() == 0;
        let mut others = self.others(1 << subflow).filter_map(|other| self.lanes.get(other));
        // Where something else is unanswered too, the word may have been lost.
        let better = match self.confirming.last {
            None => !idle(lane) && others.any(idle),
            Some(last) => last == subflow && others.next().is_some(),
        };
        now >= self.confirming.due
            && !better
            && lane.health != Health::Trial
            && lane.stream.asked <= lane.stream.finished
    }
}
