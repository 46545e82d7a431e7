//! Functions that changed in v7: device handles beside comms.

#![allow(non_snake_case, reason = "NCCL's names")]

use std::ffi::{c_int, c_void};

use nccl_net_abi::bindings::{ncclNetDeviceHandle_v7_t, ncclNetProperties_v7_t, ncclResult_t};

use super::{control, data, guard};

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn getProperties(
    dev: c_int,
    props: *mut ncclNetProperties_v7_t,
) -> ncclResult_t {
    guard("getProperties", || {
        // SAFETY: C3.
        let props = unsafe { control::zeroed(props, "props") }?;
        *props = control::properties(dev)?.to_v7();
        Ok(())
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn connect(
    dev: c_int,
    handle: *mut c_void,
    comm: *mut *mut c_void,
    device: *mut *mut ncclNetDeviceHandle_v7_t,
) -> ncclResult_t {
    guard("connect", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { control::connect(None, None, dev, handle, comm, device) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn accept(
    listen_comm: *mut c_void,
    comm: *mut *mut c_void,
    device: *mut *mut ncclNetDeviceHandle_v7_t,
) -> ncclResult_t {
    guard("accept", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { control::accept(listen_comm, comm, device) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn getDeviceMr(
    comm: *mut c_void,
    mhandle: *mut c_void,
    device: *mut *mut c_void,
) -> ncclResult_t {
    guard("getDeviceMr", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { data::get_device_mr(comm, mhandle, device) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn irecvConsumed(
    comm: *mut c_void,
    count: c_int,
    request: *mut c_void,
) -> ncclResult_t {
    guard("irecvConsumed", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { data::irecv_consumed(comm, count, request) }
    })
}
