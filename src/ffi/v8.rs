//! Functions that changed in v8: registrations beyond 2 GiB.

#![allow(non_snake_case, reason = "NCCL's names")]

use std::ffi::{c_int, c_void};

use nccl_net_abi::bindings::{ncclNetProperties_v8_t, ncclResult_t};

use super::{control, data, guard};

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn getProperties(
    dev: c_int,
    props: *mut ncclNetProperties_v8_t,
) -> ncclResult_t {
    guard("getProperties", || {
        // SAFETY: C3.
        let props = unsafe { control::zeroed(props, "props") }?;
        *props = control::properties(dev)?.to_v8();
        Ok(())
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn regMr(
    comm: *mut c_void,
    data: *mut c_void,
    size: usize,
    kind: c_int,
    mhandle: *mut *mut c_void,
) -> ncclResult_t {
    guard("regMr", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { data::reg_mr(comm, data, size, kind, mhandle) }
    })
}
