//! Memory shared with other processes, as atomic words.
#![allow(unsafe_code, reason = "a mapping is a pointer; here it becomes a slice of atomics")]

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, AtomicU64};

use memmap2::{MmapOptions, MmapRaw};

/// Which file is mapped: another one under the same name is another writer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The file's.
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A mapped file. Its length never changes while it is mapped: writers make a new file instead.
#[derive(Debug)]
pub(crate) struct Region {
    map: MmapRaw,
}

impl Region {
    /// Maps the first `bytes` of a file, to be written.
    pub(crate) fn writable(file: &File, bytes: usize) -> io::Result<Self> {
        Ok(Self { map: MmapOptions::new().len(bytes).map_raw(file)? })
    }

    /// Maps the first `bytes` of a file, to be read. The caller has seen that it is so long.
    pub(crate) fn readable(file: &File, bytes: usize) -> io::Result<Self> {
        Ok(Self { map: MmapOptions::new().len(bytes).map_raw_read_only(file)? })
    }

    /// The whole region as words. Of a readable one only loads with `Relaxed` are allowed, with a fence where order
    /// matters: others may write on some machines (`std::sync::atomic`, on read-only memory).
    pub(crate) fn words<W: Word>(&self) -> &[W] {
        let first = self.map.as_ptr().cast::<W>();
        // SAFETY: the mapping begins at a page, so it is aligned, has at least this many bytes and lives as long as
        // `self`. Words are atomics, which may change under a shared reference, also by another process. A format has
        // words of one size only, so no two sizes meet.
        unsafe { std::slice::from_raw_parts(first, self.map.len() / size_of::<W>()) }
    }
}

/// An atomic integer that every bit pattern is a value of.
pub(crate) trait Word: sealed::Sealed {}

impl Word for AtomicU32 {}
impl Word for AtomicU64 {}

mod sealed {
    use std::sync::atomic::{AtomicU32, AtomicU64};

    pub(crate) trait Sealed {}
    impl Sealed for AtomicU32 {}
    impl Sealed for AtomicU64 {}
}
