//! What a receiver says about a message that has begun to come and takes long.

use std::time::{Duration, Instant};

use super::Receiver;
use super::stream::Stream;
use crate::proto::slow::{SLOW, Warnings};
use crate::request::Transfer;

/// A message that is not complete long after it began to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Late {
    pub(crate) message: u64,
    /// Time since it began to come, or one after it did.
    pub(crate) waited: Duration,
    /// Bytes of it that are here.
    pub(crate) landed: usize,
    /// Its length; none if not even a header has come, but something of a later message.
    pub(crate) total: Option<usize>,
    /// Streams that are in the middle of a chunk of it, a bit each.
    pub(crate) streams: u32,
}

/// What a receiver remembers of the oldest message that it waits for.
#[derive(Debug)]
pub(super) struct Lateness {
    warnings: Warnings,
    looked: Instant,
    /// The message that has begun, and when that was seen first.
    begun: Option<(u64, Instant)>,
}

/// How often the receiver looks. Costs some hundred nanoseconds, and the time that is told is right to that much.
const LOOK: Duration = Duration::from_millis(100);

impl Lateness {
    pub(super) fn new(now: Instant) -> Lateness {
        Lateness { warnings: Warnings::new(now), looked: now, begun: None }
    }
}

impl Receiver {
    /// The warning that is due, if a message has begun to come and takes long.
    ///
    /// A receive whose message nobody has begun to send is not slow: the peer may have nothing to say.
    pub(crate) fn poll_late(&mut self, now: Instant) -> Option<Late> {
        let unseen = now.saturating_duration_since(self.late.looked);
        if unseen < LOOK {
            return None;
        }
        self.late.looked = now;
        let message = self.requests.complete();
        let Some(inbound) = self.requests.get(message).filter(|_| self.has_begun(message)) else {
            self.late.begun = None;
            return None;
        };
        let (landed, total) = (inbound.bytes(), inbound.total());
        // Time in which nobody called is the caller's.
        let since = match self.late.begun {
            Some((begun, since)) if begun == message && unseen < SLOW => since,
            _ => now,
        };
        self.late.begun = Some((message, since));
        let waited = now.saturating_duration_since(since);
        if waited < SLOW || !self.late.warnings.is_due(now) {
            return None;
        }
        let mut late = Late { message, waited, landed, total, streams: 0 };
        for (index, stream) in self.streams.iter().enumerate() {
            if let Some(landed) = stream.landed(message) {
                late.landed += landed;
                late.streams |= 1 << index;
            }
        }
        Some(late)
    }

    /// Says whether something of the message has come, or of a later one: then it was sent too.
    fn has_begun(&self, message: u64) -> bool {
        let mut posted = message..self.requests.posted();
        let came = posted.any(|later| self.requests.get(later).is_some_and(|it| it.total().is_some()));
        came || self.streams.iter().any(Stream::is_parked)
    }
}
