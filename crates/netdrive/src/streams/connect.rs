//! From pairs of ranks to connections.

use super::{Ends, Receiving, Sending, SlotMemory, StreamsOptions, content};
use crate::comm::Region;
use crate::fifo::{RecvFifo, STEPS, SendFifo, Slots};
use crate::memory::{Memory, PAGE};
use crate::ring::MAX_SLOT_BYTES;
use crate::{Driver, Error, Exchange, HANDLE_BYTES, Handle, Listener, Pending, RecvComm, SendComm};

pub(super) fn ends(
    driver: &Driver,
    options: &StreamsOptions,
    exchange: &dyn Exchange,
) -> Result<Ends, Error> {
    check(options)?;
    let StreamsOptions { rank, device, .. } = *options;
    let listeners =
        incoming(options, rank).map(|_| driver.listen(device)).collect::<Result<Vec<Listener>, Error>>()?;
    let mine: Vec<u8> = listeners.iter().flat_map(|listener| listener.handle().0).collect();
    let all = exchange.all_gather(&mine).map_err(|source| Error::Exchange { source })?;

    // All under way before the first is waited for: a rank that waited for one would keep the others waiting.
    let outgoing: Vec<usize> =
        (0..options.pairs.len()).filter(|&pair| sender(options, pair) == Some(rank)).collect();
    let connects = outgoing
        .iter()
        .map(|&pair| driver.connect(device, &handle(options, pair, &all)?))
        .collect::<Result<Vec<Pending<SendComm>>, Error>>()?;
    let accepts =
        listeners.into_iter().map(Listener::accept).collect::<Result<Vec<Pending<RecvComm>>, Error>>()?;

    let mut ends = Ends { sending: Vec::new(), receiving: Vec::new() };
    for (pair, connect) in outgoing.into_iter().zip(connects) {
        let peer = receiver(options, pair).unwrap_or(rank);
        let mut comm = connect.wait().map_err(|error| error.with_peer("connecting to", peer))?;
        let slots = slots(options, |memory| comm.register(memory))?;
        let mut fifo = SendFifo::new(slots, pair);
        // Memory that nobody has written is one page of zeros for the kernel, always in its cache: what is read
        // from it is read faster than from memory that a program uses.
        fifo.for_each_slot(|slot| content::write(slot, 0, 0));
        ends.sending.push(Sending { pair, comm, fifo, sent: 0 });
    }
    for (pair, accept) in incoming(options, rank).zip(accepts) {
        let peer = sender(options, pair).unwrap_or(rank);
        let mut comm = accept.wait().map_err(|error| error.with_peer("accepting the connection of", peer))?;
        let slots = slots(options, |memory| comm.register(memory))?;
        ends.receiving.push(Receiving { pair, comm, fifo: RecvFifo::new(&[(slots, pair)]) });
    }
    Ok(ends)
}

fn slots(
    options: &StreamsOptions,
    register: impl FnOnce(Memory) -> Result<Region, Error>,
) -> Result<Slots, Error> {
    let slot_bytes = options.slot_bytes;
    match options.memory {
        SlotMemory::Own => Slots::new(register(Memory::new(slot_bytes * STEPS))?, slot_bytes),
        SlotMemory::OneBlock => {
            let memory = Memory::overlaid(STEPS, slot_bytes).map_err(|source| Error::Memory { source })?;
            Ok(Slots::new(register(memory)?, slot_bytes)?.sharing_after(PAGE))
        }
    }
}

fn sender(options: &StreamsOptions, pair: usize) -> Option<usize> {
    options.pairs.get(pair).map(|&(from, _)| from)
}

fn receiver(options: &StreamsOptions, pair: usize) -> Option<usize> {
    options.pairs.get(pair).map(|&(_, to)| to)
}

/// Streams that end at a rank, in the order in which it lists their handles.
fn incoming(options: &StreamsOptions, rank: usize) -> impl Iterator<Item = usize> {
    let pairs = options.pairs.iter().enumerate();
    pairs.filter(move |(_, (_, to))| *to == rank).map(|(pair, _)| pair)
}

/// The handle of a stream's receiving end among those that all ranks gave.
fn handle(options: &StreamsOptions, pair: usize, all: &[Vec<u8>]) -> Result<Handle, Error> {
    let peer = receiver(options, pair).unwrap_or_default();
    let theirs = all.get(peer).map_or(&[][..], Vec::as_slice);
    let (handles, rest) = theirs.as_chunks::<HANDLE_BYTES>();
    let wanted = incoming(options, peer).count();
    let position = incoming(options, peer).position(|other| other == pair);
    match position.and_then(|position| handles.get(position)) {
        Some(&handle) if handles.len() == wanted && rest.is_empty() => Ok(Handle(handle)),
        _ => Err(Error::HandleBytes { rank: peer, got: theirs.len(), wanted: wanted * HANDLE_BYTES }),
    }
}

fn check(options: &StreamsOptions) -> Result<(), Error> {
    let refuse = |option, value, wanted| Err(Error::Option { option, value, wanted });
    let &StreamsOptions { rank, world, slot_bytes, memory, .. } = options;
    if rank >= world {
        return refuse("the rank", rank, "less than the number of ranks");
    }
    for &(from, to) in &options.pairs {
        if from >= world || to >= world {
            return refuse("a stream's rank", from.max(to), "less than the number of ranks");
        }
        if from == to {
            return refuse("a stream's rank", from, "another one than its peer");
        }
    }
    if slot_bytes < content::HEADER || slot_bytes % 16 != 0 || slot_bytes > MAX_SLOT_BYTES {
        return refuse("the slot size in bytes", slot_bytes, "a multiple of 16 from 16 to 67108864");
    }
    if memory == SlotMemory::OneBlock && slot_bytes % PAGE != 0 {
        return refuse("the slot size in bytes", slot_bytes, "a multiple of 4096 to lie over one block");
    }
    Ok(())
}
