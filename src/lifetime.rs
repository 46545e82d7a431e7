//! What fork and exit of the process mean to us.

use std::panic::catch_unwind;
use std::sync::Once;

use crate::plugin;

/// From now on, children of fork close their copies of the parent's claims on routes, and an exit of this process
/// gives its routes back.
///
/// * A data loader forked from a training process lives as long as the job or longer: the sockets that stand for its
///   parent's claims, and those of its parent's connections, must not live on in it. Everything else of ours is keyed by
///   process id (see `plugin`).
/// * Few jobs destroy their communicators before they end, and NCCL up to 2.27 has no finalize to tell us. Without a
///   handler at exit each of them would leave its routes to the next start.
pub(crate) fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: all three stay mapped (the library is linked nodelete), and `in_child` does what is allowed in a child.
        let result = unsafe { libc::pthread_atfork(Some(prepare), Some(in_parent), Some(in_child)) };
        if result != 0 {
            log::debug!("pthread_atfork: error {result}; children keep their parent's routes");
        }
        // SAFETY: `at_exit` stays mapped, uses nothing but this library and the kernel, and never unwinds.
        if unsafe { libc::atexit(at_exit) } != 0 {
            log::debug!("atexit failed; routes stay until the next start or srv6ctl gc");
        }
    });
}

/// Waits until the steering thread isn't changing routes: a child with a copy of its lock would stop the whole host.
///
/// Connections first: who closes one may give a route back, never the other way round.
extern "C" fn prepare() {
    srv6_transport::before_fork();
    srv6_routes::before_fork();
}

extern "C" fn in_parent() {
    srv6_routes::after_fork_in_parent();
    srv6_transport::after_fork_in_parent();
}

/// Closes sockets and frees memory, which glibc keeps usable in a forked child; takes no lock that could be held.
extern "C" fn in_child() {
    srv6_routes::after_fork_in_child();
    srv6_transport::after_fork_in_child();
}

/// Other threads still run at this point, the steering thread among them. The wait is bounded.
extern "C" fn at_exit() {
    if let Err(payload) = catch_unwind(plugin::leave) {
        std::mem::forget(payload);
    }
}
