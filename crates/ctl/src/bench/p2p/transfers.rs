//! The transfers: one data connection through the net, and one the other way for bells.
//!
//! NCCL's nets know messages, not remote memory. A READ is the receiver's bell and then the data, a WRITE the data and
//! then the receiver's bell: either way the initiator's clock covers one whole transfer, and one is under way at a time.

use std::time::{Duration, Instant};

use anyhow::Context;
use srv6_netdrive::{Amount, Driver, Exchange, Load, SlotMemory, Streams, StreamsOptions};

use super::control::Control;
use super::wire::{Frame, Op};

/// This process's end of the two connections.
#[derive(Debug)]
pub(super) struct Lane {
    op: Op,
    sending: bool,
    data: Streams,
    bells: Streams,
}

/// Transfers of one size; both sides go through them in the same order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Series {
    pub(super) size: u64,
    pub(super) count: u32,
    /// Whether every byte is written anew and compared, or only what tells one message from another.
    pub(super) thorough: bool,
}

/// What a series gave.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How long each transfer took; on the initiator.
    pub(super) times: Vec<Duration>,
    /// All of them, from the first to the last.
    pub(super) wall: Duration,
    /// Wrong bytes, on the receiving side.
    pub(super) wrong: u64,
}

impl Lane {
    /// Connects both ways; the handles travel over `control`.
    ///
    /// # Errors
    /// If the net refuses, or the other side is gone.
    pub(super) fn connect(
        driver: &Driver,
        device: usize,
        initiator: bool,
        op: Op,
        control: &Control,
    ) -> anyhow::Result<Self> {
        let rank = usize::from(!initiator);
        let sending = initiator == (op == Op::Write);
        let (sender, receiver) = if sending { (rank, 1 - rank) } else { (1 - rank, rank) };
        let connect = |pair, slot_bytes| {
            let (pairs, memory) = (vec![pair], SlotMemory::Own);
            let options = StreamsOptions { rank, world: 2, pairs, slot_bytes, device, memory };
            Streams::connect(driver, &options, &Handles { control, initiator })
        };
        let data = connect((sender, receiver), PIECE)?;
        Ok(Self { op, sending, data, bells: connect((receiver, sender), BELL)? })
    }

    /// Goes through a series, calling `each` after every transfer.
    ///
    /// # Errors
    /// What the net says; the lane can't be used any more.
    pub(super) fn run(&mut self, series: Series, mut each: impl FnMut()) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let began = Instant::now();
        for _ in 0..series.count {
            let start = Instant::now();
            if self.op == Op::Read {
                self.ring()?;
            }
            for load in loads(series.size, series.thorough) {
                outcome.wrong += self.data.run(load)?.iter().map(|stream| stream.wrong).sum::<u64>();
            }
            if self.op == Op::Write {
                self.ring()?;
            }
            outcome.times.push(start.elapsed());
            each();
        }
        outcome.wall = began.elapsed();
        Ok(outcome)
    }

    /// Whether the data leaves here.
    pub(super) fn is_sending(&self) -> bool {
        self.sending
    }

    /// Closes both connections.
    ///
    /// # Errors
    /// What the net says.
    pub(super) fn close(self) -> anyhow::Result<()> {
        self.data.close().and(self.bells.close()).context("closing the connections")
    }

    /// The bell: rung by whoever receives the data. What it says doesn't matter.
    fn ring(&mut self) -> anyhow::Result<()> {
        let bell = Load { bytes: BELL, amount: Amount::Messages(1), check: false, record: false };
        self.bells.run(bell)?;
        Ok(())
    }
}

/// Bytes of a message: what NCCL has in a slot of its default buffers.
const PIECE: usize = 512 << 10;

/// Bytes of a bell.
const BELL: usize = 16;

/// The messages of a transfer: all of one size, then the rest.
fn loads(size: u64, thorough: bool) -> impl Iterator<Item = Load> {
    let piece = PIECE as u64;
    [(piece, size / piece), (size % piece, 1)]
        .into_iter()
        .filter(|&(bytes, count)| bytes > 0 && count > 0)
        .map(move |(bytes, count)| Load {
            bytes: usize::try_from(bytes).unwrap_or(PIECE),
            amount: Amount::Messages(count),
            check: thorough,
            record: false,
        })
}

/// Exchanges the handles of the two ranks: the initiator is rank 0.
#[derive(Debug)]
struct Handles<'a> {
    control: &'a Control,
    initiator: bool,
}

impl Exchange for Handles<'_> {
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        self.control.send(&Frame::Handles(mine.to_vec()))?;
        let theirs = match self.control.receive()? {
            Frame::Handles(theirs) => theirs,
            other => return Err(self.control.out_of_turn(&other).into()),
        };
        Ok(if self.initiator { vec![mine.to_vec(), theirs] } else { vec![theirs, mine.to_vec()] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(size: u64) -> Vec<(usize, u64)> {
        loads(size, true)
            .map(|load| {
                let Amount::Messages(count) = load.amount else { panic!("no time was wanted") };
                (load.bytes, count)
            })
            .collect()
    }

    #[test]
    fn the_messages_of_a_transfer_are_its_size() {
        let piece = PIECE as u64;
        for size in [
            1,
            15,
            16,
            17,
            1536,
            piece - 1,
            piece,
            piece + 1,
            piece + 15,
            piece + 16,
            5 * piece + 3,
            256 << 20,
        ] {
            let messages = messages(size);
            assert_eq!(messages.iter().map(|&(bytes, count)| bytes as u64 * count).sum::<u64>(), size);
            assert!(messages.iter().all(|&(bytes, count)| (1..=PIECE).contains(&bytes) && count > 0));
        }
        assert_eq!(messages(256 << 20), [(PIECE, 512)]);
        assert_eq!(messages(piece + 1), [(PIECE, 1), (1, 1)]);
    }
}
