//! The receiving end of a connection.

use super::{BYTES_PER_CALL, Lanes};
use crate::buffer::RawBuf;
use crate::error::{Error, Result};
use crate::message::{Incoming, ReceiveQueue, Refused, Violation};
use crate::request::{MAX_REQUESTS, RequestId};
use crate::subflow::{Moved, Subflow, SubflowStats, TcpInfo};

/// The receiving end of a connection.
///
/// Dropping it closes its sockets; a sender that goes on gets an error.
#[derive(Debug)]
pub struct RecvComm {
    connection: u64,
    queue: ReceiveQueue,
    buffers: [RawBuf; MAX_REQUESTS],
    lanes: Vec<Lane>,
    /// Where the next pass begins: the lane that brought the last payload.
    first: usize,
    failed: Option<Error>,
}

#[derive(Debug)]
struct Lane {
    subflow: Subflow,
    incoming: Incoming,
    ended: bool,
}

impl RecvComm {
    pub(crate) fn new(connection: u64, subflows: Vec<Subflow>) -> RecvComm {
        RecvComm {
            connection,
            queue: ReceiveQueue::new(),
            buffers: [RawBuf::EMPTY; MAX_REQUESTS],
            lanes: subflows
                .into_iter()
                .map(|subflow| Lane { subflow, incoming: Incoming::new(), ended: false })
                .collect(),
            first: 0,
            failed: None,
        }
    }

    /// Posts a receive for the next message, which may be shorter than `buffer` but not longer.
    ///
    /// None: [`MAX_REQUESTS`] are outstanding, nothing was done, post again later. Makes no system
    /// call, never allocates.
    ///
    /// # Errors
    ///
    /// The connection has failed; every later call says the same.
    pub fn post(&mut self, buffer: RawBuf) -> Result<Option<RequestId>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let request = self.queue.post(buffer.len());
        if let Some(place) = request.and_then(|request| self.buffers.get_mut(request.slot())) {
            *place = buffer;
        }
        Ok(request)
    }

    /// The message's length if it is done; its buffer is then the caller's again.
    ///
    /// Requests become done in the order of posting and may be tested in any. Moves the bytes of
    /// every outstanding request, about 1 MiB a call. Never blocks, never allocates.
    ///
    /// # Errors
    ///
    /// The connection has failed and this message was not done before; [`Error::TooLong`] if that is
    /// because a message did not fit; or the request is not outstanding.
    pub fn test(&mut self, request: RequestId) -> Result<Option<usize>> {
        if let Some(bytes) = self.queue.retire(request)? {
            return Ok(Some(bytes));
        }
        let progress = self.progress(request);
        // A message that came whole before the connection failed is done all the same.
        match self.queue.retire(request)? {
            Some(bytes) => Ok(Some(bytes)),
            None => progress.map(|()| None),
        }
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

    /// Moves bytes until nothing more comes, or enough have, or `request` is complete.
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
                match lane.advance(&mut self.queue, &mut self.buffers) {
                    Ok(step) => {
                        moved += step.moved;
                        if step.moved > 0 {
                            self.first = at;
                        }
                        if step.drained {
                            open.remove(at);
                        }
                    }
                    Err(error) => return Err(self.fail(error)),
                }
            }
            at += 1;
        }
        match self.stranded() {
            Some(error) => Err(self.fail(error)),
            None => Ok(()),
        }
    }

    /// The error if no subflow can bring what the oldest request waits for.
    ///
    /// One that has ended brings nothing, and one that is stuck at a later message has brought all it
    /// has of the earlier ones. A sender that closes after its last message ends its subflows at
    /// different times, so the first end alone is no error.
    fn stranded(&self) -> Option<Error> {
        let message = self.queue.waiting()?;
        let mut last = None;
        for lane in &self.lanes {
            if !lane.ended && !lane.incoming.is_stuck(&self.queue) {
                return None;
            }
            if last.is_none() || lane.ended {
                last = Some(lane);
            }
        }
        let lane = last?;
        Some(if lane.ended {
            lane.subflow.closed(None)
        } else {
            Error::Protocol {
                subflow: lane.subflow.stats().index,
                peer: lane.subflow.stats().peer,
                source: Violation::Missing { message },
            }
        })
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failed = Some(error.clone());
        error
    }
}

/// What one attempt to read came to.
struct Step {
    moved: usize,
    /// Nothing more to read, or nothing that may be read: no use in trying again in this pass.
    drained: bool,
}

impl Lane {
    fn advance(&mut self, queue: &mut ReceiveQueue, buffers: &mut [RawBuf; MAX_REQUESTS]) -> Result<Step> {
        let nothing = Step { moved: 0, drained: true };
        let parked = self.incoming.is_parked(queue);
        if self.ended || parked.map_err(|refused| self.refused(refused))? {
            return Ok(nothing);
        }
        let (landing, header) = self.incoming.wants();
        let payload = match landing {
            None => Some(&mut [][..]),
            Some(landing) => buffers
                .get_mut(landing.slot)
                .and_then(|buffer| buffer.incoming(landing.offset, landing.length)),
        };
        let Some(payload) = payload else {
            return Ok(nothing);
        };
        let wanted = payload.len() + header.len();
        match self.subflow.receive(payload, header)? {
            Moved::Bytes(moved) => {
                let landed = self.incoming.advance(moved, queue);
                let landed = landed.map_err(|refused| self.refused(refused))?;
                self.subflow.count(landed.payload, u64::from(landed.ended));
                Ok(Step { moved, drained: moved < wanted })
            }
            Moved::Blocked => Ok(nothing),
            Moved::End if self.incoming.is_between_chunks() => {
                self.ended = true;
                Ok(nothing)
            }
            Moved::End => Err(self.subflow.closed(None)),
        }
    }

    fn refused(&self, refused: Refused) -> Error {
        let stats = self.subflow.stats();
        match refused {
            Refused::TooLong { message, sent, posted } => {
                Error::TooLong { message, peer: stats.peer, sent, posted }
            }
            Refused::Violation(source) => Error::Protocol { subflow: stats.index, peer: stats.peer, source },
        }
    }
}
