//! What goes out in one write.

use std::ops::Range;

use crate::request::RequestId;

/// A message that was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posted {
    pub(crate) request: RequestId,
    /// Copy the message to this place, below [`EAGER_SLOTS`](crate::proto::EAGER_SLOTS); it is complete
    /// as soon as it is written to a socket or followed by another, and the copy stays until the receiver has it.
    /// None: the message stays where it is until its request is complete.
    pub(crate) eager: Option<usize>,
}

/// What a subflow is to write in one call: the rest of a header, then payload.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) header: &'a [u8],
    pub(crate) payload: Payload,
}

impl Payload {
    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Payload::Buffer { range, .. } | Payload::Eager { range, .. } => range.len(),
            Payload::Filler(length) => *length,
        }
    }
}

/// How bytes were given to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// The kernel has a copy.
    Copied,
    /// The kernel refers to the caller's memory, and so may the peer's: it is needed until the receiver has read it.
    Lent,
}

/// Payload of a frame, or the rest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// A range of an outstanding request's buffer.
    Buffer {
        /// Place of the buffer among the outstanding requests.
        slot: usize,
        /// May be empty.
        range: Range<usize>,
    },
    /// A range of the copy in an eager slot.
    Eager {
        /// The slot.
        slot: usize,
        /// May be empty.
        range: Range<usize>,
    },
    /// This many bytes of any content: the receiver drops them. The message is complete, its memory
    /// may be gone, and the frame has to come to its end. Any part of it may be written.
    Filler(usize),
}
