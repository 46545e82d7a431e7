//! A message there and one back, again and again: what latency is measured with.

use std::time::{Duration, Instant};

use super::{Ends, Receiving, Sending, Streams};
use crate::Error;
use crate::progress::Progressed;

impl Streams {
    /// Sends a message of `bytes` and waits for the one that comes back, `rounds` times; gives how long each round took.
    ///
    /// For a rank with one stream out and one in, whose peer calls [`answer`](Self::answer).
    ///
    /// # Errors
    /// If there are other streams, a message doesn't fit a slot, or the net fails; then the streams can't be used again.
    pub fn ask(&mut self, bytes: usize, rounds: usize) -> Result<Vec<Duration>, Error> {
        let mut asked: Option<Instant> = None;
        self.alternate(bytes, rounds, move |sending, receiving, times| match asked {
            None if times.len() == rounds => Ok(false),
            None => {
                let sent = send(sending, bytes)?;
                asked = sent.then(Instant::now);
                Ok(sent)
            }
            Some(since) if take(receiving)? => {
                times.push(since.elapsed());
                asked = None;
                Ok(true)
            }
            Some(_) => Ok(false),
        })
    }

    /// Sends a message of `bytes` back for each of `rounds` that come.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn answer(&mut self, bytes: usize, rounds: usize) -> Result<(), Error> {
        let (mut owed, mut last) = (false, Instant::now());
        self.alternate(bytes, rounds, move |sending, receiving, times| {
            let came = !owed && take(receiving)?;
            owed |= came;
            if owed && send(sending, bytes)? {
                owed = false;
                times.push(last.elapsed());
                last = Instant::now();
                return Ok(true);
            }
            Ok(came)
        })
        .map(drop)
    }

    /// Calls `turn` until it has put `rounds` times into its list and all that was sent is done.
    fn alternate(
        &mut self,
        bytes: usize,
        rounds: usize,
        mut turn: impl FnMut(&mut Sending, &mut Receiving, &mut Vec<Duration>) -> Result<bool, Error>
        + Send
        + 'static,
    ) -> Result<Vec<Duration>, Error> {
        let slot_bytes = self.options.slot_bytes;
        if bytes > slot_bytes {
            return Err(Error::MessageTooLong { bytes, slot_bytes });
        }
        let mut ends = self.ends.take().ok_or(Error::Broken)?;
        let ([_], [receiving]) = (ends.sending.as_slice(), ends.receiving.as_mut_slice()) else {
            let value = ends.sending.len() + ends.receiving.len();
            self.ends = Some(ends);
            let (option, wanted) = ("the number of streams of this rank", "2: one out and one in");
            return Err(Error::Option { option, value, wanted });
        };
        receiving.fifo.expect_until(receiving.fifo.consumed() + rounds as u64);
        let state = (ends, Vec::with_capacity(rounds));
        let (state, result) =
            self.inner.progress.run(&self.inner.options.abort, state, move |(ends, times)| {
                let Ends { sending, receiving } = ends;
                let (Some(sending), Some(receiving)) = (sending.first_mut(), receiving.first_mut()) else {
                    return Ok(Progressed::Over);
                };
                let mut moved = turn(sending, receiving, times)?;
                moved |= sending.fifo.advance(&sending.comm)?;
                Ok(Progressed::of(times.len() == rounds && sending.fifo.is_empty(), moved))
            })?;
        result?;
        let (ends, times) = state;
        self.ends = Some(ends);
        Ok(times)
    }
}

/// Hands a message to the net; says whether a slot was free.
fn send(end: &mut Sending, bytes: usize) -> Result<bool, Error> {
    if end.fifo.free().is_none() {
        return Ok(false);
    }
    end.fifo.fill(bytes);
    end.sent += 1;
    end.fifo.advance(&end.comm)?;
    Ok(true)
}

/// Whether a message has come; it is consumed.
fn take(end: &mut Receiving) -> Result<bool, Error> {
    end.fifo.advance(&end.comm)?;
    let came = end.fifo.ready(0).is_some();
    if came {
        end.fifo.consume(0);
    }
    Ok(came)
}
