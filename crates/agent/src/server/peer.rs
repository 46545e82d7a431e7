//! Who is at the other end of a connection, as the kernel says.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{getsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use srv6_fabric::chain;

use crate::{Namespace, Scope};

/// The process that connected. Held: its number isn't given to another one unnoticed.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) pid: u32,
    pub(super) uid: u32,
    process: OwnedFd,
    scope: Scope,
}

impl Peer {
    /// By `SO_PEERCRED` and a descriptor of the process: the socket's own (kernel 6.5), or opened by number. A process of another
    /// pid namespace has the number 0.
    pub(super) fn of(socket: &impl AsFd, scope: Scope) -> io::Result<Self> {
        let credentials = getsockopt(socket, sockopt::PeerCredentials)?;
        let number = Pid::from_raw(credentials.pid());
        let unseen = |what| io::Error::other(format!("the agent doesn't see this process: {what}"));
        if scope == Scope::Host && number.is_none() {
            return Err(unseen("run srv6d in the host's pid namespace (hostPID: true)"));
        }
        let process = match (getsockopt(socket, sockopt::PeerPidfd), number) {
            (Ok(process), _) => process,
            (Err(_), Some(number)) => pidfd_open(number, PidfdFlags::empty())?,
            (Err(_), None) => {
                return Err(unseen(
                    "want kernel 6.5, or one pid namespace for the pod (shareProcessNamespace: true)",
                ));
            }
        };
        let pid = credentials.pid().unsigned_abs();
        Ok(Self { pid, uid: credentials.uid(), process, scope })
    }

    /// The network namespace to steer it in: that of its first thread, which for a sidecar is its own.
    pub(super) fn namespace(&self) -> io::Result<Namespace> {
        if self.scope == Scope::Pod {
            return Namespace::own().map_err(io::Error::other);
        }
        let found = Namespace::of_process(self.pid).map_err(|error| io::Error::other(chain(&error)))?;
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
