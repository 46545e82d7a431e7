//! Comms and requests of the multipath transport as pointers.

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::ptr::null_mut;

use nccl_net_abi::Code;
use srv6_transport::{MAX_REQUESTS, RawBuf, RecvComm, RequestId, SendComm};

use super::code;

/// A comm of either direction; what NCCL holds is a pointer to it.
pub(super) struct Comm {
    /// Touched by the one thread that sends or receives on this comm (C5), and by its close.
    side: UnsafeCell<Side>,
    requests: [Slot; MAX_REQUESTS],
}

#[expect(clippy::large_enum_variant, reason = "always inside a Comm, which is boxed")]
enum Side {
    Send(SendComm),
    Receive(RecvComm),
}

/// A request; what NCCL holds is a pointer to it. Part of the comm, so that posting allocates nothing.
struct Slot {
    comm: Cell<*const Comm>,
    request: Cell<Option<RequestId>>,
}

impl Comm {
    /// Hands a sending comm out.
    pub(super) fn give_send(comm: SendComm) -> *mut c_void {
        Self::give(Side::Send(comm))
    }

    /// Hands a receiving comm out.
    pub(super) fn give_receive(comm: RecvComm) -> *mut c_void {
        Self::give(Side::Receive(comm))
    }

    fn give(side: Side) -> *mut c_void {
        let empty = || Slot { comm: Cell::new(std::ptr::null()), request: Cell::new(None) };
        let comm = Box::new(Self { side: UnsafeCell::new(side), requests: std::array::from_fn(|_| empty()) });
        let pointer = Box::into_raw(comm);
        // SAFETY: just allocated, and nobody else has it yet.
        for slot in unsafe { &(*pointer).requests } {
            slot.comm.set(pointer);
        }
        pointer.cast()
    }

    /// Posts one message or receive; NULL if there are too many already. Doesn't allocate.
    ///
    /// # Safety
    /// C1: `comm` was given and isn't closed, or is NULL. C3 for the data. C5: no other call on this comm at the same time.
    pub(super) unsafe fn post(
        comm: *mut c_void,
        data: *mut c_void,
        size: usize,
    ) -> Result<*mut c_void, Code> {
        // SAFETY: caller's contract.
        let comm = unsafe { comm.cast::<Self>().as_ref() }.ok_or(Code::INVALID_ARGUMENT)?;
        if data.is_null() && size > 0 {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: C3: the memory is left alone until test says done.
        let buffer = unsafe { RawBuf::new(data.cast(), size) };
        // SAFETY: caller's contract: nobody else uses this side now.
        let request = match unsafe { &mut *comm.side.get() } {
            Side::Send(side) => side.post(buffer),
            Side::Receive(side) => side.post(buffer),
        };
        let Some(request) = request.map_err(|error| code(&error))? else { return Ok(null_mut()) };
        let slot = comm.requests.get(request.slot()).ok_or(Code::INTERNAL_ERROR)?;
        slot.request.set(Some(request));
        Ok(std::ptr::from_ref(slot).cast_mut().cast())
    }

    /// The size of a message that is done. Doesn't allocate.
    ///
    /// # Safety
    /// C1: `request` came from `post` of a comm that isn't closed, or is NULL. C5 as above.
    pub(super) unsafe fn test(request: *mut c_void) -> Result<Option<usize>, Code> {
        // SAFETY: caller's contract.
        let slot = unsafe { request.cast::<Slot>().as_ref() }.ok_or(Code::INVALID_ARGUMENT)?;
        // A request that was reported done is dead: testing it again is the caller's mistake.
        let request = slot.request.get().ok_or(Code::INTERNAL_ERROR)?;
        // SAFETY: the slot is part of its comm, which is open by the caller's contract.
        let comm = unsafe { slot.comm.get().as_ref() }.ok_or(Code::INTERNAL_ERROR)?;
        // SAFETY: caller's contract: nobody else uses this side now.
        let size = match unsafe { &mut *comm.side.get() } {
            Side::Send(side) => side.test(request),
            Side::Receive(side) => side.test(request),
        }
        .map_err(|error| code(&error))?;
        if size.is_some() {
            slot.request.set(None);
        }
        Ok(size)
    }

    /// Closes a comm; NULL is none.
    ///
    /// # Safety
    /// C1: `comm` was given, isn't closed, and neither it nor its requests are used again; or it is NULL.
    pub(super) unsafe fn close(comm: *mut c_void) {
        if !comm.is_null() {
            // SAFETY: caller's contract.
            drop(unsafe { Box::from_raw(comm.cast::<Self>()) });
        }
    }
}
