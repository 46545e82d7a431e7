//! Messages between pairs of ranks, any number of pairs at once.
//!
//! One connection per pair, in one direction, and eight messages under way on each, as everywhere here.

mod bounce;
mod connect;
mod content;
mod load;

use std::sync::Arc;

use crate::driver::Inner;
use crate::fifo::{RecvFifo, SendFifo};
use crate::{Arrival, Driver, Error, Exchange, RecvComm, SendComm};
pub use load::{Amount, Load};

/// Who sends to whom; all but `rank` and `device` the same on all ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamsOptions {
    /// Which rank this is, from 0.
    pub rank: usize,
    /// How many ranks there are.
    pub world: usize,
    /// Sending and receiving rank of each stream. A pair may be there several times, and then has several connections.
    pub pairs: Vec<(usize, usize)>,
    /// Bytes of a message at most, a multiple of 16.
    pub slot_bytes: usize,
    /// The net's device to listen on and to connect from.
    pub device: usize,
    /// What the messages under way lie in.
    pub memory: SlotMemory,
}

/// What the eight messages under way on a connection lie in, at either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlotMemory {
    /// Eight buffers, as in NCCL.
    #[default]
    Own,
    /// One block of a mebibyte, or of a message if that is less, which all messages go through again and again but for
    /// their first pages: as little memory as a program uses that sends one buffer over and over. What comes can't be
    /// compared with what was sent ([`Load::check`]), only its order. Messages are of whole pages.
    OneBlock,
}

/// This rank's ends of the streams.
#[derive(Debug)]
pub struct Streams {
    inner: Arc<Inner>,
    options: StreamsOptions,
    /// `None` after a failure: requests may be outstanding that nobody will test.
    ends: Option<Ends>,
}

/// What came over one stream in one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Position in [`StreamsOptions::pairs`].
    pub pair: usize,
    /// Messages, in order; the first and the last only, unless all were wanted.
    pub arrivals: Vec<Arrival>,
    /// How many messages came.
    pub messages: u64,
    /// How many bytes they had.
    pub bytes: u64,
    /// Bytes of them that were not what was sent. Where the content isn't checked, a message out of order counts whole.
    pub wrong: u64,
}

#[derive(Debug)]
struct Ends {
    sending: Vec<Sending>,
    receiving: Vec<Receiving>,
}

#[derive(Debug)]
struct Sending {
    pair: usize,
    comm: SendComm,
    fifo: SendFifo,
    /// Messages sent since the connection came up.
    sent: u64,
}

#[derive(Debug)]
struct Receiving {
    pair: usize,
    comm: RecvComm,
    fifo: RecvFifo,
}

impl Streams {
    /// Connects this rank's streams: listens, exchanges handles, connects and accepts all at once.
    ///
    /// # Errors
    /// If an option makes no sense, the exchange fails, or a connection doesn't come up in time.
    pub fn connect(
        driver: &Driver,
        options: &StreamsOptions,
        exchange: &dyn Exchange,
    ) -> Result<Self, Error> {
        let ends = connect::ends(driver, options, exchange)?;
        Ok(Self { inner: Arc::clone(driver.inner()), options: options.clone(), ends: Some(ends) })
    }

    /// Closes all connections, as far as no failure has closed them.
    ///
    /// # Errors
    /// The first thing that the net says to deregMr, closeSend and closeRecv.
    pub fn close(mut self) -> Result<(), Error> {
        let mut first = Ok(());
        if let Some(Ends { sending, receiving }) = self.ends.take() {
            for end in sending {
                first = first.and(end.comm.close());
            }
            for end in receiving {
                first = first.and(end.comm.close());
            }
        }
        first
    }
}
