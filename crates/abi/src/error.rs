//! Why a table could not be had.

use std::path::PathBuf;

use crate::{Stock, Version};

/// Why a table could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is no shared object, or something that it needs is missing.
    #[error("can't load {}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// The loader's reason.
        #[source]
        source: libloading::Error,
    },
    /// The file is not a net plugin of this version.
    #[error("{} has no symbol ncclNetPlugin_{version}", path.display())]
    NoSymbol {
        /// The file.
        path: PathBuf,
        /// The version that was wanted.
        version: Version,
    },
    /// The file is not a net plugin of any version that we speak.
    #[error("{} has none of the symbols ncclNetPlugin_v6 to ncclNetPlugin_v12: is it an NCCL net plugin?", path.display())]
    NoPlugin {
        /// The file.
        path: PathBuf,
    },
    /// A table without a function that every net must have.
    #[error("the {version} net table has NULL for {member}, which every net must have")]
    MissingMember {
        /// The table's version.
        version: Version,
        /// NCCL's name of the member.
        member: &'static str,
    },
    /// A table without a name.
    #[error("the {version} net table has no name")]
    NoName {
        /// The table's version.
        version: Version,
    },
    /// The address belongs to nothing that the loader knows.
    #[error("no loaded image contains address {address:#x}: NCCL's logger should be a function of libnccl")]
    NoImage {
        /// The address.
        address: usize,
    },
    /// The image exports no `ncclGetVersion`, so its release is unknown.
    #[error("{} has no ncclGetVersion of its own: its NCCL release can't be told", path.display())]
    NoVersion {
        /// The image.
        path: PathBuf,
    },
    /// `ncclGetVersion` failed.
    #[error("ncclGetVersion of {} failed", path.display())]
    VersionCall {
        /// The image.
        path: PathBuf,
        /// What it returned.
        #[source]
        source: crate::Code,
    },
    /// No table in the image fits.
    #[error(
        "no {stock} table of layout {version} in {}: {named} word(s) of its data point to that name, none followed by that table's members",
        path.display()
    )]
    NoTable {
        /// The image.
        path: PathBuf,
        /// Which table was wanted.
        stock: Stock,
        /// The layout that was wanted.
        version: Version,
        /// Words in writable data that point to exactly this name.
        named: usize,
    },
    /// More than one table fits, so none can be trusted.
    #[error("{count} {stock} tables of layout {version} in {}: can't tell which one NCCL uses", path.display())]
    Ambiguous {
        /// The image.
        path: PathBuf,
        /// Which table was wanted.
        stock: Stock,
        /// The layout that was wanted.
        version: Version,
        /// How many fit.
        count: usize,
    },
}
