//! Cutting a stream of bytes into frames.

use super::ProtocolError;

/// Longest frame in bytes, without its length field. Nobody has to keep more of an unfinished message than this.
pub const MAX_FRAME: usize = 256 * 1024;

/// Length of the length field.
const HEAD: usize = 4;

/// Bytes that have come and aren't used yet.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    used: usize,
}

impl Frames {
    /// Adds what was read from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.used > 0 {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame: its type and payload. `None` until more has come.
    ///
    /// # Errors
    /// A length that no frame has; the stream can't be read on after that.
    pub fn next_frame(&mut self) -> Result<Option<(u8, &[u8])>, ProtocolError> {
        let waiting = self.bytes.get(self.used..).unwrap_or_default();
        let Some((head, rest)) = waiting.split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if length == 0 || length > MAX_FRAME {
            return Err(ProtocolError::Length { length });
        }
        let Some((kind, payload)) = rest.get(..length).and_then(<[u8]>::split_first) else { return Ok(None) };
        self.used += HEAD + length;
        Ok(Some((*kind, payload)))
    }

    /// Whether part of a frame has come, but not all.
    pub fn is_half(&self) -> bool {
        self.bytes.len() > self.used
    }
}

/// A frame of this type and payload.
pub(super) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(HEAD + 1 + payload.len());
    frame.extend(length.to_be_bytes());
    frame.push(kind);
    frame.extend_from_slice(payload);
    frame
}
