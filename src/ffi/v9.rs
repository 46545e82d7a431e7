//! Functions that changed in v9: message sizes are size_t, devices can be joined.

#![allow(non_snake_case, reason = "NCCL's names")]

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use nccl_net_abi::bindings::{ncclNetProperties_v9_t, ncclNetVDeviceProps_v9_t, ncclResult_t};
use nccl_net_abi::{Receives, VirtualDevice};

use super::{control, data, guard};

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn getProperties(
    dev: c_int,
    props: *mut ncclNetProperties_v9_t,
) -> ncclResult_t {
    guard("getProperties", || {
        // SAFETY: C3.
        let props = unsafe { control::zeroed(props, "props") }?;
        *props = control::properties(dev)?.to_v9();
        Ok(())
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn isend(
    comm: *mut c_void,
    data: *mut c_void,
    size: usize,
    tag: c_int,
    mhandle: *mut c_void,
    request: *mut *mut c_void,
) -> ncclResult_t {
    guard("isend", || {
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
    sizes: *mut usize,
    tags: *mut c_int,
    mhandles: *mut *mut c_void,
    request: *mut *mut c_void,
) -> ncclResult_t {
    guard("irecv", || {
        let receives = Receives { count, data, sizes, tags, mhandles, phandles: null_mut() };
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { data::irecv(comm, &receives, request) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn makeVDevice(
    dev: *mut c_int,
    props: *mut ncclNetVDeviceProps_v9_t,
) -> ncclResult_t {
    guard("makeVDevice", || {
        // SAFETY: NULL, or NCCL's own structure, readable during the call.
        let members = unsafe { props.as_ref() }.map(VirtualDevice::from_v9);
        // SAFETY: C3.
        unsafe { data::make_vdevice(dev, members) }
    })
}
