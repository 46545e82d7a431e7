//! A collective over a ring: what NCCL's kernel does with the slots, done on the progress thread.

use std::time::{Duration, Instant};

use super::Ring;
use super::schedule::{Cursor, Shape, Step};
use crate::collective::Data;
use crate::element::{accumulate, combine, divide, scale};
use crate::fifo::{RecvFifo, SendFifo};
use crate::progress::Progressed;
use crate::{Buffers, Collective, DataType, Error, Operation, Reduction};

impl Ring {
    /// Sums `input` of all ranks into `output` on all ranks, `repeats` times without a pause in between.
    ///
    /// All ranks give the same lengths and repeats. The sum's order is the same on all ranks, so are its bits.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn all_reduce(&mut self, input: &[f32], output: &mut [f32], repeats: u32) -> Result<(), Error> {
        let buffers = Buffers::Apart { input: bytes(input), output: bytes_mut(output) };
        self.run(&SUM_OF_FLOATS, input.len(), buffers, repeats).map(drop)
    }

    /// As [`all_reduce`](Self::all_reduce), with the sums in the place of the input. Each repetition sums the sums of
    /// the one before.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn all_reduce_in_place(&mut self, data: &mut [f32], repeats: u32) -> Result<(), Error> {
        let count = data.len();
        self.run(&SUM_OF_FLOATS, count, Buffers::Same(bytes_mut(data)), repeats).map(drop)
    }

    /// Runs a collective on `count` elements per rank (as NCCL's calls count them), `repeats` times: each begins when
    /// this rank has done its part of the one before, as kernels on a stream do.
    ///
    /// Gives when each was done on this rank, counted from the start. All ranks give the same operation, count and
    /// repeats; only the factor of [`Reduction::PreMulSum`] is each rank's own.
    ///
    /// # Errors
    /// If a buffer has another length than [`Operation::lengths`] says, the collective can't go over a ring, or the net
    /// fails; after that the ring can't be used again.
    pub fn run(
        &mut self,
        operation: &Operation,
        count: usize,
        buffers: Buffers<'_>,
        repeats: u32,
    ) -> Result<Vec<Duration>, Error> {
        let (rank, world) = (self.options.rank, self.options.world);
        let data = operation.lend(buffers, count, rank, world)?;
        let operation = *operation;
        match operation.collective {
            Collective::AllToAll => {
                return Err(Error::NotOver { collective: operation.collective, links: "ring" });
            }
            Collective::Broadcast { root } | Collective::Reduce { root } if root >= world => {
                let wanted = "less than the number of ranks";
                return Err(Error::Option { option: "the root", value: root, wanted });
            }
            _ => {}
        }
        if world == 1 {
            return Ok(alone(&operation, &data, count, repeats));
        }
        let mut links = self.links.take().ok_or(Error::Broken)?;
        let shape = self.shape(&operation, count);
        let rounds = shape.rounds(rank) * u64::from(repeats);
        let first: Vec<Cursor> =
            (0..shape.channels).map(|channel| Cursor::new(shape, rank, channel)).collect();
        let mut taken = 0;
        for link in &mut links {
            if taken < shape.channels {
                link.recv.expect(rounds);
            }
            taken += link.sends.len();
        }
        let mut cursors = first.clone();
        let (next, prev) = ((rank + 1) % world, (rank + world - 1) % world);
        let began = Instant::now();
        let mut repeated = 0;
        // `run` waits until the thread has let go of `data`, so what it points to is borrowed all the time.
        let state = (links, Vec::with_capacity(repeats as usize));
        let (state, result) =
            self.inner.progress.run(&self.inner.options.abort, state, move |(links, done)| {
                let mut moved = false;
                let mut sent = true;
                let mut on_links = cursors.iter_mut();
                for link in links.iter_mut() {
                    moved |= link
                        .recv
                        .advance(&link.prev)
                        .map_err(|error| error.with_peer("receiving from", prev))?;
                    for (member, send) in link.sends.iter_mut().enumerate() {
                        let Some(cursor) = on_links.next() else { break };
                        while repeated < repeats
                            && let Some(step) = cursor.step()
                            && perform(&operation, world, step, &data, &mut link.recv, member, send)
                                .map_err(|error| error.with_peer("receiving from", prev))?
                        {
                            cursor.advance();
                            moved = true;
                        }
                        moved |=
                            send.advance(&link.next).map_err(|error| error.with_peer("sending to", next))?;
                        sent &= send.is_empty();
                    }
                }
                while repeated < repeats && cursors.iter().all(|cursor| cursor.step().is_none()) {
                    done.push(began.elapsed());
                    repeated += 1;
                    cursors.clone_from(&first);
                    moved = true;
                }
                Ok(Progressed::of(repeated == repeats && sent, moved))
            })?;
        result?;
        let (links, done) = state;
        self.links = Some(links);
        Ok(done)
    }

    fn shape(&self, operation: &Operation, count: usize) -> Shape {
        let element = operation.data_type.bytes();
        let (input, output) = operation.lengths(count, self.options.world);
        let channels = match self.options.shared_comms {
            // Channels of one connection receive in groups: each needs a message for each of the others'.
            true => self.options.channels,
            false => self.options.channels.min((input.max(output) * element).div_ceil(CHANNEL_BYTES).max(1)),
        };
        Shape {
            collective: operation.collective,
            world: self.options.world,
            channels,
            element,
            message: self.options.slot_bytes / element,
            count,
        }
    }
}

/// What a channel is worth being used for: NCCL gives each at least 512 threads of 64 bytes.
pub(crate) const CHANNEL_BYTES: usize = 32 << 10;

const SUM_OF_FLOATS: Operation =
    Operation { collective: Collective::AllReduce, data_type: DataType::Float, reduction: Reduction::Sum };

fn bytes(floats: &[f32]) -> &[u8] {
    // SAFETY: floats are plain bytes, four each.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), size_of_val(floats)) }
}

fn bytes_mut(floats: &mut [f32]) -> &mut [u8] {
    // SAFETY: as above, and any bytes are floats.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), size_of_val(floats)) }
}

/// One rank is all ranks.
fn alone(operation: &Operation, data: &Data, count: usize, repeats: u32) -> Vec<Duration> {
    let began = Instant::now();
    let bytes = count * operation.data_type.bytes();
    let once = |_| {
        data.copy(0, 0, bytes);
        if operation.reduces() {
            scale(operation.data_type, operation.reduction, data.output(0, bytes));
        }
        began.elapsed()
    };
    (0..repeats).map(once).collect()
}

/// Does one step if its message is there and a slot is free; says whether it did.
fn perform(
    operation: &Operation,
    world: usize,
    step: Step,
    data: &Data,
    recv: &mut RecvFifo,
    member: usize,
    send: &mut SendFifo,
) -> Result<bool, Error> {
    let &Operation { data_type, reduction, .. } = operation;
    let size = data_type.bytes();
    let bytes = step.len * size;
    let received = if step.receive {
        let Some(received) = recv.ready(member) else { return Ok(false) };
        if received.len() != bytes {
            let got = i64::try_from(received.len()).unwrap_or(i64::MAX);
            return Err(Error::MessageSize { wanted: bytes, got });
        }
        Some(received)
    } else {
        None
    };
    let own = step.input.map(|at| at * size);
    if step.send {
        let Some(result) = send.free().and_then(|slot| slot.get_mut(..bytes)) else { return Ok(false) };
        match (received, own) {
            (Some(received), Some(at)) => {
                combine(data_type, reduction, result, received, data.input(at, bytes));
            }
            (Some(received), None) => result.copy_from_slice(received),
            (None, Some(at)) => {
                result.copy_from_slice(data.input(at, bytes));
                if operation.reduces() {
                    scale(data_type, reduction, result);
                }
            }
            (None, None) => {}
        }
        if step.complete {
            divide(data_type, reduction, result, world);
        }
        if let Some(at) = step.output {
            data.output(at * size, bytes).copy_from_slice(result);
        }
        send.fill(bytes);
    } else if let (Some(received), Some(at)) = (received, step.output) {
        let at = at * size;
        match own {
            // Own input and output may be the same memory, so never a slice of each.
            Some(own) => {
                data.copy(own, at, bytes);
                let result = data.output(at, bytes);
                scale(data_type, reduction, result);
                accumulate(data_type, reduction, result, received);
            }
            None => data.output(at, bytes).copy_from_slice(received),
        }
        if step.complete {
            divide(data_type, reduction, data.output(at, bytes), world);
        }
    }
    if step.receive {
        recv.consume(member);
    }
    Ok(true)
}
