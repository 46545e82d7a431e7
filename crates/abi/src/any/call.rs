//! The calls: each converts to what its version's function takes.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::null_mut;

use super::sizes::{NarrowSizes, narrow};
use super::{AnyNet, Table, member};
use crate::bindings::{
    NCCL_NET_TRAFFIC_CLASS_UNDEF, ncclNetAttr_v11_t, ncclNetCommConfig_v10_t, ncclNetDeviceHandle_v7_t,
};
use crate::{
    Capabilities, Code, Context, Init, MemoryKind, Net, Properties, Receives, Version, VirtualDevice,
};

/// A member that may be NULL. `from_raw` saw the mandatory ones; a caller that ignores
/// [`Capabilities`], or a table edited since, gets an error.
fn present<F>(member: Option<F>) -> Result<F, Code> {
    member.ok_or(Code::INTERNAL_ERROR)
}

/// Calls a member that has the same type in all these versions and checks what it returns.
macro_rules! call {
    ($self:ident, $versions:tt, $field:ident($($argument:expr),*)) => {{
        let function = present(call!(@ $self, $versions, $field))?;
        // SAFETY: `from_raw`'s contract for the function, the caller's for its arguments; out pointers are locals.
        Code::check(unsafe { function($($argument),*) })
    }};
    (@ $self:ident, [$($version:ident)+], $field:ident) => { member!($self.table, $field, $($version)|+) };
}

/// `call!` for the members that never changed.
macro_rules! call_any {
    ($self:ident, $field:ident($($argument:expr),*)) => {
        call!($self, [V6 V7 V8 V9 V10 V11 V12], $field($($argument),*))
    };
}

/// The device's properties through one version's structure.
macro_rules! properties {
    ($self:ident, $dev:ident, [$($version:ident)+], $read:ident) => {{
        let mut raw = Default::default();
        call!($self, [$($version)+], getProperties($dev, &raw mut raw))?;
        // SAFETY: NCCL's contract for name and pciPath: valid as long as the process.
        Ok(unsafe { Properties::$read($dev, &raw) })
    }};
}

impl Net for AnyNet {
    fn name(&self) -> &CStr {
        self.name()
    }

    fn version(&self) -> Option<Version> {
        Some(self.version())
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities()
    }

    fn init(&self, init: &Init) -> Result<Context, Code> {
        let logger = init.logger.raw();
        let mut context = Context { raw: null_mut(), traffic_class: init.traffic_class };
        match self.version() {
            Version::V6 | Version::V7 | Version::V8 | Version::V9 => {
                call!(self, [V6 V7 V8 V9], init(logger))?
            }
            Version::V10 => call!(self, [V10], init(logger, init.profiler))?,
            Version::V11 | Version::V12 => {
                // Never NULL: stock IB reads it.
                let mut config = ncclNetCommConfig_v10_t {
                    trafficClass: init.traffic_class.unwrap_or(NCCL_NET_TRAFFIC_CLASS_UNDEF),
                };
                call!(
                    self,
                    [V11 V12],
                    init(&raw mut context.raw, init.comm_id, &raw mut config, logger, init.profiler)
                )?;
            }
        }
        Ok(context)
    }

    unsafe fn finalize(&self, context: Context) -> Result<(), Code> {
        call!(self, [V11 V12], finalize(context.raw))
    }

    fn devices(&self) -> Result<c_int, Code> {
        let mut count = 0;
        call_any!(self, devices(&raw mut count))?;
        Ok(count)
    }

    fn properties(&self, dev: c_int) -> Result<Properties, Code> {
        match self.version() {
            Version::V6 => properties!(self, dev, [V6], from_v6),
            Version::V7 => properties!(self, dev, [V7], from_v7),
            Version::V8 => properties!(self, dev, [V8], from_v8),
            Version::V9 | Version::V10 => properties!(self, dev, [V9 V10], from_v9),
            Version::V11 => properties!(self, dev, [V11], from_v11),
            Version::V12 => properties!(self, dev, [V12], from_v12),
        }
    }

    unsafe fn listen(&self, context: Context, dev: c_int, handle: *mut c_void) -> Result<*mut c_void, Code> {
        let mut comm = null_mut();
        if self.version().has_context() {
            call!(self, [V11 V12], listen(context.raw, dev, handle, &raw mut comm))?;
        } else {
            call!(self, [V6 V7 V8 V9 V10], listen(dev, handle, &raw mut comm))?;
        }
        Ok(comm)
    }

    unsafe fn connect(
        &self,
        context: Context,
        dev: c_int,
        handle: *mut c_void,
        device: *mut *mut ncclNetDeviceHandle_v7_t,
    ) -> Result<*mut c_void, Code> {
        let mut comm = null_mut();
        match self.version() {
            Version::V6 => call!(self, [V6], connect(dev, handle, &raw mut comm))?,
            Version::V7 | Version::V8 | Version::V9 => {
                call!(self, [V7 V8 V9], connect(dev, handle, &raw mut comm, device))?;
            }
            Version::V10 => {
                // Here NULL is legal, and means what NCCL means when it passes NULL.
                let mut config =
                    context.traffic_class.map(|class| ncclNetCommConfig_v10_t { trafficClass: class });
                let config = config.as_mut().map_or(null_mut(), std::ptr::from_mut);
                call!(self, [V10], connect(dev, config, handle, &raw mut comm, device))?;
            }
            Version::V11 | Version::V12 => {
                call!(self, [V11 V12], connect(context.raw, dev, handle, &raw mut comm, device))?;
            }
        }
        Ok(comm)
    }

    unsafe fn accept(
        &self,
        listen_comm: *mut c_void,
        device: *mut *mut ncclNetDeviceHandle_v7_t,
    ) -> Result<*mut c_void, Code> {
        let mut comm = null_mut();
        if self.version() == Version::V6 {
            call!(self, [V6], accept(listen_comm, &raw mut comm))?;
        } else {
            call!(self, [V7 V8 V9 V10 V11 V12], accept(listen_comm, &raw mut comm, device))?;
        }
        Ok(comm)
    }

    unsafe fn reg_mr(
        &self,
        comm: *mut c_void,
        data: *mut c_void,
        size: usize,
        kind: MemoryKind,
    ) -> Result<*mut c_void, Code> {
        let mut mhandle = null_mut();
        match self.version() {
            Version::V6 | Version::V7 => {
                call!(self, [V6 V7], regMr(comm, data, narrow(size)?, kind.0, &raw mut mhandle))?;
            }
            _ => call!(self, [V8 V9 V10 V11 V12], regMr(comm, data, size, kind.0, &raw mut mhandle))?,
        }
        Ok(mhandle)
    }

    unsafe fn reg_mr_dmabuf(
        &self,
        comm: *mut c_void,
        data: *mut c_void,
        size: usize,
        kind: MemoryKind,
        offset: u64,
        fd: c_int,
    ) -> Result<*mut c_void, Code> {
        let mut mhandle = null_mut();
        call_any!(self, regMrDmaBuf(comm, data, size, kind.0, offset, fd, &raw mut mhandle))?;
        Ok(mhandle)
    }

    unsafe fn dereg_mr(&self, comm: *mut c_void, mhandle: *mut c_void) -> Result<(), Code> {
        call_any!(self, deregMr(comm, mhandle))
    }

    unsafe fn isend(
        &self,
        send_comm: *mut c_void,
        data: *mut c_void,
        size: usize,
        tag: c_int,
        mhandle: *mut c_void,
        phandle: *mut c_void,
    ) -> Result<*mut c_void, Code> {
        let mut request = null_mut();
        match self.version() {
            Version::V6 | Version::V7 | Version::V8 => {
                let size = narrow(size)?;
                call!(self, [V6 V7 V8], isend(send_comm, data, size, tag, mhandle, &raw mut request))?;
            }
            Version::V9 => call!(self, [V9], isend(send_comm, data, size, tag, mhandle, &raw mut request))?,
            Version::V10 | Version::V11 | Version::V12 => {
                call!(self, [V10 V11 V12], isend(send_comm, data, size, tag, mhandle, phandle, &raw mut request))?;
            }
        }
        Ok(request)
    }

    unsafe fn irecv(
        &self,
        recv_comm: *mut c_void,
        receives: &Receives,
        request: &mut *mut c_void,
    ) -> Result<(), Code> {
        let &Receives { count, data, sizes, tags, mhandles, phandles } = receives;
        match self.version() {
            Version::V6 | Version::V7 | Version::V8 => {
                // SAFETY: caller's contract on the arrays.
                let mut sizes = unsafe { NarrowSizes::new(receives) }?;
                // Tables of this age predate the hint and would take it for a request; NCCL clears it for them too.
                *request = null_mut();
                call!(self, [V6 V7 V8], irecv(recv_comm, count, data, sizes.as_mut_ptr(), tags, mhandles, request))
            }
            Version::V9 => call!(self, [V9], irecv(recv_comm, count, data, sizes, tags, mhandles, request)),
            Version::V10 | Version::V11 | Version::V12 => call!(
                self,
                [V10 V11 V12],
                irecv(recv_comm, count, data, sizes, tags, mhandles, phandles, request)
            ),
        }
    }

    unsafe fn iflush(
        &self,
        recv_comm: *mut c_void,
        count: c_int,
        data: *mut *mut c_void,
        sizes: *mut c_int,
        mhandles: *mut *mut c_void,
    ) -> Result<*mut c_void, Code> {
        let mut request = null_mut();
        call_any!(self, iflush(recv_comm, count, data, sizes, mhandles, &raw mut request))?;
        Ok(request)
    }

    unsafe fn test(&self, request: *mut c_void, sizes: *mut c_int) -> Result<bool, Code> {
        let mut done = 0;
        call_any!(self, test(request, &raw mut done, sizes))?;
        Ok(done != 0)
    }

    unsafe fn close_send(&self, send_comm: *mut c_void) -> Result<(), Code> {
        call_any!(self, closeSend(send_comm))
    }

    unsafe fn close_recv(&self, recv_comm: *mut c_void) -> Result<(), Code> {
        call_any!(self, closeRecv(recv_comm))
    }

    unsafe fn close_listen(&self, listen_comm: *mut c_void) -> Result<(), Code> {
        call_any!(self, closeListen(listen_comm))
    }

    unsafe fn get_device_mr(&self, comm: *mut c_void, mhandle: *mut c_void) -> Result<*mut c_void, Code> {
        let mut device_mhandle = null_mut();
        call!(self, [V7 V8 V9 V10 V11 V12], getDeviceMr(comm, mhandle, &raw mut device_mhandle))?;
        Ok(device_mhandle)
    }

    unsafe fn irecv_consumed(
        &self,
        recv_comm: *mut c_void,
        count: c_int,
        request: *mut c_void,
    ) -> Result<(), Code> {
        call!(self, [V7 V8 V9 V10 V11 V12], irecvConsumed(recv_comm, count, request))
    }

    fn make_vdevice(&self, members: &VirtualDevice) -> Result<c_int, Code> {
        let mut dev = -1;
        if self.version() == Version::V12 {
            let mut members = members.to_v12();
            call!(self, [V12], makeVDevice(&raw mut dev, &raw mut members))?;
        } else {
            let mut members = members.to_v9().ok_or(Code::INVALID_ARGUMENT)?;
            call!(self, [V9 V10 V11], makeVDevice(&raw mut dev, &raw mut members))?;
        }
        Ok(dev)
    }

    unsafe fn set_net_attr(&self, context: Context, attr: &mut ncclNetAttr_v11_t) -> Result<(), Code> {
        call!(self, [V11 V12], setNetAttr(context.raw, attr))
    }
}
