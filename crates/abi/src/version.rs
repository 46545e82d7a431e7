//! The versions of the table, and which NCCL release uses which.

use std::ffi::CStr;
use std::fmt;

use crate::bindings::{
    ncclNet_v6_t, ncclNet_v7_t, ncclNet_v8_t, ncclNet_v9_t, ncclNet_v10_t, ncclNet_v11_t, ncclNet_v12_t,
};

/// A version of `ncclNet_vN_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the variants are the version numbers")]
pub enum Version {
    V6,
    V7,
    V8,
    V9,
    V10,
    V11,
    V12,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Self; 7] = [Self::V6, Self::V7, Self::V8, Self::V9, Self::V10, Self::V11, Self::V12];

    /// The number in the symbol's name.
    pub const fn number(self) -> u8 {
        match self {
            Self::V6 => 6,
            Self::V7 => 7,
            Self::V8 => 8,
            Self::V9 => 9,
            Self::V10 => 10,
            Self::V11 => 11,
            Self::V12 => 12,
        }
    }

    /// The version of this number.
    pub const fn with_number(number: u8) -> Option<Self> {
        Some(match number {
            6 => Self::V6,
            7 => Self::V7,
            8 => Self::V8,
            9 => Self::V9,
            10 => Self::V10,
            11 => Self::V11,
            12 => Self::V12,
            _ => return None,
        })
    }

    /// The data symbol that NCCL looks up in a plugin for this version.
    pub const fn symbol(self) -> &'static CStr {
        match self {
            Self::V6 => c"ncclNetPlugin_v6",
            Self::V7 => c"ncclNetPlugin_v7",
            Self::V8 => c"ncclNetPlugin_v8",
            Self::V9 => c"ncclNetPlugin_v9",
            Self::V10 => c"ncclNetPlugin_v10",
            Self::V11 => c"ncclNetPlugin_v11",
            Self::V12 => c"ncclNetPlugin_v12",
        }
    }

    /// The version of the Socket and IB tables inside an NCCL of this version code (`ncclGetVersion`).
    ///
    /// Codes are major · 10000 + minor · 100 + patch since 2.9. `None` for a release older than 2.13 or
    /// newer than 2.32: what those keep inside is not known.
    pub const fn internal_layout(nccl_version_code: i32) -> Option<Self> {
        if nccl_version_code / 10_000 != 2 {
            return None;
        }
        match nccl_version_code % 10_000 / 100 {
            13..=18 => Some(Self::V6),
            19 => Some(Self::V7),
            20..=23 => Some(Self::V8),
            24..=25 => Some(Self::V9),
            26..=27 => Some(Self::V10),
            28..=29 => Some(Self::V11),
            30..=32 => Some(Self::V12),
            _ => None,
        }
    }

    /// Bytes of the table.
    pub const fn table_size(self) -> usize {
        match self {
            Self::V6 => size_of::<ncclNet_v6_t>(),
            Self::V7 => size_of::<ncclNet_v7_t>(),
            Self::V8 => size_of::<ncclNet_v8_t>(),
            Self::V9 => size_of::<ncclNet_v9_t>(),
            Self::V10 => size_of::<ncclNet_v10_t>(),
            Self::V11 => size_of::<ncclNet_v11_t>(),
            Self::V12 => size_of::<ncclNet_v12_t>(),
        }
    }

    /// How many function pointers follow the name.
    pub const fn members(self) -> usize {
        self.table_size() / size_of::<usize>() - 1
    }

    /// Whether init makes a context per communicator that finalize frees (v11 and later).
    ///
    /// Older tables are initialised once per process and have no finalize.
    pub const fn has_context(self) -> bool {
        matches!(self, Self::V11 | Self::V12)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_map_to_the_layout_of_their_own_tables() {
        for (code, number) in [
            (21304, 6),
            (21806, 6),
            (21903, 7),
            (22005, 8),
            (22304, 8),
            (22403, 9),
            (22501, 9),
            (22602, 10),
            (22707, 10),
            (22809, 11),
            (22907, 11),
            (23007, 12),
            (23104, 12),
            (23203, 12),
        ] {
            assert_eq!(Version::internal_layout(code).map(Version::number), Some(number), "{code}");
        }
    }

    #[test]
    fn unknown_releases_have_no_layout() {
        for code in [0, -1, 2708, 2804, 20905, 21212, 23300, 29900, 30100, i32::MAX] {
            assert_eq!(Version::internal_layout(code), None, "{code}");
        }
    }

    #[test]
    fn symbols_carry_the_number() {
        for version in Version::ALL {
            assert_eq!(version.symbol().to_str().unwrap(), format!("ncclNetPlugin_{version}"));
            assert_eq!(Version::with_number(version.number()), Some(version));
        }
    }

    #[test]
    fn other_numbers_are_no_version() {
        for number in [0, 5, 13, 255] {
            assert_eq!(Version::with_number(number), None);
        }
    }

    #[test]
    fn members_by_version() {
        assert_eq!(Version::ALL.map(Version::members), [16, 18, 18, 19, 19, 21, 21]);
    }
}
