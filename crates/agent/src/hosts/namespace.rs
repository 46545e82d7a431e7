//! Network namespaces: which one a process is in, and work inside of it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::AgentError;

/// What tells two namespaces apart (`ioctl_ns(2)`); an inode number is used again once the namespace is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceId {
    /// Device of the namespace file system.
    pub device: u64,
    /// Inode number there.
    pub inode: u64,
}

/// A network namespace, kept alive by this.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    id: NamespaceId,
}

impl Namespace {
    /// The calling thread's.
    ///
    /// # Errors
    /// `/proc` can't be read.
    pub fn own() -> Result<Self, AgentError> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// That of a process, as its first thread has it.
    ///
    /// # Errors
    /// The process is gone, isn't in sight (another pid namespace), or may not be looked into.
    pub fn of_process(pid: u32) -> Result<Self, AgentError> {
        Self::open(&format!("/proc/{pid}/ns/net"))
    }

    fn open(path: &str) -> Result<Self, AgentError> {
        let fault = |source| AgentError::Namespace { doing: format!("open {path}"), source };
        let file = File::open(path).map_err(fault)?;
        let metadata = file.metadata().map_err(fault)?;
        Ok(Self { file, id: NamespaceId { device: metadata.dev(), inode: metadata.ino() } })
    }

    /// What tells it from others.
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// Runs `work` on a new thread inside the namespace, and gives what it gives. Threads that `work` starts are in it, too.
    ///
    /// # Errors
    /// The kernel doesn't let this process in (it needs CAP_SYS_ADMIN over both, unless it is there already), or has no thread.
    ///
    /// # Panics
    /// With what `work` panicked with.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, AgentError> {
        let fault = |doing: &str, source: io::Error| AgentError::Namespace {
            doing: format!("{doing} network namespace {}", self.id.inode),
            source,
        };
        // Even one's own namespace can't be entered without the right to enter any.
        let there = Self::own()?.id == self.id;
        std::thread::scope(|scope| {
            let enter = || {
                if !there {
                    move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                        .map_err(|errno| fault("enter", errno.into()))?;
                }
                Ok(work())
            };
            let thread = std::thread::Builder::new()
                .name("srv6d-enter".to_owned())
                .spawn_scoped(scope, enter)
                .map_err(|source| fault("start a thread for", source))?;
            thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_is_the_same_by_both_ways_and_can_be_entered() {
        let own = Namespace::own().unwrap();
        assert_eq!(Namespace::of_process(std::process::id()).unwrap().id(), own.id());
        assert_eq!(own.inside(|| Namespace::own().map(|n| n.id())).unwrap().unwrap(), own.id());
    }

    #[test]
    fn work_runs_in_the_other_namespace() {
        let mut child = std::process::Command::new("unshare")
            .args(["--net", "sh", "-c", "echo in; exec cat"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = [0; 3];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut word).unwrap();
        let other = Namespace::of_process(child.id()).unwrap();
        assert_ne!(other.id(), Namespace::own().unwrap().id());
        let links = other.inside(|| {
            std::process::Command::new("ip").args(["-br", "link"]).output().map(|output| output.stdout)
        });
        let links = String::from_utf8(links.unwrap().unwrap()).unwrap();
        assert!(links.starts_with("lo ") && links.lines().count() == 1, "{links}");
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(Namespace::of_process(pid).unwrap_err().to_string().contains(&format!("/proc/{pid}/ns/net")));
    }
}
