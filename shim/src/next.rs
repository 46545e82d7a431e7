//! The functions that the program would have called without us: libc's, or those of another preloaded library.

use std::ffi::{CStr, c_int, c_long, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{msghdr, size_t, sockaddr, socklen_t, ssize_t};

/// A symbol that is looked up once.
struct Symbol {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Symbol {
    const fn new(name: &'static CStr) -> Self {
        Self { name, found: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Its address behind us in the order of loading; NULL where nothing has it.
    fn address(&self) -> *mut c_void {
        let known = self.found.load(Ordering::Acquire);
        if !known.is_null() {
            return known;
        }
        // SAFETY: the name is a C string, and RTLD_NEXT is allowed from any shared object.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.found.store(found, Ordering::Release);
        found
    }
}

static CONNECT: Symbol = Symbol::new(c"connect");
static ACCEPT: Symbol = Symbol::new(c"accept");
static ACCEPT4: Symbol = Symbol::new(c"accept4");
static SENDTO: Symbol = Symbol::new(c"sendto");
static SENDMSG: Symbol = Symbol::new(c"sendmsg");

/// Looks all of them up. Later, in a signal handler, it would not be allowed.
pub(crate) fn find_all() {
    for symbol in [&CONNECT, &ACCEPT, &ACCEPT4, &SENDTO, &SENDMSG] {
        symbol.address();
    }
}

/// What calls a next function, or where there is none the kernel.
macro_rules! next {
    ($(#[$doc:meta])* $name:ident, $symbol:ident, $number:ident, ($($argument:ident: $kind:ty),*) -> $result:ty) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As libc's.
        pub(crate) unsafe fn $name($($argument: $kind),*) -> $result {
            let address = $symbol.address();
            if address.is_null() {
                // SAFETY: the caller's contract; the kernel takes the same arguments.
                let result = unsafe { libc::syscall(libc::$number, $($argument),*) };
                return from_kernel(result);
            }
            // SAFETY: a function of this name has this signature, by POSIX or (accept4) by libc's header.
            let function = unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($kind),*) -> $result>(address) };
            // SAFETY: the caller's contract.
            unsafe { function($($argument),*) }
        }
    };
}

next!(
    /// The next `connect`.
    connect, CONNECT, SYS_connect, (socket: c_int, address: *const sockaddr, length: socklen_t) -> c_int
);
next!(
    /// The next `accept`.
    accept, ACCEPT, SYS_accept, (socket: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int
);
next!(
    /// The next `accept4`.
    accept4, ACCEPT4, SYS_accept4, (socket: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int
);
next!(
    /// The next `sendto`.
    sendto, SENDTO, SYS_sendto,
    (socket: c_int, data: *const c_void, size: size_t, flags: c_int, address: *const sockaddr, length: socklen_t) -> ssize_t
);
next!(
    /// The next `sendmsg`.
    sendmsg, SENDMSG, SYS_sendmsg, (socket: c_int, message: *const msghdr, flags: c_int) -> ssize_t
);

/// A result of `syscall`, which has set errno already; all of these fit.
fn from_kernel<T: TryFrom<c_long> + From<i8>>(result: c_long) -> T {
    T::try_from(result).unwrap_or_else(|_| T::from(-1))
}
