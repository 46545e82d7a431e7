//! One TCP connection of a comm.

mod closing;
mod setup;
mod tcp_info;

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use socket2::Socket;

pub use tcp_info::TcpInfo;

use crate::congestion;
use crate::uninherited::Uninherited;
use setup::set_up;
pub(crate) use setup::{Role, know_young_options};

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Subflow {
    // Shared with nobody but those who ask the kernel about it: see `Subflow::watch`.
    socket: Arc<Uninherited<Socket>>,
    local: SocketAddr,
    peer: SocketAddr,
    lends: bool,
}

/// What came of an attempt to move bytes.
#[derive(Debug)]
pub(crate) enum Moved {
    /// This many bytes, at least one.
    Bytes(usize),
    /// No room, or nothing there.
    Blocked,
    /// The peer has ended its stream.
    End,
    /// The socket is of no use any more.
    Failed(io::Error),
}

impl Subflow {
    /// Makes a connected, non-blocking socket ready for chunks.
    pub(crate) fn new(socket: Uninherited<Socket>, peer: SocketAddr, role: Role<'_>) -> io::Result<Subflow> {
        set_up(&socket, role)?;
        // The socket was made for an address of a family that has ports.
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        // A socket that paces itself leaves in bursts, each when a timer says so. With BBR over a veth half as much goes out
        // without copies as with them: nothing else but its timers is there to send.
        let lends = matches!(role, Role::Sender(config) if config.zero_copy) && !congestion::paces(&socket);
        Ok(Subflow { socket: Arc::new(socket), local, peer, lends })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Says whether payload is to go without a copy where it can.
    pub(crate) fn lends(&self) -> bool {
        self.lends
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Lets others ask the kernel about this socket for as long as it lives.
    pub(crate) fn watch(&self) -> Weak<Uninherited<Socket>> {
        Arc::downgrade(&self.socket)
    }

    pub(crate) fn tcp_info(&self) -> io::Result<TcpInfo> {
        TcpInfo::of(&self.socket)
    }

    /// Bytes that were written and that the peer's kernel has not acknowledged.
    pub(crate) fn unacknowledged(&self) -> io::Result<u64> {
        tcp_info::unacknowledged(&self.socket)
    }

    /// Writes all parts, or the first of them, in one system call.
    pub(crate) fn send(&self, parts: &[IoSlice<'_>]) -> Moved {
        self.send_with_flags(parts, 0)
    }

    /// Writes a header whose payload follows in another call at once.
    pub(crate) fn announce(&self, header: &[u8]) -> Moved {
        self.send_with_flags(&[IoSlice::new(header)], libc::MSG_MORE)
    }

    fn send_with_flags(&self, parts: &[IoSlice<'_>], flags: libc::c_int) -> Moved {
        loop {
            // MSG_NOSIGNAL: a SIGPIPE would end the training job, whose process this is.
            match self.socket.send_vectored_with_flags(parts, flags | libc::MSG_NOSIGNAL) {
                Ok(0) => return Moved::Blocked,
                Ok(count) => return Moved::Bytes(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Moved::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Moved::Failed(error),
            }
        }
    }

    /// Reads payload and what follows it in one system call.
    ///
    /// The two together must have room for a byte.
    pub(crate) fn receive(&self, payload: &mut [u8], inbox: &mut [u8]) -> Moved {
        if payload.is_empty() {
            return moved(|| (&**self.socket).read(inbox));
        }
        let mut parts = [IoSliceMut::new(payload), IoSliceMut::new(inbox)];
        moved(|| (&**self.socket).read_vectored(&mut parts))
    }

    /// Reads and forgets up to `count` bytes, at least one, at most as many as `scratch` has.
    ///
    /// `tcp(7)`: with `MSG_TRUNC` the kernel drops the bytes instead of copying them.
    pub(crate) fn discard(&self, count: usize, scratch: &mut [MaybeUninit<u8>]) -> Moved {
        let count = count.min(scratch.len());
        let place = scratch.get_mut(..count).unwrap_or_default();
        moved(|| self.socket.recv_with_flags(place, libc::MSG_TRUNC))
    }
}

fn moved(mut read: impl FnMut() -> io::Result<usize>) -> Moved {
    loop {
        match read() {
            Ok(0) => return Moved::End,
            Ok(count) => return Moved::Bytes(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Moved::Blocked,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Moved::Failed(error),
        }
    }
}
