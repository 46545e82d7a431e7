//! What being loaded, fork and exit of the process mean to us.

use std::sync::Once;

use crate::quiet::quietly;
use crate::{next, process, steering};

/// Called by the dynamic linker when the library is loaded, before the program's `main`: nobody changes the environment
/// at this moment, which reading it later could not be sure of.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

extern "C" fn at_load() {
    quietly((), || {
        next::find_all();
        steering::read_settings();
    });
}

/// From now on, children of fork close their copies of this process's claims on routes, and an exit gives them back.
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
extern "C" fn prepare() {
    quietly((), srv6_routes::before_fork);
}

extern "C" fn in_parent() {
    quietly((), srv6_routes::after_fork_in_parent);
}

/// Closes sockets and frees memory, which glibc keeps usable in a forked child; takes no lock that could be held.
extern "C" fn in_child() {
    quietly((), srv6_routes::after_fork_in_child);
}

/// Other threads still run at this point, the steering thread among them. The wait is bounded.
extern "C" fn at_exit() {
    quietly((), process::leave);
}
