//! Waiting for an answer as a blocking connect waits: signals end it as they would end that.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// A timer that rings after a while, or earlier by its [`Ringer`].
///
/// The wait is a `read` of a timerfd: the kernel goes on with it after a handler that was installed with `SA_RESTART` and
/// ends it after any other, which is what `connect` does, and what no wait with a timeout of its own would.
#[derive(Debug)]
pub(crate) struct Bell(Arc<OwnedFd>);

/// Rings its bell when it is dropped.
#[derive(Debug)]
pub(crate) struct Ringer(Arc<OwnedFd>);

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rang {
    /// By time or by the ringer.
    Yes,
    /// A signal handler ran that doesn't want system calls to go on.
    Interrupted,
}

impl Bell {
    /// One that rings after `patience`.
    ///
    /// # Errors
    /// No file descriptor to be had, or a filter of system calls is in the way.
    pub(crate) fn new(patience: Duration) -> Result<(Self, Ringer), Errno> {
        let timer = Arc::new(timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?);
        ring_after(&timer, patience)?;
        Ok((Self(Arc::clone(&timer)), Ringer(timer)))
    }

    /// Waits until it rings.
    pub(crate) fn wait(&self) -> Rang {
        match rustix::io::read(&*self.0, &mut [0; 8]) {
            Err(Errno::INTR) => Rang::Interrupted,
            _ => Rang::Yes,
        }
    }
}

impl Drop for Ringer {
    fn drop(&mut self) {
        // It rings by itself in the end.
        let _ = ring_after(&self.0, Duration::ZERO);
    }
}

fn ring_after(timer: &OwnedFd, after: Duration) -> Result<(), Errno> {
    // Nought would disarm it.
    let after = after.max(Duration::from_nanos(1));
    let value = Timespec::try_from(after).map_err(|_| Errno::INVAL)?;
    let once = Itimerspec { it_interval: Timespec::default(), it_value: value };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &once).map(drop)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_rings_by_time() {
        let started = Instant::now();
        let (bell, ringer) = Bell::new(Duration::from_millis(20)).unwrap();
        assert_eq!(bell.wait(), Rang::Yes);
        assert!(started.elapsed() >= Duration::from_millis(20));
        drop(ringer);
    }

    #[test]
    fn it_rings_when_the_ringer_goes_from_another_thread() {
        let (bell, ringer) = Bell::new(Duration::from_secs(600)).unwrap();
        let other = std::thread::spawn(move || drop(ringer));
        assert_eq!(bell.wait(), Rang::Yes);
        other.join().unwrap();
    }
}
