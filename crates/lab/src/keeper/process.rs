//! Processes of a lab: its keeper, and whatever was started inside.
//!
//! Signals go through process descriptors (`pidfd_open`), which unlike numbers never mean another process.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::State;
use crate::{Error, namespace};

/// How long a process has to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// When a process began, in clock ticks since boot (proc_pid_stat(5), field 22); none if there is no such one.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything, parentheses too.
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace();
    // A dead process that nobody has waited for holds no namespaces any more.
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Ends every process whose network is one of `namespaces`, except the keeper; says how many there were.
pub(super) fn end_inside(namespaces: &HashSet<u64>, keeper: u32) -> Result<usize, Error> {
    let inside = |pid: u32| {
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        namespace::identity(&path).is_ok_and(|n| namespaces.contains(&n))
    };
    let running: Vec<OwnedFd> = std::fs::read_dir("/proc")
        .map_err(|source| Error::State { action: "list", path: "/proc".into(), source })?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|&pid| pid != keeper && pid != std::process::id() && inside(pid))
        // Looked at again through the descriptor: the number may have changed hands in between.
        .filter_map(|pid| open(pid).filter(|_| inside(pid)))
        .collect();
    for process in &running {
        signal(process, Signal::TERM);
    }
    let deadline = Instant::now() + GRACE;
    for process in &running {
        if !await_end(process, deadline) {
            signal(process, Signal::KILL);
        }
    }
    Ok(running.len())
}

/// Ends a lab's keeper and waits until it is gone.
pub(super) fn end_keeper(state: &State) -> Result<(), Error> {
    let Some(keeper) = open(state.pid()).filter(|_| state.is_alive()) else { return Ok(()) };
    signal(&keeper, Signal::TERM);
    if await_end(&keeper, Instant::now() + GRACE) {
        return Ok(());
    }
    signal(&keeper, Signal::KILL);
    if await_end(&keeper, Instant::now() + PATIENCE) {
        return Ok(());
    }
    Err(Error::Keeper { action: format!("(process {}) does not end", state.pid()) })
}

fn open(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Fails only for processes that have gone, or that are another user's and can't be in our namespaces.
fn signal(process: &OwnedFd, signal: Signal) {
    let _ = rustix::process::pidfd_send_signal(process, signal);
}

fn await_end(process: &OwnedFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(timeout) = Timespec::try_from(left) else { return false };
        // Readable once the process has ended.
        match rustix::event::poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_beginning() {
        let own = start_time(std::process::id()).unwrap();
        assert!(own > 0);
        assert_eq!(start_time(std::process::id()), Some(own));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        assert!(await_end(&open(pid).unwrap(), Instant::now() + PATIENCE));
        assert_eq!(start_time(pid), None, "ended, and not yet waited for");
        child.wait().unwrap();
        assert_eq!(start_time(pid), None);
    }
}
