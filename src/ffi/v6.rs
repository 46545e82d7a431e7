//! Functions that are as in v6; sizes are int, nothing is known of devices that drive themselves.

#![allow(non_snake_case, reason = "NCCL's names")]

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use nccl_net_abi::bindings::{ncclDebugLogger_t, ncclNetProperties_v6_t, ncclResult_t};
use nccl_net_abi::{Receives, Version};

use super::{control, data, guard};
use crate::error::Error;

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn init<const NUMBER: u8>(logger: ncclDebugLogger_t) -> ncclResult_t {
    guard("init", || {
        let version = Version::with_number(NUMBER).ok_or(Error::BadArgument { what: "version" })?;
        // SAFETY: C5.
        unsafe { control::init(version, logger, None, 0, None) }?;
        Ok(())
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn devices(ndev: *mut c_int) -> ncclResult_t {
    guard("devices", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { control::devices(ndev) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn getProperties(
    dev: c_int,
    props: *mut ncclNetProperties_v6_t,
) -> ncclResult_t {
    guard("getProperties", || {
        // SAFETY: C3.
        let props = unsafe { control::zeroed(props, "props") }?;
        *props = control::properties(dev)?.to_v6();
        Ok(())
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn listen(
    dev: c_int,
    handle: *mut c_void,
    comm: *mut *mut c_void,
) -> ncclResult_t {
    guard("listen", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { control::listen(None, dev, handle, comm) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn connect(
    dev: c_int,
    handle: *mut c_void,
    comm: *mut *mut c_void,
) -> ncclResult_t {
    guard("connect", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { control::connect(None, None, dev, handle, comm, null_mut()) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn accept(listen_comm: *mut c_void, comm: *mut *mut c_void) -> ncclResult_t {
    guard("accept", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { control::accept(listen_comm, comm, null_mut()) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn regMr(
    comm: *mut c_void,
    data: *mut c_void,
    size: c_int,
    kind: c_int,
    mhandle: *mut *mut c_void,
) -> ncclResult_t {
    guard("regMr", || {
        let size = data::size(size)?;
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { data::reg_mr(comm, data, size, kind, mhandle) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn regMrDmaBuf(
    comm: *mut c_void,
    data: *mut c_void,
    size: usize,
    kind: c_int,
    offset: u64,
    fd: c_int,
    mhandle: *mut *mut c_void,
) -> ncclResult_t {
    guard("regMrDmaBuf", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { data::reg_mr_dmabuf(comm, (data, size, kind), offset, fd, mhandle) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn deregMr(comm: *mut c_void, mhandle: *mut c_void) -> ncclResult_t {
    guard("deregMr", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { data::dereg_mr(comm, mhandle) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn isend(
    comm: *mut c_void,
    data: *mut c_void,
    size: c_int,
    tag: c_int,
    mhandle: *mut c_void,
    request: *mut *mut c_void,
) -> ncclResult_t {
    guard("isend", || {
        let size = data::size(size)?;
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { data::isend(comm, data, size, tag, mhandle, null_mut(), request) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn irecv(
    comm: *mut c_void,
    count: c_int,
    data: *mut *mut c_void,
    sizes: *mut c_int,
    tags: *mut c_int,
    mhandles: *mut *mut c_void,
    request: *mut *mut c_void,
) -> ncclResult_t {
    guard("irecv", || {
        let receives = Receives { count, data, sizes: null_mut(), tags, mhandles, phandles: null_mut() };
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { data::irecv_int(comm, receives, sizes, request) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn iflush(
    comm: *mut c_void,
    count: c_int,
    data: *mut *mut c_void,
    sizes: *mut c_int,
    mhandles: *mut *mut c_void,
    request: *mut *mut c_void,
) -> ncclResult_t {
    guard("iflush", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { data::iflush(comm, count, data, sizes, mhandles, request) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn test(
    request: *mut c_void,
    done: *mut c_int,
    sizes: *mut c_int,
) -> ncclResult_t {
    guard("test", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { data::test(request, done, sizes) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn closeSend(comm: *mut c_void) -> ncclResult_t {
    guard("closeSend", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { control::close_send(comm) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn closeRecv(comm: *mut c_void) -> ncclResult_t {
    guard("closeRecv", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { control::close_recv(comm) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn closeListen(comm: *mut c_void) -> ncclResult_t {
    guard("closeListen", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { control::close_listen(comm) }
    })
}
