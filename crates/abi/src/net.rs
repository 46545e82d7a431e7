//! What a net transport does, whatever the version of its table.
//!
//! The contract of every call, on both sides, is NCCL's; the methods' `# Safety` sections refer to it by number.
//!
//! - C1: comms, memory handles and requests come from this same net and are not used after the call that ends them.
//! - C2: `handle` points to 128 bytes, of any alignment, readable and writable. listen fills them; connect may keep its
//!   state in them between calls and gets the same buffer until it is done.
//! - C3: data buffers outlive the request (until test says done) or the registration.
//! - C4: no call blocks. connect and accept give NULL and are called again; isend and irecv give NULL when they
//!   can't start now and are called again with the same arguments.
//! - C5: calls on different comms may run at the same time on different threads. On one comm, memory is registered by one
//!   thread while another sends; there is one sending thread per comm.

use std::ffi::{CStr, c_int, c_void};

use crate::bindings::{ncclNetAttr_v11_t, ncclNetDeviceHandle_v7_t, ncclProfilerCallback_t};
use crate::{Code, Logger, MemoryKind, Properties, Version, VirtualDevice};

/// Which of the optional members a net has.
///
/// Being NULL is how a table says "not supported", so a table that stands for another shows the same NULLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// `regMrDmaBuf`.
    pub reg_mr_dmabuf: bool,
    /// `getDeviceMr`.
    pub get_device_mr: bool,
    /// `irecvConsumed`.
    pub irecv_consumed: bool,
    /// `makeVDevice`.
    pub make_vdevice: bool,
    /// `finalize`.
    pub finalize: bool,
    /// `setNetAttr`.
    pub set_net_attr: bool,
}

/// What init gets.
#[derive(Debug, Clone, Copy)]
pub struct Init {
    /// Where to log.
    pub logger: Logger,
    /// Profiler hook (v10 and later), passed on as it is.
    pub profiler: ncclProfilerCallback_t,
    /// The communicator's hash, the same on all its ranks (v11 and later; else 0).
    pub comm_id: u64,
    /// The communicator's traffic class (v11 and later); `None` if undefined.
    pub traffic_class: Option<c_int>,
}

/// What init gives: goes with listen, connect, setNetAttr and finalize.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The net's own pointer; NULL before v11, and with stock Socket in every version.
    pub raw: *mut c_void,
    /// Traffic class for connects, as far as the net takes it there (v10); `None` if undefined.
    pub traffic_class: Option<c_int>,
}

// SAFETY: the pointer is the net's token; C5 lets any thread present it.
unsafe impl Send for Context {}
// SAFETY: as above; nothing here reads through the pointer.
unsafe impl Sync for Context {}

impl Context {
    /// The context of a net that has none.
    pub const NONE: Self = Self { raw: std::ptr::null_mut(), traffic_class: None };
}

/// A grouped receive: `count` entries in each array, NULL where a whole array is missing.
#[derive(Debug, Clone, Copy)]
pub struct Receives {
    /// Entries; 1 unless `Properties::max_recvs` allows more.
    pub count: c_int,
    /// Buffers.
    pub data: *mut *mut c_void,
    /// Upper bounds, bytes.
    pub sizes: *mut usize,
    /// The senders' tags.
    pub tags: *mut c_int,
    /// Registrations of the buffers.
    pub mhandles: *mut *mut c_void,
    /// Profiler handles (v10 and later), or NULL.
    pub phandles: *mut *mut c_void,
}

/// A net transport. Every NULL comm or request that a method gives means "not yet", as in C.
pub trait Net: Send + Sync {
    /// The name that NCCL logs and that `NCCL_NET` selects.
    fn name(&self) -> &CStr;

    /// The version of the table behind it; `None` if it is none.
    fn version(&self) -> Option<Version>;

    /// Which optional members there are.
    fn capabilities(&self) -> Capabilities;

    /// Starts the net: once per communicator if its version [has a context](Version::has_context), else once.
    ///
    /// # Errors
    /// The net's code.
    fn init(&self, init: &Init) -> Result<Context, Code>;

    /// Ends what one init began. Only if [`Capabilities::finalize`].
    ///
    /// # Safety
    /// `context` came from [`Net::init`] and is not used again.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn finalize(&self, context: Context) -> Result<(), Code>;

    /// How many devices there are now; more after [`Net::make_vdevice`].
    ///
    /// # Errors
    /// The net's code.
    fn devices(&self) -> Result<c_int, Code>;

    /// What device `dev` is.
    ///
    /// # Errors
    /// The net's code.
    fn properties(&self, dev: c_int) -> Result<Properties, Code>;

    /// Opens a listener and describes it in `handle`.
    ///
    /// # Safety
    /// C2; `context` is of this net.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn listen(&self, context: Context, dev: c_int, handle: *mut c_void) -> Result<*mut c_void, Code>;

    /// Moves a connect on; NULL until it is done.
    ///
    /// # Safety
    /// C2; `context` is of this net; `device` is NULL or points to a pointer that NCCL preset.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn connect(
        &self,
        context: Context,
        dev: c_int,
        handle: *mut c_void,
        device: *mut *mut ncclNetDeviceHandle_v7_t,
    ) -> Result<*mut c_void, Code>;

    /// Moves an accept on; NULL until it is done.
    ///
    /// # Safety
    /// C1; `device` as in [`Net::connect`].
    ///
    /// # Errors
    /// The net's code.
    unsafe fn accept(
        &self,
        listen_comm: *mut c_void,
        device: *mut *mut ncclNetDeviceHandle_v7_t,
    ) -> Result<*mut c_void, Code>;

    /// Registers memory for use on a send or receive comm.
    ///
    /// # Safety
    /// C1, C3.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn reg_mr(
        &self,
        comm: *mut c_void,
        data: *mut c_void,
        size: usize,
        kind: MemoryKind,
    ) -> Result<*mut c_void, Code>;

    /// Registers memory behind a DMA-BUF. Only if [`Capabilities::reg_mr_dmabuf`].
    ///
    /// # Safety
    /// C1, C3; `fd` is open.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn reg_mr_dmabuf(
        &self,
        comm: *mut c_void,
        data: *mut c_void,
        size: usize,
        kind: MemoryKind,
        offset: u64,
        fd: c_int,
    ) -> Result<*mut c_void, Code>;

    /// Ends a registration.
    ///
    /// # Safety
    /// C1.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn dereg_mr(&self, comm: *mut c_void, mhandle: *mut c_void) -> Result<(), Code>;

    /// Starts a send; NULL if it can't start now. Doesn't allocate here.
    ///
    /// # Safety
    /// C1, C3.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn isend(
        &self,
        send_comm: *mut c_void,
        data: *mut c_void,
        size: usize,
        tag: c_int,
        mhandle: *mut c_void,
        phandle: *mut c_void,
    ) -> Result<*mut c_void, Code>;

    /// Starts a receive. Doesn't allocate here.
    ///
    /// `request` goes in with what NCCL put there
    /// ([`NCCL_NET_OPTIONAL_RECV_COMPLETION`](crate::bindings::NCCL_NET_OPTIONAL_RECV_COMPLETION) or NULL) and comes
    /// back with the request, or NULL if it can't start now.
    ///
    /// # Safety
    /// C1, C3; the arrays of `receives` are valid during the call.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn irecv(
        &self,
        recv_comm: *mut c_void,
        receives: &Receives,
        request: &mut *mut c_void,
    ) -> Result<(), Code>;

    /// Makes received data visible to the GPU; NULL if there is nothing to wait for.
    ///
    /// # Safety
    /// C1, C3; `data`, `sizes` and `mhandles` have `count` entries.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn iflush(
        &self,
        recv_comm: *mut c_void,
        count: c_int,
        data: *mut *mut c_void,
        sizes: *mut c_int,
        mhandles: *mut *mut c_void,
    ) -> Result<*mut c_void, Code>;

    /// Moves a request on and says whether it is done; then it is gone.
    ///
    /// `sizes` is NULL, or takes one size per receive of the request.
    ///
    /// # Safety
    /// C1.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn test(&self, request: *mut c_void, sizes: *mut c_int) -> Result<bool, Code>;

    /// Closes a send comm.
    ///
    /// # Safety
    /// C1.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn close_send(&self, send_comm: *mut c_void) -> Result<(), Code>;

    /// Closes a receive comm.
    ///
    /// # Safety
    /// C1.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn close_recv(&self, recv_comm: *mut c_void) -> Result<(), Code>;

    /// Closes a listener.
    ///
    /// # Safety
    /// C1.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn close_listen(&self, listen_comm: *mut c_void) -> Result<(), Code>;

    /// The device's view of a registration. Only if [`Capabilities::get_device_mr`].
    ///
    /// # Safety
    /// C1.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn get_device_mr(&self, comm: *mut c_void, mhandle: *mut c_void) -> Result<*mut c_void, Code>;

    /// Tells that a kernel has consumed a receive. Only if [`Capabilities::irecv_consumed`].
    ///
    /// # Safety
    /// C1.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn irecv_consumed(
        &self,
        recv_comm: *mut c_void,
        count: c_int,
        request: *mut c_void,
    ) -> Result<(), Code>;

    /// Joins devices into one and gives its index. Only if [`Capabilities::make_vdevice`].
    ///
    /// # Errors
    /// The net's code.
    fn make_vdevice(&self, members: &VirtualDevice) -> Result<c_int, Code>;

    /// Takes hints about what a communicator will do. Only if [`Capabilities::set_net_attr`].
    ///
    /// # Safety
    /// `context` is of this net.
    ///
    /// # Errors
    /// The net's code.
    unsafe fn set_net_attr(&self, context: Context, attr: &mut ncclNetAttr_v11_t) -> Result<(), Code>;
}
