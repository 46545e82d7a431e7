//! Every rank connected with every other, and an all-to-all over it, as NCCL's point-to-point channels are.

mod connect;
mod run;

use std::sync::Arc;

use crate::driver::Inner;
use crate::fifo::{RecvFifo, SendFifo};
use crate::{Driver, Error, Exchange, RecvComm, SendComm};

/// How the ranks are connected; all but `rank` and `device` the same on all ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshOptions {
    /// Which rank this is, from 0.
    pub rank: usize,
    /// How many ranks there are.
    pub world: usize,
    /// Connections to each other rank; the data of a pair is split among them.
    pub channels: usize,
    /// Bytes of a message at most, a multiple of 16. NCCL's default is 128 KiB (`NCCL_P2P_NET_CHUNKSIZE`).
    pub slot_bytes: usize,
    /// The net's device to listen on and to connect from.
    pub device: usize,
}

impl Default for MeshOptions {
    fn default() -> Self {
        Self { rank: 0, world: 1, channels: 1, slot_bytes: 128 << 10, device: 0 }
    }
}

/// This rank's connections to all others.
#[derive(Debug)]
pub struct Mesh {
    inner: Arc<Inner>,
    options: MeshOptions,
    /// `None` after a failure: requests may be outstanding that nobody will test.
    links: Option<Vec<Link>>,
}

/// A connection to one rank and one from another, of one channel.
#[derive(Debug)]
struct Link {
    channel: usize,
    to: usize,
    next: SendComm,
    send: SendFifo,
    from: usize,
    prev: RecvComm,
    recv: RecvFifo,
}

impl Mesh {
    /// Connects this rank with all others: listens, exchanges handles, connects and accepts all at once.
    ///
    /// # Errors
    /// If an option makes no sense, the exchange fails, or a connection doesn't come up in time.
    pub fn connect(driver: &Driver, options: &MeshOptions, exchange: &dyn Exchange) -> Result<Self, Error> {
        let links = connect::links(driver, options, exchange)?;
        Ok(Self { inner: Arc::clone(driver.inner()), options: options.clone(), links: Some(links) })
    }

    /// How many connections this rank opened.
    pub fn connections(&self) -> usize {
        self.links.as_ref().map_or(0, Vec::len)
    }

    /// Closes all connections, as far as no failure has closed them.
    ///
    /// # Errors
    /// The first thing that the net says to deregMr, closeSend and closeRecv.
    pub fn close(mut self) -> Result<(), Error> {
        let mut first = Ok(());
        for Link { next, prev, .. } in self.links.take().into_iter().flatten() {
            let closed = next.close();
            first = first.and(closed).and(prev.close());
        }
        first
    }
}
