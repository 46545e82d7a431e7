//! Memory that a net reads and writes while requests are outstanding.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ffi::c_void;
use std::io;
use std::ptr::{NonNull, null_mut};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// Page-aligned, zeroed memory. Hands out pointers only: a net works on parts of it while we work on others.
#[derive(Debug)]
pub(crate) struct Memory {
    base: NonNull<u8>,
    bytes: usize,
    from: Origin,
}

/// Who gets it back.
#[derive(Debug)]
enum Origin {
    Allocator(Layout),
    Mapping,
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
        let base = NonNull::new(base).unwrap_or_else(|| handle_alloc_error(layout));
        Self { base, bytes: layout.size(), from: Origin::Allocator(layout) }
    }

    /// So many slots of whole pages that all lie over one and the same mebibyte, or less if they are shorter, from their
    /// second page on. The first page of each is its own.
    ///
    /// # Errors
    /// What the kernel says to memfd_create(2) or mmap(2).
    pub(crate) fn overlaid(slots: usize, slot_bytes: usize) -> io::Result<Self> {
        let bytes = slots * slot_bytes;
        let block = slot_bytes.saturating_sub(PAGE).clamp(PAGE, BLOCK);
        let file = memfd_create("slots", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, block as u64)?;
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new mapping, wherever there is room.
        let base = unsafe { mmap_anonymous(null_mut(), bytes.max(PAGE), protection, flags) }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        // Unmapped from here on, whatever happens.
        let memory = Self { base, bytes, from: Origin::Mapping };
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        for start in (0..slots).map(|slot| slot * slot_bytes) {
            for at in (start + PAGE..start + slot_bytes).step_by(block) {
                let part = block.min(start + slot_bytes - at);
                let place = base.as_ptr().wrapping_add(at).cast();
                // SAFETY: replaces a part of the mapping just made, which nobody else knows.
                unsafe { mmap(place, part, protection, flags, &file, 0) }?;
            }
        }
        Ok(memory)
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        match self.from {
            // SAFETY: allocated in `new` with this layout.
            Origin::Allocator(layout) => unsafe { dealloc(self.base.as_ptr(), layout) },
            Origin::Mapping => {
                // SAFETY: mapped in `overlaid`, and nobody works on it any more. It can't fail for a whole mapping.
                let _unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.bytes.max(PAGE)) };
            }
        }
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
    pub(crate) const NULL: Self = Self(null_mut());

    pub(crate) fn new(pointer: *mut c_void) -> Self {
        Self(pointer)
    }

    pub(crate) fn get(self) -> *mut c_void {
        self.0
    }
}

/// NCCL's buffers are page-aligned, and RDMA registration works in pages.
pub(crate) const PAGE: usize = 4096;

/// What overlaid slots share at most.
const BLOCK: usize = 1 << 20;

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

    fn write(memory: &Memory, at: usize, value: u8) {
        assert!(at < memory.bytes());
        // SAFETY: within the memory, which nobody else uses.
        unsafe { memory.base().as_ptr().wrapping_add(at).write(value) };
    }

    fn read(memory: &Memory, at: usize) -> u8 {
        assert!(at < memory.bytes());
        // SAFETY: as above, and zeroed by the kernel.
        unsafe { memory.base().as_ptr().wrapping_add(at).read() }
    }

    #[test]
    fn overlaid_slots_share_all_but_their_first_page() {
        let slot_bytes = BLOCK + 3 * PAGE;
        let memory = Memory::overlaid(2, slot_bytes).unwrap();
        assert_eq!(memory.bytes(), 2 * slot_bytes);
        write(&memory, 0, 1);
        write(&memory, slot_bytes, 2);
        assert_eq!([0, slot_bytes].map(|at| read(&memory, at)), [1, 2], "first pages");
        write(&memory, PAGE + 5, 3);
        assert_eq!(read(&memory, PAGE + BLOCK + 5), 3, "further on in the same slot");
        assert_eq!(read(&memory, slot_bytes + PAGE + 5), 3, "in the other slot");
        write(&memory, 2 * slot_bytes - 1, 4);
        assert_eq!(read(&memory, slot_bytes - 1), 4, "up to the end");
    }

    #[test]
    fn overlaid_slots_of_a_page_are_their_own() {
        let memory = Memory::overlaid(2, PAGE).unwrap();
        write(&memory, 0, 1);
        assert_eq!(read(&memory, PAGE), 0);
    }
}
