//! Who is at the other end of a connection, as the kernel says.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{getsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::Namespace;

/// The process that connected. Held: its number isn't given to another one unnoticed.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) pid: u32,
    pub(super) uid: u32,
    process: OwnedFd,
}

impl Peer {
    /// By `SO_PEERCRED` and a descriptor of the process: the socket's own (kernel 6.5), or opened by number.
    pub(super) fn of(socket: &impl AsFd) -> io::Result<Self> {
        let credentials = getsockopt(socket, sockopt::PeerCredentials)?;
        let number = Pid::from_raw(credentials.pid()).ok_or_else(|| {
            io::Error::other(
                "the agent doesn't see this process: run srv6d in the host's pid namespace (hostPID: true)",
            )
        })?;
        let process = match getsockopt(socket, sockopt::PeerPidfd) {
            Ok(process) => process,
            Err(_) => pidfd_open(number, PidfdFlags::empty())?,
        };
        let pid = credentials.pid().unsigned_abs();
        Ok(Self { pid, uid: credentials.uid(), process })
    }

    /// The network namespace of its first thread.
    pub(super) fn namespace(&self) -> io::Result<Namespace> {
        let found = Namespace::of_process(self.pid).map_err(io::Error::other)?;
        // Alive after the look, it was the one that was looked at.
        let mut asked = [PollFd::new(&self.process, PollFlags::IN)];
        let ended = poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0;
        if ended { Err(io::Error::other("the process has ended")) } else { Ok(found) }
    }

    /// A descriptor that becomes readable when the process ends.
    pub(super) fn process(&self) -> io::Result<OwnedFd> {
        self.process.try_clone()
    }
}
