//! What a fork of the process means to connections.
//!
//! The child has one thread, a copy of all memory, and copies of all descriptors. Whatever lock another thread held
//! stays locked in it for ever. So the thread that forks takes the locks of everything that the process has one of,
//! always in the same order; the child then begins with nothing of its parent's.
//!
//! These are the locks of the standard library, which know nothing but a word of memory: `parking_lot` has a table of
//! waiting threads with locks of its own.

use std::cell::RefCell;
use std::sync::MutexGuard;

use crate::comm::{Watch, lock_watch};
use crate::connections::{self, Live};
use crate::splice::{self, Shared};
use crate::subflow::know_young_options;
use crate::uninherited::{self, Open};

struct Locks {
    watch: MutexGuard<'static, Watch>,
    live: MutexGuard<'static, Live>,
    pipes: MutexGuard<'static, Shared>,
    open: MutexGuard<'static, Open>,
}

thread_local! {
    /// What this thread's fork holds.
    static FORKING: RefCell<Option<Locks>> = const { RefCell::new(None) };
}

/// For `pthread_atfork`, before the fork: waits until nobody is opening or closing connections or looks after idle
/// ones, which takes microseconds.
pub fn before_fork() {
    // Asked once: were another thread about to, the child would wait for it.
    know_young_options();
    let watch = lock_watch();
    let live = connections::lock();
    let pipes = splice::lock();
    let open = uninherited::lock();
    let locks = Locks { watch, live, pipes, open };
    // A thread that is ending has no such place any more; it forks without the locks.
    let _ = FORKING.try_with(|forking| forking.replace(Some(locks)));
}

/// For `pthread_atfork`, after the fork, in the parent.
pub fn after_fork_in_parent() {
    drop(take());
}

/// For `pthread_atfork`, after the fork, in the child: forgets the parent's connections, and closes the child's copies of
/// their sockets.
///
/// The parent's comms are of no use in the child, but do no harm either: every call on one fails or says "not
/// yet", and closing one touches nothing.
pub fn after_fork_in_child() {
    if let Some(Locks { mut watch, mut live, mut pipes, mut open }) = take() {
        watch.forget();
        live.forget();
        pipes.forget();
        open.lose_in_child();
    }
}

fn take() -> Option<Locks> {
    FORKING.try_with(RefCell::take).ok().flatten()
}
