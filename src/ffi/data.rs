//! What NCCL's calls on the data path come to, where the inner transport has no table of NCCL's version.
//!
//! Nothing here allocates, locks or logs unless it fails.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use nccl_net_abi::bindings::ncclNetAttr_v11_t;
use nccl_net_abi::{Code, MemoryKind, Receives, VirtualDevice};

use super::control::active;
use super::out;
use crate::error::Error;

fn inner(call: &'static str) -> impl FnOnce(Code) -> Error {
    move |code| Error::Inner { call, code }
}

/// regMr.
///
/// # Safety
/// C1, C3, C4.
pub(super) unsafe fn reg_mr(
    comm: *mut c_void,
    data: *mut c_void,
    size: usize,
    kind: c_int,
    mhandle: *mut *mut c_void,
) -> Result<(), Error> {
    // SAFETY: C3.
    let mhandle = unsafe { out(mhandle, null_mut(), "mhandle") }?;
    // SAFETY: C1, C4.
    *mhandle =
        unsafe { active()?.net().reg_mr(comm, data, size, MemoryKind(kind)) }.map_err(inner("regMr"))?;
    Ok(())
}

/// A message's size in the versions that count in int.
pub(super) fn size(size: c_int) -> Result<usize, Error> {
    usize::try_from(size).map_err(|_| Error::BadArgument { what: "size (negative)" })
}

/// isend.
///
/// # Safety
/// C1, C3, C4.
pub(super) unsafe fn isend(
    comm: *mut c_void,
    data: *mut c_void,
    size: usize,
    tag: c_int,
    mhandle: *mut c_void,
    phandle: *mut c_void,
    request: *mut *mut c_void,
) -> Result<(), Error> {
    // SAFETY: C3.
    let request = unsafe { out(request, null_mut(), "request") }?;
    // SAFETY: C1, C4.
    *request =
        unsafe { active()?.net().isend(comm, data, size, tag, mhandle, phandle) }.map_err(inner("isend"))?;
    Ok(())
}

/// irecv. `request` goes in as NCCL set it: it may carry a hint.
///
/// # Safety
/// C1, C3, C4.
pub(super) unsafe fn irecv(
    comm: *mut c_void,
    receives: &Receives,
    request: *mut *mut c_void,
) -> Result<(), Error> {
    // SAFETY: C3.
    let request = unsafe { request.as_mut() }.ok_or(Error::BadArgument { what: "request" })?;
    // SAFETY: C1, C3, C4.
    let result = unsafe { active()?.net().irecv(comm, receives, request) }.map_err(inner("irecv"));
    if result.is_err() {
        // The hint that went in must not be taken for a request.
        *request = null_mut();
    }
    result
}

/// irecv in the versions that count in int.
///
/// # Safety
/// C1, C3, C4; `sizes` has `receives.count` entries.
pub(super) unsafe fn irecv_int(
    comm: *mut c_void,
    mut receives: Receives,
    sizes: *const c_int,
    request: *mut *mut c_void,
) -> Result<(), Error> {
    /// NCCL's progress thread keeps at most so many sub-operations (2.25 and later).
    const MOST: usize = 64;
    let bad = Error::BadArgument { what: "irecv sizes" };
    let mut wide = [0; MOST];
    let Some(used) = usize::try_from(receives.count).ok().and_then(|count| wide.get_mut(..count)) else {
        return Err(bad);
    };
    if sizes.is_null() {
        return Err(bad);
    }
    for (index, wide) in used.iter_mut().enumerate() {
        // SAFETY: C3: `index` is below `count`.
        let narrow = unsafe { sizes.add(index) };
        // SAFETY: C3.
        *wide = size(unsafe { narrow.read() })?;
    }
    receives.sizes = wide.as_mut_ptr();
    // SAFETY: handed on.
    unsafe { irecv(comm, &receives, request) }
}

/// iflush.
///
/// # Safety
/// C1, C3, C4.
pub(super) unsafe fn iflush(
    comm: *mut c_void,
    count: c_int,
    data: *mut *mut c_void,
    sizes: *mut c_int,
    mhandles: *mut *mut c_void,
    request: *mut *mut c_void,
) -> Result<(), Error> {
    // SAFETY: C3.
    let request = unsafe { out(request, null_mut(), "request") }?;
    // SAFETY: C1, C3, C4.
    *request =
        unsafe { active()?.net().iflush(comm, count, data, sizes, mhandles) }.map_err(inner("iflush"))?;
    Ok(())
}

/// test.
///
/// # Safety
/// C1; `done` is C3; `sizes` is NULL or takes a size for each receive of the request.
pub(super) unsafe fn test(request: *mut c_void, done: *mut c_int, sizes: *mut c_int) -> Result<(), Error> {
    // SAFETY: C3.
    let done = unsafe { out(done, 0, "done") }?;
    // SAFETY: C1.
    *done = unsafe { active()?.net().test(request, sizes) }.map_err(inner("test"))?.into();
    Ok(())
}

/// deregMr.
///
/// # Safety
/// C1.
pub(super) unsafe fn dereg_mr(comm: *mut c_void, mhandle: *mut c_void) -> Result<(), Error> {
    // SAFETY: C1.
    unsafe { active()?.net().dereg_mr(comm, mhandle) }.map_err(inner("deregMr"))
}

/// regMrDmaBuf.
///
/// # Safety
/// C1, C3, C4.
pub(super) unsafe fn reg_mr_dmabuf(
    comm: *mut c_void,
    memory: (*mut c_void, usize, c_int),
    offset: u64,
    fd: c_int,
    mhandle: *mut *mut c_void,
) -> Result<(), Error> {
    // SAFETY: C3.
    let mhandle = unsafe { out(mhandle, null_mut(), "mhandle") }?;
    let (data, size, kind) = memory;
    // SAFETY: C1, C4.
    *mhandle = unsafe { active()?.net().reg_mr_dmabuf(comm, data, size, MemoryKind(kind), offset, fd) }
        .map_err(inner("regMrDmaBuf"))?;
    Ok(())
}

/// getDeviceMr.
///
/// # Safety
/// C1, C3.
pub(super) unsafe fn get_device_mr(
    comm: *mut c_void,
    mhandle: *mut c_void,
    device: *mut *mut c_void,
) -> Result<(), Error> {
    // SAFETY: C3.
    let device = unsafe { out(device, null_mut(), "dptr_mhandle") }?;
    // SAFETY: C1.
    *device = unsafe { active()?.net().get_device_mr(comm, mhandle) }.map_err(inner("getDeviceMr"))?;
    Ok(())
}

/// irecvConsumed.
///
/// # Safety
/// C1.
pub(super) unsafe fn irecv_consumed(
    comm: *mut c_void,
    count: c_int,
    request: *mut c_void,
) -> Result<(), Error> {
    // SAFETY: C1.
    unsafe { active()?.net().irecv_consumed(comm, count, request) }.map_err(inner("irecvConsumed"))
}

/// makeVDevice.
///
/// # Safety
/// C3.
pub(super) unsafe fn make_vdevice(dev: *mut c_int, members: Option<VirtualDevice>) -> Result<(), Error> {
    // SAFETY: C3.
    let dev = unsafe { out(dev, -1, "d") }?;
    let members = members.ok_or(Error::BadArgument { what: "props" })?;
    *dev = active()?.net().make_vdevice(&members).map_err(inner("makeVDevice"))?;
    Ok(())
}

/// setNetAttr.
///
/// # Safety
/// C1; `attr` is NULL or C3.
pub(super) unsafe fn set_net_attr(context: *mut c_void, attr: *mut ncclNetAttr_v11_t) -> Result<(), Error> {
    // SAFETY: C3.
    let attr = unsafe { attr.as_mut() }.ok_or(Error::BadArgument { what: "netAttr" })?;
    let plugin = active()?;
    let context = plugin.context(Some(context))?;
    // SAFETY: C1.
    unsafe { plugin.net().set_net_attr(context, attr) }.map_err(inner("setNetAttr"))
}
