//! An all-to-all over a mesh: every pair's data at once, on the progress thread.

use std::time::{Duration, Instant};

use super::{Link, Mesh, MeshOptions};
use crate::collective::Data;
use crate::progress::Progressed;
use crate::ring::CHANNEL_BYTES;
use crate::{Buffers, Collective, Error, Operation};

/// A link's messages of one repetition.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// Where the messages to send are in the input, and those to receive in the output.
    input: usize,
    output: usize,
    bytes: usize,
    /// Bytes of a message at most.
    message: usize,
}

/// How far a link is in its part, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    sent: usize,
    received: usize,
}

impl Mesh {
    /// Runs an all-to-all on `count` elements per pair of ranks, `repeats` times: each begins when this rank has done
    /// its part of the one before, as kernels on a stream do.
    ///
    /// Gives when each was done on this rank, counted from the start. All ranks give the same operation, count and
    /// repeats.
    ///
    /// # Errors
    /// If it is another collective, a buffer has another length than [`Operation::lengths`] says, or the net fails;
    /// after that the mesh can't be used again.
    pub fn run(
        &mut self,
        operation: &Operation,
        count: usize,
        buffers: Buffers<'_>,
        repeats: u32,
    ) -> Result<Vec<Duration>, Error> {
        let MeshOptions { rank, world, channels, slot_bytes, .. } = self.options;
        if operation.collective != Collective::AllToAll {
            return Err(Error::NotOver { collective: operation.collective, links: "mesh" });
        }
        let data = operation.lend(buffers, count, rank, world)?;
        let mut links = self.links.take().ok_or(Error::Broken)?;
        let block = count * operation.data_type.bytes();
        let parts: Vec<Part> = links.iter().map(|link| part(link, block, channels, slot_bytes)).collect();
        for (link, part) in links.iter_mut().zip(&parts) {
            link.recv.expect(part.bytes.div_ceil(part.message) as u64 * u64::from(repeats));
        }
        let mut places = vec![Place::default(); parts.len()];
        let began = Instant::now();
        let mut repeated = 0;
        let mut copied = false;
        // `run` waits until the thread has let go of `data`, so what it points to is borrowed all the time.
        let state = (links, Vec::with_capacity(repeats as usize));
        let (state, result) =
            self.inner.progress.run(&self.inner.options.abort, state, move |(links, done)| {
                let mut moved = false;
                let mut sent = true;
                if !copied && repeated < repeats {
                    data.copy(rank * block, rank * block, block);
                    copied = true;
                }
                for ((link, part), place) in links.iter_mut().zip(&parts).zip(&mut places) {
                    moved |= link.step(part, place, &data, repeated < repeats)?;
                    sent &= link.send.is_empty();
                }
                let over =
                    |(part, place): (&Part, &Place)| place.sent == part.bytes && place.received == part.bytes;
                if repeated < repeats && parts.iter().zip(&places).all(over) {
                    done.push(began.elapsed());
                    repeated += 1;
                    copied = false;
                    places.fill(Place::default());
                    moved = true;
                }
                Ok(Progressed::of(repeated == repeats && sent, moved))
            })?;
        result?;
        let (links, done) = state;
        self.links = Some(links);
        Ok(done)
    }
}

/// What a link carries of a block: the channels that are worth it share the block in whole 16 bytes.
fn part(link: &Link, block: usize, channels: usize, message: usize) -> Part {
    let used = channels.min(block.div_ceil(CHANNEL_BYTES)).max(1);
    let share = block.div_ceil(used).next_multiple_of(16);
    let begin = (link.channel * share).min(block);
    let end = if link.channel < used { (begin + share).min(block) } else { begin };
    let (input, output) = (link.to * block + begin, link.from * block + begin);
    Part { input, output, bytes: end - begin, message }
}

impl Link {
    /// Moves what can be moved; says whether anything did.
    fn step(&mut self, part: &Part, place: &mut Place, data: &Data, more: bool) -> Result<bool, Error> {
        let mut moved =
            self.recv.advance(&self.prev).map_err(|error| error.with_peer("receiving from", self.from))?;
        while more
            && place.sent < part.bytes
            && let Some(slot) = self.send.free()
        {
            let bytes = slot.len().min(part.bytes - place.sent);
            let from = data.input(part.input + place.sent, bytes);
            slot.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            self.send.fill(bytes);
            place.sent += bytes;
            moved = true;
        }
        moved |= self.send.advance(&self.next).map_err(|error| error.with_peer("sending to", self.to))?;
        while more
            && place.received < part.bytes
            && let Some(received) = self.recv.ready(0)
        {
            let wanted = part.message.min(part.bytes - place.received);
            if received.len() != wanted {
                let got = i64::try_from(received.len()).unwrap_or(i64::MAX);
                return Err(Error::MessageSize { wanted, got }.with_peer("receiving from", self.from));
            }
            data.output(part.output + place.received, wanted).copy_from_slice(received);
            self.recv.consume(0);
            place.received += wanted;
            moved = true;
        }
        Ok(moved)
    }
}
