//! Marks for sockets of a process that may not set them itself.
//!
//! `SO_MARK` asks for a privilege that a job as a rule has not, and its host's agent has. The socket goes there as a descriptor, and
//! nothing here waits for it: a dial connects once its socket is marked, and a live socket goes on by the ordinary route until then.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, mpsc};

use socket2::Socket;

use crate::uninherited::Uninherited;

/// Somebody who marks sockets of this process.
#[derive(Clone)]
pub struct Marker(Arc<dyn Fn(SocketCopy, u32, MarkAnswer) + Send + Sync>);

/// A further descriptor of a socket, for whoever marks it.
#[derive(Debug)]
pub struct SocketCopy(Uninherited<Socket>);

/// Where whoever marks a socket says how it went. Dropped without a word it counts as gone.
#[derive(Debug)]
pub struct MarkAnswer(mpsc::SyncSender<io::Result<()>>);

/// A socket that waits for its mark.
#[derive(Debug)]
pub(crate) struct Marking(mpsc::Receiver<io::Result<()>>);

impl Marker {
    /// Marks by calling `mark`, which must not block, with a socket, the mark, and where to say how it went: an error of kind
    /// [`io::ErrorKind::NotConnected`] if another attempt may do better.
    pub fn new(mark: impl Fn(SocketCopy, u32, MarkAnswer) + Send + Sync + 'static) -> Marker {
        Marker(Arc::new(mark))
    }

    /// Begins to mark a socket.
    pub(crate) fn begin(&self, socket: &Socket, mark: u32) -> io::Result<Marking> {
        let copy = SocketCopy(Uninherited::open(|| socket.try_clone())?);
        let (answer, marking) = mpsc::sync_channel(1);
        (self.0)(copy, mark, MarkAnswer(answer));
        Ok(Marking(marking))
    }
}

impl MarkAnswer {
    /// Says that the socket has its mark, or why not.
    pub fn give(self, result: io::Result<()>) {
        if let Err(mpsc::TrySendError::Disconnected(Err(error))) = self.0.try_send(result) {
            // Nobody waits for a live socket's mark.
            log::warn!("a socket isn't marked, and stays on the ordinary route: {error}");
        }
    }
}

impl Marking {
    /// How it went; `None` as long as that isn't known.
    pub(crate) fn poll(&self) -> Option<io::Result<()>> {
        match self.0.try_recv() {
            Ok(result) => Some(result),
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Disconnected) => {
                Some(Err(io::Error::new(io::ErrorKind::NotConnected, "nobody is there to mark the socket")))
            }
        }
    }
}

impl AsFd for SocketCopy {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Who marks makes no difference to where a mark leads.
impl PartialEq for Marker {
    fn eq(&self, _other: &Marker) -> bool {
        true
    }
}

impl Eq for Marker {}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marker")
    }
}
