//! How a sender gives a subflow what it is to carry: in one system call with copies, or long payload without a copy.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::sending::Sending;
use crate::buffer::RawBuf;
use crate::proto::{FRAMES, Given, Payload, Piece};
use crate::splice::Spliced;
use crate::subflow::Moved;

/// What one attempt to write came to.
pub(super) enum Sent {
    Bytes(usize),
    /// No room, or nothing to write: no use in trying again in this pass.
    Nothing,
}

/// What one attempt was about, and what the socket took of it.
struct Written {
    wanted: usize,
    given: Given,
    moved: Moved,
}

/// Shorter payload is copied, with what follows it: no copy then costs as much as one. Of 64 KiB a veth moves 1.1 times as much
/// this way, of 256 KiB 1.5 times.
const LEAST_LENT: usize = 64 << 10;

/// What goes out for a chunk that nobody needs any more.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

impl Sending {
    /// Lets a subflow write once, if it has room and there is something for it.
    pub(super) fn send(&mut self, index: usize, now: Instant) -> Sent {
        if self.lines.get(index).is_none_or(|line| !line.writable || line.subflow.is_none())
            || !self.core.prepare(index, now)
        {
            return Sent::Nothing;
        }
        let written = self.lend(index).or_else(|| self.copy(index));
        let (Some(written), Some(line)) = (written, self.lines.get_mut(index)) else { return Sent::Nothing };
        let Written { wanted, given, moved } = written;
        match moved {
            Moved::Bytes(count) => {
                line.writable = count == wanted;
                self.touched |= 1 << index;
                self.core.pushed(index, count, given, now);
                Sent::Bytes(count)
            }
            Moved::Blocked | Moved::End => {
                line.writable = false;
                self.core.pushed(index, 0, given, now);
                Sent::Nothing
            }
            Moved::Failed(error) => {
                self.core.pushed(index, 0, given, now);
                // What the peer said before it went is read first, in the next call: it may be a refusal.
                line.writable = false;
                line.readable = true;
                line.trouble = Some(Arc::new(error));
                Sent::Nothing
            }
        }
    }

    /// Writes the first frame if its payload is to go without a copy, and can.
    fn lend(&mut self, index: usize) -> Option<Written> {
        let pipes = self.pipes.as_ref()?;
        let subflow = self.lines.get(index)?.subflow.as_ref().filter(|subflow| subflow.lends())?;
        let Piece { header, payload } = self.core.pieces(index).next()?;
        let Payload::Buffer { slot, range } = payload else { return None };
        let payload = outgoing(&self.buffers, slot, &range).filter(|bytes| bytes.len() >= LEAST_LENT)?;
        let wanted = header.len() + payload.len();
        if !header.is_empty() {
            let moved = subflow.announce(header);
            if !matches!(moved, Moved::Bytes(count) if count == header.len()) {
                return Some(Written { wanted, given: Given::Copied, moved });
            }
        }
        let copied = || (Given::Copied, subflow.send(&[IoSlice::new(payload)]));
        let mut unable = None;
        let (given, moved) = match pipes.give(subflow.socket(), payload) {
            Spliced::Bytes(0) => (Given::Copied, Moved::Blocked),
            Spliced::Bytes(count) => (Given::Lent, Moved::Bytes(count)),
            Spliced::Failed(error) => (Given::Copied, Moved::Failed(error)),
            Spliced::Busy => copied(),
            Spliced::Unable(why) => {
                unable = Some(why);
                copied()
            }
        };
        // What comes after the header is the next call's to find out.
        let moved = match moved {
            Moved::Bytes(count) => Moved::Bytes(header.len() + count),
            _ if !header.is_empty() => Moved::Bytes(header.len()),
            moved => moved,
        };
        if let Some(why) = unable {
            let (connection, peer) = (self.origin.connection, self.origin.target);
            log::debug!("conn={connection:016x} peer={peer} copies what it sends: {why}");
            self.pipes = None;
        }
        Some(Written { wanted, given, moved })
    }

    /// Writes all that there is for the subflow in one system call.
    fn copy(&self, index: usize) -> Option<Written> {
        let subflow = self.lines.get(index)?.subflow.as_ref()?;
        let mut parts = [IoSlice::new(&[]); 2 * FRAMES];
        let (mut used, mut wanted) = (0, 0);
        for Piece { header, payload } in self.core.pieces(index) {
            let whole = payload.len();
            let payload = match payload {
                Payload::Buffer { slot, range } => outgoing(&self.buffers, slot, &range),
                Payload::Eager { slot, range } => self.copies.get(slot, range),
                Payload::Filler(length) => ZEROS.get(..length.min(ZEROS.len())),
            };
            // The core names only what it was given.
            let payload = payload.unwrap_or_default();
            for (place, part) in parts.iter_mut().skip(used).zip([header, payload]) {
                *place = IoSlice::new(part);
            }
            used += 2;
            wanted += header.len() + payload.len();
            if payload.len() < whole {
                break;
            }
        }
        let moved = subflow.send(parts.get(..used).unwrap_or_default());
        Some(Written { wanted, given: Given::Copied, moved })
    }
}

/// A range of the buffer of an outstanding request.
fn outgoing<'a>(buffers: &'a [RawBuf], slot: usize, range: &Range<usize>) -> Option<&'a [u8]> {
    buffers.get(slot)?.outgoing(range.start, range.len())
}
