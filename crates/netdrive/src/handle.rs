//! The 128 bytes that describe a listener to the rank that connects to it.

use std::ffi::c_void;

use nccl_net_abi::bindings::NCCL_NET_HANDLE_MAXSIZE;

/// Bytes of a handle.
pub const HANDLE_BYTES: usize = NCCL_NET_HANDLE_MAXSIZE as usize;

/// What a listener wrote, and what travels to the connecting rank as a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle(pub [u8; HANDLE_BYTES]);

/// Where a net writes and keeps a handle: heap memory at an odd address that served other handles before.
///
/// NCCL passes memory of any alignment, not zeroed on all of its ways, and the same for all retries of one connect.
#[derive(Debug)]
pub(crate) struct HandleBuffer {
    bytes: Box<[u8; HANDLE_BYTES + ALIGNMENT]>,
    offset: usize,
}

impl HandleBuffer {
    fn new() -> Self {
        let bytes = Box::new([0xA5; HANDLE_BYTES + ALIGNMENT]);
        let offset = (ALIGNMENT + 1 - bytes.as_ptr().addr() % ALIGNMENT) % ALIGNMENT;
        Self { bytes, offset }
    }

    pub(crate) fn pointer(&mut self) -> *mut c_void {
        self.window().as_mut_ptr().cast()
    }

    pub(crate) fn write(&mut self, handle: &Handle) {
        self.window().copy_from_slice(&handle.0);
    }

    pub(crate) fn read(&mut self) -> Handle {
        let mut handle = Handle([0; HANDLE_BYTES]);
        handle.0.copy_from_slice(self.window());
        handle
    }

    fn window(&mut self) -> &mut [u8] {
        let offset = self.offset;
        // Empty never happens: `offset` is below ALIGNMENT.
        self.bytes.get_mut(offset..offset + HANDLE_BYTES).unwrap_or_default()
    }
}

/// Buffers to use again, contents and all.
#[derive(Debug, Default)]
pub(crate) struct HandleBuffers(Vec<HandleBuffer>);

impl HandleBuffers {
    pub(crate) fn take(&mut self) -> HandleBuffer {
        self.0.pop().unwrap_or_else(HandleBuffer::new)
    }

    pub(crate) fn give_back(&mut self, buffer: HandleBuffer) {
        self.0.push(buffer);
    }
}

const ALIGNMENT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_odd_and_reused_dirty() {
        let mut buffers = HandleBuffers::default();
        let mut first = buffers.take();
        assert_eq!(first.pointer().addr() % ALIGNMENT, 1);
        let handle = Handle([7; HANDLE_BYTES]);
        first.write(&handle);
        let address = first.pointer();
        buffers.give_back(first);
        let mut second = buffers.take();
        assert_eq!(second.pointer(), address);
        assert_eq!(second.read(), handle);
    }
}
