//! The sending end of a connection.

use std::sync::Arc;
use std::time::Instant;

use socket2::Socket;

use super::Origin;
use super::sending::Sending;
use super::watch::Seat;
use crate::buffer::RawBuf;
use crate::connections::ConnectionStats;
use crate::error::Result;
use crate::request::RequestId;
use crate::uninherited::Uninherited;

/// The sending end of a connection.
///
/// Dropping it closes its sockets. If all messages were reported done they still go out. Else its sockets are reset where
/// one of the others was to go without a copy ([`Config::zero_copy`](crate::Config::zero_copy)), so that nothing leaves its
/// memory any more; a receiver in another network namespace of the same host may read there what its kernel was given
/// before. Where all was copied any part of the others may go out, but never a whole message with wrong bytes.
#[derive(Debug)]
pub struct SendComm {
    seat: Arc<Seat>,
    connection: u64,
}

impl SendComm {
    /// A comm over these sockets, by subflow; those that are missing are tried again.
    pub(crate) fn new(
        origin: Origin,
        sockets: Vec<Option<Uninherited<Socket>>>,
        now: Instant,
    ) -> Result<SendComm> {
        let connection = origin.connection;
        let sending = Sending::new(origin, sockets, now)?;
        Ok(SendComm { seat: Seat::take(sending), connection })
    }

    /// Posts a message, and sends what there is room for.
    ///
    /// While others are on their way a message of up to 128 KiB that isn't copied waits for the next call, which sends it
    /// with those that were posted since.
    ///
    /// None: [`MAX_REQUESTS`](crate::MAX_REQUESTS) are outstanding, nothing was done, post again later. Never
    /// blocks, never allocates.
    ///
    /// # Errors
    ///
    /// The connection has failed; every later call says the same.
    pub fn post(&mut self, buffer: RawBuf) -> Result<Option<RequestId>> {
        self.seat.call(|sending| sending.post(buffer, Instant::now())).unwrap_or(Ok(None))
    }

    /// The number of bytes sent if the message is done; its buffer is then the caller's again.
    ///
    /// Done means that the receiver has all of it, or, of what was copied, its kernel, or, of a message of up to 32 KiB, that
    /// this comm has a copy, which it sends however long that takes. Requests become done in the order of posting and may
    /// be tested in any. Moves the bytes of every outstanding request, about 1 MiB a call. Never
    /// blocks, never allocates while all paths work.
    ///
    /// # Errors
    ///
    /// The connection has failed and this message was not done before; or the request is not
    /// outstanding.
    pub fn test(&mut self, request: RequestId) -> Result<Option<usize>> {
        self.seat.call(|sending| sending.test(request)).unwrap_or(Ok(None))
    }

    /// Random number that both ends know this connection by.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// What the connection has carried, and what the kernel knows about its sockets.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        self.seat.stats()
    }
}

impl Drop for SendComm {
    fn drop(&mut self) {
        self.seat.leave();
    }
}
