//! Which of a comm's sockets can go on: epoll, edge-triggered.
//!
//! A thread that spins on `test` and tries every socket takes each socket's lock again and again, and the kernel's
//! softirq, which needs the same lock to deliver, gets slower. One `epoll_wait` touches no socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;

use crate::uninherited::Uninherited;

/// The sockets of one comm.
#[derive(Debug)]
pub(crate) struct Poller(Uninherited<Set>);

#[derive(Debug)]
struct Set {
    epoll: Epoll,
}

impl AsFd for Set {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

/// What has changed at a socket since it was last said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// What the socket was added with.
    pub(crate) token: u64,
    /// There is something to read, an end or an error.
    pub(crate) readable: bool,
    /// There is room, or an error.
    pub(crate) writable: bool,
    /// The end is among what there is to read: read until it comes, as nothing more is told.
    pub(crate) ended: bool,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Poller> {
        let open = || Ok(Set { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)? });
        Ok(Poller(Uninherited::open(open)?))
    }

    /// Adds a socket. It is said to be ready at once if it is.
    pub(crate) fn add(&self, socket: &Socket, token: u64) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        Ok(self.0.epoll.add(socket, EpollEvent::new(flags, token))?)
    }

    /// Gives the socket another token, and says once more what it is ready for.
    pub(crate) fn rename(&self, socket: &Socket, token: u64) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        Ok(self.0.epoll.modify(socket, &mut EpollEvent::new(flags, token))?)
    }

    /// Removes a socket that is closed only later, or that others still hold.
    pub(crate) fn remove(&self, socket: &Socket) {
        // It was added, and is open.
        let _ = self.0.epoll.delete(socket);
    }

    /// Tells of each socket that became ready since the last call. Never waits, never allocates.
    pub(crate) fn poll(&self, mut tell: impl FnMut(Ready)) {
        let mut events = [EpollEvent::empty(); EVENTS];
        // It can fail with EINTR only, and then the events are still there at the next call.
        let count = self.0.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        for event in events.iter().take(count) {
            let flags = event.events();
            let ended =
                flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP | EpollFlags::EPOLLRDHUP);
            tell(Ready {
                token: event.data(),
                readable: ended || flags.contains(EpollFlags::EPOLLIN),
                writable: ended || flags.contains(EpollFlags::EPOLLOUT),
                ended,
            });
        }
    }
}

/// A comm has at most 8 subflows, as many replacements under way, and a listening socket; what doesn't fit is told
/// at the next call.
const EVENTS: usize = 17;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn each_change_is_told_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let receiver = Socket::from(listener.accept().unwrap().0);
        let poller = Poller::new().unwrap();
        poller.add(&receiver, 7).unwrap();
        let told = |wanted: usize| {
            let mut told = Vec::new();
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while told.len() < wanted {
                poller.poll(|ready| told.push((ready.token, ready.readable, ready.writable)));
                assert!(std::time::Instant::now() < deadline, "{told:?}");
            }
            poller.poll(|ready| panic!("{ready:?}"));
            told
        };
        assert_eq!(told(1), [(7, false, true)]);
        sender.write_all(b"x").unwrap();
        assert_eq!(told(1), [(7, true, true)]);
        poller.rename(&receiver, 9).unwrap();
        assert_eq!(told(1), [(9, true, true)]);
        drop(sender);
        assert_eq!(told(1), [(9, true, true)]);
        poller.remove(&receiver);
        assert_eq!(told(0), []);
    }
}
