//! Requests of one comm: posted in order, complete in order, each reported done once.

/// Requests that can be outstanding on one comm.
///
/// NCCL's proxy keeps up to 8 per sub-operation and 16 with shared buffers, and its own Socket
/// transport has 32.
pub const MAX_REQUESTS: usize = 32;

/// Names a request of one comm: the number of its message on the connection, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// A place below [`MAX_REQUESTS`] that no other outstanding request of the comm has.
    #[must_use]
    pub fn slot(self) -> usize {
        slot(self.0)
    }

    /// Messages before this one on the connection; the same number on both sides.
    #[must_use]
    pub fn message(self) -> u64 {
        self.0
    }
}

/// A request was tested that is not outstanding: never posted here, or already reported done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "request {message} is not outstanding ({posted} have been posted): each is tested until it is done, not after"
)]
pub struct UnknownRequest {
    /// The request's message number.
    pub message: u64,
    /// How many requests were posted on this comm.
    pub posted: u64,
}

/// How far one message is.
pub(crate) trait Transfer: Copy {
    /// Says whether all bytes have moved.
    fn is_complete(&self) -> bool;
    /// The message's length, known once it is complete.
    fn bytes(&self) -> usize;
}

/// The outstanding requests of one comm, in a ring.
///
/// Requests become complete in the order of posting, although their bytes may finish in any order: a
/// caller that sees request 5 done may rely on 0 to 4.
#[derive(Debug)]
pub(crate) struct Requests<T> {
    ring: [Option<T>; MAX_REQUESTS],
    posted: u64,
    complete: u64,
}

impl<T: Transfer> Requests<T> {
    pub(crate) fn new() -> Requests<T> {
        Requests { ring: [None; MAX_REQUESTS], posted: 0, complete: 0 }
    }

    /// The number of the next message to be posted.
    pub(crate) fn posted(&self) -> u64 {
        self.posted
    }

    /// The number of the first message that is not complete.
    pub(crate) fn complete(&self) -> u64 {
        self.complete
    }

    /// Says whether a request is waiting to become complete.
    pub(crate) fn is_waiting(&self) -> bool {
        self.complete < self.posted
    }

    /// Adds a request, unless the ring's next place is still taken.
    pub(crate) fn post(&mut self, transfer: T) -> Option<RequestId> {
        let place = self.ring.get_mut(slot(self.posted))?;
        if place.is_some() {
            return None;
        }
        *place = Some(transfer);
        let request = RequestId(self.posted);
        self.posted += 1;
        Some(request)
    }

    /// A message that has been posted and is not complete with all before it.
    pub(crate) fn get(&self, message: u64) -> Option<&T> {
        self.ring.get(self.open(message)?)?.as_ref()
    }

    /// As [`Requests::get`]; call [`Requests::settle`] after a change.
    pub(crate) fn get_mut(&mut self, message: u64) -> Option<&mut T> {
        let slot = self.open(message)?;
        self.ring.get_mut(slot)?.as_mut()
    }

    /// Moves on over the messages that are complete.
    pub(crate) fn settle(&mut self) {
        while self.get(self.complete).is_some_and(Transfer::is_complete) {
            self.complete += 1;
        }
    }

    /// The length of a message that is complete, whose request then ends; none if it isn't yet.
    pub(crate) fn retire(&mut self, request: RequestId) -> Result<Option<usize>, UnknownRequest> {
        let RequestId(message) = request;
        let unknown = UnknownRequest { message, posted: self.posted };
        // A place is used again only after MAX_REQUESTS further posts, so a younger request with the
        // same place would give itself away by its distance.
        if message >= self.posted || self.posted - message > MAX_REQUESTS as u64 {
            return Err(unknown);
        }
        let place = self.ring.get_mut(slot(message)).ok_or(unknown)?;
        match *place {
            None => Err(unknown),
            Some(transfer) if message < self.complete => {
                *place = None;
                Ok(Some(transfer.bytes()))
            }
            Some(_) => Ok(None),
        }
    }

    fn open(&self, message: u64) -> Option<usize> {
        (self.complete..self.posted).contains(&message).then(|| slot(message))
    }
}

/// The place of a message among the outstanding requests.
#[expect(clippy::cast_possible_truncation, reason = "the remainder is below MAX_REQUESTS")]
pub(crate) fn slot(message: u64) -> usize {
    (message % MAX_REQUESTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    struct Fake(bool);

    impl Transfer for Fake {
        fn is_complete(&self) -> bool {
            self.0
        }
        fn bytes(&self) -> usize {
            9
        }
    }

    fn finish(requests: &mut Requests<Fake>, message: u64) {
        requests.get_mut(message).unwrap().0 = true;
        requests.settle();
    }

    #[test]
    fn requests_complete_in_order_and_end_once() {
        let mut requests = Requests::new();
        let a = requests.post(Fake(false)).unwrap();
        let b = requests.post(Fake(false)).unwrap();
        finish(&mut requests, 1);
        assert_eq!(requests.retire(b), Ok(None), "a is not complete");
        finish(&mut requests, 0);
        assert_eq!(requests.retire(b), Ok(Some(9)), "tested before a");
        assert_eq!(requests.retire(a), Ok(Some(9)));
        assert_eq!(requests.retire(a).unwrap_err(), UnknownRequest { message: 0, posted: 2 });
    }

    #[test]
    fn a_full_ring_takes_none_until_the_oldest_ends() {
        let mut requests = Requests::new();
        let first = requests.post(Fake(false)).unwrap();
        for _ in 1..MAX_REQUESTS {
            requests.post(Fake(false)).unwrap();
        }
        assert_eq!(requests.post(Fake(false)), None);
        finish(&mut requests, 0);
        assert_eq!(requests.post(Fake(false)), None, "complete, but not reported");
        requests.retire(first).unwrap();
        let next = requests.post(Fake(false)).unwrap();
        assert_eq!(next.slot(), first.slot());
        assert!(requests.retire(first).is_err(), "not mistaken for {next:?}");
        assert_eq!(requests.retire(next), Ok(None));
    }
}
