//! NCCL's net plugin ABI, v6 to v12: bindings, one face over all versions, and where NCCL keeps its own tables.
//!
//! - [`bindings`]: the C declarations, with NCCL's spelling; their layout is asserted at compile time.
//! - [`Net`]: what a net transport does, whatever the version of its table; [`AnyNet`] is a C table seen through it.
//! - [`Library`]: a net plugin loaded from a file.
//! - [`Image`] and [`find_stock`]: NCCL's own Socket and IB tables inside a loaded libnccl.

pub mod bindings;

mod any;
mod code;
mod error;
mod image;
mod library;
mod logger;
mod net;
mod properties;
mod version;

pub use any::{AnyNet, Table};
pub use code::Code;
pub use error::Error;
pub use image::{Image, Stock, find_stock};
pub use library::Library;
pub use logger::{Level, Logger, Subsystem};
pub use net::{Capabilities, Context, Init, Net, Receives};
pub use properties::{MemoryKind, Properties, VirtualDevice};
pub use version::Version;
