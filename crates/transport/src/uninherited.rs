//! Descriptors that a child of fork doesn't keep.
//!
//! A training process forks data loaders, which live as long as the job or longer. A copy of a socket in one of them
//! would keep the connection open after the process that owns it has closed it or was killed, and its peer would wait
//! for a minute instead of a moment. Close-on-exec doesn't help where nothing is executed.
//!
//! C1 (`dup3(2)`): replaces one descriptor by a copy of another, atomically; what was open there is closed in this
//! process only. The parent's connection and its epoll set refer to the open socket and not to the child's number
//! for it, so they notice nothing.

#![allow(unsafe_code, reason = "descriptors of objects that live on in a child are replaced by number")]

use std::collections::BTreeSet;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use socket2::{Domain, Socket, Type};

/// A socket, or a set of them, of which children of fork lose their copy.
#[derive(Debug)]
pub(crate) struct Uninherited<T: AsFd>(ManuallyDrop<T>);

/// All of this process.
static OPEN: Mutex<Open> = Mutex::new(Open(BTreeSet::new()));

/// The numbers of the descriptors that are open.
#[derive(Debug)]
pub(crate) struct Open(BTreeSet<RawFd>);

/// For a fork, and whoever opens or closes: nobody else does meanwhile.
pub(crate) fn lock() -> MutexGuard<'static, Open> {
    // Nothing in here panics half way.
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: AsFd> Uninherited<T> {
    /// Opens a descriptor. No fork can come between that and its being known.
    pub(crate) fn open(open: impl FnOnce() -> io::Result<T>) -> io::Result<Uninherited<T>> {
        let mut all = lock();
        let inner = open()?;
        all.0.insert(inner.as_fd().as_raw_fd());
        Ok(Uninherited(ManuallyDrop::new(inner)))
    }
}

impl<T: AsFd> Deref for Uninherited<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: AsFd> Drop for Uninherited<T> {
    fn drop(&mut self) {
        let mut all = lock();
        all.0.remove(&self.0.as_fd().as_raw_fd());
        // Under the lock: until it is closed the number can't be anybody else's, and no child gets a copy.
        // SAFETY: dropped once, here, and not used after.
        unsafe { ManuallyDrop::drop(&mut self.0) };
    }
}

impl Open {
    /// In a child of fork: puts a dead socket in the place of each of the parent's descriptors.
    ///
    /// They aren't just closed: the objects that own them are in this process too. Should one of them be used or
    /// dropped, it must not meet a descriptor of somebody else's. Allocates nothing.
    pub(crate) fn lose_in_child(&mut self) {
        let dead = Socket::new(Domain::IPV4, Type::STREAM, None);
        while let Some(number) = self.0.pop_first() {
            match &dead {
                Ok(dead) => {
                    // SAFETY: C1: both are open, `number` because its owner removes it from the set first.
                    unsafe { libc::dup3(dead.as_raw_fd(), number, libc::O_CLOEXEC) };
                }
                Err(_) => {
                    // SAFETY: open, as above; its owner is in no thread of this process.
                    unsafe { libc::close(number) };
                }
            }
        }
    }
}

#[cfg(test)]
impl From<std::net::TcpStream> for Uninherited<Socket> {
    fn from(stream: std::net::TcpStream) -> Uninherited<Socket> {
        let opened = Uninherited::open(|| Ok(Socket::from(stream)));
        opened.unwrap_or_else(|error: io::Error| unreachable!("{error}"))
    }
}
