//! Notices that VPP has ended, and that it is there again.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

use super::client::Client;
use crate::{Change, RouteError, Watch};

/// How soon a VPP that is there again is noticed: there is nothing to wait on but time.
const SLICE: Duration = Duration::from_millis(100);

/// What the connection and those who watch it know of each other. There is no second connection: VPP has only so many.
#[derive(Debug)]
pub(super) struct Line {
    socket: PathBuf,
    state: Mutex<State>,
    /// Says that the state has changed, or that the watch is to stop.
    bell: OwnedFd,
}

#[derive(Debug, Default)]
struct State {
    stream: Option<Arc<UnixStream>>,
    /// Which socket it was connected to.
    seen: Option<Stamp>,
    /// A connection ended that was not given up, and nobody was told yet.
    lost: bool,
    stopped: bool,
}

/// What tells a socket from the one that was there before it: inode and time of its making.
pub(super) type Stamp = (u64, i64, i64);

impl Line {
    pub(super) fn new(socket: PathBuf) -> Result<Self, RouteError> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let bell = bell.map_err(|errno| fault("watch VPP", errno))?;
        Ok(Self { socket, state: Mutex::default(), bell })
    }

    /// There is a connection.
    pub(super) fn connected(&self, client: &Client, seen: Option<Stamp>) {
        // Without a copy its end is noticed by the next call.
        let stream = client.line().ok().map(Arc::new);
        self.change(|state| (state.stream, state.seen) = (stream, seen));
    }

    /// The connection is given up for now.
    pub(super) fn given_up(&self) {
        self.change(|state| state.stream = None);
    }

    /// The connection has failed.
    pub(super) fn failed(&self) {
        self.change(|state| (state.stream, state.lost) = (None, true));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        // Refused only if it was said 2^64 times already.
        let _said = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

/// Listens to the end of a [`Line`].
#[derive(Debug)]
pub(super) struct VppWatch(Arc<Line>);

impl VppWatch {
    pub(super) fn new(line: &Arc<Line>) -> Self {
        line.state.lock().stopped = false;
        Self(Arc::clone(line))
    }

    /// Waits for the bell, for the end of the stream, or for the time to be over.
    fn listen(&self, stream: Option<&UnixStream>, timeout: Option<Duration>) -> Result<(), RouteError> {
        let mut ready = vec![PollFd::from_borrowed_fd(self.0.bell.as_fd(), PollFlags::IN)];
        ready.extend(stream.map(|stream| PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::RDHUP)));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match rustix::event::poll(&mut ready, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(fault("wait for VPP's end", errno)),
        }
        let ended = ready.get(1).is_some_and(|stream| !stream.revents().is_empty());
        let mut state = self.0.state.lock();
        let is_current = |current: &Arc<UnixStream>| stream.is_some_and(|s| std::ptr::eq(&**current, s));
        if ended && state.stream.as_ref().is_some_and(is_current) {
            log::warn!("VPP at {} has ended", self.0.socket.display());
            (state.stream, state.lost) = (None, true);
        }
        drop(state);
        // Nothing to read is as good.
        let _heard = rustix::io::read(&self.0.bell, &mut [0; 8]);
        Ok(())
    }
}

impl Watch for VppWatch {
    fn wait(&mut self) -> Result<Option<Vec<Change>>, RouteError> {
        loop {
            let mut state = self.0.state.lock();
            if state.stopped {
                return Ok(None);
            }
            let another = || stamp(&self.0.socket).is_some_and(|now| state.seen != Some(now));
            if state.lost && (state.stream.is_some() || another()) {
                state.lost = false;
                return Ok(Some(vec![Change::Lost]));
            }
            let (stream, timeout) = (state.stream.clone(), state.lost.then_some(SLICE));
            drop(state);
            self.listen(stream.as_deref(), timeout)?;
        }
    }

    fn stopper(&self) -> Box<dyn Fn() + Send> {
        let line = Arc::clone(&self.0);
        Box::new(move || line.change(|state| state.stopped = true))
    }
}

/// The socket as it is; to be asked before it is connected to.
pub(super) fn stamp(socket: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(socket).ok()?;
    Some((metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
}

fn fault(doing: &str, errno: rustix::io::Errno) -> RouteError {
    RouteError::Kernel { doing: doing.to_owned(), source: errno.into() }
}
