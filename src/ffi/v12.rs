//! Functions that changed in v12: eight members per virtual device, rails and planes.

#![allow(non_snake_case, reason = "NCCL's names")]

use std::ffi::c_int;

use nccl_net_abi::VirtualDevice;
use nccl_net_abi::bindings::{ncclNetProperties_v12_t, ncclNetVDeviceProps_v12_t, ncclResult_t};

use super::{control, data, guard};

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn getProperties(
    dev: c_int,
    props: *mut ncclNetProperties_v12_t,
) -> ncclResult_t {
    guard("getProperties", || {
        // SAFETY: C3.
        let props = unsafe { control::zeroed(props, "props") }?;
        *props = control::properties(dev)?.to_v12();
        Ok(())
    })
}

/// # Safety
/// The parent module's contracts.
pub(super) unsafe extern "C" fn makeVDevice(
    dev: *mut c_int,
    props: *mut ncclNetVDeviceProps_v12_t,
) -> ncclResult_t {
    guard("makeVDevice", || {
        // SAFETY: NULL, or NCCL's own structure, readable during the call.
        let members = unsafe { props.as_ref() }.map(VirtualDevice::from_v12);
        // SAFETY: C3.
        unsafe { data::make_vdevice(dev, members) }
    })
}
