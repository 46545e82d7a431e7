//! Functions that changed in v10: a traffic class at connect, profiler handles.

#![allow(non_snake_case, reason = "NCCL's names")]

use std::ffi::{c_int, c_void};

use nccl_net_abi::bindings::{
    ncclDebugLogger_t, ncclNetCommConfig_v10_t, ncclNetDeviceHandle_v7_t, ncclProfilerCallback_t,
    ncclResult_t,
};
use nccl_net_abi::{Receives, Version};

use super::{control, data, guard};
use crate::error::Error;

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn init<const NUMBER: u8>(
    logger: ncclDebugLogger_t,
    profiler: ncclProfilerCallback_t,
) -> ncclResult_t {
    guard("init", || {
        let version = Version::with_number(NUMBER).ok_or(Error::BadArgument { what: "version" })?;
        // SAFETY: C5.
        unsafe { control::init(version, logger, profiler, 0, None) }?;
        Ok(())
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn connect(
    dev: c_int,
    config: *mut ncclNetCommConfig_v10_t,
    handle: *mut c_void,
    comm: *mut *mut c_void,
    device: *mut *mut ncclNetDeviceHandle_v7_t,
) -> ncclResult_t {
    guard("connect", || {
        // Undefined (-1) is handed on as it is, and NULL as NULL: what a config means is the inner transport's to say.
        // SAFETY: NULL, or NCCL's own structure.
        let traffic_class = unsafe { config.as_ref() }.map(|config| config.trafficClass);
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { control::connect(None, Some(traffic_class), dev, handle, comm, device) }
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
    phandle: *mut c_void,
    request: *mut *mut c_void,
) -> ncclResult_t {
    guard("isend", || {
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { data::isend(comm, data, size, tag, mhandle, phandle, request) }
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
    phandles: *mut *mut c_void,
    request: *mut *mut c_void,
) -> ncclResult_t {
    guard("irecv", || {
        let receives = Receives { count, data, sizes, tags, mhandles, phandles };
        // SAFETY: NCCL's own arguments, handed on; same contracts.
        unsafe { data::irecv(comm, &receives, request) }
    })
}
