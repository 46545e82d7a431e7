//! The plugin, built as it is shipped, around a net whose every call panics.
//!
//! A shared object of its own: production code has no switch that makes it fail. `tests/abi_panics.rs` loads it.

#![allow(clippy::panic, reason = "that is what it is for")]

use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use nccl_net_abi::bindings::{ncclNetAttr_v11_t, ncclNetDeviceHandle_v7_t};
use nccl_net_abi::{
    Capabilities, Code, Context, Init, MemoryKind, Net, Properties, Receives, Version, VirtualDevice,
};

struct Panicking {
    /// devices works once: init needs to see one.
    seen: AtomicBool,
}

static PANICKING: Panicking = Panicking { seen: AtomicBool::new(false) };

extern "C" fn install() {
    nccl_net_srv6::wrap(&PANICKING);
}

/// Runs when the library is loaded.
#[used]
#[unsafe(link_section = ".init_array")]
static INSTALL: extern "C" fn() = install;

impl Net for Panicking {
    fn name(&self) -> &CStr {
        c"Panicking"
    }

    fn version(&self) -> Option<Version> {
        None
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            reg_mr_dmabuf: true,
            get_device_mr: true,
            irecv_consumed: true,
            make_vdevice: true,
            finalize: false,
            set_net_attr: true,
        }
    }

    fn init(&self, _: &Init) -> Result<Context, Code> {
        Ok(Context::NONE)
    }

    unsafe fn finalize(&self, _: Context) -> Result<(), Code> {
        panic!("finalize, on purpose")
    }

    fn devices(&self) -> Result<c_int, Code> {
        if self.seen.swap(true, Ordering::Relaxed) {
            panic!("devices, on purpose")
        }
        Ok(1)
    }

    fn properties(&self, _: c_int) -> Result<Properties, Code> {
        panic!("properties, on purpose")
    }

    unsafe fn listen(&self, _: Context, _: c_int, _: *mut c_void) -> Result<*mut c_void, Code> {
        panic!("listen, on purpose")
    }

    unsafe fn connect(
        &self,
        _: Context,
        _: c_int,
        _: *mut c_void,
        _: *mut *mut ncclNetDeviceHandle_v7_t,
    ) -> Result<*mut c_void, Code> {
        panic!("connect, on purpose")
    }

    unsafe fn accept(
        &self,
        _: *mut c_void,
        _: *mut *mut ncclNetDeviceHandle_v7_t,
    ) -> Result<*mut c_void, Code> {
        panic!("accept, on purpose")
    }

    unsafe fn reg_mr(
        &self,
        _: *mut c_void,
        _: *mut c_void,
        _: usize,
        _: MemoryKind,
    ) -> Result<*mut c_void, Code> {
        panic!("reg_mr, on purpose")
    }

    unsafe fn reg_mr_dmabuf(
        &self,
        _: *mut c_void,
        _: *mut c_void,
        _: usize,
        _: MemoryKind,
        _: u64,
        _: c_int,
    ) -> Result<*mut c_void, Code> {
        panic!("reg_mr_dmabuf, on purpose")
    }

    unsafe fn dereg_mr(&self, _: *mut c_void, _: *mut c_void) -> Result<(), Code> {
        panic!("dereg_mr, on purpose")
    }

    unsafe fn isend(
        &self,
        _: *mut c_void,
        _: *mut c_void,
        _: usize,
        _: c_int,
        _: *mut c_void,
        _: *mut c_void,
    ) -> Result<*mut c_void, Code> {
        panic!("isend, on purpose")
    }

    unsafe fn irecv(&self, _: *mut c_void, _: &Receives, _: &mut *mut c_void) -> Result<(), Code> {
        panic!("irecv, on purpose")
    }

    unsafe fn iflush(
        &self,
        _: *mut c_void,
        _: c_int,
        _: *mut *mut c_void,
        _: *mut c_int,
        _: *mut *mut c_void,
    ) -> Result<*mut c_void, Code> {
        panic!("iflush, on purpose")
    }

    unsafe fn test(&self, _: *mut c_void, _: *mut c_int) -> Result<bool, Code> {
        panic!("test, on purpose")
    }

    unsafe fn close_send(&self, _: *mut c_void) -> Result<(), Code> {
        panic!("close_send, on purpose")
    }

    unsafe fn close_recv(&self, _: *mut c_void) -> Result<(), Code> {
        panic!("close_recv, on purpose")
    }

    unsafe fn close_listen(&self, _: *mut c_void) -> Result<(), Code> {
        panic!("close_listen, on purpose")
    }

    unsafe fn get_device_mr(&self, _: *mut c_void, _: *mut c_void) -> Result<*mut c_void, Code> {
        panic!("get_device_mr, on purpose")
    }

    unsafe fn irecv_consumed(&self, _: *mut c_void, _: c_int, _: *mut c_void) -> Result<(), Code> {
        panic!("irecv_consumed, on purpose")
    }

    fn make_vdevice(&self, _: &VirtualDevice) -> Result<c_int, Code> {
        panic!("make_vdevice, on purpose")
    }

    unsafe fn set_net_attr(&self, _: Context, _: &mut ncclNetAttr_v11_t) -> Result<(), Code> {
        panic!("set_net_attr, on purpose")
    }
}
