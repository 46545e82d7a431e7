//! Memory that a net reads and writes while requests are outstanding.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ffi::c_void;
use std::ptr::NonNull;

/// Page-aligned, zeroed memory. Hands out pointers only: a net works on parts of it while we work on others.
#[derive(Debug)]
pub(crate) struct Memory {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: plain memory; who reads and writes which part when is the users' contract.
unsafe impl Send for Memory {}

impl Memory {
    /// At least one byte; `bytes` is far below what a layout can't hold.
    pub(crate) fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes.max(1), PAGE).unwrap_or(Layout::new::<u8>());
        assert!(layout.size() >= bytes, "{bytes} bytes of memory can't be described");
        // SAFETY: the size isn't 0.
        let base = unsafe { alloc_zeroed(layout) };
        Self { base: NonNull::new(base).unwrap_or_else(|| handle_alloc_error(layout)), layout }
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn bytes(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

/// A net's pointer: a comm, a memory handle or a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token(*mut c_void);

// SAFETY: NCCL presents a net's tokens on its service and its progress thread alike (contract C5 of `Net`).
unsafe impl Send for Token {}
// SAFETY: as above; nothing here reads through the pointer.
unsafe impl Sync for Token {}

impl Token {
    pub(crate) const NULL: Self = Self(std::ptr::null_mut());

    pub(crate) fn new(pointer: *mut c_void) -> Self {
        Self(pointer)
    }

    pub(crate) fn get(self) -> *mut c_void {
        self.0
    }
}

/// NCCL's buffers are page-aligned, and RDMA registration works in pages.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_pages_of_zeros() {
        let memory = Memory::new(100);
        assert_eq!(memory.base().as_ptr().addr() % PAGE, 0);
        assert_eq!(memory.bytes(), 100);
        // SAFETY: 100 initialised bytes that nobody writes.
        let bytes = unsafe { std::slice::from_raw_parts(memory.base().as_ptr(), 100) };
        assert!(bytes.iter().all(|&byte| byte == 0));
    }
}
