//! The ring all-reduce: what NCCL's kernel does with the slots, done on the progress thread.

use super::Ring;
use super::schedule::{Cursor, Shape, Step};
use crate::Error;
use crate::progress::Progressed;

impl Ring {
    /// Sums `input` of all ranks into `output` on all ranks, `repeats` times without a pause in between.
    ///
    /// All ranks give the same lengths and repeats. The sum's order is the same on all ranks, so are its bits.
    ///
    /// # Errors
    /// If the lengths differ, or the net fails; then the ring can't be used again.
    pub fn all_reduce(&mut self, input: &[f32], output: &mut [f32], repeats: u32) -> Result<(), Error> {
        if input.len() != output.len() {
            let wanted = "the length of the input";
            return Err(Error::Option { option: "the length of the output", value: output.len(), wanted });
        }
        self.run(Data { input: input.as_ptr(), output: output.as_mut_ptr(), count: input.len() }, repeats)
    }

    /// As [`all_reduce`](Self::all_reduce), with the sums in the place of the input. Each repetition sums the sums of
    /// the one before.
    ///
    /// # Errors
    /// As `all_reduce`.
    pub fn all_reduce_in_place(&mut self, data: &mut [f32], repeats: u32) -> Result<(), Error> {
        let output = data.as_mut_ptr();
        self.run(Data { input: output, output, count: data.len() }, repeats)
    }

    fn run(&mut self, data: Data, repeats: u32) -> Result<(), Error> {
        if self.options.world == 1 {
            for _ in 0..repeats {
                // SAFETY: `Data`'s contract; equal when in place.
                unsafe { data.output.copy_from(data.input, data.count) };
            }
            return Ok(());
        }
        let mut links = self.links.take().ok_or(Error::Broken)?;
        let shape = Shape {
            world: self.options.world,
            channels: self.options.channels,
            message: self.options.slot_bytes / size_of::<f32>(),
            chunk_messages: CHUNK_MESSAGES,
            count: data.count,
        };
        for link in &mut links {
            link.recv.expect(shape.rounds() * u64::from(repeats));
        }
        let mut channels: Vec<Channel> = (0..shape.channels)
            .map(|channel| Channel { cursor: Cursor::new(shape, self.options.rank, channel), repeats })
            .collect();
        let first = channels.iter().map(|channel| channel.cursor.clone()).collect::<Vec<_>>();
        for channel in &mut channels {
            channel.skip_empty();
        }
        let (rank, world) = (self.options.rank, self.options.world);
        let (next, prev) = ((rank + 1) % world, (rank + world - 1) % world);
        // `run` waits until the thread has let go of `data`, so what it points to is borrowed all the time.
        let (links, result) = self.inner.progress.run(&self.inner.options.abort, links, move |links| {
            let mut moved = false;
            let mut over = true;
            let mut on_links = channels.iter_mut().zip(&first);
            for link in links.iter_mut() {
                moved |=
                    link.recv.advance(&link.prev).map_err(|error| error.with_peer("receiving from", prev))?;
                for (member, send) in link.sends.iter_mut().enumerate() {
                    let Some((channel, first)) = on_links.next() else { break };
                    while let Some(step) = channel.step()
                        && perform(step, &data, &mut link.recv, member, send)
                            .map_err(|error| error.with_peer("receiving from", prev))?
                    {
                        channel.advance(first);
                        moved = true;
                    }
                    moved |= send.advance(&link.next).map_err(|error| error.with_peer("sending to", next))?;
                    over &= channel.step().is_none() && send.is_empty();
                }
            }
            Ok(if over {
                Progressed::Over
            } else if moved {
                Progressed::Moved
            } else {
                Progressed::Idle
            })
        })?;
        result?;
        self.links = Some(links);
        Ok(())
    }
}

/// Messages that a chunk travels in: NCCL's `ALLREDUCE_CHUNKSTEPS`.
const CHUNK_MESSAGES: usize = 4;

/// The caller's data: `count` floats each, the same ones or two that don't overlap, borrowed while a ring runs.
#[derive(Debug, Clone, Copy)]
struct Data {
    input: *const f32,
    output: *mut f32,
    count: usize,
}

// SAFETY: the caller has lent the data for the time of the run and waits.
unsafe impl Send for Data {}

impl Data {
    fn input(&self, step: Step) -> &[f32] {
        debug_assert!(step.offset + step.len <= self.count);
        // SAFETY: within the data; no slice of the output lives at the same time.
        let start = unsafe { self.input.add(step.offset) };
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(start, step.len) }
    }

    #[expect(clippy::mut_from_ref, reason = "the pointers stand for a borrow that the caller holds")]
    fn output(&self, step: Step) -> &mut [f32] {
        debug_assert!(step.offset + step.len <= self.count);
        // SAFETY: within the data; no other slice of it lives at the same time.
        let start = unsafe { self.output.add(step.offset) };
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(start, step.len) }
    }
}

/// Where one channel is in its repetitions.
struct Channel {
    cursor: Cursor,
    repeats: u32,
}

impl Channel {
    fn step(&self) -> Option<Step> {
        if self.repeats == 0 { None } else { self.cursor.step() }
    }

    fn advance(&mut self, first: &Cursor) {
        self.cursor.advance();
        if self.cursor.step().is_none() {
            self.repeats -= 1;
            self.cursor.clone_from(first);
            self.skip_empty();
        }
    }

    /// Nothing to reduce: no repetition has a step.
    fn skip_empty(&mut self) {
        if self.cursor.step().is_none() {
            self.repeats = 0;
        }
    }
}

/// Does one step if its message is there and a slot is free; says whether it did.
fn perform(
    step: Step,
    data: &Data,
    recv: &mut crate::fifo::RecvFifo,
    member: usize,
    send: &mut crate::fifo::SendFifo,
) -> Result<bool, Error> {
    let received = if step.receive {
        let Some(received) = recv.ready(member) else { return Ok(false) };
        let wanted = step.len * size_of::<f32>();
        if received.len() != wanted {
            let got = i64::try_from(received.len()).unwrap_or(i64::MAX);
            return Err(Error::MessageSize { wanted, got });
        }
        Some(received.as_chunks().0)
    } else {
        None
    };
    if step.send {
        let Some(free) = send.free() else { return Ok(false) };
        let (slot, _) = free.as_chunks_mut();
        combine(received, step.add.then(|| data.input(step)), slot.iter_mut());
        if step.store {
            let slot = slot.iter();
            data.output(step)
                .iter_mut()
                .zip(slot)
                .for_each(|(output, sum)| *output = f32::from_ne_bytes(*sum));
        }
        send.fill(step.len * size_of::<f32>());
    } else if let Some(received) = received {
        // The last hop: only stored.
        let output = data.output(step).iter_mut();
        output.zip(received).for_each(|(output, sum)| *output = f32::from_ne_bytes(*sum));
    }
    if step.receive {
        recv.consume(member);
    }
    Ok(true)
}

/// Writes what was received, the input, or their sum.
fn combine<'a>(
    received: Option<&[[u8; 4]]>,
    input: Option<&[f32]>,
    result: impl Iterator<Item = &'a mut [u8; 4]>,
) {
    match (received, input) {
        (Some(received), Some(input)) => {
            result.zip(received).zip(input).for_each(|((result, received), input)| {
                *result = (f32::from_ne_bytes(*received) + input).to_ne_bytes();
            })
        }
        (Some(received), None) => result.zip(received).for_each(|(result, received)| *result = *received),
        (None, Some(input)) => result.zip(input).for_each(|(result, input)| *result = input.to_ne_bytes()),
        (None, None) => {}
    }
}
