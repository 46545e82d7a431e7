//! The receiving FIFO.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use nccl_net_abi::{Net, Receives};

use super::{STEPS, Slots, c_tag, slot};
use crate::memory::Token;
use crate::{Arrival, Error, RecvComm, monotonic};

/// The receiving FIFO of one comm: one channel, or several whose receives are grouped.
#[derive(Debug)]
pub(crate) struct RecvFifo {
    members: Vec<Member>,
    slot_bytes: usize,
    requests: [Token; STEPS],
    /// How many rounds (one message for each member) will come.
    expected: u64,
    /// consumed ≤ received ≤ posted ≤ consumed + STEPS, for every member's consumed.
    posted: u64,
    received: u64,
    arrays: Arrays,
    /// When each round came, if anybody wants to know.
    arrivals: Option<Vec<Arrival>>,
}

#[derive(Debug)]
struct Member {
    slots: Slots,
    lengths: [usize; STEPS],
    consumed: u64,
}

/// What irecv and test get, in the shape that C wants; made once.
#[derive(Debug)]
struct Arrays {
    data: Vec<*mut c_void>,
    sizes: Vec<usize>,
    tags: Vec<c_int>,
    mhandles: Vec<*mut c_void>,
    phandles: Vec<*mut c_void>,
    received: [c_int; MAX_SUBS],
}

// SAFETY: the pointers are filled in anew for each call, from slots and memory handles that may change threads.
unsafe impl Send for Arrays {}

impl RecvFifo {
    /// One entry per channel: its slots, all of one size, and its tag.
    pub(crate) fn new(channels: &[(Slots, usize)]) -> Self {
        let count = channels.len();
        Self {
            members: channels
                .iter()
                .map(|&(slots, _)| Member { slots, lengths: [0; STEPS], consumed: 0 })
                .collect(),
            slot_bytes: channels.first().map_or(0, |(slots, _)| slots.slot_bytes),
            requests: [Token::NULL; STEPS],
            expected: 0,
            posted: 0,
            received: 0,
            arrays: Arrays {
                data: vec![null_mut(); count],
                sizes: vec![0; count],
                tags: channels.iter().map(|&(_, tag)| c_tag(tag)).collect(),
                mhandles: channels.iter().map(|(slots, _)| slots.region.mhandle.get()).collect(),
                phandles: vec![null_mut(); count],
                received: [0; MAX_SUBS],
            },
            arrivals: None,
        }
    }

    /// Announces so many more messages for each member.
    pub(crate) fn expect(&mut self, rounds: u64) {
        self.expected += rounds;
    }

    /// Announces that the round with this number, counted from 0, is the first that will not come.
    pub(crate) fn expect_until(&mut self, round: u64) {
        debug_assert!(self.posted <= round);
        self.expected = round;
    }

    /// How many rounds have come and been consumed by all members.
    pub(crate) fn consumed(&self) -> u64 {
        self.members.iter().map(|member| member.consumed).min().unwrap_or(0)
    }

    /// Remembers from now on when each round comes.
    pub(crate) fn record(&mut self) {
        self.arrivals.get_or_insert_default();
    }

    /// What was remembered since the last time.
    pub(crate) fn take_arrivals(&mut self) -> Vec<Arrival> {
        self.arrivals.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The member's next message, as far as no other slot shares its memory; `None` if it isn't there yet.
    pub(crate) fn ready(&self, member: usize) -> Option<&[u8]> {
        let length = self.ready_bytes(member)?;
        let Member { slots, consumed, .. } = self.members.get(member)?;
        // SAFETY: the receive is done, so the net no longer writes the slot, nor what of it is its own through another;
        // `&mut self` is needed to post it again.
        Some(unsafe { std::slice::from_raw_parts(slots.pointer(*consumed), length.min(slots.own_bytes)) })
    }

    /// How long the member's next message is.
    pub(crate) fn ready_bytes(&self, member: usize) -> Option<usize> {
        let member = self.members.get(member).filter(|member| member.consumed < self.received)?;
        member.lengths.get(slot(member.consumed)).copied()
    }

    /// Gives the slot of the [ready](Self::ready) message free.
    pub(crate) fn consume(&mut self, member: usize) {
        if let Some(member) = self.members.get_mut(member) {
            debug_assert!(member.consumed < self.received);
            member.consumed += 1;
        }
    }

    /// Posts and tests what it can; says whether anything moved.
    ///
    /// # Errors
    /// What the net says; the FIFO can't be used any more.
    pub(crate) fn advance(&mut self, comm: &RecvComm) -> Result<bool, Error> {
        let mut moved = false;
        while self.posted < self.expected && self.post(comm)? {
            moved = true;
        }
        while self.received < self.posted && self.test(comm)? {
            moved = true;
        }
        Ok(moved)
    }

    fn post(&mut self, comm: &RecvComm) -> Result<bool, Error> {
        if self.posted - self.consumed() >= STEPS as u64 {
            return Ok(false);
        }
        for (member, data) in self.members.iter().zip(&mut self.arrays.data) {
            *data = member.slots.pointer(self.posted).cast();
        }
        // Anew for each call: they are the net's to change.
        self.arrays.sizes.fill(self.slot_bytes);
        let receives = Receives {
            count: c_tag(self.members.len()),
            data: self.arrays.data.as_mut_ptr(),
            sizes: self.arrays.sizes.as_mut_ptr(),
            tags: self.arrays.tags.as_mut_ptr(),
            mhandles: self.arrays.mhandles.as_mut_ptr(),
            phandles: self.arrays.phandles.as_mut_ptr(),
        };
        let comm = comm.comm();
        let table = &comm.inner().table;
        let mut request = null_mut();
        // SAFETY: C1: open, and this is its only receiving thread; C3: the slots are kept until test says done.
        unsafe { table.net.irecv(comm.raw().get(), &receives, &mut request) }
            .map_err(table.failed("irecv"))?;
        if request.is_null() {
            return Ok(false);
        }
        if let Some(entry) = self.requests.get_mut(slot(self.posted)) {
            *entry = Token::new(request);
        }
        self.posted += 1;
        Ok(true)
    }

    fn test(&mut self, comm: &RecvComm) -> Result<bool, Error> {
        let table = &comm.comm().inner().table;
        let at = slot(self.received);
        let Some(request) = self.requests.get(at) else { return Ok(false) };
        self.arrays.received.fill(0);
        // SAFETY: C1: from irecv, not yet done; the array is longer than any group.
        let done = unsafe { table.net.test(request.get(), self.arrays.received.as_mut_ptr()) };
        if !done.map_err(table.failed("test"))? {
            return Ok(false);
        }
        let mut bytes = 0;
        for (member, &got) in self.members.iter_mut().zip(&self.arrays.received) {
            let length = usize::try_from(got)
                .ok()
                .filter(|&length| length <= self.slot_bytes)
                .ok_or(Error::MessageSize { wanted: self.slot_bytes, got: got.into() })?;
            if let Some(entry) = member.lengths.get_mut(at) {
                *entry = length;
            }
            bytes += length as u64;
        }
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.push(Arrival { at: monotonic(), bytes });
        }
        self.received += 1;
        Ok(true)
    }
}

/// How many sizes NCCL has room for at test, hence how many receives a group can have.
pub(crate) const MAX_SUBS: usize = 64;
