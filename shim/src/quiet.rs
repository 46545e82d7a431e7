//! Working inside somebody else's call without being noticed.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

unsafe extern "C" {
    // <pthread.h>; the libc crate has neither for glibc.
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

const PTHREAD_CANCEL_DISABLE: c_int = 1;

/// Runs work of ours; `otherwise` stands in for its result if it panics.
///
/// The program's `errno` is as before, and a cancellation of its thread waits until the work is done: it would unwind
/// through our frames with locks taken.
pub(crate) fn quietly<T>(otherwise: T, work: impl FnOnce() -> T) -> T {
    let saved = errno();
    let mut cancelling = 0;
    // SAFETY: the pointer is to a local variable.
    let changed = unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut cancelling) } == 0;
    // Unwind safety: what a panicking piece of work leaves half done is a route too few, and locks don't poison.
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        // Dropping it could panic again.
        std::mem::forget(payload);
        otherwise
    });
    if changed {
        // SAFETY: as above; the old state isn't wanted.
        unsafe { pthread_setcancelstate(cancelling, &raw mut cancelling) };
    }
    set_errno(saved);
    result
}

/// This thread's `errno`.
pub(crate) fn errno() -> c_int {
    // SAFETY: never fails.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: points to this thread's own variable, valid as long as the thread.
    unsafe { *place }
}

/// Sets this thread's `errno`.
pub(crate) fn set_errno(value: c_int) {
    // SAFETY: never fails.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: points to this thread's own variable, valid as long as the thread.
    unsafe { *place = value };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_survives_work_and_panic() {
        set_errno(libc::ENOTTY);
        let worked = quietly(0, || {
            set_errno(libc::EBADF);
            7
        });
        assert_eq!((worked, errno()), (7, libc::ENOTTY));
        let panicked = quietly(3, || panic!("on purpose"));
        assert_eq!((panicked, errno()), (3, libc::ENOTTY));
    }
}
