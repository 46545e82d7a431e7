//! Forward frames: the header that goes before every chunk, and pings.
//!
//! ```text
//! 0 kind  2 flags  4 length  8 message  16 offset  24 total  32 chunk number  36 zero  64 payload
//! ```
//!
//! Big-endian. `kind` is 2 for data and 3 for a ping, which has a length, payload of no meaning, and zeros for the rest.
//! Flag 1: the sender's caller waits for the end of this message, so it is acknowledged at once.

use super::violation::Violation;
use crate::fields::{GRAIN, Reader, Writer};

/// Chunks that a message is cut into at most.
///
/// One bit a chunk is what each side keeps of an outstanding message. Chunks of long messages are
/// longer in return.
pub(crate) const MAX_CHUNKS: usize = 1024;

/// Length of a frame's header, bytes.
pub(crate) const HEADER: usize = GRAIN;

/// A forward frame without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Data(Chunk),
    /// Asks whether frames arrive at all, with so many bytes behind it.
    Ping {
        length: u32,
    },
}

/// A piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Messages before this one on the connection.
    pub(crate) message: u64,
    /// Place among the chunks of its message, in the order of cutting; below [`MAX_CHUNKS`].
    pub(crate) number: u32,
    /// Bytes of the message before this piece.
    pub(crate) offset: u64,
    /// Bytes in this piece; 0 only for a message without bytes.
    pub(crate) length: u32,
    /// Bytes in the whole message.
    pub(crate) total: u64,
    /// The sender's caller waits for this message.
    pub(crate) urgent: bool,
}

impl Frame {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        match self {
            Frame::Ping { length } => {
                Writer::new().put(PING.to_be_bytes()).put([0; 2]).put(length.to_be_bytes()).finish()
            }
            Frame::Data(chunk) => Writer::new()
                .put(DATA.to_be_bytes())
                .put(u16::from(chunk.urgent).to_be_bytes())
                .put(chunk.length.to_be_bytes())
                .put(chunk.message.to_be_bytes())
                .put(chunk.offset.to_be_bytes())
                .put(chunk.total.to_be_bytes())
                .put(chunk.number.to_be_bytes())
                .finish(),
        }
    }

    /// Reads a header and checks what can be checked without knowing its message.
    pub(crate) fn decode(header: &[u8; HEADER]) -> Result<Frame, Violation> {
        let mut fields = Reader::new(header);
        let kind = fields.u16();
        let urgent = fields.u16() & URGENT != 0;
        let length = fields.u32();
        match kind {
            PING => return Ok(Frame::Ping { length }),
            DATA => {}
            _ => return Err(Violation::Kind { kind, wanted: "data (2) or ping (3)" }),
        }
        let (message, offset, total) = (fields.u64(), fields.u64(), fields.u64());
        let number = fields.u32();
        let inside = offset.checked_add(u64::from(length)).is_some_and(|end| end <= total);
        if !inside || (length == 0 && total != 0) {
            return Err(Violation::Bounds { offset, length, total });
        }
        if number as usize >= MAX_CHUNKS {
            return Err(Violation::Number { message, number });
        }
        Ok(Frame::Data(Chunk { message, number, offset, length, total, urgent }))
    }
}

const DATA: u16 = 2;
const PING: u16 = 3;
const URGENT: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: Chunk = Chunk { message: 3, number: 0, offset: 0, length: 1, total: 10, urgent: false };

    #[test]
    fn frames_come_back_as_they_were() {
        let most = Chunk {
            message: u64::MAX,
            number: 1023,
            offset: 1 << 40,
            length: u32::MAX,
            total: 1 << 41,
            urgent: true,
        };
        let empty = Chunk { length: 0, total: 0, ..CHUNK };
        for frame in [
            Frame::Data(CHUNK),
            Frame::Data(most),
            Frame::Data(empty),
            Frame::Ping { length: 0 },
            Frame::Ping { length: 1400 },
        ] {
            assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn headers_that_make_no_sense_are_refused() {
        assert!(matches!(Frame::decode(&[0; HEADER]), Err(Violation::Kind { kind: 0, .. })));
        let bounds = |offset, length, total| {
            let chunk = Chunk { offset, length, total, ..CHUNK };
            Frame::decode(&Frame::Data(chunk).encode()) == Err(Violation::Bounds { offset, length, total })
        };
        assert!(bounds(0, 11, 10));
        assert!(bounds(8, 3, 10));
        assert!(bounds(u64::MAX, 2, u64::MAX));
        assert!(bounds(4, 0, 10), "an empty chunk of a message with bytes");
        assert!(!bounds(8, 2, 10));
        let beyond = Frame::Data(Chunk { number: 1024, ..CHUNK });
        let refused = Violation::Number { message: 3, number: 1024 };
        assert_eq!(Frame::decode(&beyond.encode()), Err(refused));
    }
}
