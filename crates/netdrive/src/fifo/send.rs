//! The sending FIFO.

use std::ffi::c_int;

use nccl_net_abi::{Net, Version};

use super::{STEPS, Slots, c_tag, slot};
use crate::memory::Token;
use crate::{Error, SendComm};

/// The sending FIFO of one channel. Several may share one comm, told apart by tags.
#[derive(Debug)]
pub(crate) struct SendFifo {
    slots: Slots,
    tag: c_int,
    lengths: [usize; STEPS],
    requests: [Token; STEPS],
    /// Messages that the algorithm has written: done ≤ posted ≤ filled ≤ done + STEPS.
    filled: u64,
    posted: u64,
    done: u64,
}

impl SendFifo {
    pub(crate) fn new(slots: Slots, tag: usize) -> Self {
        let (lengths, requests) = ([0; STEPS], [Token::NULL; STEPS]);
        Self { slots, tag: c_tag(tag), lengths, requests, filled: 0, posted: 0, done: 0 }
    }

    /// What no other shares of the slot for the next message; `None` while all are in use.
    pub(crate) fn free(&mut self) -> Option<&mut [u8]> {
        if self.filled - self.done >= STEPS as u64 {
            return None;
        }
        let pointer = self.slots.pointer(self.filled);
        // SAFETY: the slot's last message is done, so the net no longer reads it; `&mut self` makes this the only slice.
        Some(unsafe { std::slice::from_raw_parts_mut(pointer, self.slots.own_bytes) })
    }

    /// Shows what no other shares of every slot to `work`, before anything is sent.
    pub(crate) fn for_each_slot(&mut self, work: impl Fn(&mut [u8])) {
        debug_assert_eq!(self.filled, 0);
        for index in 0..STEPS as u64 {
            let pointer = self.slots.pointer(index);
            // SAFETY: no slot has been handed to the net; `&mut self` makes this the only slice.
            work(unsafe { std::slice::from_raw_parts_mut(pointer, self.slots.own_bytes) });
        }
    }

    /// Hands the first `bytes` of the [free](Self::free) slot to the net.
    pub(crate) fn fill(&mut self, bytes: usize) {
        debug_assert!(self.filled - self.done < STEPS as u64 && bytes <= self.slots.slot_bytes);
        if let Some(length) = self.lengths.get_mut(slot(self.filled)) {
            *length = bytes;
        }
        self.filled += 1;
    }

    /// Whether every message is done.
    pub(crate) fn is_empty(&self) -> bool {
        self.done == self.filled
    }

    /// Posts and tests what it can; says whether anything moved.
    ///
    /// # Errors
    /// What the net says; the FIFO can't be used any more.
    pub(crate) fn advance(&mut self, comm: &SendComm) -> Result<bool, Error> {
        let comm = comm.comm();
        let table = &comm.inner().table;
        let mut moved = false;
        while self.posted < self.filled {
            let at = slot(self.posted);
            let (Some(&bytes), Some(request)) = (self.lengths.get(at), self.requests.get_mut(at)) else {
                break;
            };
            let data = self.slots.pointer(self.posted).cast();
            let mhandle = self.slots.region.mhandle.get();
            // SAFETY: C1: open, and this is its only sending thread; C3: the slot is kept until test says done.
            let posted = unsafe {
                table.net.isend(comm.raw().get(), data, bytes, self.tag, mhandle, std::ptr::null_mut())
            };
            let posted = posted.map_err(table.failed("isend"))?;
            if posted.is_null() {
                break;
            }
            *request = Token::new(posted);
            self.posted += 1;
            moved = true;
        }
        while self.done < self.posted {
            let Some(request) = self.requests.get(slot(self.done)) else { break };
            let mut size: c_int = 0;
            // NCCL gives a send's test somewhere to write since 2.20, whose own version is v8.
            let sizes = if table.net.version() >= Version::V8 { &raw mut size } else { std::ptr::null_mut() };
            // SAFETY: C1: from isend, not yet done.
            if !unsafe { table.net.test(request.get(), sizes) }.map_err(table.failed("test"))? {
                break;
            }
            self.done += 1;
            moved = true;
        }
        Ok(moved)
    }
}
