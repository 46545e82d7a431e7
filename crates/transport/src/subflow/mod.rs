//! One TCP connection of a comm.

mod tcp_info;

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::Socket;

pub use tcp_info::TcpInfo;

use crate::config::Config;
use crate::error::{Activity, Error, Result};
use crate::hello::{Refusal, Terms};

/// What a subflow has carried, and between which addresses.
///
/// The addresses tell which path it takes where paths are chosen by source port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubflowStats {
    /// Place in its connection, from 0; the same on both sides.
    pub index: usize,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub peer: SocketAddr,
    /// Payload bytes sent or received.
    pub bytes: u64,
    /// Chunks begun (sender) or ended (receiver).
    pub chunks: u64,
}

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Subflow {
    socket: Socket,
    stats: SubflowStats,
}

/// What came of an attempt to move bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// This many bytes, at least one.
    Bytes(usize),
    /// No room, or nothing there.
    Blocked,
    /// The peer has ended its stream.
    End,
}

impl Subflow {
    /// Makes a connected, non-blocking socket ready for chunks.
    pub(crate) fn new(socket: Socket, index: usize, peer: SocketAddr, config: &Config) -> Result<Subflow> {
        let local = socket
            .local_addr()
            .map(|local| local.as_socket())
            // The socket was made for an address of the same family, which has a port.
            .map(|local| local.unwrap_or(peer));
        let set_up = local.and_then(|local| {
            socket.set_tcp_nodelay(true)?;
            // Without it the first subflow would take megabytes into its send buffer before the
            // others get anything, and "has room" would say nothing about the path.
            socket.set_tcp_notsent_lowat(config.unsent)?;
            Ok(local)
        });
        match set_up {
            Ok(local) => {
                Ok(Subflow { socket, stats: SubflowStats { index, local, peer, bytes: 0, chunks: 0 } })
            }
            Err(source) => Err(Error::Subflow {
                activity: Activity::Open,
                subflow: index,
                local: peer,
                peer,
                source: Arc::new(source),
            }),
        }
    }

    pub(crate) fn stats(&self) -> &SubflowStats {
        &self.stats
    }

    /// Adds to what [`Subflow::stats`] says.
    pub(crate) fn count(&mut self, bytes: usize, chunks: u64) {
        self.stats.bytes += bytes as u64;
        self.stats.chunks += chunks;
    }

    pub(crate) fn tcp_info(&self) -> Result<TcpInfo> {
        TcpInfo::of(&self.socket).map_err(|source| self.failed(Activity::Inspect, source))
    }

    /// Writes header and payload in one system call.
    pub(crate) fn send(&self, header: &[u8], payload: &[u8]) -> Result<Moved> {
        let parts = [IoSlice::new(header), IoSlice::new(payload)];
        loop {
            // MSG_NOSIGNAL: a SIGPIPE would end the training job, whose process this is.
            let sent = self.socket.send_vectored_with_flags(&parts, libc::MSG_NOSIGNAL);
            match sent {
                Ok(0) => return Ok(Moved::Blocked),
                Ok(count) => return Ok(Moved::Bytes(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Moved::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(Activity::Send, error)),
            }
        }
    }

    /// Reads payload and what follows it in one system call.
    ///
    /// The two together must have room for a byte.
    pub(crate) fn receive(&self, payload: &mut [u8], header: &mut [u8]) -> Result<Moved> {
        let mut parts = [IoSliceMut::new(payload), IoSliceMut::new(header)];
        loop {
            match (&self.socket).read_vectored(&mut parts) {
                Ok(0) => return Ok(Moved::End),
                Ok(count) => return Ok(Moved::Bytes(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Moved::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(Activity::Receive, error)),
            }
        }
    }

    /// What the listener said when it refused this subflow; none if it did not.
    ///
    /// Linux lets a socket read what came before a reset, also after a failed send.
    pub(crate) fn refusal(&self) -> Option<Terms> {
        let mut answer = [0; Refusal::LEN];
        match (&self.socket).read(&mut answer) {
            Ok(Refusal::LEN) => Refusal::decode(&answer),
            _ => None,
        }
    }

    /// The error for a stream that ended too early.
    pub(crate) fn closed(&self, source: Option<io::Error>) -> Error {
        Error::PeerClosed {
            subflow: self.stats.index,
            local: self.stats.local,
            peer: self.stats.peer,
            source: source.map(Arc::new),
        }
    }

    fn failed(&self, activity: Activity, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => self.closed(Some(source)),
            _ => Error::Subflow {
                activity,
                subflow: self.stats.index,
                local: self.stats.local,
                peer: self.stats.peer,
                source: Arc::new(source),
            },
        }
    }
}
