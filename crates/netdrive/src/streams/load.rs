//! All streams at once, for a number of messages or a time.

use std::time::{Duration, Instant};

use super::content::{self, Mark};
use super::{Ends, Receiving, Sending, SlotMemory, Stream, Streams};
use crate::fifo::STEPS;
use crate::progress::Progressed;
use crate::{Arrival, Error};

/// What is sent over each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Bytes of each message, 1 or more. Of messages under 16 bytes those tell the order that have room.
    pub bytes: usize,
    /// How many.
    pub amount: Amount,
    /// Compare every byte that comes with what was sent; otherwise only the order of messages is looked at.
    pub check: bool,
    /// Remember when each message comes, and not only the first and the last.
    pub record: bool,
}

/// How much is sent over each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many messages.
    Messages(u64),
    /// As many as it takes, until this time has passed at the sender.
    Time(Duration),
}

impl Streams {
    /// Sends over all streams that begin here and receives from all that end here, until all is done.
    ///
    /// All ranks give the same load. Gives what came, by stream.
    ///
    /// # Errors
    /// If a message doesn't fit a slot, or the net fails; then the streams can't be used again.
    pub fn run(&mut self, load: Load) -> Result<Vec<Stream>, Error> {
        let slot_bytes = self.options.slot_bytes;
        if load.bytes > slot_bytes {
            return Err(Error::MessageTooLong { bytes: load.bytes, slot_bytes });
        }
        if load.bytes == 0 {
            let (option, wanted) = ("the bytes of a message", "1 or more");
            return Err(Error::Option { option, value: load.bytes, wanted });
        }
        if load.check && self.options.memory == SlotMemory::OneBlock {
            let (option, wanted) =
                ("the length of messages to be checked", "messages in memory of their own");
            return Err(Error::Option { option, value: load.bytes, wanted });
        }
        let pairs = self.options.pairs.clone();
        let mut ends = self.ends.take().ok_or(Error::Broken)?;
        let sources: Vec<Source> = ends.sending.iter().map(|_| Source::new(load)).collect();
        let sinks: Vec<Sink> = ends.receiving.iter_mut().map(|end| Sink::new(end, load)).collect();
        let state = (ends, sources, sinks);
        let (state, result) =
            self.inner.progress.run(&self.inner.options.abort, state, move |(ends, sources, sinks)| {
                let Ends { sending, receiving } = ends;
                let (mut moved, mut over) = (false, true);
                for (end, source) in sending.iter_mut().zip(sources) {
                    let peer = pairs.get(end.pair).map_or(0, |&(_, to)| to);
                    moved |= source.advance(end).map_err(|error| error.with_peer("sending to", peer))?;
                    over &= source.done && end.fifo.is_empty();
                }
                for (end, sink) in receiving.iter_mut().zip(sinks) {
                    let peer = pairs.get(end.pair).map_or(0, |&(from, _)| from);
                    moved |= sink.advance(end).map_err(|error| error.with_peer("receiving from", peer))?;
                    over &= sink.done;
                }
                Ok(Progressed::of(over, moved))
            })?;
        result?;
        let (ends, _, sinks) = state;
        self.ends = Some(ends);
        Ok(sinks.into_iter().map(|sink| sink.stream).collect())
    }
}

/// The sending end in one run.
#[derive(Debug)]
struct Source {
    load: Load,
    began: Option<Instant>,
    sent: u64,
    /// Messages that say that there are no more. The receiver has posted up to eight receives when it reads the first,
    /// and each wants a message.
    ends: usize,
    done: bool,
}

impl Source {
    fn new(load: Load) -> Self {
        Self { load, began: None, sent: 0, ends: 0, done: false }
    }

    fn advance(&mut self, end: &mut Sending) -> Result<bool, Error> {
        let began = *self.began.get_or_insert_with(Instant::now);
        let mut moved = false;
        while !self.done {
            let mark = match self.load.amount {
                Amount::Messages(count) if self.sent >= count => {
                    self.done = true;
                    break;
                }
                Amount::Time(time) if self.ends > 0 || began.elapsed() >= time => Mark::End,
                _ => Mark::Data,
            };
            let Some(slot) = end.fifo.free() else { break };
            let bytes = match mark {
                Mark::Data => self.load.bytes,
                Mark::End => content::HEADER,
            };
            content::head(slot, end.sent, mark);
            if self.load.check
                && mark == Mark::Data
                && let Some(message) = slot.get_mut(..bytes)
            {
                content::write(message, end.pair, end.sent);
            }
            end.fifo.fill(bytes);
            end.sent += 1;
            moved = true;
            match mark {
                Mark::Data => self.sent += 1,
                Mark::End => {
                    self.ends += 1;
                    self.done = self.ends == STEPS;
                }
            }
        }
        Ok(moved | end.fifo.advance(&end.comm)?)
    }
}

/// The receiving end in one run.
#[derive(Debug)]
struct Sink {
    load: Load,
    stream: Stream,
    /// Number of the next message since the connection came up.
    next: u64,
    /// Number after the last one, as far as that is known.
    last: Option<u64>,
    done: bool,
}

/// More than any run sends.
const ENDLESS: u64 = 1 << 60;

impl Sink {
    fn new(end: &mut Receiving, load: Load) -> Self {
        let next = end.fifo.consumed();
        let last = match load.amount {
            Amount::Messages(count) => Some(next + count),
            Amount::Time(_) => None,
        };
        end.fifo.expect_until(last.unwrap_or(ENDLESS));
        end.fifo.record();
        let stream = Stream { pair: end.pair, arrivals: Vec::new(), messages: 0, bytes: 0, wrong: 0 };
        Self { load, stream, next, last, done: last == Some(next) }
    }

    fn advance(&mut self, end: &mut Receiving) -> Result<bool, Error> {
        if self.done {
            return Ok(false);
        }
        let mut moved = end.fifo.advance(&end.comm)?;
        let mut arrivals = end.fifo.take_arrivals().into_iter();
        while let (Some(message), Some(bytes)) = (end.fifo.ready(0), end.fifo.ready_bytes(0)) {
            let arrival = arrivals.next();
            match content::read(message, self.next) {
                Some(Mark::End) => {
                    if self.last.is_none() {
                        self.last = Some(self.next + STEPS as u64);
                    }
                }
                found => self.take(found.is_some(), message, bytes, arrival),
            }
            end.fifo.consume(0);
            self.next += 1;
            moved = true;
            if let Some(last) = self.last {
                end.fifo.expect_until(last);
                self.done = self.next >= last;
            }
        }
        Ok(moved)
    }

    /// Counts a message of so many bytes, of which `message` is as much as can be looked at.
    fn take(&mut self, in_order: bool, message: &[u8], bytes: usize, arrival: Option<Arrival>) {
        self.stream.messages += 1;
        self.stream.bytes += bytes as u64;
        self.stream.wrong += match (in_order && bytes == self.load.bytes, self.load.check) {
            (true, true) => content::wrong(message, self.stream.pair, self.next),
            (true, false) => 0,
            (false, _) => bytes as u64,
        };
        let Some(arrival) = arrival else { return };
        if !self.load.record && self.stream.arrivals.len() == 2 {
            self.stream.arrivals.pop();
        }
        self.stream.arrivals.push(arrival);
    }
}
