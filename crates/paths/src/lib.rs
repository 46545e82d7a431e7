//! Where a path comes from: the Jalapeno API or a topology file, with a cache in front of either.
//!
//! Everything here blocks, with a deadline, and belongs on a thread of ours, never on one of NCCL's.
#![forbid(unsafe_code)]

mod cache;
mod error;
mod file;
mod jalapeno;
mod shared;
mod source;

pub use cache::{CacheLimits, Paths};
pub use error::{ApiError, FileError, PathError};
pub use file::{TopologyFile, read_topology, topology_changed};
pub use jalapeno::{Jalapeno, JalapenoConfig};
pub use shared::SharedSource;
pub use source::{Answer, Candidates, MAX_PATHS, Origin, PathSource, Query};
