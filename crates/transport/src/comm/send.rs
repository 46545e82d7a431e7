//! The sending end of a connection.

use super::{BYTES_PER_CALL, Lanes};
use crate::buffer::RawBuf;
use crate::error::{Error, Result};
use crate::hello::Terms;
use crate::message::{Outgoing, SendQueue};
use crate::request::{MAX_REQUESTS, RequestId};
use crate::subflow::{Moved, Subflow, SubflowStats, TcpInfo};

/// The sending end of a connection.
///
/// Dropping it closes its sockets. Messages that were reported done still go out; of the others any
/// part may.
#[derive(Debug)]
pub struct SendComm {
    connection: u64,
    terms: Terms,
    queue: SendQueue,
    buffers: [RawBuf; MAX_REQUESTS],
    lanes: Vec<Lane>,
    /// Where the next pass begins: behind the lane that took the last large chunk.
    first: usize,
    failed: Option<Error>,
}

#[derive(Debug)]
struct Lane {
    subflow: Subflow,
    outgoing: Outgoing,
}

impl SendComm {
    pub(crate) fn new(connection: u64, terms: Terms, subflows: Vec<Subflow>, chunk: u32) -> SendComm {
        SendComm {
            connection,
            terms,
            queue: SendQueue::new(subflows.len(), chunk),
            buffers: [RawBuf::EMPTY; MAX_REQUESTS],
            lanes: subflows.into_iter().map(|subflow| Lane { subflow, outgoing: Outgoing::new() }).collect(),
            first: 0,
            failed: None,
        }
    }

    /// Posts a message, and sends what there is room for.
    ///
    /// None: [`MAX_REQUESTS`] are outstanding, nothing was done, post again later. Never blocks,
    /// never allocates.
    ///
    /// # Errors
    ///
    /// The connection has failed; every later call says the same.
    pub fn post(&mut self, buffer: RawBuf) -> Result<Option<RequestId>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let Some(request) = self.queue.post(buffer.len()) else {
            return Ok(None);
        };
        if let Some(place) = self.buffers.get_mut(request.slot()) {
            *place = buffer;
        }
        // A failure in here is about earlier messages as much as about this one, and the request
        // has been taken: its test reports it.
        let _ = self.progress(request);
        Ok(Some(request))
    }

    /// The number of bytes sent if the message is done; its buffer is then the caller's again.
    ///
    /// Done means that the kernel has all of it. Requests become done in the order of posting and may
    /// be tested in any. Moves the bytes of every outstanding request, about 1 MiB a call. Never
    /// blocks, never allocates.
    ///
    /// # Errors
    ///
    /// The connection has failed and this message was not done before; or the request is not
    /// outstanding.
    pub fn test(&mut self, request: RequestId) -> Result<Option<usize>> {
        if let Some(bytes) = self.queue.retire(request)? {
            return Ok(Some(bytes));
        }
        self.progress(request)?;
        Ok(self.queue.retire(request)?)
    }

    /// Random number that both ends know this connection by.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// What each subflow has carried.
    pub fn stats(&self) -> impl ExactSizeIterator<Item = SubflowStats> + '_ {
        self.lanes.iter().map(|lane| *lane.subflow.stats())
    }

    /// What the kernel knows about the subflow with this index, if there is one.
    ///
    /// # Errors
    ///
    /// The kernel does not say.
    pub fn tcp_info(&self, index: usize) -> Result<Option<TcpInfo>> {
        let lane = self.lanes.get(index);
        lane.map(|lane| lane.subflow.tcp_info()).transpose()
    }

    /// Moves bytes until nothing more can, or enough have, or `request` is complete.
    fn progress(&mut self, request: RequestId) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut open = Lanes::all(self.lanes.len());
        let mut moved = 0;
        let mut at = self.first;
        while !open.is_empty() && moved < BYTES_PER_CALL && !self.queue.is_complete(request) {
            let Some(lane) = self.lanes.get_mut(at) else {
                at = 0;
                continue;
            };
            if open.has(at) {
                match lane.advance(&mut self.queue, &self.buffers) {
                    Ok(step) => {
                        moved += step.moved;
                        if step.full {
                            open.remove(at);
                        }
                        // Small messages stay on one lane, so the receiver finds them at its first
                        // look; large ones go around, so that all lanes get their part.
                        if step.moved > SMALL {
                            self.first = at + 1;
                        }
                    }
                    Err(error) => {
                        let error = lane.refused(self.terms).unwrap_or(error);
                        self.failed = Some(error.clone());
                        return Err(error);
                    }
                }
            }
            at += 1;
        }
        Ok(())
    }
}

/// What one attempt to write came to.
struct Step {
    moved: usize,
    /// No room, or nothing to write: no use in trying again in this pass.
    full: bool,
}

impl Lane {
    fn advance(&mut self, queue: &mut SendQueue, buffers: &[RawBuf; MAX_REQUESTS]) -> Result<Step> {
        let nothing = Step { moved: 0, full: true };
        let Some(rest) = self.outgoing.rest(queue) else {
            return Ok(nothing);
        };
        let wanted = rest.len();
        let payload =
            buffers.get(rest.slot).and_then(|buffer| buffer.outgoing(rest.payload.start, rest.payload.len()));
        let Some(payload) = payload else {
            return Ok(nothing);
        };
        match self.subflow.send(rest.header, payload)? {
            Moved::Bytes(moved) => {
                let sent = self.outgoing.advance(moved, queue);
                self.subflow.count(sent.payload, u64::from(sent.begun));
                Ok(Step { moved, full: moved < wanted })
            }
            Moved::Blocked | Moved::End => Ok(nothing),
        }
    }

    /// The listener's refusal, which says more than the reset that comes with it.
    fn refused(&self, ours: Terms) -> Option<Error> {
        self.subflow.refusal().map(|theirs| Error::Refused { peer: self.subflow.stats().peer, ours, theirs })
    }
}

/// Messages up to this length count as small.
const SMALL: usize = 4 << 10;
