//! Listeners and comms: what the service thread makes, and closes.

use std::ffi::c_int;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use nccl_net_abi::{MemoryKind, Net};

use crate::driver::Inner;
use crate::memory::{Memory, Token};
use crate::service::{Attempt, Attempting};
use crate::{Error, Handle};

/// An open listener. Closed when dropped.
#[derive(Debug)]
pub struct Listener {
    inner: Arc<Inner>,
    raw: Option<Token>,
    handle: Handle,
}

impl Listener {
    pub(crate) fn open(inner: &Arc<Inner>, dev: c_int) -> Result<Self, Error> {
        let (raw, handle) = inner.service.call(move |desk| {
            let table = &desk.table;
            // Once per connection, in the proxy's set-up.
            table.net.properties(dev).map_err(table.failed("getProperties"))?;
            let mut buffer = desk.buffers.take();
            // SAFETY: C2: 128 bytes, owned here.
            let raw = unsafe { table.net.listen(table.context, dev, buffer.pointer()) };
            let handle = buffer.read();
            desk.buffers.give_back(buffer);
            let raw = raw.map_err(table.failed("listen"))?;
            if raw.is_null() {
                return Err(Error::Null { net: table.name.clone(), call: "listen" });
            }
            Ok((Token::new(raw), handle))
        })?;
        Ok(Self { inner: Arc::clone(inner), raw: Some(raw), handle })
    }

    /// What the connecting rank needs.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Starts to accept one connection. The listener is closed as soon as it is there, as NCCL does.
    ///
    /// # Errors
    /// If the service thread is gone. What the net says comes from [`Pending::wait`].
    pub fn accept(mut self) -> Result<Pending<RecvComm>, Error> {
        let inner = Arc::clone(&self.inner);
        match self.raw.take() {
            Some(raw) => Pending::start(inner, Attempting::Accept(raw), RecvComm::new),
            None => Err(Error::Null { net: inner.table.name.clone(), call: "listen" }),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(raw) = self.raw.take() else { return };
        let closed = self.inner.service.call(move |desk| {
            // SAFETY: C1: this net's listener, not used again.
            unsafe { desk.table.net.close_listen(raw.get()) }.map_err(desk.table.failed("closeListen"))
        });
        if let Err(error) = closed {
            log::warn!("{error}");
        }
    }
}

/// A connect or accept that the service thread is polling.
///
/// Dropped before it is done, it is abandoned; a comm that came meanwhile is closed.
#[derive(Debug)]
pub struct Pending<C> {
    inner: Arc<Inner>,
    answer: Option<Receiver<Result<Token, Error>>>,
    wanted: Arc<AtomicBool>,
    wrap: fn(Arc<Inner>, Token) -> C,
}

impl<C> Pending<C> {
    fn start(inner: Arc<Inner>, what: Attempting, wrap: fn(Arc<Inner>, Token) -> C) -> Result<Self, Error> {
        let (reply, answer) = channel();
        let wanted = Arc::new(AtomicBool::new(true));
        let (timeout, abort) = (inner.options.connect_timeout, inner.options.abort.clone());
        inner.service.poll(Attempt::new(what, timeout, abort, Arc::clone(&wanted), reply))?;
        Ok(Self { inner, answer: Some(answer), wanted, wrap })
    }

    /// Waits until it is done.
    ///
    /// # Errors
    /// If the net fails, the time is over or the driver's [`Abort`](crate::Abort) was ordered.
    pub fn wait(mut self) -> Result<C, Error> {
        let gone = Error::ThreadGone { name: "NCCL Service" };
        let Some(answer) = self.answer.take() else { return Err(gone) };
        let raw = answer.recv().map_err(|_| gone)??;
        Ok((self.wrap)(Arc::clone(&self.inner), raw))
    }
}

impl<C> Drop for Pending<C> {
    fn drop(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        self.wanted.store(false, Ordering::Release);
        // When the thread comes to this, a call that was under way has ended, and no other follows.
        let passed = self.inner.service.call(|_| Ok(()));
        if passed.is_ok()
            && let Ok(Ok(raw)) = answer.try_recv()
        {
            drop((self.wrap)(Arc::clone(&self.inner), raw));
        }
    }
}

/// The sending end of a connection. Registrations are ended and the comm is closed when dropped.
#[derive(Debug)]
pub struct SendComm(Comm);

impl SendComm {
    pub(crate) fn connect(inner: &Arc<Inner>, dev: c_int, handle: &Handle) -> Result<Pending<Self>, Error> {
        let handle = handle.clone();
        let buffer = inner.service.call(move |desk| {
            let mut buffer = desk.buffers.take();
            buffer.write(&handle);
            Ok(buffer)
        })?;
        Pending::start(Arc::clone(inner), Attempting::Connect(dev, buffer), |inner, raw| {
            Self(Comm { inner, raw, kind: Kind::Send, registered: Vec::new() })
        })
    }

    /// Closes the comm.
    ///
    /// # Errors
    /// What the net says to deregMr and closeSend.
    pub fn close(mut self) -> Result<(), Error> {
        self.0.close()
    }

    pub(crate) fn comm(&self) -> &Comm {
        &self.0
    }

    pub(crate) fn register(&mut self, memory: Memory) -> Result<Region, Error> {
        self.0.register(memory)
    }
}

/// The receiving end of a connection. Registrations are ended and the comm is closed when dropped.
#[derive(Debug)]
pub struct RecvComm(Comm);

impl RecvComm {
    fn new(inner: Arc<Inner>, raw: Token) -> Self {
        Self(Comm { inner, raw, kind: Kind::Recv, registered: Vec::new() })
    }

    /// Closes the comm.
    ///
    /// # Errors
    /// What the net says to deregMr and closeRecv.
    pub fn close(mut self) -> Result<(), Error> {
        self.0.close()
    }

    pub(crate) fn comm(&self) -> &Comm {
        &self.0
    }

    pub(crate) fn register(&mut self, memory: Memory) -> Result<Region, Error> {
        self.0.register(memory)
    }
}

/// What both ends have in common.
#[derive(Debug)]
pub(crate) struct Comm {
    inner: Arc<Inner>,
    raw: Token,
    kind: Kind,
    registered: Vec<(Token, Memory)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Send,
    Recv,
}

/// Registered memory, seen from the comm that owns it: valid as long as the comm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Region {
    pub(crate) base: NonNull<u8>,
    pub(crate) bytes: usize,
    pub(crate) mhandle: Token,
}

// SAFETY: an address; who reads and writes which part when is said in `fifo`.
unsafe impl Send for Region {}

impl Comm {
    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn raw(&self) -> Token {
        self.raw
    }

    fn register(&mut self, memory: Memory) -> Result<Region, Error> {
        let bytes = memory.bytes();
        let (raw, base) = (self.raw, Token::new(memory.base().as_ptr().cast()));
        let mhandle = self.inner.service.call(move |desk| {
            // SAFETY: C1: this net's comm; C3: the memory is kept until it is deregistered.
            let mhandle = unsafe { desk.table.net.reg_mr(raw.get(), base.get(), bytes, MemoryKind::HOST) };
            // NULL is a good memory handle: stock Socket gives nothing else.
            mhandle.map(Token::new).map_err(desk.table.failed("regMr"))
        })?;
        let region = Region { base: memory.base(), bytes, mhandle };
        self.registered.push((mhandle, memory));
        Ok(region)
    }

    /// Ends the registrations and closes; does nothing the second time.
    fn close(&mut self) -> Result<(), Error> {
        if self.raw == Token::NULL {
            return Ok(());
        }
        let raw = std::mem::replace(&mut self.raw, Token::NULL);
        let kind = self.kind;
        let registered = std::mem::take(&mut self.registered);
        // The memory goes along and is freed there, after the close: the net may work on it until then.
        self.inner.service.call(move |desk| {
            let table = &desk.table;
            let mut first = Ok(());
            for (mhandle, _) in &registered {
                // SAFETY: C1: registered with this comm, which is still open.
                let ended =
                    unsafe { table.net.dereg_mr(raw.get(), mhandle.get()) }.map_err(table.failed("deregMr"));
                first = first.and(ended);
            }
            let closed = match kind {
                // SAFETY: C1: this net's send comm, not used again.
                Kind::Send => unsafe { table.net.close_send(raw.get()) }.map_err(table.failed("closeSend")),
                // SAFETY: C1: this net's receive comm, not used again.
                Kind::Recv => unsafe { table.net.close_recv(raw.get()) }.map_err(table.failed("closeRecv")),
            };
            if closed.is_err() {
                // Perhaps still in use: rather lost than freed.
                std::mem::forget(registered);
            }
            first.and(closed)
        })
    }
}

impl Drop for Comm {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            log::warn!("{error}");
        }
    }
}
