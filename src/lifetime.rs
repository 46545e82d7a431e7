//! What fork and exit of the process mean to us.

use std::panic::catch_unwind;
use std::sync::Once;

use crate::plugin;

/// From now on, children of fork close their copies of the parent's claims on routes, and an exit of this process
/// gives its routes back.
///
/// * A data loader forked from a training process lives as long as the job or longer: the sockets that stand for its
///   parent's claims must not live on in it. Everything else of ours is keyed by process id (see `plugin`).
/// * Few jobs destroy their communicators before they end, and NCCL up to 2.27 has no finalize to tell us. Without a
///   handler at exit each of them would leave its routes to the next start.
pub(crate) fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: `in_child` stays mapped (the library is linked nodelete) and does what is allowed in a child.
        let result = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        if result != 0 {
            log::debug!("pthread_atfork: error {result}; children keep their parent's routes");
        }
        // SAFETY: `at_exit` stays mapped, uses nothing but this library and the kernel, and never unwinds.
        if unsafe { libc::atexit(at_exit) } != 0 {
            log::debug!("atexit failed; routes stay until the next start or srv6ctl gc");
        }
    });
}

/// Closes sockets and frees memory, which glibc keeps usable in a forked child; takes no lock that could be held.
extern "C" fn in_child() {
    srv6_routes::forget_holds_after_fork();
}

/// Other threads still run at this point, the steering thread among them. The wait is bounded.
extern "C" fn at_exit() {
    if let Err(payload) = catch_unwind(plugin::leave) {
        std::mem::forget(payload);
    }
}
