//! A thread for senders whose caller has gone away.
//!
//! A small message is done as soon as it has been copied, and the caller may never call again. If its path dies
//! then, somebody has to send it over another one, or the receiver waits for ever. So a comm that has something the
//! receiver may not have is looked after by one thread per process, when its caller hasn't called for a tick; and a
//! comm that was closed in that state is kept until it is rid of it.
//!
//! The caller never waits for this thread: while it is at a comm, a call on the comm says "not yet". While no comm
//! has anything of the kind the thread sleeps, and it ends with the last comm.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::sending::Sending;
use crate::connections::{ConnectionStats, Published};

/// A sender, and who is at it.
#[derive(Debug)]
pub(super) struct Seat {
    sending: Mutex<Sending>,
    published: Arc<Published>,
    /// The sender has something that the receiver may not have.
    owes: Arc<AtomicBool>,
    /// Of the caller: in a child of fork this is only a copy.
    process: u32,
    /// Counts the caller's calls; the watch compares it with what it was a tick ago.
    calls: AtomicU32,
    seen: AtomicU32,
}

impl Seat {
    /// Gives a sender its seat, where the watch can find it.
    pub(super) fn take(sending: Sending) -> Arc<Seat> {
        let published = sending.published();
        let seat = Arc::new(Seat {
            sending: Mutex::new(sending),
            published,
            owes: Arc::new(AtomicBool::new(false)),
            process: std::process::id(),
            calls: AtomicU32::new(0),
            seen: AtomicU32::new(0),
        });
        let mut watch = lock();
        watch.seats.push(Watched::Open { seat: Arc::downgrade(&seat), owes: Arc::clone(&seat.owes) });
        watch.begin();
        seat
    }

    /// Runs the caller's call; none while the watch is at it.
    pub(super) fn call<T>(&self, call: impl FnOnce(&mut Sending) -> T) -> Option<T> {
        // One caller, so this is no count that another could lose.
        self.calls.store(self.calls.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        let mut sending = self.sending.try_lock()?;
        let result = call(&mut sending);
        if let Some(owes) = sending.owes_newly() {
            self.owes.store(owes, Ordering::SeqCst);
            if owes && ASLEEP.swap(false, Ordering::SeqCst) {
                wake();
            }
        }
        Some(result)
    }

    pub(super) fn stats(&self) -> ConnectionStats {
        self.published.stats()
    }

    /// The caller is done with it: closes it, now or when everything it owes has been delivered.
    pub(super) fn leave(self: &Arc<Seat>) {
        if self.process != std::process::id() {
            // The watch may have been in the middle of it when the parent forked, so it isn't touched at all.
            std::mem::forget(Arc::clone(self));
            return;
        }
        // The watch is at it for microseconds at a time.
        let mut sending = self.sending.lock();
        if sending.close(Instant::now()) {
            return;
        }
        self.owes.store(true, Ordering::SeqCst);
        drop(sending);
        let mut watch = lock();
        watch.seats.push(Watched::Closing(Arc::clone(self)));
        watch.begin();
        drop(watch);
        if ASLEEP.swap(false, Ordering::SeqCst) {
            wake();
        }
    }

    /// One look of the watch; true if the sender owes something.
    fn look_after(&self, now: Instant) -> bool {
        if !self.owes.load(Ordering::SeqCst) {
            return false;
        }
        let calls = self.calls.load(Ordering::Relaxed);
        if self.seen.swap(calls, Ordering::Relaxed) == calls
            && let Some(mut sending) = self.sending.try_lock()
        {
            sending.look_after(now);
            if let Some(owes) = sending.owes_newly() {
                self.owes.store(owes, Ordering::SeqCst);
            }
        }
        true
    }

    /// Says whether a sender whose caller has left needs its seat no more.
    fn is_done(&self, now: Instant) -> bool {
        self.sending.try_lock().is_some_and(|mut sending| sending.close(now))
    }
}

#[derive(Debug)]
enum Watched {
    Open {
        seat: Weak<Seat>,
        /// The seat's, to be read without it.
        owes: Arc<AtomicBool>,
    },
    /// Its caller has left.
    Closing(Arc<Seat>),
}

/// What the watch has to do, and its thread.
#[derive(Debug)]
pub(crate) struct Watch {
    seats: Vec<Watched>,
    thread: Option<Thread>,
}

static WATCH: std::sync::Mutex<Watch> = std::sync::Mutex::new(Watch { seats: Vec::new(), thread: None });

/// For a fork, and whoever comes or goes: nobody else does meanwhile.
pub(crate) fn lock() -> MutexGuard<'static, Watch> {
    // Nothing in here panics half way.
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The watch waits to be woken.
static ASLEEP: AtomicBool = AtomicBool::new(false);

fn wake() {
    if let Some(thread) = &lock().thread {
        thread.unpark();
    }
}

impl Watch {
    /// Starts the thread if there is none.
    fn begin(&mut self) {
        if self.thread.is_some() {
            return;
        }
        match thread::Builder::new().name("srv6-senders".to_owned()).spawn(watch) {
            Ok(handle) => self.thread = Some(handle.thread().clone()),
            Err(error) => log::warn!("no thread to look after idle connections: {error}"),
        }
    }

    /// In a child of fork: the seats are the parent's, and the thread is in the parent.
    pub(crate) fn forget(&mut self) {
        // The thread may have been in the middle of any of them, so they are left as they are.
        std::mem::forget(std::mem::take(&mut self.seats));
        self.thread = None;
        ASLEEP.store(false, Ordering::SeqCst);
    }
}

fn watch() {
    let mut quiet = 0;
    let mut owing_seats = Vec::new();
    loop {
        let (owing, left) = look_around(&mut owing_seats);
        quiet = if owing { 0 } else { quiet + 1 };
        if quiet < QUIET_TICKS {
            thread::park_timeout(TICK);
            continue;
        }
        ASLEEP.store(true, Ordering::SeqCst);
        // Whoever came to owe something before that line was not heard.
        if look_around(&mut owing_seats).0 {
            ASLEEP.store(false, Ordering::SeqCst);
            continue;
        }
        if left {
            thread::park();
        } else {
            thread::park_timeout(LAST_WAIT);
            let mut watch = lock();
            watch.seats.retain(Watched::is_there);
            if watch.seats.is_empty() {
                watch.thread = None;
                ASLEEP.store(false, Ordering::SeqCst);
                return;
            }
        }
        ASLEEP.store(false, Ordering::SeqCst);
        quiet = 0;
    }
}

/// Looks after all comms once: whether one owes something, and whether there is any.
///
/// `seats` is empty before and after; it is the caller's so that its memory is taken once.
fn look_around(seats: &mut Vec<Arc<Seat>>) -> (bool, bool) {
    // Not under the lock: a comm is looked after for as long as a call takes.
    {
        let mut watch = lock();
        watch.seats.retain(Watched::is_there);
        seats.extend(watch.seats.iter().filter_map(Watched::owing));
    }
    let now = Instant::now();
    let mut owing = false;
    for seat in seats.drain(..) {
        owing |= seat.look_after(now);
    }
    let mut watch = lock();
    watch.seats.retain(|watched| !matches!(watched, Watched::Closing(seat) if seat.is_done(now)));
    (owing, !watch.seats.is_empty())
}

impl Watched {
    fn is_there(&self) -> bool {
        match self {
            Watched::Open { seat, .. } => seat.strong_count() > 0,
            Watched::Closing(_) => true,
        }
    }

    /// The seat, if its sender owes something.
    fn owing(&self) -> Option<Arc<Seat>> {
        match self {
            Watched::Open { seat, owes } => owes.load(Ordering::SeqCst).then(|| seat.upgrade()).flatten(),
            Watched::Closing(seat) => Some(Arc::clone(seat)),
        }
    }
}

/// How soon a lonely comm is looked after. A path is suspected after some ten milliseconds.
const TICK: Duration = Duration::from_millis(5);

/// Ticks without work before the thread sleeps: waking it costs its waker a system call.
const QUIET_TICKS: u32 = 20;

/// How long the thread waits for another comm after the last.
const LAST_WAIT: Duration = Duration::from_secs(1);
