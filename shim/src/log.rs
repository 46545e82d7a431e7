//! A sink of the `log` facade: one line to standard error per message.
//!
//! No lock, which a forked child could find taken for ever, and no write that could block or hurt: a full or broken pipe
//! loses the line, and so does a descriptor 2 that the program has closed and given to something else.

use std::fmt::Write;

use log::{LevelFilter, Log, Metadata, Record};
use parking_lot::Once;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::fstat;

use crate::published::Published;

static SINK: Sink = Sink { stderr: Published::nothing() };

struct Sink {
    /// Device and inode of standard error when the library was loaded.
    stderr: Published<(u64, u64)>,
}

/// Sends everything from this level up to what is standard error now.
pub(crate) fn attach(level: LevelFilter) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Some(identity) = identity() {
            SINK.stderr.publish(identity);
        }
        // Fails only if there is a sink, and this is the one place that sets one.
        let _ = log::set_logger(&SINK);
    });
    log::set_max_level(level);
}

/// What is behind descriptor 2.
fn identity() -> Option<(u64, u64)> {
    fstat(rustix::stdio::stderr()).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

/// Whether a line can be written at once and does no harm.
fn is_ready() -> bool {
    let stderr = rustix::stdio::stderr();
    let mut descriptors = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec::default();
    poll(&mut descriptors, Some(&at_once)).is_ok()
        && descriptors.iter().all(|descriptor| descriptor.revents() == PollFlags::OUT)
        && identity().as_ref() == SINK.stderr.get()
}

impl Log for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = String::new();
        let level = record.level().as_str().to_lowercase();
        let written = writeln!(line, "srv6-shim[{}] {level}: {}", std::process::id(), record.args());
        if written.is_ok() && is_ready() {
            // A line that is lost can't be complained about.
            let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
        }
    }

    fn flush(&self) {}
}
