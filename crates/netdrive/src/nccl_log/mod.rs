//! NCCL's log, as a net gets it at init: filtered and printed as NCCL does.
//!
//! One per process, like NCCL's own. Until [`start`] is called nothing is printed, as with `NCCL_DEBUG` unset.

mod settings;

use std::ffi::{CStr, c_char, c_int, c_ulong};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::sync::RwLock;
use std::time::Instant;

use nccl_net_abi::Logger;
use nccl_net_abi::bindings::{NCCL_LOG_TRACE, NCCL_LOG_WARN, ncclDebugLogLevel};

use crate::Error;
pub use settings::{LogLevel, LogSettings, SettingsError, Subsystems};

unsafe extern "C" {
    // format.c
    fn srv6_netdrive_log(
        level: ncclDebugLogLevel,
        flags: c_ulong,
        place: *const c_char,
        line: c_int,
        format: *const c_char,
        ...
    );
}

/// Prints what nets log from now on, as these settings say; replaces the settings of an earlier call.
///
/// # Errors
/// If the file can't be created.
pub fn start(settings: &LogSettings) -> Result<(), Error> {
    let host = hostname();
    let sink = match &settings.file {
        None => Sink::Stderr,
        Some(pattern) => {
            let path = settings::expand(pattern, &host, std::process::id());
            Sink::File(File::create(&path).map_err(|source| Error::LogFile { path: path.clone(), source })?)
        }
    };
    let log =
        Log { level: settings.level, subsystems: settings.subsystems, host, sink, began: Instant::now() };
    *LOG.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(log);
    Ok(())
}

/// The function that nets get at init.
pub(crate) fn logger() -> Option<Logger> {
    // SAFETY: the function keeps the logger's contract: any thread, any time.
    unsafe { Logger::new(Some(srv6_netdrive_log)) }
}

/// The machine's name up to the first dot, as NCCL writes it.
pub fn hostname() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: writes at most `len` bytes of `name`.
    let result = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    let name = name.split(|&byte| byte == 0 || byte == b'.').next().filter(|_| result == 0);
    name.map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_else(|| "unknown".to_owned())
}

struct Log {
    level: LogLevel,
    subsystems: Subsystems,
    host: String,
    sink: Sink,
    began: Instant,
}

enum Sink {
    Stderr,
    File(File),
}

static LOG: RwLock<Option<Log>> = RwLock::new(None);

impl Log {
    /// One line in NCCL's format.
    fn line(&self, level: ncclDebugLogLevel, place: &str, line: c_int, text: &str) -> String {
        // SAFETY: has no conditions.
        let thread = unsafe { libc::gettid() };
        let mut out = String::new();
        if level == NCCL_LOG_WARN {
            out.push('\n');
        }
        // Writing to a String can't fail. The device is NCCL's CUDA device; ours is always the first.
        let _ = write!(out, "{}:{}:{thread} [0] ", self.host, std::process::id());
        let _ = match level {
            NCCL_LOG_WARN => writeln!(out, "{place}:{line} NCCL WARN {text}"),
            NCCL_LOG_TRACE => {
                let milliseconds = self.began.elapsed().as_secs_f64() * 1e3;
                writeln!(out, "{milliseconds:.6} {place}:{line} NCCL TRACE {text}")
            }
            _ => writeln!(out, "NCCL INFO {text}"),
        };
        out
    }
}

/// Whether a line of this kind is printed.
#[unsafe(no_mangle)]
extern "C" fn srv6_netdrive_wanted(level: ncclDebugLogLevel, flags: c_ulong) -> c_int {
    let log = LOG.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    log.as_ref().is_some_and(|log| log.level.shows(level) && log.subsystems.shows(flags)).into()
}

/// Prints one line.
///
/// # Safety
/// `place` and `text` are C strings.
#[unsafe(no_mangle)]
unsafe extern "C" fn srv6_netdrive_line(
    level: ncclDebugLogLevel,
    place: *const c_char,
    line: c_int,
    text: *const c_char,
) {
    // SAFETY: caller's contract.
    let place = unsafe { CStr::from_ptr(place) }.to_string_lossy();
    // SAFETY: caller's contract.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let log = LOG.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(log) = log.as_ref() {
        let line = log.line(level, &place, line, &text);
        // One write a line: lines of several threads and ranks don't mix. Nobody to tell if the log itself fails.
        let _ = match &log.sink {
            Sink::Stderr => io::stderr().lock().write_all(line.as_bytes()),
            Sink::File(file) => (&*file).write_all(line.as_bytes()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nccl_net_abi::{Level, Subsystem};

    #[test]
    fn lines_reach_the_file_in_nccl_s_format() {
        let path = std::env::temp_dir().join(format!("netdrive-log-{}", std::process::id()));
        let settings = LogSettings {
            level: LogLevel::Info,
            subsystems: Subsystems::default(),
            file: Some(path.to_str().unwrap().to_owned()),
        };
        start(&settings).unwrap();
        let logger = logger().unwrap();
        logger.log(Level::Info, Subsystem::Init, c"", 0, c"100% of it");
        logger.log(Level::Info, Subsystem::Net, c"", 0, c"not of a subsystem that is shown");
        logger.log(Level::Trace, Subsystem::Init, c"f", 0, c"too detailed");
        logger.log(Level::Warn, Subsystem::Init, c"file.rs", 7, c"look here");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let prefix = format!("{}:{}:", hostname(), std::process::id());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with(&prefix), "{text}");
        assert!(lines[0].ends_with(" [0] NCCL INFO 100% of it"), "{text}");
        assert_eq!(lines[1], "");
        assert!(lines[2].ends_with(" [0] file.rs:7 NCCL WARN look here"), "{text}");
    }
}
