//! What clients of the MPIB transport agent expect: 4112 bytes of shared memory and two messages.
//!
//! Byte for byte theirs, in host byte order: magic, layout, numbers of slots, message lengths, values that a slot
//! begins with. Not theirs are the ways in which that agent failed: slots are used again, a registration that is
//! repeated counts once, what a process registered ends with the process, and the file is complete before it has
//! its name.
//!
//! A *slot* is of a flow, `(sout_src, sout_dst)`, both opaque. Its *hint* says how traffic is shared between two
//! networks, the scale-up one (SUP) and the scale-out one (SOUT). The file doesn't say in which unit: the clients'
//! generations differ, see [`Share`].

mod message;
mod registry;
mod share;
mod view;
mod writer;

pub use message::{HEADER_BYTES, Kind, LONGEST_REQUEST, MessageError, Pair, Reply, Request};
pub use registry::{Outcome, Registry};
pub use share::{Share, ShareError, Unit};
pub use view::MpibView;
pub use writer::MpibHints;

/// Slots in the file, as every client assumes.
pub const SLOTS: u32 = 256;
/// The file's length: a header of 16 bytes and 16 for each slot.
pub const FILE_BYTES: usize = 16 + 16 * SLOTS as usize;
/// What every slot says until it is set.
pub const FIRST_VALUE: u32 = 1;

/// First word of the file.
const MAGIC: u32 = 0x4d50_4948;

/// A slot: its hint and the flow's two addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The hint.
    pub value: u32,
    /// Whose it is; zeros for a slot that nobody has.
    pub pair: Pair,
}
