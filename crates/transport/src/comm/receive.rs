//! The receiving end of a connection.

use std::sync::Arc;
use std::time::Instant;

use super::receiving::{Receiving, Welcomed};
use crate::buffer::RawBuf;
use crate::config::Config;
use crate::connections::ConnectionStats;
use crate::error::Result;
use crate::hello::Terms;
use crate::keeper::PathKeeper;
use crate::pin::Lane;
use crate::request::RequestId;

/// The receiving end of a connection.
///
/// Dropping it closes its sockets; a sender that goes on gets an error.
#[derive(Debug)]
pub struct RecvComm {
    receiving: Receiving,
}

impl RecvComm {
    /// A comm over the sockets that have arrived, by subflow; the others may come later.
    pub(crate) fn new(
        connection: u64,
        terms: Terms,
        subflows: Vec<Option<Welcomed>>,
        config: &Config,
        now: Instant,
    ) -> Result<RecvComm> {
        let receiving = Receiving::new(connection, terms, subflows, config, now)?;
        Ok(RecvComm { receiving })
    }

    /// Posts a receive for the next message, which may be shorter than `buffer` but not longer.
    ///
    /// None: [`MAX_REQUESTS`](crate::MAX_REQUESTS) are outstanding, nothing was done, post again later. Makes no
    /// system call, never allocates.
    ///
    /// # Errors
    ///
    /// The connection has failed; every later call says the same.
    pub fn post(&mut self, buffer: RawBuf) -> Result<Option<RequestId>> {
        self.receiving.post(buffer)
    }

    /// The message's length if it is done; its buffer is then the caller's again.
    ///
    /// Requests become done in the order of posting and may be tested in any. Moves the bytes of
    /// every outstanding request, about 1 MiB a call. Never blocks, never allocates while no socket is replaced.
    ///
    /// # Errors
    ///
    /// The connection has failed and this message was not done before;
    /// [`Error::TooLong`](crate::Error::TooLong) if that is because a message did not fit; or the request is not
    /// outstanding.
    pub fn test(&mut self, request: RequestId) -> Result<Option<usize>> {
        self.receiving.test(request)
    }

    /// Ties the sockets, and those that will replace them, to lanes, so that what goes back to the sender takes
    /// known paths.
    ///
    /// One lane per subflow in order; subflows beyond the last stay as they are. The paths in
    /// [`RecvComm::stats`] stay those that the sender named.
    ///
    /// # Errors
    ///
    /// [`Error::Pin`](crate::Error::Pin) for the first pin that the kernel refuses; the lanes before it are pinned.
    pub fn pin(&mut self, lanes: &[Lane]) -> Result<()> {
        self.receiving.pin(lanes)
    }

    /// Names who moves the lanes that [`RecvComm::pin`] was given, and wants to know where the sender's lanes go.
    pub fn keep(&mut self, keeper: Arc<dyn PathKeeper>) {
        self.receiving.keep(keeper);
    }

    /// Random number that both ends know this connection by.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.receiving.connection()
    }

    /// What the connection has carried: addresses and paths as the sender said them, numbers, and what the kernel
    /// knows about the sockets.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        self.receiving.stats()
    }
}
