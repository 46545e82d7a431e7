//! A sink of the `log` facade into NCCL's log.
//!
//! NCCL decides what is shown (`NCCL_DEBUG`, `NCCL_DEBUG_SUBSYS`); `SRV6_LOG` what is passed to it.

use std::ffi::CString;
use std::sync::OnceLock;

use log::{Level, LevelFilter, Log, Metadata, Record};
use nccl_net_abi::{Logger, Subsystem};

static SINK: Sink = Sink { logger: OnceLock::new() };

/// The first logger stays: one NCCL is served per process. No lock that a fork could leave taken.
struct Sink {
    logger: OnceLock<Logger>,
}

/// Sends everything from this level up to `logger` from now on.
pub(crate) fn attach(logger: Logger, level: LevelFilter) {
    SINK.logger.get_or_init(|| logger);
    // Fails from the second time on, when it is this very sink that is there.
    let _ = log::set_logger(&SINK);
    log::set_max_level(level);
}

/// As [`attach`], unless somebody did before: what is logged then stays as it is.
pub(crate) fn attach_if_none(logger: Logger, level: LevelFilter) {
    if SINK.logger.get().is_none() {
        attach(logger, level);
    }
}

impl Log for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        let Some(logger) = self.logger.get().filter(|_| self.enabled(record.metadata())) else { return };
        let level = match record.level() {
            Level::Error | Level::Warn => nccl_net_abi::Level::Warn,
            Level::Info | Level::Debug => nccl_net_abi::Level::Info,
            Level::Trace => nccl_net_abi::Level::Trace,
        };
        let place = text(record.file().unwrap_or("srv6"));
        let line = text(&format!("NET/SRv6 : {}", record.args()));
        logger.log(level, Subsystem::SetUp, &place, record.line().unwrap_or(0), &line);
    }

    fn flush(&self) {}
}

/// A C string of any text: what C would take for its end is left out.
fn text(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_byte_does_not_cut_the_line() {
        assert_eq!(text("100 %s\0 and more").as_c_str(), c"100 %s and more");
    }
}
