//! Socket options that no safe crate sets.
//!
//! C1 (`setsockopt(2)`): the kernel reads as many bytes as it is told, at the address it is given, during the
//! call.

#![allow(unsafe_code, reason = "these options have no safe wrapper")]

use std::io;
use std::os::fd::AsRawFd;

use socket2::Socket;

/// Sets the segment routing header that every packet of an IPv6 socket carries (`IPV6_RTHDR`, RFC 3542 §7).
pub(crate) fn set_routing_header(socket: &Socket, header: &[u8]) -> io::Result<()> {
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_RTHDR, header)
}

/// Sets a number of TCP's.
pub(crate) fn set_tcp(socket: &Socket, option: TcpOption, value: u32) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, option as libc::c_int, &value.to_ne_bytes())
}

/// Numbers of `include/uapi/linux/tcp.h` that are younger than the C library's headers.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub(crate) enum TcpOption {
    /// Longest retransmission timeout, milliseconds; Linux 6.15.
    RtoMaxMillis = 44,
    /// Shortest retransmission timeout, microseconds; Linux 6.18.
    RtoMinMicros = 45,
    /// Longest delay of an acknowledgement, microseconds; Linux 6.18.
    DelayedAckMaxMicros = 46,
}

fn set(socket: &Socket, level: libc::c_int, name: libc::c_int, value: &[u8]) -> io::Result<()> {
    let len = libc::socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: C1: pointer and length are those of `value`; the descriptor is open while borrowed.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
