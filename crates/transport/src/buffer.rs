//! Memory that belongs to the caller while a request is outstanding.
//!
//! C1: whoever makes a [`RawBuf`] promises that its memory stays valid, and is left alone, until the
//! request it was posted with is done or its comm is dropped: not written while it is being sent, not
//! read or written while it is being received into. The queues in `proto` give out a place in a
//! buffer only between post and done, and to one subflow at a time. The kernel may refer to its pages for
//! longer, which keeps them, whoever has the addresses by then: of what it reads there nothing is used.

#![allow(unsafe_code, reason = "the caller's memory outlives the call that posts it")]

use std::slice;

/// Pointer and length of memory to send from or to receive into.
#[derive(Clone, Copy, Debug)]
pub struct RawBuf {
    start: *mut u8,
    len: usize,
}

impl RawBuf {
    /// No bytes.
    pub const EMPTY: RawBuf = RawBuf { start: std::ptr::null_mut(), len: 0 };

    /// The `len` bytes at `start`.
    ///
    /// # Safety
    ///
    /// Unless `len` is 0, `start` points to `len` bytes of one allocation that can be read (to send)
    /// or written (to receive), from any thread, until the request that the buffer is posted with is
    /// done or its comm is dropped. Until then nobody writes them (send) or touches them (receive).
    /// The bytes are initialised, or the allocation was not made by Rust.
    #[must_use]
    pub unsafe fn new(start: *mut u8, len: usize) -> RawBuf {
        RawBuf { start, len }
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Says whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The `len` bytes at `offset`, to send; none if they aren't all inside.
    pub(crate) fn outgoing(&self, offset: usize, len: usize) -> Option<&[u8]> {
        let start = self.place(offset, len)?;
        // SAFETY: C1: valid for reads and not written; `place` keeps it inside.
        Some(unsafe { slice::from_raw_parts(start, len) })
    }

    /// The `len` bytes at `offset`, to receive into; none if they aren't all inside.
    pub(crate) fn incoming(&mut self, offset: usize, len: usize) -> Option<&mut [u8]> {
        let start = self.place(offset, len)?;
        // SAFETY: C1: valid for writes, and nobody else touches it; `place` keeps it inside.
        Some(unsafe { slice::from_raw_parts_mut(start, len) })
    }

    fn place(&self, offset: usize, len: usize) -> Option<*mut u8> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        if len == 0 {
            return Some(std::ptr::NonNull::dangling().as_ptr());
        }
        // SAFETY: C1: one allocation of `self.len` bytes, and offset + len is not beyond it.
        Some(unsafe { self.start.add(offset) })
    }
}

// SAFETY: C1: the memory may be read or written from any thread.
unsafe impl Send for RawBuf {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_places_inside_are_given_out() {
        let mut bytes = *b"0123456789";
        // SAFETY: the array outlives the buffer and is not used meanwhile.
        let mut buf = unsafe { RawBuf::new(bytes.as_mut_ptr(), bytes.len()) };
        assert_eq!(buf.outgoing(3, 4), Some(&b"3456"[..]));
        assert_eq!(buf.outgoing(10, 0), Some(&b""[..]));
        assert_eq!(buf.outgoing(10, 1), None);
        assert_eq!(buf.outgoing(2, usize::MAX), None);
        assert!(buf.incoming(11, 0).is_none());
        buf.incoming(8, 2).unwrap().fill(b'x');
        assert_eq!(&bytes, b"01234567xx");
    }

    #[test]
    fn no_bytes_need_no_pointer() {
        assert_eq!(RawBuf::EMPTY.outgoing(0, 0), Some(&b""[..]));
        assert!(RawBuf::EMPTY.outgoing(0, 1).is_none());
    }
}
