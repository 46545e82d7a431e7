//! Functions that changed in v11: a context per communicator.

#![allow(non_snake_case, reason = "NCCL's names")]

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use nccl_net_abi::Version;
use nccl_net_abi::bindings::{
    ncclDebugLogger_t, ncclNetAttr_v11_t, ncclNetCommConfig_v11_t, ncclNetDeviceHandle_v7_t,
    ncclNetProperties_v11_t, ncclProfilerCallback_t, ncclResult_t,
};

use super::{control, data, guard, out};
use crate::error::Error;
use crate::plugin;

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn init<const NUMBER: u8>(
    context: *mut *mut c_void,
    comm_id: u64,
    config: *mut ncclNetCommConfig_v11_t,
    logger: ncclDebugLogger_t,
    profiler: ncclProfilerCallback_t,
) -> ncclResult_t {
    guard("init", || {
        let version = Version::with_number(NUMBER).ok_or(Error::BadArgument { what: "version" })?;
        // SAFETY: C3.
        let context = unsafe { out(context, null_mut(), "ctx") }?;
        // SAFETY: NULL, or NCCL's own structure.
        let traffic_class = unsafe { control::traffic_class(config) };
        // SAFETY: C5.
        *context = unsafe { control::init(version, logger, profiler, comm_id, traffic_class) }?;
        Ok(())
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn getProperties(
    dev: c_int,
    props: *mut ncclNetProperties_v11_t,
) -> ncclResult_t {
    guard("getProperties", || {
        // SAFETY: C3.
        let props = unsafe { control::zeroed(props, "props") }?;
        *props = control::properties(dev)?.to_v11();
        Ok(())
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn listen(
    context: *mut c_void,
    dev: c_int,
    handle: *mut c_void,
    comm: *mut *mut c_void,
) -> ncclResult_t {
    guard("listen", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { control::listen(Some(context), dev, handle, comm) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn connect(
    context: *mut c_void,
    dev: c_int,
    handle: *mut c_void,
    comm: *mut *mut c_void,
    device: *mut *mut ncclNetDeviceHandle_v7_t,
) -> ncclResult_t {
    guard("connect", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { control::connect(Some(context), None, dev, handle, comm, device) }
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn finalize(context: *mut c_void) -> ncclResult_t {
    guard("finalize", || plugin::finalize(context))
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn setNetAttr(
    context: *mut c_void,
    attr: *mut ncclNetAttr_v11_t,
) -> ncclResult_t {
    guard("setNetAttr", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { data::set_net_attr(context, attr) }
    })
}
