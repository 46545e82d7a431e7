//! What a child of fork inherits and must not keep.
//!
//! A data loader forked from a training process lives as long as the job or longer. The sockets that stand for its parent's
//! claims on routes must not live on in it. Everything else of ours is keyed by process id instead (see `plugin`).

use std::sync::Once;

/// From now on, children of fork close their copies of the parent's claims.
pub(crate) fn let_children_forget() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: `in_child` stays mapped (the library is linked nodelete) and does what is allowed in a child.
        let result = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        if result != 0 {
            log::debug!("pthread_atfork: error {result}; children keep their parent's routes");
        }
    });
}

/// Closes sockets and frees memory, which glibc keeps usable in a forked child; takes no lock that could be held.
extern "C" fn in_child() {
    srv6_routes::forget_holds_after_fork();
}
