//! A piece of a message, and the header that goes before it.
//!
//! ```text
//! 0 kind (1: data)  2 zero  4 length  8 message  16 offset  24 total  32 payload
//! ```
//!
//! Big-endian. Other kinds are left for acknowledgements and probes.

use crate::fields::{Reader, Writer};

/// A piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Messages before this one on the connection.
    pub(crate) message: u64,
    /// Bytes of the message before this piece.
    pub(crate) offset: u64,
    /// Bytes in this piece; 0 only for a message without bytes.
    pub(crate) length: u32,
    /// Bytes in the whole message.
    pub(crate) total: u64,
}

impl Chunk {
    pub(crate) const HEADER: usize = 32;

    pub(crate) fn encode(&self) -> [u8; Chunk::HEADER] {
        Writer::new()
            .put(DATA.to_be_bytes())
            .put([0; 2])
            .put(self.length.to_be_bytes())
            .put(self.message.to_be_bytes())
            .put(self.offset.to_be_bytes())
            .put(self.total.to_be_bytes())
            .finish()
    }

    pub(crate) fn decode(header: &[u8; Chunk::HEADER]) -> Result<Chunk, Violation> {
        let mut fields = Reader::new(header);
        let kind = fields.u16();
        if kind != DATA {
            return Err(Violation::Kind { kind });
        }
        fields.bytes::<2>();
        let length = fields.u32();
        let chunk = Chunk { length, message: fields.u64(), offset: fields.u64(), total: fields.u64() };
        let inside = chunk.offset.checked_add(u64::from(length)).is_some_and(|end| end <= chunk.total);
        if !inside || (length == 0 && chunk.total != 0) {
            return Err(Violation::Bounds { offset: chunk.offset, length, total: chunk.total });
        }
        Ok(chunk)
    }
}

/// How a peer broke the chunk protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A header of unknown kind; the stream is out of step, or the peer is newer.
    #[error("chunk header has kind {kind}, wanted {DATA}")]
    Kind {
        /// The kind.
        kind: u16,
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
    /// A chunk of a message that is complete already.
    #[error("chunk of message {message}, which is complete")]
    Late {
        /// The message.
        message: u64,
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
    /// The chunks of a message have more bytes than the message.
    #[error("chunks of message {message} have more than its {total} bytes")]
    Excess {
        /// The message.
        message: u64,
        /// Its length.
        total: u64,
    },
    /// All subflows went on to later messages although this one is not complete.
    #[error("message {message} is incomplete, and every subflow has gone on to a later one")]
    Missing {
        /// The message.
        message: u64,
    },
}

const DATA: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_as_they_were() {
        for chunk in [
            Chunk { message: 0, offset: 0, length: 0, total: 0 },
            Chunk { message: u64::MAX, offset: 1 << 40, length: u32::MAX, total: 1 << 41 },
        ] {
            assert_eq!(Chunk::decode(&chunk.encode()), Ok(chunk));
        }
    }

    #[test]
    fn headers_that_make_no_sense_are_refused() {
        assert_eq!(Chunk::decode(&[0; Chunk::HEADER]), Err(Violation::Kind { kind: 0 }));
        let bounds = |offset, length, total| {
            let chunk = Chunk { message: 3, offset, length, total };
            Chunk::decode(&chunk.encode()) == Err(Violation::Bounds { offset, length, total })
        };
        assert!(bounds(0, 11, 10));
        assert!(bounds(8, 3, 10));
        assert!(bounds(u64::MAX, 2, u64::MAX));
        assert!(bounds(4, 0, 10), "an empty chunk of a message with bytes");
        assert!(!bounds(8, 2, 10));
    }
}
