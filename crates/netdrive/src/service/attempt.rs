//! A connect or accept that is called until it gives a comm.

use std::ffi::c_int;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use nccl_net_abi::bindings::{ncclNetAttr_v11_t, ncclNetCommAttr_v11_t, ncclNetDeviceHandle_v7_t};
use nccl_net_abi::{Code, Net};

use super::Desk;
use crate::handle::HandleBuffer;
use crate::memory::Token;
use crate::{Abort, Error};

/// A connect or accept that is called until it gives a comm.
pub(crate) struct Attempt {
    what: Attempting,
    step: Step,
    /// Preset NULL and to stay so: all devices here are host devices.
    device: DeviceSlot,
    began: Instant,
    timeout: Duration,
    abort: Abort,
    /// False once nobody waits any longer.
    wanted: Arc<AtomicBool>,
    reply: Sender<Result<Token, Error>>,
}

/// Which of the two.
pub(crate) enum Attempting {
    /// From a device; the buffer holds the handle and, between calls, the net's state.
    Connect(c_int, HandleBuffer),
    /// On a listener, which is closed as soon as the comm is there.
    Accept(Token),
}

/// Whether the net has been called yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    First,
    Again,
}

struct DeviceSlot(*mut ncclNetDeviceHandle_v7_t);

// SAFETY: the pointer is NULL, or an error is reported and nobody follows it.
unsafe impl Send for DeviceSlot {}

impl Attempt {
    pub(crate) fn new(
        what: Attempting,
        timeout: Duration,
        abort: Abort,
        wanted: Arc<AtomicBool>,
        reply: Sender<Result<Token, Error>>,
    ) -> Self {
        let device = DeviceSlot(null_mut());
        Self { what, step: Step::First, device, began: Instant::now(), timeout, abort, wanted, reply }
    }

    /// Calls the net once. Gives the attempt back if it isn't done.
    pub(crate) fn poll(mut self: Box<Self>, desk: &mut Desk) -> Option<Box<Self>> {
        if !self.wanted.load(Ordering::Acquire) {
            self.abandon(desk);
            return None;
        }
        let call = self.what.call();
        let result = match self.call(desk) {
            Ok(None) => {
                let stop = self.abort.check().err().or_else(|| {
                    let waited = self.began.elapsed();
                    let net = desk.table.name.clone();
                    (waited > self.timeout).then_some(Error::ConnectTimeout { net, call, waited })
                });
                match stop {
                    None => return Some(self),
                    Some(error) => Err(error),
                }
            }
            Ok(Some(comm)) => Ok(comm),
            Err(error) => Err(error),
        };
        let Self { what, reply, .. } = *self;
        let closed = what.finish(desk);
        // Who waits takes the answer, or fetches it when it gives up: `Pending` sees to that.
        let _ = reply.send(result.and_then(|comm| closed.map(|()| comm)));
        None
    }

    /// Gives up. NCCL leaks the listener of an accept that never came; a process that goes on should not.
    pub(crate) fn abandon(self, desk: &mut Desk) {
        if let Err(error) = self.what.finish(desk) {
            log::warn!("{error}");
        }
    }

    fn call(&mut self, desk: &Desk) -> Result<Option<Token>, Error> {
        let table = &desk.table;
        if table.net.capabilities().set_net_attr {
            // NCCL tells its hints before each call.
            // SAFETY: the context is this net's.
            unsafe { table.net.set_net_attr(table.context, &mut undefined()) }
                .map_err(table.failed("setNetAttr"))?;
        }
        let device = &raw mut self.device.0;
        let result: Result<_, Code> = match &mut self.what {
            Attempting::Connect(dev, buffer) => {
                if self.step == Step::First {
                    // Once per connection, in the proxy's set-up.
                    table.net.properties(*dev).map_err(table.failed("getProperties"))?;
                }
                // SAFETY: C2: the buffer lives in `self` until the net is done; `device` is preset.
                unsafe { table.net.connect(table.context, *dev, buffer.pointer(), device) }
            }
            // SAFETY: C1: the listener is this net's and open until `finish`.
            Attempting::Accept(listener) => unsafe { table.net.accept(listener.get(), device) },
        };
        self.step = Step::Again;
        let call = self.what.call();
        let comm = result.map_err(table.failed(call))?;
        if !self.device.0.is_null() {
            return Err(Error::DeviceHandle { net: table.name.clone(), call });
        }
        Ok((!comm.is_null()).then_some(Token::new(comm)))
    }
}

impl Attempting {
    const fn call(&self) -> &'static str {
        match self {
            Self::Connect(..) => "connect",
            Self::Accept(..) => "accept",
        }
    }

    /// The buffer goes back, the listener is closed.
    fn finish(self, desk: &mut Desk) -> Result<(), Error> {
        match self {
            Self::Connect(_, buffer) => {
                desk.buffers.give_back(buffer);
                Ok(())
            }
            Self::Accept(listener) => {
                // SAFETY: C1: this net's listener, not used again.
                unsafe { desk.table.net.close_listen(listener.get()) }
                    .map_err(desk.table.failed("closeListen"))
            }
        }
    }
}

/// Hints that say nothing.
fn undefined() -> ncclNetAttr_v11_t {
    let comm = ncclNetCommAttr_v11_t {
        maxConcurrentPeers: -1,
        minConcurrentPeers: -1,
        maxFlowsPerPeer: -1,
        minFlowsPerPeer: -1,
    };
    ncclNetAttr_v11_t {
        sendCommAttr: comm,
        recvCommAttr: comm,
        op: u32::MAX,
        algo: u32::MAX,
        proto: u32::MAX,
    }
}
