//! How a peer can break the protocol.

use super::frame::MAX_CHUNKS;

/// How a peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A frame of unknown kind; the stream is out of step, or the peer is newer.
    #[error("frame has kind {kind:#06x}, wanted {wanted}")]
    Kind {
        /// The kind.
        kind: u16,
        /// The kinds that there are in this direction.
        wanted: &'static str,
    },
    /// A chunk that doesn't lie within its message.
    #[error("chunk has {length} bytes at {offset}, wanted some within the message's {total}")]
    Bounds {
        /// Where it begins.
        offset: u64,
        /// Its length.
        length: u32,
        /// The message's length.
        total: u64,
    },
    /// A chunk number that no message has.
    #[error("chunk {number} of message {message}, wanted one below {MAX_CHUNKS}")]
    Number {
        /// The message.
        message: u64,
        /// The number.
        number: u32,
    },
    /// Two chunks of a message disagree on its length.
    #[error("message {message} has {now} bytes, an earlier chunk said {before}")]
    Total {
        /// The message.
        message: u64,
        /// Its length by this chunk.
        now: u64,
        /// Its length by an earlier chunk.
        before: u64,
    },
    /// Two copies of a chunk disagree on its place.
    #[error("chunk {number} of message {message} lies at {now}, another copy said {before}")]
    Place {
        /// The message.
        message: u64,
        /// The chunk's number.
        number: u32,
        /// Where it begins by this copy.
        now: u64,
        /// Where it begins by the other copy.
        before: u64,
    },
    /// The chunks of a message have more bytes than the message.
    #[error("chunks of message {message} have more than its {total} bytes")]
    Excess {
        /// The message.
        message: u64,
        /// Its length.
        total: u64,
    },
    /// The receiver says that it has messages which were never sent.
    #[error("receiver has {complete} messages, wanted at most the {posted} posted")]
    Complete {
        /// Messages that it says are complete.
        complete: u64,
        /// Messages posted here.
        posted: u64,
    },
    /// The receiver says that it has frames which were never sent.
    #[error("receiver has {finished} frames of subflow {subflow}, wanted at most the {sent} sent")]
    Finished {
        /// The subflow that it says so about, from 0.
        subflow: usize,
        /// Frames that it says have come.
        finished: u64,
        /// Frames that were begun there.
        sent: u64,
    },
}
