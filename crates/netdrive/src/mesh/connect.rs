//! From options to connected links.

use super::{Link, MeshOptions};
use crate::fifo::{RecvFifo, STEPS, SendFifo, Slots};
use crate::memory::Memory;
use crate::ring::check;
use crate::{Driver, Error, Exchange, HANDLE_BYTES, Handle, Listener, Pending, RecvComm, SendComm};

pub(super) fn links(
    driver: &Driver,
    options: &MeshOptions,
    exchange: &dyn Exchange,
) -> Result<Vec<Link>, Error> {
    let &MeshOptions { rank, world, channels, slot_bytes, device } = options;
    check(rank, world, channels, slot_bytes)?;
    // Rank s places on is sent to while rank s places back is received from: no rank is everybody's first.
    let shifts: Vec<(usize, usize)> =
        (1..world).flat_map(|shift| (0..channels).map(move |channel| (shift, channel))).collect();
    let listeners = shifts.iter().map(|_| driver.listen(device)).collect::<Result<Vec<Listener>, Error>>()?;

    let mine: Vec<u8> = listeners.iter().flat_map(|listener| listener.handle().0).collect();
    let all = exchange.all_gather(&mine).map_err(|source| Error::Exchange { source })?;
    let mut connects: Vec<Pending<SendComm>> = Vec::new();
    for (index, (shift, _)) in shifts.iter().enumerate() {
        let to = (rank + shift) % world;
        let theirs = all.get(to).map_or(&[][..], Vec::as_slice);
        let handle = theirs.as_chunks::<HANDLE_BYTES>().0.get(index).filter(|_| theirs.len() == mine.len());
        let Some(&handle) = handle else {
            return Err(Error::HandleBytes { rank: to, got: theirs.len(), wanted: mine.len() });
        };
        connects.push(driver.connect(device, &Handle(handle))?);
    }
    // All under way before the first is waited for: ranks that waited for each other would wait for ever.
    let accepts =
        listeners.into_iter().map(Listener::accept).collect::<Result<Vec<Pending<RecvComm>>, Error>>()?;
    let mut links = Vec::new();
    for ((connect, accept), (shift, channel)) in connects.into_iter().zip(accepts).zip(shifts) {
        let (to, from) = ((rank + shift) % world, (rank + world - shift) % world);
        let mut next = connect.wait().map_err(|error| error.with_peer("connecting to", to))?;
        let mut prev = accept.wait().map_err(|error| error.with_peer("accepting the connection of", from))?;
        let send = SendFifo::new(Slots::new(next.register(Memory::new(slot_bytes * STEPS))?, slot_bytes)?, 0);
        let recv =
            RecvFifo::new(&[(Slots::new(prev.register(Memory::new(slot_bytes * STEPS))?, slot_bytes)?, 0)]);
        links.push(Link { channel, to, next, send, from, prev, recv });
    }
    Ok(links)
}
