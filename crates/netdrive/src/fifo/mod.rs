//! FIFOs of eight slots between an algorithm and a comm, as between NCCL's kernels and its proxy.
//!
//! Slots are filled, posted, tested and freed in order, so four counters say everything. A slot belongs to the
//! algorithm or to the net, never to both: that is what makes handing out slices of registered memory sound. Where slots
//! share memory, only the part of each that it doesn't share is handed out.

mod recv;
mod send;

use std::ffi::c_int;

use crate::Error;
use crate::comm::Region;
pub(crate) use recv::{MAX_SUBS, RecvFifo};
pub(crate) use send::SendFifo;

/// Slots of a FIFO, hence requests outstanding: `NCCL_STEPS`.
pub(crate) const STEPS: usize = 8;

/// The slots of one channel in one piece of registered memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slots {
    region: Region,
    slot_bytes: usize,
    /// How much of each slot, from its beginning, no other shares.
    own_bytes: usize,
}

impl Slots {
    /// `region` holds [`STEPS`] slots of `slot_bytes`, a multiple of 16.
    pub(crate) fn new(region: Region, slot_bytes: usize) -> Result<Self, Error> {
        if region.bytes / STEPS < slot_bytes {
            return Err(Error::MessageTooLong { bytes: slot_bytes, slot_bytes: region.bytes / STEPS });
        }
        Ok(Self { region, slot_bytes, own_bytes: slot_bytes })
    }

    /// The same, where the slots lie over the same memory but for the first `own_bytes` of each.
    pub(crate) fn sharing_after(self, own_bytes: usize) -> Self {
        Self { own_bytes: own_bytes.min(self.slot_bytes), ..self }
    }

    /// Where the slot of the `index`-th message is.
    fn pointer(&self, index: u64) -> *mut u8 {
        // SAFETY: STEPS slots fit the region: checked in `new`.
        unsafe { self.region.base.as_ptr().add(slot(index) * self.slot_bytes) }
    }
}

/// Which slot the `index`-th message uses.
fn slot(index: u64) -> usize {
    usize::try_from(index % 8).unwrap_or(0)
}

const _: () = assert!(STEPS == 8, "slot() counts modulo STEPS");

/// A tag as C takes it; channels are few.
fn c_tag(tag: usize) -> c_int {
    c_int::try_from(tag).unwrap_or(c_int::MAX)
}
