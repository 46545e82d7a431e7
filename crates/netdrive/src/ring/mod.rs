//! All ranks connected in rings, and collectives over them.

mod connect;
mod run;
mod schedule;

use std::sync::Arc;

use crate::driver::Inner;
use crate::fifo::{RecvFifo, SendFifo};
use crate::{Arrival, Driver, Error, RecvComm, SendComm};
pub use connect::Exchange;
pub(crate) use connect::MAX_SLOT_BYTES;
pub(crate) use connect::check;
pub(crate) use run::CHANNEL_BYTES;

/// How the ranks are connected; all but `rank` and `device` the same on all ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingOptions {
    /// Which rank this is, from 0.
    pub rank: usize,
    /// How many ranks there are.
    pub world: usize,
    /// Rings in parallel; each has a connection of its own to the next rank.
    pub channels: usize,
    /// Bytes of a message at most, a multiple of 16. NCCL's default is 512 KiB (4 MiB in eight steps).
    pub slot_bytes: usize,
    /// Channels share connections as far as the net can group receives (`maxRecvs`), as NCCL's point-to-point
    /// channels do.
    pub shared_comms: bool,
    /// The net's device to listen on and to connect from.
    pub device: usize,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self { rank: 0, world: 1, channels: 1, slot_bytes: 512 << 10, shared_comms: false, device: 0 }
    }
}

/// This rank's place in the rings.
#[derive(Debug)]
pub struct Ring {
    inner: Arc<Inner>,
    options: RingOptions,
    /// `None` after a failure: requests may be outstanding that nobody will test.
    links: Option<Vec<Link>>,
}

/// One connection to the next rank and one from the previous, with the channels on them.
#[derive(Debug)]
struct Link {
    next: SendComm,
    sends: Vec<SendFifo>,
    prev: RecvComm,
    recv: RecvFifo,
}

impl Ring {
    /// Connects this rank with its neighbours: listens, exchanges handles, connects and accepts all at once.
    ///
    /// # Errors
    /// If an option makes no sense, the exchange fails, or a connection doesn't come up in time.
    pub fn connect(driver: &Driver, options: &RingOptions, exchange: &dyn Exchange) -> Result<Self, Error> {
        let links = connect::links(driver, options, exchange)?;
        Ok(Self { inner: Arc::clone(driver.inner()), options: options.clone(), links: Some(links) })
    }

    /// How many connections there are to the next rank.
    pub fn connections(&self) -> usize {
        self.links.as_ref().map_or(0, Vec::len)
    }

    /// Remembers from now on when each message comes.
    pub fn record(&mut self) {
        self.links.iter_mut().flatten().for_each(|link| link.recv.record());
    }

    /// Messages that came since [`record`](Self::record) or the last call, those of each connection in order.
    pub fn take_arrivals(&mut self) -> Vec<Arrival> {
        self.links.iter_mut().flatten().flat_map(|link| link.recv.take_arrivals()).collect()
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
