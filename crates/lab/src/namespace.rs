//! Namespaces of a thread, and the only unsafe code of this crate.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::{CapabilitySet, LinkNameSpaceType, UnshareFlags};

use crate::Error;

/// Handles on the network and mount namespace of one node. They keep both alive.
#[derive(Debug)]
pub(crate) struct Namespace {
    net: OwnedFd,
    mount: OwnedFd,
}

impl Namespace {
    /// Moves the calling thread into namespaces of its own, with a sysfs that shows its own interfaces.
    ///
    /// Only this thread moves. It needs CAP_SYS_ADMIN in its user namespace.
    pub(crate) fn create(node: &str) -> Result<Arc<Self>, Error> {
        let failed = |action| move |source: rustix::io::Errno| namespace_error(node, action, source.into());
        // SAFETY: unshare_unsafe's contract concerns file descriptor tables (UnshareFlags::FILES), which
        // stay shared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }
            .map_err(failed("make namespaces (unshare CLONE_NEWNET, CLONE_NEWNS)"))?;
        rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
            .map_err(failed("make its mounts private"))?;
        // Without it, programs inside would see the interfaces of whoever mounted the machine's /sys: NCCL
        // would look there for the PCI device of an interface that isn't its own.
        rustix::mount::mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None::<&CStr>)
            .map_err(failed("mount its own sysfs"))?;
        Self::of_thread(
            node,
            std::process::id(),
            rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs(),
        )
    }

    /// Moves the calling thread into a node's namespaces.
    pub(crate) fn join(node: &str, pid: u32, tid: u32) -> Result<Arc<Self>, Error> {
        // SAFETY: as in `create`. Threads share their root and working directory, and the kernel refuses to
        // change the mount namespace of such a thread.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }
            .map_err(|e| namespace_error(node, "leave the shared working directory", e.into()))?;
        let namespace = Self::of_thread(node, pid, tid)?;
        namespace.enter().map_err(|e| namespace_error(node, "enter its namespaces", e))?;
        Ok(namespace)
    }

    /// Opens the namespaces of a thread.
    pub(crate) fn of_thread(node: &str, pid: u32, tid: u32) -> Result<Arc<Self>, Error> {
        let open = |kind| {
            File::open(path(pid, tid, kind))
                .map(OwnedFd::from)
                .map_err(|e| namespace_error(node, "open its namespaces below /proc", e))
        };
        Ok(Arc::new(Self { net: open("net")?, mount: open("mnt")? }))
    }

    /// Makes `command` run inside.
    pub(crate) fn confine(self: &Arc<Self>, command: &mut Command) {
        let namespace = Arc::clone(self);
        // SAFETY: pre_exec's contract: the closure runs between fork and exec, where only async-signal-safe
        // calls are allowed. It makes four system calls and neither allocates nor locks.
        unsafe { command.pre_exec(move || namespace.enter_keeping_directory()) };
    }

    /// Moves the calling thread inside. It must not share its working directory with another thread.
    pub(crate) fn enter(&self) -> io::Result<()> {
        rustix::thread::move_into_link_name_space(self.mount.as_fd(), Some(LinkNameSpaceType::Mount))?;
        rustix::thread::move_into_link_name_space(self.net.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }

    /// As [`Self::enter`], but stays in the working directory: entering a mount namespace moves to its root.
    pub(crate) fn enter_keeping_directory(&self) -> io::Result<()> {
        let mut buffer = [0u8; 4096];
        // SAFETY: getcwd's contract: the buffer is writable for the length given with it.
        let directory = unsafe { libc::getcwd(buffer.as_mut_ptr().cast(), buffer.len()) };
        let known = !directory.is_null();
        self.enter()?;
        if known {
            let directory = CStr::from_bytes_until_nul(&buffer).map_err(|_| io::ErrorKind::InvalidData)?;
            rustix::process::chdir(directory)?;
        }
        Ok(())
    }
}

/// `/proc/PID/task/TID/ns/KIND`.
pub(crate) fn path(pid: u32, tid: u32, kind: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/task/{tid}/ns/{kind}"))
}

/// Number that the kernel gives a namespace; the same namespace has the same number.
pub(crate) fn identity(path: &Path) -> io::Result<u64> {
    std::fs::metadata(path).map(|m| m.ino())
}

/// Gives an ordinary user the rights of root over namespaces made from here on.
///
/// Moves the whole process into a new user namespace where the user is root. Does nothing when the process has
/// CAP_SYS_ADMIN and CAP_NET_ADMIN already. Must be called while the process has one thread.
///
/// # Errors
/// User namespaces are switched off, or a second thread runs.
pub fn enter_user_namespace() -> Result<(), Error> {
    let failed = |action| move |source: io::Error| Error::UserNamespace { action, source };
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN;
    let have = rustix::thread::capabilities(None).map_err(|e| failed("read capabilities")(e.into()))?;
    if have.effective.contains(needed) {
        return Ok(());
    }
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    // SAFETY: as in `Namespace::create`.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER) }
        .map_err(|e| failed("make a user namespace")(e.into()))?;
    // The kernel lets an unprivileged process write gid_map only after setgroups is given up.
    std::fs::write("/proc/self/setgroups", "deny").map_err(failed("give up setgroups"))?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).map_err(failed("map the user"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).map_err(failed("map the group"))
}

/// Moves this process into the user namespace of another one, where that isn't its own already.
///
/// Must be called while the process has one thread.
pub(crate) fn join_user_namespace(pid: u32) -> Result<(), Error> {
    let failed = |action| move |source: io::Error| Error::UserNamespace { action, source };
    let theirs = PathBuf::from(format!("/proc/{pid}/ns/user"));
    let own = identity(Path::new("/proc/self/ns/user")).map_err(failed("read its own user namespace"))?;
    if identity(&theirs).map_err(failed("read the lab's user namespace"))? == own {
        return Ok(());
    }
    let file = File::open(theirs).map_err(failed("open the lab's user namespace"))?;
    rustix::thread::move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::User))
        .map_err(|e| failed("enter the lab's user namespace")(e.into()))
}

fn namespace_error(node: &str, action: &'static str, source: io::Error) -> Error {
    Error::Namespace { node: node.to_owned(), action, source }
}
