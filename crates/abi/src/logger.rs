//! NCCL's log function.

use std::ffi::{CStr, c_int, c_ulong};

use crate::bindings::{
    NCCL_INIT, NCCL_LOG_INFO, NCCL_LOG_TRACE, NCCL_LOG_WARN, NCCL_NET, ncclDebugLogLevel, ncclDebugLogger_t,
};

/// Severity of a line; which levels are shown is decided by `NCCL_DEBUG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A person should know. Also becomes the text of `ncclGetLastError`.
    Warn,
    /// Once per connection or route.
    Info,
    /// Per step.
    Trace,
}

/// Which part of NCCL a line belongs to; filtered by `NCCL_DEBUG_SUBSYS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subsystem {
    /// Start-up.
    Init,
    /// Connections.
    Net,
    /// Connections, and shown with `NCCL_DEBUG=INFO` alone: NCCL then shows `INIT` but not `NET`, and its own
    /// transports log what they set up under both.
    SetUp,
}

/// The function that NCCL passes to init.
#[derive(Debug, Clone, Copy)]
pub struct Logger(Raw);

type Raw = unsafe extern "C" fn(
    ncclDebugLogLevel,
    c_ulong,
    *const std::ffi::c_char,
    c_int,
    *const std::ffi::c_char,
    ...
);

impl Logger {
    /// Wraps the pointer that NCCL passed; `None` if it is NULL.
    ///
    /// # Safety
    /// A non-NULL `raw` is NCCL's logger or keeps its contract: callable from any thread at any time.
    pub unsafe fn new(raw: ncclDebugLogger_t) -> Option<Self> {
        raw.map(Self)
    }

    /// Writes one line. Doesn't allocate; whether it blocks is NCCL's business.
    ///
    /// `place` is a file for `Warn` and a function for `Trace`; NCCL ignores it for `Info`.
    pub fn log(&self, level: Level, subsystem: Subsystem, place: &CStr, line: u32, text: &CStr) {
        let level = match level {
            Level::Warn => NCCL_LOG_WARN,
            Level::Info => NCCL_LOG_INFO,
            Level::Trace => NCCL_LOG_TRACE,
        };
        let flags = match (level, subsystem) {
            // NCCL filters warnings by subsystem too; its own go out under all of them.
            (NCCL_LOG_WARN, _) => c_ulong::MAX,
            (_, Subsystem::Init) => c_ulong::from(NCCL_INIT),
            (_, Subsystem::Net) => c_ulong::from(NCCL_NET),
            (_, Subsystem::SetUp) => c_ulong::from(NCCL_INIT | NCCL_NET),
        };
        let line = c_int::try_from(line).unwrap_or(c_int::MAX);
        // The text may hold a per cent sign; as an argument of "%s" it can't be taken for a directive.
        // SAFETY: `new`'s contract; the format asks for exactly the one string that follows.
        unsafe { (self.0)(level, flags, place.as_ptr(), line, c"%s".as_ptr(), text.as_ptr()) }
    }

    /// What NCCL passed.
    pub const fn raw(&self) -> ncclDebugLogger_t {
        Some(self.0)
    }

    /// The address of the function: the image that holds it is the NCCL that called init.
    pub fn address(&self) -> *const std::ffi::c_void {
        self.0 as *const std::ffi::c_void
    }
}
