//! From options to connected links.

use super::{Link, RingOptions};
use crate::fifo::{MAX_SUBS, RecvFifo, STEPS, SendFifo, Slots};
use crate::memory::Memory;
use crate::{Driver, Error, HANDLE_BYTES, Handle, Listener, Pending, RecvComm, SendComm};

/// How ranks give each other a few bytes: NCCL's bootstrap network.
pub trait Exchange {
    /// Gives `mine` to all ranks and gets what each gave, by rank. All ranks call it.
    ///
    /// # Errors
    /// If a rank is gone or silent.
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>>;
}

pub(super) fn links(
    driver: &Driver,
    options: &RingOptions,
    exchange: &dyn Exchange,
) -> Result<Vec<Link>, Error> {
    let &RingOptions { rank, world, channels, device, .. } = options;
    check(rank, world, channels, options.slot_bytes)?;
    if world == 1 {
        return Ok(Vec::new());
    }
    let group = if options.shared_comms { driver.inner().max_recvs(device).min(MAX_SUBS) } else { 1 };
    let groups: Vec<Vec<usize>> =
        (0..channels).collect::<Vec<_>>().chunks(group).map(<[usize]>::to_vec).collect();
    let listeners = groups.iter().map(|_| driver.listen(device)).collect::<Result<Vec<Listener>, Error>>()?;

    let mine: Vec<u8> = listeners.iter().flat_map(|listener| listener.handle().0).collect();
    let all = exchange.all_gather(&mine).map_err(|source| Error::Exchange { source })?;
    let (next, prev) = ((rank + 1) % world, (rank + world - 1) % world);
    let theirs = all.get(next).map_or(&[][..], Vec::as_slice);
    let (handles, rest) = theirs.as_chunks::<HANDLE_BYTES>();
    if handles.len() != groups.len() || !rest.is_empty() {
        return Err(Error::HandleBytes { rank: next, got: theirs.len(), wanted: mine.len() });
    }

    // All under way before the first is waited for: a rank that waited for one would keep its neighbours waiting.
    let connects = handles
        .iter()
        .map(|&handle| driver.connect(device, &Handle(handle)))
        .collect::<Result<Vec<Pending<SendComm>>, Error>>()?;
    let accepts =
        listeners.into_iter().map(Listener::accept).collect::<Result<Vec<Pending<RecvComm>>, Error>>()?;
    let mut links = Vec::new();
    for ((connect, accept), channels) in connects.into_iter().zip(accepts).zip(groups) {
        let send = connect.wait().map_err(|error| error.with_peer("connecting to", next))?;
        let recv = accept.wait().map_err(|error| error.with_peer("accepting the connection of", prev))?;
        links.push(link(send, recv, &channels, options.slot_bytes)?);
    }
    Ok(links)
}

/// Registers the slots of each channel on both comms.
fn link(
    mut next: SendComm,
    mut prev: RecvComm,
    channels: &[usize],
    slot_bytes: usize,
) -> Result<Link, Error> {
    let mut sends = Vec::new();
    let mut recvs = Vec::new();
    for &channel in channels {
        let slots = Slots::new(next.register(Memory::new(slot_bytes * STEPS))?, slot_bytes)?;
        sends.push(SendFifo::new(slots, channel));
        let slots = Slots::new(prev.register(Memory::new(slot_bytes * STEPS))?, slot_bytes)?;
        recvs.push((slots, channel));
    }
    Ok(Link { next, sends, prev, recv: RecvFifo::new(&recvs) })
}

/// Refuses options that no ring and no mesh can have.
pub(crate) fn check(rank: usize, world: usize, channels: usize, slot_bytes: usize) -> Result<(), Error> {
    let refuse = |option, value, wanted| Err(Error::Option { option, value, wanted });
    if world == 0 {
        return refuse("the number of ranks", world, "1 or more");
    }
    if rank >= world {
        return refuse("the rank", rank, "less than the number of ranks");
    }
    if !(1..=MAX_SUBS).contains(&channels) {
        return refuse("the number of channels", channels, "1 to 64");
    }
    if slot_bytes == 0 || !slot_bytes.is_multiple_of(16) || slot_bytes > MAX_SLOT_BYTES {
        return refuse("the slot size in bytes", slot_bytes, "a multiple of 16 up to 67108864");
    }
    Ok(())
}

/// Eight slots stay within what NCCL lets a buffer be (`NCCL_BUFFSIZE`, an int).
pub(crate) const MAX_SLOT_BYTES: usize = 64 << 20;
