//! A loaded and initialised net with its two threads.

use std::collections::BTreeSet;
use std::ffi::c_int;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nccl_net_abi::bindings::NCCL_NET_DEVICE_HOST;
use nccl_net_abi::{AnyNet, Code, Context, Init, Logger, Net, Properties, Version};

use crate::idle::Waiting;
use crate::progress::{Progress, Pulse};
use crate::service::Service;
use crate::{Abort, Error, Handle, Listener, NetSource, SendComm};

/// How a net is driven.
#[derive(Debug, Clone)]
pub struct DriverOptions {
    /// The communicator's hash that init of v11 and later gets; the same on all ranks.
    pub comm_id: u64,
    /// The communicator's traffic class; `None` if undefined.
    pub traffic_class: Option<c_int>,
    /// How long a connect or accept may stay pending. NCCL would wait for ever.
    pub connect_timeout: Duration,
    /// What the progress thread does while no message ends.
    pub waiting: Waiting,
    /// Ends everything that is under way; keep a clone to give the order.
    pub abort: Abort,
}

impl Default for DriverOptions {
    fn default() -> Self {
        Self {
            comm_id: 0,
            traffic_class: None,
            connect_timeout: Duration::from_secs(30),
            waiting: Waiting::Nap,
            abort: Abort::default(),
        }
    }
}

/// A net driven as one rank's proxy does it: a service thread for set-up, a progress thread for data.
///
/// One per rank. Dropping the driver and everything made with it stops the threads and finalizes the net.
#[derive(Debug, Clone)]
pub struct Driver {
    inner: Arc<Inner>,
}

/// A device of the net.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    /// What calls name it by.
    pub index: usize,
    /// What it is.
    pub properties: Properties,
}

impl Device {
    /// The net's name for it.
    pub fn name(&self) -> String {
        self.properties.name.map_or_else(|| "?".to_owned(), |name| name.to_string_lossy().into_owned())
    }
}

impl Driver {
    /// Loads a table and does with it what NCCL does when a communicator is made: init, devices, getProperties.
    ///
    /// # Errors
    /// If there is no such table, or NCCL would not use it.
    pub fn load(source: &NetSource, options: &DriverOptions) -> Result<Self, Error> {
        let (net, logger) = source.load()?;
        let context = init(&net, logger, options)?;
        let table = Table { net, context, name: net.name().to_string_lossy().into_owned() };
        // Finalized from here on, whatever goes wrong.
        let mut inner = Inner {
            service: Service::start(&table)?,
            progress: Progress::start(options.waiting)?,
            table,
            devices: Vec::new(),
            options: options.clone(),
        };
        inner.devices = inner.table.devices()?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The net's name, as `NCCL_NET` would select it.
    pub fn name(&self) -> &str {
        &self.inner.table.name
    }

    /// The version of the table in use.
    pub fn version(&self) -> Version {
        self.inner.table.net.version()
    }

    /// The net's devices; at least one.
    pub fn devices(&self) -> &[Device] {
        &self.inner.devices
    }

    /// Shows whether anything moves.
    pub fn pulse(&self) -> Pulse {
        self.inner.progress.pulse().clone()
    }

    /// Opens a listener on a device and gives what describes it to a connecting rank.
    ///
    /// # Errors
    /// If there is no such device or the net refuses.
    pub fn listen(&self, dev: usize) -> Result<Listener, Error> {
        Listener::open(&self.inner, self.index(dev)?)
    }

    /// Starts to connect from a device to the listener that a handle describes.
    ///
    /// # Errors
    /// If there is no such device. What the net says comes from [`Pending::wait`](crate::Pending::wait).
    pub fn connect(&self, dev: usize, handle: &Handle) -> Result<crate::Pending<SendComm>, Error> {
        SendComm::connect(&self.inner, self.index(dev)?, handle)
    }

    fn index(&self, dev: usize) -> Result<c_int, Error> {
        let count = self.inner.devices.len();
        c_int::try_from(dev).ok().filter(|_| dev < count).ok_or_else(|| Error::NoSuchDevice {
            net: self.inner.table.name.clone(),
            dev,
            count,
        })
    }
}

/// A table and the context that init gave.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) net: AnyNet,
    pub(crate) context: Context,
    pub(crate) name: String,
}

impl Table {
    /// Turns a call's code into an error that names the call.
    pub(crate) fn failed(&self, call: &'static str) -> impl FnOnce(Code) -> Error {
        move |source| Error::Call { net: self.name.clone(), call, source }
    }

    /// devices and getProperties, with what NCCL refuses.
    fn devices(&self) -> Result<Vec<Device>, Error> {
        let count = self.net.devices().map_err(self.failed("devices"))?;
        if count <= 0 {
            return Err(Error::NoDevices { net: self.name.clone(), count });
        }
        (0..count).zip(0..).map(|(dev, index)| self.device(dev, index)).collect()
    }

    fn device(&self, dev: c_int, index: usize) -> Result<Device, Error> {
        let properties = self.net.properties(dev).map_err(self.failed("getProperties"))?;
        let refuse = |property, value, wanted| Error::Property {
            net: self.name.clone(),
            dev: index,
            property,
            value,
            wanted,
        };
        if properties.device_type != NCCL_NET_DEVICE_HOST {
            return Err(refuse("netDeviceType", properties.device_type.into(), "0 (host)"));
        }
        if !(1..=MAX_NET_SIZE_BYTES).contains(&properties.max_p2p_bytes) {
            let value = u64::try_from(properties.max_p2p_bytes).unwrap_or(u64::MAX);
            return Err(refuse("maxP2pBytes", value, "1 byte to 1 TiB"));
        }
        Ok(Device { index, properties })
    }
}

/// What the driver and everything made with it share.
pub(crate) struct Inner {
    pub(crate) table: Table,
    pub(crate) service: Service,
    pub(crate) progress: Progress,
    pub(crate) options: DriverOptions,
    devices: Vec<Device>,
}

impl Inner {
    /// How many receives one irecv may group on a device.
    pub(crate) fn max_recvs(&self, dev: usize) -> usize {
        let max = self.devices.get(dev).map_or(1, |device| device.properties.max_recvs);
        usize::try_from(max).unwrap_or(1).max(1)
    }
}

impl Driver {
    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // NCCL finalizes after its threads are joined.
        self.service.stop();
        self.progress.stop();
        if self.table.net.capabilities().finalize {
            // SAFETY: from this net's init; nothing made with it is left, and the threads are gone.
            if let Err(code) = unsafe { self.table.net.finalize(self.table.context) } {
                log::warn!("finalize of net {} failed: {code}", self.table.name);
            }
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("table", &self.table)
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

/// Tables up to v10 that were initialised: that happens once per process.
static INITIALISED: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

fn init(net: &AnyNet, logger: Logger, options: &DriverOptions) -> Result<Context, Error> {
    let init =
        Init { logger, profiler: None, comm_id: options.comm_id, traffic_class: options.traffic_class };
    let call = || {
        net.init(&init).map_err(|source| Error::Call {
            net: net.name().to_string_lossy().into_owned(),
            call: "init",
            source,
        })
    };
    // Held across init: NCCL serialises its selection of nets too.
    let mut initialised = INITIALISED.lock().unwrap_or_else(PoisonError::into_inner);
    let address = net.address().addr();
    if !net.version().has_context() && initialised.contains(&address) {
        return Ok(Context { raw: std::ptr::null_mut(), traffic_class: options.traffic_class });
    }
    let context = call()?;
    initialised.insert(address);
    Ok(context)
}

/// NCCL's upper bound of maxP2pBytes.
const MAX_NET_SIZE_BYTES: usize = 1 << 40;
