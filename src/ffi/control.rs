//! What NCCL's calls come to when a connection is made or ended, whatever their version.

use std::ffi::{c_int, c_void};
use std::ptr::{null_mut, write_bytes};
use std::sync::atomic::{AtomicPtr, Ordering};

use nccl_net_abi::bindings::{
    NCCL_NET_TRAFFIC_CLASS_UNDEF, ncclDebugLogger_t, ncclNetCommConfig_v10_t, ncclNetDeviceHandle_v7_t,
    ncclProfilerCallback_t,
};
use nccl_net_abi::{Code, Context, Init, Logger, Properties, Version};

use super::{out, tables};
use crate::error::Error;
use crate::handle::{self, Bytes, PATTERN, TRAILER};
use crate::plugin::{self, Plugin};

/// The plugin of the last successful init in this process.
///
/// Read on the data path, where a look at the process id would cost a system call per message.
static ACTIVE: AtomicPtr<Plugin> = AtomicPtr::new(null_mut());

/// The plugin, after init.
///
/// # Errors
/// Before init.
pub(super) fn active() -> Result<&'static Plugin, Error> {
    // SAFETY: NULL, or a `&'static Plugin` that `init` stored.
    unsafe { ACTIVE.load(Ordering::Acquire).as_ref() }.ok_or(Error::NotInitialised)
}

fn inner(call: &'static str) -> impl FnOnce(Code) -> Error {
    move |code| Error::Inner { call, code }
}

/// init of any version; gives the context for those that have one.
///
/// # Safety
/// C5.
pub(super) unsafe fn init(
    version: Version,
    logger: ncclDebugLogger_t,
    profiler: ncclProfilerCallback_t,
    comm_id: u64,
    traffic_class: Option<c_int>,
) -> Result<*mut c_void, Error> {
    // SAFETY: C5: NCCL's own logger.
    let logger = unsafe { Logger::new(logger) }.ok_or(Error::NoLogger)?;
    let init = Init { logger, profiler, comm_id, traffic_class };
    let (plugin, context) = match plugin::init(version, &init, tables::install) {
        Ok(ready) => ready,
        Err(error) => {
            // The first failure of all happens before anybody has set up where messages go.
            crate::log::attach_if_none(logger, log::LevelFilter::Warn);
            return Err(error);
        }
    };
    ACTIVE.store(std::ptr::from_ref(plugin).cast_mut(), Ordering::Release);
    Ok(context)
}

/// The traffic class of a config, which may be NULL.
///
/// # Safety
/// NULL, or readable during the call.
pub(super) unsafe fn traffic_class(config: *const ncclNetCommConfig_v10_t) -> Option<c_int> {
    // SAFETY: caller's contract.
    let class = unsafe { config.as_ref() }?.trafficClass;
    (class != NCCL_NET_TRAFFIC_CLASS_UNDEF).then_some(class)
}

/// devices.
///
/// # Safety
/// C3.
pub(super) unsafe fn devices(count: *mut c_int) -> Result<(), Error> {
    // SAFETY: C3.
    let count = unsafe { out(count, 0, "ndev") }?;
    *count = active()?.net().devices().map_err(inner("devices"))?;
    Ok(())
}

/// getProperties, up to the version's own structure.
pub(super) fn properties(dev: c_int) -> Result<Properties, Error> {
    active()?.net().properties(dev).map_err(inner("getProperties"))
}

/// listen: the inner transport's, then our trailer behind it.
///
/// # Safety
/// C1, C2, C3.
pub(super) unsafe fn listen(
    context: Option<*mut c_void>,
    dev: c_int,
    handle: *mut c_void,
    comm: *mut *mut c_void,
) -> Result<(), Error> {
    // SAFETY: C3.
    let comm = unsafe { out(comm, null_mut(), "listenComm") }?;
    if handle.is_null() {
        return Err(Error::BadArgument { what: "handle" });
    }
    let plugin = active()?;
    let context = plugin.context(context)?;
    // SAFETY: C2: the trailer lies inside the 128 bytes.
    let place = unsafe { handle.byte_add(TRAILER.start) }.cast::<[u8; PATTERN.len()]>();
    // SAFETY: C2; the type has alignment 1.
    unsafe { place.write(PATTERN) };
    // SAFETY: C1, C2.
    let listener = unsafe { plugin.net().listen(context, dev, handle) }.map_err(inner("listen"))?;
    // SAFETY: C2.
    let bytes = unsafe { read(handle) };
    // A transport that uses these bytes itself keeps them; its peers then find no trailer.
    if bytes.get(TRAILER) == Some(&PATTERN[..]) {
        let trailer = plugin.trailer(dev, &bytes).encode();
        // SAFETY: C2, as above.
        unsafe { place.write(trailer) };
    }
    *comm = listener;
    Ok(())
}

/// connect: steers, then calls the inner transport's.
///
/// `config` is v10's; other versions know the traffic class from init.
///
/// # Safety
/// C1, C2, C3; `device` is NULL or C3.
pub(super) unsafe fn connect(
    context: Option<*mut c_void>,
    config: Option<Option<c_int>>,
    dev: c_int,
    handle: *mut c_void,
    comm: *mut *mut c_void,
    device: *mut *mut ncclNetDeviceHandle_v7_t,
) -> Result<(), Error> {
    // SAFETY: C3.
    let comm = unsafe { out(comm, null_mut(), "sendComm") }?;
    if handle.is_null() {
        return Err(Error::BadArgument { what: "handle" });
    }
    let plugin = active()?;
    let mut context = plugin.context(context)?;
    if let Some(traffic_class) = config {
        context = Context { traffic_class, ..context };
    }
    // SAFETY: C2.
    let bytes = unsafe { read(handle) };
    *comm = plugin.connect(dev, handle.addr(), &bytes, || {
        // SAFETY: C1, C2, C3: NCCL's own arguments, handed on.
        unsafe { plugin.net().connect(context, dev, handle, device) }
    })?;
    Ok(())
}

/// accept: the inner transport's.
///
/// # Safety
/// C1, C3; `device` is NULL or C3.
pub(super) unsafe fn accept(
    listen_comm: *mut c_void,
    comm: *mut *mut c_void,
    device: *mut *mut ncclNetDeviceHandle_v7_t,
) -> Result<(), Error> {
    // SAFETY: C3.
    let comm = unsafe { out(comm, null_mut(), "recvComm") }?;
    // SAFETY: C1, C3.
    *comm = unsafe { active()?.net().accept(listen_comm, device) }.map_err(inner("accept"))?;
    Ok(())
}

/// closeSend: the inner transport's, then the path is given back.
///
/// # Safety
/// C1.
pub(super) unsafe fn close_send(comm: *mut c_void) -> Result<(), Error> {
    let plugin = active()?;
    // Taken before the close: another thread's connect may get a comm at the same address right after it.
    let path = plugin.take_path(comm);
    // SAFETY: C1.
    let result = unsafe { plugin.net().close_send(comm) }.map_err(inner("closeSend"));
    // Given back after it, and whatever came of it: NCCL won't close it again.
    plugin.closed(path);
    result
}

/// closeRecv: the inner transport's.
///
/// # Safety
/// C1.
pub(super) unsafe fn close_recv(comm: *mut c_void) -> Result<(), Error> {
    // SAFETY: C1.
    unsafe { active()?.net().close_recv(comm) }.map_err(inner("closeRecv"))
}

/// closeListen: the inner transport's.
///
/// # Safety
/// C1.
pub(super) unsafe fn close_listen(comm: *mut c_void) -> Result<(), Error> {
    // SAFETY: C1.
    unsafe { active()?.net().close_listen(comm) }.map_err(inner("closeListen"))
}

/// A copy of the handle.
///
/// # Safety
/// C2.
unsafe fn read(handle: *const c_void) -> Bytes {
    // SAFETY: C2: 128 bytes; the type has alignment 1.
    unsafe { handle.cast::<[u8; handle::SIZE]>().read() }
}

/// Zeroes what a table's function would have filled in, so that a caller that ignores the error reads nothing old.
///
/// # Safety
/// C3.
pub(super) unsafe fn zeroed<'a, T>(pointer: *mut T, what: &'static str) -> Result<&'a mut T, Error> {
    if pointer.is_null() {
        return Err(Error::BadArgument { what });
    }
    // SAFETY: C3, and all our structures are plain data for which zero is valid.
    unsafe { write_bytes(pointer, 0, 1) };
    // SAFETY: C3.
    Ok(unsafe { &mut *pointer })
}
