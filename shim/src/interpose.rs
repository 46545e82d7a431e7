//! The functions that stand before libc's.
//!
//! C1: the program calls them under libc's contract, and what it passes goes on unchanged.

use std::ffi::{c_int, c_void};
use std::os::fd::BorrowedFd;

use libc::{msghdr, size_t, sockaddr, socklen_t, ssize_t};
use rustix::fs::OFlags;

use crate::address::Address;
use crate::next;
use crate::quiet::{errno, quietly, set_errno};
use crate::steering::{self, Passage};

/// Stands before libc's `connect`.
///
/// # Safety
/// C1.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn connect(socket: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    // SAFETY: C1.
    let destination = unsafe { read(address, length) };
    if let Some(destination) = destination.filter(|&destination| steering::concerns(destination))
        && before(socket, destination, 0) == Passage::Interrupted
    {
        // SAFETY: C1.
        return unsafe { interrupted_connect(socket, address, length) };
    }
    // SAFETY: C1.
    unsafe { next::connect(socket, address, length) }
}

/// Stands before libc's `accept`.
///
/// # Safety
/// C1.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn accept(
    socket: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    // SAFETY: C1.
    let accepted = unsafe { next::accept(socket, address, length) };
    after(accepted);
    accepted
}

/// Stands before libc's `accept4`.
///
/// # Safety
/// C1.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn accept4(
    socket: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
    flags: c_int,
) -> c_int {
    // SAFETY: C1.
    let accepted = unsafe { next::accept4(socket, address, length, flags) };
    after(accepted);
    accepted
}

/// Stands before libc's `sendto`, which opens a connection where it is asked for TCP Fast Open.
///
/// # Safety
/// C1.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sendto(
    socket: c_int,
    data: *const c_void,
    size: size_t,
    flags: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> ssize_t {
    if flags & libc::MSG_FASTOPEN != 0 {
        // SAFETY: C1.
        let destination = unsafe { read(address, length) };
        if let Some(destination) = destination.filter(|&destination| steering::concerns(destination))
            && before(socket, destination, flags) == Passage::Interrupted
        {
            // Nothing was sent yet, so the program may simply call again.
            set_errno(libc::EINTR);
            return -1;
        }
    }
    // SAFETY: C1.
    unsafe { next::sendto(socket, data, size, flags, address, length) }
}

/// Stands before libc's `sendmsg`, for the same reason as [`sendto`].
///
/// # Safety
/// C1.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sendmsg(socket: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    if flags & libc::MSG_FASTOPEN != 0 {
        // SAFETY: C1.
        let named =
            unsafe { message.as_ref() }.map(|message| (message.msg_name.cast_const(), message.msg_namelen));
        // SAFETY: C1.
        let destination = named.and_then(|(name, length)| unsafe { read(name.cast(), length) });
        if let Some(destination) = destination.filter(|&destination| steering::concerns(destination))
            && before(socket, destination, flags) == Passage::Interrupted
        {
            // Nothing was sent yet, so the program may simply call again.
            set_errno(libc::EINTR);
            return -1;
        }
    }
    // SAFETY: C1.
    unsafe { next::sendmsg(socket, message, flags) }
}

fn before(socket: c_int, destination: Address, flags: c_int) -> Passage {
    quietly(Passage::Go, || match borrow(socket) {
        Some(socket) => steering::before(socket, destination, flags & libc::MSG_DONTWAIT != 0),
        None => Passage::Go,
    })
}

fn after(accepted: c_int) {
    if steering::is_on()
        && let Some(accepted) = borrow(accepted)
    {
        quietly((), || steering::after_accept(accepted));
    }
}

/// The descriptor for the length of this call; `None` for a number that is none.
fn borrow<'a>(socket: c_int) -> Option<BorrowedFd<'a>> {
    // SAFETY: only passed to system calls, for which a closed one is an error and no danger.
    (socket >= 0).then(|| unsafe { BorrowedFd::borrow_raw(socket) })
}

/// What a blocking connect does when a signal handler ends it: the connection goes on being opened, and EINTR is the
/// answer.
///
/// # Safety
/// C1.
unsafe fn interrupted_connect(socket: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    let Some(descriptor) = borrow(socket) else { return -1 };
    let flags = rustix::fs::fcntl_getfl(descriptor).unwrap_or(OFlags::empty());
    let non_blocking = rustix::fs::fcntl_setfl(descriptor, flags | OFlags::NONBLOCK).is_ok();
    // SAFETY: C1.
    let result = unsafe { next::connect(socket, address, length) };
    let mut error = errno();
    if non_blocking {
        let _ = rustix::fs::fcntl_setfl(descriptor, flags);
        if result != 0 && error == libc::EINPROGRESS {
            error = libc::EINTR;
        }
    }
    set_errno(error);
    result
}

/// The destination in a socket address; `None` where it isn't an IP address.
///
/// # Safety
/// NULL, or `length` readable bytes.
unsafe fn read(address: *const sockaddr, length: socklen_t) -> Option<Address> {
    const V4: usize = std::mem::offset_of!(libc::sockaddr_in, sin_addr);
    const V6: usize = std::mem::offset_of!(libc::sockaddr_in6, sin6_addr);
    let length = usize::try_from(length).ok()?;
    if address.is_null() || length < V4 + 4 {
        return None;
    }
    // SAFETY: the family comes first, and is within the bytes checked for.
    let family = c_int::from(unsafe { address.cast::<libc::sa_family_t>().read_unaligned() });
    match family {
        libc::AF_INET => {
            // SAFETY: within the bytes checked for.
            let place = unsafe { address.cast::<u8>().add(V4) };
            // SAFETY: as above; bytes have no alignment.
            Some(Address::v4(unsafe { place.cast::<[u8; 4]>().read() }))
        }
        libc::AF_INET6 if length >= V6 + 16 => {
            // SAFETY: within the bytes checked for.
            let place = unsafe { address.cast::<u8>().add(V6) };
            // SAFETY: as above; bytes have no alignment.
            Some(Address::v6(unsafe { place.cast::<[u8; 16]>().read() }))
        }
        _ => None,
    }
}
