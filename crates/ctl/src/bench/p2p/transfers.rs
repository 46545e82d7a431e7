//! The transfers: one data connection through the net, and one the other way for bells.
//!
//! NCCL's nets know messages, not remote memory. A READ is the receiver's bell and then the data, a WRITE the data and
//! then the receiver's bell: either way the initiator's clock covers one whole transfer, and one is under way at a time.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use srv6_netdrive::{Driver, HANDLE_BYTES, Handle, MessageReceiver, MessageSender};

use super::control::Control;
use super::pattern::{Pattern, Wrong};
use super::wire::{Frame, Op};

/// This process's end of the two connections.
#[derive(Debug)]
pub(super) enum Lane {
    /// The data leaves here.
    Sending { data: MessageSender, bells: MessageReceiver },
    /// It arrives here.
    Receiving { data: MessageReceiver, bells: MessageSender },
}

/// Transfers of one size; both sides go through them in the same order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Series {
    pub(super) op: Op,
    pub(super) pattern: Pattern,
    pub(super) size: u64,
    /// Number of the first; numbers never repeat between a pair of processes.
    pub(super) first: u64,
    pub(super) count: u32,
    /// Whether the receiver compares every byte, or only what tells one transfer and place from another.
    pub(super) thorough: bool,
}

/// What a series gave.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How long each transfer took; on the initiator.
    pub(super) times: Vec<Duration>,
    /// All of them, from the first to the last.
    pub(super) wall: Duration,
    /// On the receiving side.
    pub(super) wrong: Wrong,
}

impl Lane {
    /// Connects both ways; the handles travel over `control`.
    ///
    /// # Errors
    /// If the net refuses, or the other side is gone.
    pub(super) fn connect(
        driver: &Driver,
        device: usize,
        sending: bool,
        control: &Control,
    ) -> anyhow::Result<Self> {
        let listener = driver.listen(device)?;
        control.send(&Frame::Handle(listener.handle().0.to_vec()))?;
        let handle = match control.receive()? {
            Frame::Handle(bytes) => <[u8; HANDLE_BYTES]>::try_from(bytes).map(Handle).map_err(|bytes| {
                let got = bytes.len();
                anyhow!("{} sent a handle of {got} bytes: wanted {HANDLE_BYTES}", control.peer())
            })?,
            other => return Err(control.out_of_turn(&other)),
        };
        let accepting = listener.accept()?;
        let out = driver.connect(device, &handle)?.wait()?;
        let back = accepting.wait()?;
        Ok(match sending {
            true => Self::Sending {
                data: MessageSender::new(out, PIECE)?,
                bells: MessageReceiver::new(back, BELL.len())?,
            },
            false => Self::Receiving {
                data: MessageReceiver::new(back, PIECE)?,
                bells: MessageSender::new(out, BELL.len())?,
            },
        })
    }

    /// Goes through a series, calling `each` after every transfer.
    ///
    /// # Errors
    /// What the net says; the lane can't be used any more.
    pub(super) fn run(&mut self, series: &Series, mut each: impl FnMut()) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        std::thread::scope(|scope| {
            // Made while the transfer before it is under way: the net's time is measured, not ours.
            let (ready, supply) = sync_channel(1);
            if matches!(self, Self::Sending { .. }) {
                std::thread::Builder::new()
                    .name("p2p data".into())
                    .spawn_scoped(scope, move || {
                        let all =
                            series.numbers().flat_map(|number| series.batches().map(move |b| (number, b)));
                        for (number, batch) in all {
                            // Nobody takes it if the net failed.
                            if ready.send(series.data(number, batch)).is_err() {
                                return;
                            }
                        }
                    })
                    .context("starting a thread")?;
            }
            let began = Instant::now();
            for number in series.numbers() {
                let start = Instant::now();
                match self {
                    Self::Sending { data, bells } => send(series, data, bells, &supply)?,
                    Self::Receiving { data, bells } => {
                        outcome.wrong.add(receive(series, number, data, bells)?);
                    }
                }
                outcome.times.push(start.elapsed());
                each();
            }
            outcome.wall = began.elapsed();
            anyhow::Ok(())
        })?;
        Ok(outcome)
    }

    /// Closes both connections.
    ///
    /// # Errors
    /// What the net says.
    pub(super) fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Sending { data, bells } => data.close().and(bells.close()),
            Self::Receiving { data, bells } => data.close().and(bells.close()),
        }
        .context("closing the connections")
    }
}

/// Bytes of a message: what NCCL has in a slot of its default buffers.
const PIECE: usize = 512 << 10;

/// Messages handed to the net at once: enough that the pause between two batches doesn't show, and that a transfer
/// of any size needs little memory.
const BATCH: u64 = 64 * PIECE as u64;

/// What it says doesn't matter.
const BELL: [u8; 8] = [0; 8];

impl Series {
    fn numbers(&self) -> std::ops::Range<u64> {
        self.first..self.first + u64::from(self.count)
    }

    /// Offset and bytes of each batch of a transfer.
    fn batches(&self) -> impl Iterator<Item = (u64, u64)> + use<> {
        let size = self.size;
        (0..size.div_ceil(BATCH)).map(move |batch| (batch * BATCH, BATCH.min(size - batch * BATCH)))
    }

    /// The messages of a batch.
    fn data(&self, number: u64, (offset, bytes): (u64, u64)) -> Vec<Vec<u8>> {
        pieces(offset, bytes).map(|(at, length)| self.pattern.data(number, at, length)).collect()
    }

    fn check(&self, number: u64, (offset, bytes): (u64, u64), messages: &[Vec<u8>]) -> anyhow::Result<Wrong> {
        let mut wrong = Wrong::default();
        for (message, (at, length)) in messages.iter().zip(pieces(offset, bytes)) {
            if message.len() != length {
                bail!("a message of {} bytes came instead of one of {length}", message.len());
            }
            wrong.add(match self.thorough {
                true => self.pattern.check(number, at, message),
                false => self.pattern.glance(number, at, message),
            });
        }
        Ok(wrong)
    }
}

/// Offset and length of each message of a batch.
fn pieces(offset: u64, bytes: u64) -> impl Iterator<Item = (u64, usize)> {
    let end = offset + bytes;
    (offset..end)
        .step_by(PIECE)
        .map(move |at| (at, usize::try_from(end - at).map_or(PIECE, |rest| rest.min(PIECE))))
}

fn send(
    series: &Series,
    data: &mut MessageSender,
    bells: &mut MessageReceiver,
    supply: &Receiver<Vec<Vec<u8>>>,
) -> anyhow::Result<()> {
    if series.op == Op::Read {
        bells.receive(1)?;
    }
    for _ in series.batches() {
        data.send(supply.recv().context("the thread that makes the data is gone")?)?;
    }
    if series.op == Op::Write {
        bells.receive(1)?;
    }
    Ok(())
}

fn receive(
    series: &Series,
    number: u64,
    data: &mut MessageReceiver,
    bells: &mut MessageSender,
) -> anyhow::Result<Wrong> {
    if series.op == Op::Read {
        bells.send(vec![BELL.to_vec()])?;
    }
    let mut wrong = Wrong::default();
    for (offset, bytes) in series.batches() {
        let messages = data.receive(pieces(offset, bytes).count())?;
        wrong.add(series.check(number, (offset, bytes), &messages)?);
    }
    if series.op == Op::Write {
        bells.send(vec![BELL.to_vec()])?;
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(size: u64) -> Series {
        Series { op: Op::Read, pattern: Pattern { seed: 1 }, size, first: 0, count: 1, thorough: true }
    }

    #[test]
    fn batches_and_pieces_cover_a_transfer_once() {
        for size in [1, 8, PIECE as u64 - 1, PIECE as u64, BATCH, BATCH + 1, 3 * BATCH - 5] {
            let mut next = 0;
            for (offset, bytes) in series(size).batches() {
                for (at, length) in pieces(offset, bytes) {
                    assert_eq!(at, next);
                    assert!((1..=PIECE).contains(&length));
                    next += length as u64;
                }
            }
            assert_eq!(next, size);
        }
        assert_eq!(series(3 * BATCH - 5).batches().count(), 3);
    }

    #[test]
    fn what_is_sent_checks_and_what_is_cut_is_an_error() {
        let series = series(PIECE as u64 + 100);
        let batch = (0, series.size);
        let mut messages = series.data(7, batch);
        assert_eq!(messages.len(), 2);
        assert_eq!(series.check(7, batch, &messages).unwrap(), Wrong::default());
        messages[1][99] ^= 4;
        let wrong = series.check(7, batch, &messages).unwrap();
        assert_eq!(wrong, Wrong { bytes: 1, first: Some(PIECE as u64 + 99) });
        let glance = Series { thorough: false, ..series };
        assert_eq!(glance.check(7, batch, &messages).unwrap(), Wrong::default());
        messages[1].pop();
        assert!(
            series
                .check(7, batch, &messages)
                .unwrap_err()
                .to_string()
                .contains("99 bytes came instead of one of 100")
        );
    }
}
