//! The 128-byte handle as `src/handle.rs` documents it, read and written by independent code.

use std::ffi::c_void;
use std::net::Ipv6Addr;

/// What memory holds before listen.
pub(crate) const FILL: u8 = 0xab;

/// A handle at an odd address, as NCCL may have it, with a byte before and after that nobody may touch.
#[repr(align(2))]
pub(crate) struct Handle([u8; 130]);

impl Handle {
    pub(crate) fn new() -> Self {
        Self([FILL; 130])
    }

    pub(crate) fn of(bytes: [u8; 128]) -> Self {
        let mut handle = Self::new();
        handle.0[1..129].copy_from_slice(&bytes);
        handle
    }

    pub(crate) fn pointer(&mut self) -> *mut c_void {
        self.0[1..].as_mut_ptr().cast()
    }

    pub(crate) fn bytes(&self) -> [u8; 128] {
        assert_eq!((self.0[0], self.0[129]), (FILL, FILL), "written beyond the handle");
        self.0[1..129].try_into().unwrap()
    }
}

/// The trailer of a plugin over Socket whose data comes in at `address`.
pub(crate) fn trailer(address: Ipv6Addr) -> [u8; 32] {
    let mut trailer = [0; 32];
    trailer[..8].copy_from_slice(b"SRv6\x01\x01\x01\x00");
    trailer[8..24].copy_from_slice(&address.octets());
    let sum = trailer[..28]
        .iter()
        .fold(0x811c_9dc5_u32, |sum, &byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    trailer[28..].copy_from_slice(&sum.to_le_bytes());
    trailer
}

/// The listener's address and port in what stock Socket writes: a `sockaddr_in6`.
pub(crate) fn listener(bytes: &[u8; 128]) -> (Ipv6Addr, u16) {
    assert_eq!(u16::from_ne_bytes([bytes[0], bytes[1]]), 10, "AF_INET6");
    let address: [u8; 16] = bytes[8..24].try_into().unwrap();
    (address.into(), u16::from_be_bytes([bytes[2], bytes[3]]))
}

/// The same listener as if it were on another host.
pub(crate) fn at(mut bytes: [u8; 128], address: Ipv6Addr) -> [u8; 128] {
    bytes[8..24].copy_from_slice(&address.octets());
    bytes[96..].copy_from_slice(&trailer(address));
    bytes
}
