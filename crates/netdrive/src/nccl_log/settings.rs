//! What `NCCL_DEBUG`, `NCCL_DEBUG_SUBSYS` and `NCCL_DEBUG_FILE` mean.

use std::ffi::c_ulong;
use std::path::PathBuf;
use std::str::FromStr;

use nccl_net_abi::bindings::{
    NCCL_LOG_ABORT, NCCL_LOG_INFO, NCCL_LOG_NONE, NCCL_LOG_TRACE, NCCL_LOG_VERSION, NCCL_LOG_WARN,
    ncclDebugLogLevel,
};

/// What is logged, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// `NCCL_DEBUG`.
    pub level: LogLevel,
    /// `NCCL_DEBUG_SUBSYS`.
    pub subsystems: Subsystems,
    /// `NCCL_DEBUG_FILE`: `%h` stands for the host's name, `%p` for the process id. Standard error if `None`
    /// (NCCL writes to standard output, where ours prints its table).
    pub file: Option<String>,
}

/// The least severe level that is shown; the order is NCCL's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the variants are NCCL's words")]
pub enum LogLevel {
    #[default]
    None,
    Version,
    Warn,
    Info,
    Abort,
    Trace,
}

impl LogLevel {
    const fn raw(self) -> ncclDebugLogLevel {
        match self {
            Self::None => NCCL_LOG_NONE,
            Self::Version => NCCL_LOG_VERSION,
            Self::Warn => NCCL_LOG_WARN,
            Self::Info => NCCL_LOG_INFO,
            Self::Abort => NCCL_LOG_ABORT,
            Self::Trace => NCCL_LOG_TRACE,
        }
    }

    pub(super) const fn shows(self, level: ncclDebugLogLevel) -> bool {
        level <= self.raw()
    }
}

impl FromStr for LogLevel {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        Ok(match text.to_ascii_uppercase().as_str() {
            "VERSION" => Self::Version,
            "WARN" => Self::Warn,
            "INFO" => Self::Info,
            "ABORT" => Self::Abort,
            "TRACE" => Self::Trace,
            _ => return Err(SettingsError::Level { value: text.to_owned() }),
        })
    }
}

/// The parts of NCCL whose lines are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subsystems(c_ulong);

impl Default for Subsystems {
    /// INIT, ENV and BOOTSTRAP, as in NCCL: lines that carry only NET are not shown.
    fn default() -> Self {
        Self(0x1 | 0x80 | 0x1000)
    }
}

impl Subsystems {
    pub(super) const fn shows(self, flags: c_ulong) -> bool {
        self.0 & flags != 0
    }
}

impl FromStr for Subsystems {
    type Err = SettingsError;

    /// A list as `INIT,NET`; `^` before it means all but these.
    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let (list, inverted) = text.strip_prefix('^').map_or((text, false), |list| (list, true));
        let mut mask = 0;
        for name in list.split(',') {
            mask |= SUBSYSTEMS
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .ok_or_else(|| SettingsError::Subsystem { value: name.to_owned() })?
                .1;
        }
        Ok(Self(if inverted { !mask } else { mask }))
    }
}

const SUBSYSTEMS: [(&str, c_ulong); 19] = [
    ("INIT", 0x1),
    ("COLL", 0x2),
    ("P2P", 0x4),
    ("SHM", 0x8),
    ("NET", 0x10),
    ("GRAPH", 0x20),
    ("TUNING", 0x40),
    ("ENV", 0x80),
    ("ALLOC", 0x100),
    ("CALL", 0x200),
    ("PROXY", 0x400),
    ("NVLS", 0x800),
    ("BOOTSTRAP", 0x1000),
    ("REG", 0x2000),
    ("PROFILE", 0x4000),
    ("RAS", 0x8000),
    ("DESTROY", 0x1_0000),
    ("ALLOC_HOST", 0x2_0000),
    ("ALL", !0),
];

/// A log setting that NCCL doesn't know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Of `NCCL_DEBUG`.
    #[error("log level {value:?}: wanted VERSION, WARN, INFO, ABORT or TRACE")]
    Level {
        /// What it was.
        value: String,
    },
    /// Of `NCCL_DEBUG_SUBSYS`.
    #[error(
        "log subsystem {value:?}: wanted a list of INIT, NET, ENV and so on, ALL, or ^ and a list of those not to show"
    )]
    Subsystem {
        /// What it was.
        value: String,
    },
}

/// The file that a pattern with `%h` and `%p` names.
pub(super) fn expand(pattern: &str, host: &str, process: u32) -> PathBuf {
    pattern.replace("%h", host).replace("%p", &process.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_as_in_nccl() {
        assert!(LogLevel::Info.shows(NCCL_LOG_WARN));
        assert!(!LogLevel::Warn.shows(NCCL_LOG_INFO));
        assert!(!LogLevel::None.shows(NCCL_LOG_WARN));
        assert_eq!("info".parse(), Ok(LogLevel::Info));
        assert_eq!("".parse::<LogLevel>(), Err(SettingsError::Level { value: String::new() }));
    }

    #[test]
    fn subsystems() {
        let net: Subsystems = "INIT,net".parse().unwrap();
        assert!(net.shows(0x10) && net.shows(0x1) && !net.shows(0x80));
        assert!(!Subsystems::default().shows(0x10));
        let others: Subsystems = "^NET".parse().unwrap();
        assert!(!others.shows(0x10) && others.shows(0x11));
        assert_eq!(
            "NET,SPOON".parse::<Subsystems>(),
            Err(SettingsError::Subsystem { value: "SPOON".into() })
        );
    }

    #[test]
    fn file_names_hold_host_and_process() {
        assert_eq!(expand("/tmp/%h-%p.log", "host00", 7), PathBuf::from("/tmp/host00-7.log"));
    }
}
