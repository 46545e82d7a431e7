//! The multipath transport as a net: raw pointers outside, `srv6-transport` inside.
//!
//! It has no C table. Our own functions stand in NCCL's table and call this. It steers its own connections, each over
//! several paths, so the plugin's connect passes them through.

mod accepting;
mod comm;
mod dialing;
mod hints;
mod interfaces;
mod lanes;

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int, c_void};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nccl_net_abi::bindings::{ncclNetAttr_v11_t, ncclNetDeviceHandle_v7_t};
use nccl_net_abi::{
    Capabilities, Code, Context, Init, MemoryKind, Net, Properties, Receives, Version, VirtualDevice,
};
use parking_lot::Mutex;
use srv6_fabric::chain;
use srv6_transport::{Config, ListenAddress, Listener, Share, Shares};

use crate::attempts::{Attempts, Key};
use crate::connect::Progress;
use crate::handle::{self, Bytes, Transport};
use crate::lifetime;
use accepting::Listening;
use comm::Comm;
use dialing::{Dialing, Way};
use hints::Follower;
use interfaces::Interface;
pub(crate) use interfaces::Rules;
use lanes::{Connected, HeldLanes};
pub(crate) use lanes::{LaneSource, Terms};

/// What the multipath transport is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Which interfaces become devices.
    pub(crate) rules: Rules,
    /// The transport's own settings.
    pub(crate) config: Config,
    /// Shares of a connection's subflows.
    pub(crate) shares: Vec<Share>,
    /// The file of hints that goes before them; none: nobody gives any.
    pub(crate) hints: Option<PathBuf>,
    /// What becomes of a connection without lanes.
    pub(crate) terms: Terms,
}

/// The multipath transport as a net.
pub(crate) struct Multipath {
    rules: Rules,
    config: Config,
    shares: Arc<Shares>,
    follower: Option<Follower>,
    terms: Terms,
    /// Unset: nobody steers.
    source: OnceLock<Box<dyn LaneSource>>,
    /// Found at init, the same for as long as the process lives.
    devices: OnceLock<Vec<Device>>,
    connecting: Mutex<Attempts<Dialing>>,
    /// The lanes of comms, by comm. Kept here and not in the comm, as NCCL leaks comms when a job aborts.
    held: Mutex<HashMap<usize, Arc<dyn HeldLanes>>>,
}

struct Device {
    interface: Interface,
    properties: Properties,
}

/// Where the listener of this handle listens; `None` if the handle isn't ours.
pub(crate) fn address(handle: &Bytes) -> Option<IpAddr> {
    Some(ListenAddress::decode(handle).ok()?.socket().ip())
}

impl Multipath {
    /// With these settings, and as yet with nobody who steers.
    pub(crate) fn new(settings: &Settings) -> Self {
        let shares = Arc::new(Shares::new());
        shares.set(&settings.shares);
        Self {
            rules: settings.rules.clone(),
            config: settings.config,
            shares,
            follower: settings.hints.as_deref().map(|file| Follower::new(file, &settings.shares)),
            terms: settings.terms,
            source: OnceLock::new(),
            devices: OnceLock::new(),
            connecting: Mutex::default(),
            held: Mutex::default(),
        }
    }

    /// From now on connections get their lanes from `source`; a second one is not taken.
    pub(crate) fn steer_by(&self, source: Box<dyn LaneSource>) {
        self.source.get_or_init(|| source);
    }

    fn source(&self) -> Option<&dyn LaneSource> {
        self.source.get().map(|source| &**source)
    }

    /// Gives every lane back and waits until routes and rules are withdrawn, for about `patience` at most.
    ///
    /// Never waits for a lock for long: a thread that exits may be inside one of our functions.
    pub(crate) fn give_all_back(&self, patience: Duration) {
        let connecting = self.connecting.try_lock_for(patience).map(|mut connecting| connecting.clear());
        let held = self.held.try_lock_for(patience).map(|mut held| std::mem::take(&mut *held));
        drop((connecting, held));
        if let Some(source) = self.source() {
            source.settle(patience);
        }
    }

    /// Keeps a comm's lanes for as long as it lives.
    fn keep(&self, comm: *mut c_void, lanes: Option<Arc<dyn HeldLanes>>) -> *mut c_void {
        if let Some(lanes) = lanes {
            self.held.lock().insert(comm.addr(), lanes);
        }
        comm
    }

    /// Closes a comm, then gives its lanes back: what it still has to send goes over them.
    ///
    /// # Safety
    /// As [`Comm::close`].
    unsafe fn close(&self, comm: *mut c_void) {
        let lanes = self.held.lock().remove(&comm.addr());
        // SAFETY: caller's contract.
        unsafe { Comm::close(comm) };
        drop(lanes);
    }

    fn device(&self, dev: c_int) -> Result<&Device, Code> {
        let index = usize::try_from(dev).map_err(|_| Code::INVALID_ARGUMENT)?;
        self.devices.get().and_then(|devices| devices.get(index)).ok_or(Code::INVALID_ARGUMENT)
    }
}

impl Device {
    /// Says of itself what NCCL's Socket would.
    fn new(interface: Interface, index: c_int) -> Self {
        let net = Path::new("/sys/class/net");
        let pci_path = interface.pci_path(net);
        let properties = Properties {
            name: leak(interface.name.as_bytes()),
            pci_path: pci_path.as_deref().and_then(|path| leak(path.as_os_str().as_bytes())),
            guid: u64::try_from(index).unwrap_or(0),
            speed: interface.speed(net),
            max_comms: 65_536,
            // Where NCCL's Socket stops, and so what NCCL is used to.
            max_coll_bytes: 512 << 20,
            ..Properties::new(index)
        };
        Self { interface, properties }
    }
}

/// A string for NCCL, which may keep it as long as the process lives.
fn leak(text: &[u8]) -> Option<&'static CStr> {
    Some(Box::leak(CString::new(text).ok()?.into_boxed_c_str()))
}

/// Logs why, where it is known; NCCL only gets a number.
fn code(error: &srv6_transport::Error) -> Code {
    log::warn!("multipath: {}", chain(error));
    match error {
        srv6_transport::Error::TooLong { .. } | srv6_transport::Error::Setting { .. } => Code::INVALID_USAGE,
        srv6_transport::Error::UnknownRequest(_) | srv6_transport::Error::Spent { .. } => {
            Code::INTERNAL_ERROR
        }
        error if error.is_remote() => Code::REMOTE_ERROR,
        _ => Code::SYSTEM_ERROR,
    }
}

impl Net for Multipath {
    fn name(&self) -> &CStr {
        c"Multipath"
    }

    fn version(&self) -> Option<Version> {
        None
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn init(&self, _init: &Init) -> Result<Context, Code> {
        self.config.check().map_err(|error| code(&error))?;
        lifetime::register();
        srv6_transport::serve_connections();
        if self.devices.get().is_none() {
            let interfaces = self.rules.choose().map_err(|error| {
                log::warn!("multipath: the interfaces of this host can't be read: {error}");
                Code::SYSTEM_ERROR
            })?;
            let devices =
                interfaces.into_iter().zip(0..).map(|(interface, index)| Device::new(interface, index));
            let devices = self.devices.get_or_init(|| devices.collect());
            for Device { interface, .. } in devices {
                log::info!("multipath: device {} at {}", interface.name, interface.address);
            }
        }
        Ok(Context::NONE)
    }

    unsafe fn finalize(&self, _context: Context) -> Result<(), Code> {
        Err(Code::INTERNAL_ERROR)
    }

    fn devices(&self) -> Result<c_int, Code> {
        let devices = self.devices.get().map_or(0, Vec::len);
        c_int::try_from(devices).map_err(|_| Code::INTERNAL_ERROR)
    }

    fn properties(&self, dev: c_int) -> Result<Properties, Code> {
        Ok(self.device(dev)?.properties)
    }

    unsafe fn listen(&self, _context: Context, dev: c_int, handle: *mut c_void) -> Result<*mut c_void, Code> {
        let Interface { address, name, .. } = &self.device(dev)?.interface;
        let listener = Listener::bind(*address, Some(name), &self.config).map_err(|error| code(&error))?;
        let bytes = listener.address().encode();
        // SAFETY: C2: 128 bytes; the type has alignment 1.
        unsafe { handle.cast::<[u8; ListenAddress::LEN]>().write(bytes) };
        Ok(Box::into_raw(Box::new(Listening::new(listener))).cast())
    }

    unsafe fn connect(
        &self,
        _context: Context,
        dev: c_int,
        handle: *mut c_void,
        _device: *mut *mut ncclNetDeviceHandle_v7_t,
    ) -> Result<*mut c_void, Code> {
        let now = Instant::now();
        // SAFETY: C2: 128 bytes; the type has alignment 1.
        let bytes = unsafe { handle.cast::<Bytes>().read() };
        let key =
            Key { buffer: handle.addr(), fingerprint: handle::fingerprint(&bytes, Transport::Multipath) };
        let (dialing, abandoned) = {
            let mut connecting = self.connecting.lock();
            (connecting.take(key), connecting.sweep(now))
        };
        drop(abandoned);
        let way = Way {
            config: &self.config,
            shares: &self.shares,
            follower: self.follower.as_ref(),
            source: self.source(),
            terms: self.terms,
        };
        let failed = |error: crate::error::Error| {
            log::warn!("multipath: {}", error.chain());
            error.code()
        };
        let mut dialing = match dialing {
            Some(dialing) => dialing,
            None => {
                let to = ListenAddress::decode(&bytes).map_err(|error| {
                    log::warn!("multipath: the peer's handle is not of this transport: {error}");
                    Code::INVALID_USAGE
                })?;
                Dialing::begin(to, self.device(dev)?.interface.address, &way, now).map_err(failed)?
            }
        };
        match dialing.poll(&way, now).map_err(failed)? {
            Progress::Ready(Connected { comm, held }) => Ok(self.keep(Comm::give_send(comm), held)),
            Progress::Pending => {
                self.connecting.lock().put_back(key, dialing, now);
                Ok(null_mut())
            }
        }
    }

    unsafe fn accept(
        &self,
        listen_comm: *mut c_void,
        _device: *mut *mut ncclNetDeviceHandle_v7_t,
    ) -> Result<*mut c_void, Code> {
        // SAFETY: C1: from `listen`; C5: one thread accepts on a listener.
        let listening = unsafe { listen_comm.cast::<Listening>().as_mut() }.ok_or(Code::INVALID_ARGUMENT)?;
        match listening.poll(self.source(), self.terms, Instant::now())? {
            Some(Connected { comm, held }) => Ok(self.keep(Comm::give_receive(comm), held)),
            None => Ok(null_mut()),
        }
    }

    unsafe fn reg_mr(
        &self,
        _comm: *mut c_void,
        _data: *mut c_void,
        _size: usize,
        kind: MemoryKind,
    ) -> Result<*mut c_void, Code> {
        // Sockets need no registration; device memory they can't reach, as ptrSupport says.
        if kind == MemoryKind::HOST { Ok(null_mut()) } else { Err(Code::INVALID_USAGE) }
    }

    unsafe fn reg_mr_dmabuf(
        &self,
        _comm: *mut c_void,
        _data: *mut c_void,
        _size: usize,
        _kind: MemoryKind,
        _offset: u64,
        _fd: c_int,
    ) -> Result<*mut c_void, Code> {
        Err(Code::INTERNAL_ERROR)
    }

    unsafe fn dereg_mr(&self, _comm: *mut c_void, _mhandle: *mut c_void) -> Result<(), Code> {
        Ok(())
    }

    unsafe fn isend(
        &self,
        send_comm: *mut c_void,
        data: *mut c_void,
        size: usize,
        _tag: c_int,
        _mhandle: *mut c_void,
        _phandle: *mut c_void,
    ) -> Result<*mut c_void, Code> {
        // SAFETY: C1, C3, C5.
        unsafe { Comm::post(send_comm, data, size) }
    }

    unsafe fn irecv(
        &self,
        recv_comm: *mut c_void,
        receives: &Receives,
        request: &mut *mut c_void,
    ) -> Result<(), Code> {
        *request = null_mut();
        // max_recvs is 1, so NCCL never groups.
        if receives.count != 1 || receives.data.is_null() || receives.sizes.is_null() {
            return Err(Code::INTERNAL_ERROR);
        }
        // SAFETY: the caller's arrays have `count` entries.
        let data = unsafe { receives.data.read() };
        // SAFETY: as above.
        let size = unsafe { receives.sizes.read() };
        // SAFETY: C1, C3, C5.
        *request = unsafe { Comm::post(recv_comm, data, size) }?;
        Ok(())
    }

    unsafe fn iflush(
        &self,
        _recv_comm: *mut c_void,
        _count: c_int,
        _data: *mut *mut c_void,
        _sizes: *mut c_int,
        _mhandles: *mut *mut c_void,
    ) -> Result<*mut c_void, Code> {
        // For received device memory only, of which there is none.
        Err(Code::INTERNAL_ERROR)
    }

    unsafe fn test(&self, request: *mut c_void, sizes: *mut c_int) -> Result<bool, Code> {
        // SAFETY: C1, C5.
        let Some(size) = (unsafe { Comm::test(request) })? else { return Ok(false) };
        // SAFETY: NULL, or room for one size per receive, of which there is one.
        if let Some(sizes) = unsafe { sizes.as_mut() } {
            *sizes = c_int::try_from(size).unwrap_or(c_int::MAX);
        }
        Ok(true)
    }

    unsafe fn close_send(&self, send_comm: *mut c_void) -> Result<(), Code> {
        // SAFETY: C1.
        unsafe { self.close(send_comm) };
        Ok(())
    }

    unsafe fn close_recv(&self, recv_comm: *mut c_void) -> Result<(), Code> {
        // SAFETY: C1.
        unsafe { self.close(recv_comm) };
        Ok(())
    }

    unsafe fn close_listen(&self, listen_comm: *mut c_void) -> Result<(), Code> {
        if !listen_comm.is_null() {
            // SAFETY: C1: from `listen`, and not used again.
            drop(unsafe { Box::from_raw(listen_comm.cast::<Listening>()) });
        }
        Ok(())
    }

    unsafe fn get_device_mr(&self, _comm: *mut c_void, _mhandle: *mut c_void) -> Result<*mut c_void, Code> {
        Err(Code::INTERNAL_ERROR)
    }

    unsafe fn irecv_consumed(
        &self,
        _recv_comm: *mut c_void,
        _count: c_int,
        _request: *mut c_void,
    ) -> Result<(), Code> {
        Err(Code::INTERNAL_ERROR)
    }

    fn make_vdevice(&self, _members: &VirtualDevice) -> Result<c_int, Code> {
        Err(Code::INTERNAL_ERROR)
    }

    unsafe fn set_net_attr(&self, _context: Context, _attr: &mut ncclNetAttr_v11_t) -> Result<(), Code> {
        Err(Code::INTERNAL_ERROR)
    }
}
