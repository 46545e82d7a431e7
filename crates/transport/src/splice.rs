//! Payload that a socket takes without a copy.
//!
//! The kernel refers to the caller's pages (`vmsplice(2)`) and hands the references to the socket (`splice(2)`). It reads
//! them when a packet leaves, and again when it is sent once more. Between hosts that is over when the peer's kernel has
//! acknowledged it. Between network namespaces of one host packets change hands as they are, and the receiver's read is
//! the only copy: nobody but the receiver can say when the memory is free.
//!
//! `MSG_ZEROCOPY` tells when it is, but copies after all whatever arrives on the same host, and costs a notification for
//! each call.
//!
//! C1 (`sigtimedwait(2)`): reads the set and the time during the call; no information about the signal is asked for.

#![allow(unsafe_code, reason = "no safe crate takes a pending signal without waiting for one")]

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice, vmsplice};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::unistd::pipe2;
use socket2::Socket;

use crate::uninherited::Uninherited;

/// The pipes that references go through. They are empty between calls, so a few do for all connections.
#[derive(Debug)]
pub(crate) struct Pipes([Mutex<Option<Pipe>>; POOL]);

/// What became of payload that was to go without a copy.
#[derive(Debug)]
pub(crate) enum Spliced {
    /// The socket has taken this many bytes; 0: it has no room.
    Bytes(usize),
    /// Other threads have all pipes at the moment.
    Busy,
    /// Not from this memory, or not in this process.
    Unable(io::Error),
    /// The socket is of no use any more.
    Failed(io::Error),
}

/// Threads that send at the same time. NCCL has one for each GPU of the process.
const POOL: usize = 4;

/// Bytes that a pipe has room for: what a process without privileges may ask for (`fs.pipe-max-size`). With a quarter of it
/// a connection has a tenth less.
const ROOM: usize = 1 << 20;

/// With less than that copying is faster.
const LEAST_ROOM: usize = 64 << 10;

/// Those of this process, while a connection has them.
static SHARED: Mutex<Shared> = Mutex::new(Shared(Weak::new()));

/// The pipes that the next connection finds.
#[derive(Debug)]
pub(crate) struct Shared(Weak<Pipes>);

/// For a fork, and whoever opens a connection: nobody else does meanwhile.
pub(crate) fn lock() -> MutexGuard<'static, Shared> {
    // Nothing in here panics half way.
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// In a child of fork: its connections open their own.
    pub(crate) fn forget(&mut self) {
        self.0 = Weak::new();
    }
}

impl Pipes {
    /// Those that all connections of this process share.
    pub(crate) fn shared() -> Arc<Pipes> {
        let mut shared = lock();
        shared.0.upgrade().unwrap_or_else(|| {
            let pipes = Arc::new(Pipes(Default::default()));
            shared.0 = Arc::downgrade(&pipes);
            pipes
        })
    }

    /// Gives a non-blocking socket references to the first of these bytes, as many as it has room for.
    ///
    /// They stay as they are until the receiver has read them, or it reads something else.
    pub(crate) fn give(&self, socket: &Socket, bytes: &[u8]) -> Spliced {
        let Some(mut place) = self.free() else { return Spliced::Busy };
        let pipe = match place.take().map_or_else(Pipe::new, Ok) {
            Ok(pipe) => place.insert(pipe),
            Err(error) => return Spliced::Unable(error),
        };
        let before = hold_sigpipe();
        let Outcome { spliced, usable, broken } = pipe.give(socket, bytes);
        if let Some(before) = before {
            if broken {
                take_sigpipe();
            }
            // It was this thread's mask a moment ago.
            let _ = before.thread_set_mask();
        }
        if !usable {
            *place = None;
        }
        spliced
    }

    fn free(&self) -> Option<MutexGuard<'_, Option<Pipe>>> {
        self.0.iter().find_map(|place| place.try_lock().ok())
    }
}

/// What a pipe has done.
struct Outcome {
    spliced: Spliced,
    /// It is empty and good for another time.
    usable: bool,
    /// The socket was closed, for which the kernel raises a signal.
    broken: bool,
}

#[derive(Debug)]
struct Pipe {
    out: Uninherited<OwnedFd>,
    into: Uninherited<OwnedFd>,
    /// Takes what the socket didn't.
    nowhere: Uninherited<File>,
}

impl Pipe {
    fn new() -> io::Result<Pipe> {
        // A fork between the two would leave the child a copy of the second, which it has no use for.
        let mut other = None;
        let out = Uninherited::open(|| {
            let (out, into) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
            other = Some(into);
            Ok(out)
        })?;
        let into = Uninherited::open(|| other.ok_or_else(|| io::ErrorKind::NotFound.into()))?;
        let nowhere = Uninherited::open(|| File::options().write(true).open("/dev/null"))?;
        // Refused beyond `fs.pipe-user-pages-soft`; then it has the room that it was made with, or less.
        let asked = fcntl(&*into, FcntlArg::F_SETPIPE_SZ(i32::try_from(ROOM).unwrap_or(i32::MAX)));
        let room = asked.or_else(|_| fcntl(&*into, FcntlArg::F_GETPIPE_SZ))?;
        if usize::try_from(room).is_ok_and(|room| room >= LEAST_ROOM) {
            Ok(Pipe { out, into, nowhere })
        } else {
            Err(io::Error::other(format!("a pipe has room for {room} bytes only")))
        }
    }

    /// As [`Pipes::give`].
    fn give(&self, socket: &Socket, bytes: &[u8]) -> Outcome {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            let parts = [IoSlice::new(rest.get(..ROOM).unwrap_or(rest))];
            let held = match vmsplice(&*self.into, &parts, SpliceFFlags::SPLICE_F_NONBLOCK) {
                Ok(held) => held,
                Err(Errno::EINTR) => continue,
                // The next call finds out.
                Err(_) if sent > 0 => break,
                Err(error) => {
                    let usable = error == Errno::EFAULT;
                    return Outcome { spliced: Spliced::Unable(error.into()), usable, broken: false };
                }
            };
            let (moved, result) = self.empty_into(socket, held, held < rest.len());
            sent += moved;
            if let Err(error) = result {
                let usable = self.discard(held - moved).is_ok();
                let spliced = match error {
                    _ if sent > 0 => Spliced::Bytes(sent),
                    Errno::EAGAIN => Spliced::Bytes(0),
                    // The kernel doesn't splice to sockets of this kind.
                    Errno::EINVAL | Errno::ENOSYS => Spliced::Unable(error.into()),
                    error => Spliced::Failed(error.into()),
                };
                return Outcome { spliced, usable, broken: error == Errno::EPIPE };
            }
        }
        Outcome { spliced: Spliced::Bytes(sent), usable: true, broken: false }
    }

    /// Moves so many bytes to the socket, and says how many it took and why it took no more.
    fn empty_into(&self, socket: &Socket, held: usize, more: bool) -> (usize, nix::Result<()>) {
        let mut flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        flags.set(SpliceFFlags::SPLICE_F_MORE, more);
        let mut moved = 0;
        while moved < held {
            match splice(&*self.out, None, socket, None, held - moved, flags) {
                Ok(0) => return (moved, Err(Errno::EAGAIN)),
                Ok(count) => moved += count,
                Err(Errno::EINTR) => {}
                Err(error) => return (moved, Err(error)),
            }
        }
        (moved, Ok(()))
    }

    fn discard(&self, mut left: usize) -> nix::Result<()> {
        while left > 0 {
            match splice(&*self.out, None, &*self.nowhere, None, left, SpliceFFlags::SPLICE_F_NONBLOCK)? {
                0 => return Err(Errno::EPIPE),
                count => left -= count,
            }
        }
        Ok(())
    }
}

/// Keeps the signal off this thread that a write to a closed socket raises: it would end the training job. Unlike
/// `send(2)`, `splice(2)` has no flag for that.
///
/// None: the thread had blocked it already, and nothing is to be taken back.
fn hold_sigpipe() -> Option<SigSet> {
    let before = SigSet::from(Signal::SIGPIPE).thread_swap_mask(SigmaskHow::SIG_BLOCK).ok()?;
    (!before.contains(Signal::SIGPIPE)).then_some(before)
}

/// Takes the signal that was raised while it was held.
fn take_sigpipe() {
    let mask = SigSet::from(Signal::SIGPIPE);
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: C1: set and time live through the call.
    unsafe { libc::sigtimedwait(mask.as_ref(), std::ptr::null_mut(), &raw const at_once) };
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use nix::sys::signal::{SigHandler, signal};

    use super::*;

    fn pair(address: &str) -> (Socket, TcpStream) {
        let listener = TcpListener::bind(address).unwrap();
        let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        sender.set_nonblocking(true).unwrap();
        (sender.into(), listener.accept().unwrap().0)
    }

    fn pipes() -> Pipes {
        Pipes(Default::default())
    }

    fn bytes(given: Spliced) -> usize {
        match given {
            Spliced::Bytes(count) => count,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_there_is_room_for_arrives_in_order_wherever_it_lies() {
        let memory: Vec<u8> = (0..=250).cycle().take(9_000_001).collect();
        for (address, start) in [("127.0.0.1:0", 0), ("[::1]:0", 1), ("127.0.0.1:0", 4095)] {
            let (sender, mut receiver) = pair(address);
            let pipes = pipes();
            let (mut sent, mut blocked) = (start, 0);
            let mut read = Vec::new();
            let mut place = vec![0; 100_000];
            while start + read.len() < memory.len() {
                let count = bytes(pipes.give(&sender, &memory[sent..]));
                sent += count;
                blocked += usize::from(count == 0);
                // Slower than the sender, so that it finds no room now and then.
                let count = receiver.read(&mut place).unwrap();
                read.extend_from_slice(&place[..count]);
            }
            assert!(sent == memory.len() && read == memory[start..], "{address}");
            assert!(blocked > 0);
        }
    }

    #[test]
    fn on_one_host_the_memory_is_needed_until_the_receiver_has_read_it() {
        let (sender, mut receiver) = pair("127.0.0.1:0");
        let mut memory = vec![1; 128 << 10];
        assert_eq!(bytes(pipes().give(&sender, &memory)), memory.len());
        memory.fill(2);
        std::hint::black_box(&memory);
        let mut read = vec![0; memory.len()];
        receiver.read_exact(&mut read).unwrap();
        // Were it a copy, nothing would be gained, and nobody would have to wait for the receiver.
        assert!(read == memory);
    }

    #[test]
    fn memory_that_can_only_be_copied_is_told_apart() {
        let (sender, mut receiver) = pair("[::1]:0");
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        // As of a driver: not made of pages that the kernel knows.
        let vvar = maps.lines().find(|line| line.ends_with("[vvar]")).unwrap();
        let start = usize::from_str_radix(vvar.split('-').next().unwrap(), 16).unwrap();
        let start = std::ptr::with_exposed_provenance::<u8>(start);
        // SAFETY: mapped for reading as long as the process lives; nothing here looks at the bytes.
        let memory = unsafe { std::slice::from_raw_parts(start, 4096) };
        let pipes = pipes();
        match pipes.give(&sender, memory) {
            Spliced::Unable(error) => assert_eq!(error.raw_os_error(), Some(libc::EFAULT)),
            other => panic!("{other:?}"),
        }
        assert_eq!(bytes(pipes.give(&sender, b"other memory")), 12);
        let mut read = [0; 12];
        receiver.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"other memory");
    }

    #[test]
    fn a_closed_socket_is_an_error_and_no_signal() {
        // The test harness ignores the signal, a training job need not.
        // SAFETY: no handler; what was there is put back below.
        let ignored = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.unwrap();
        let (sender, _receiver) = pair("127.0.0.1:0");
        sender.shutdown(Shutdown::Write).unwrap();
        for _ in 0..2 {
            match pipes().give(&sender, &[7; 100_000]) {
                Spliced::Failed(error) => assert_eq!(error.kind(), ErrorKind::BrokenPipe),
                other => panic!("{other:?}"),
            }
        }
        assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGPIPE));
        // SAFETY: as it was.
        unsafe { signal(Signal::SIGPIPE, ignored) }.unwrap();
    }

    #[test]
    fn more_threads_than_pipes_are_told_so() {
        let pipes = pipes();
        let taken: Vec<_> = pipes.0.iter().map(|place| place.lock().unwrap()).collect();
        let (sender, _receiver) = pair("127.0.0.1:0");
        assert!(matches!(pipes.give(&sender, &[7; 100_000]), Spliced::Busy));
        drop(taken);
        assert_eq!(bytes(pipes.give(&sender, &[7; 100_000])), 100_000);
    }

    #[test]
    fn all_connections_of_a_process_share_them() {
        let one = Pipes::shared();
        assert!(Arc::ptr_eq(&one, &Pipes::shared()));
    }
}
