//! One connection to the agent: bytes out, messages in.

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::SteerError;
use crate::protocol::{Event, Frames, Request};

/// Longest time that the agent may take to read what was sent. It reads all the time, so a longer one means that it hangs.
const WRITE_PATIENCE: Duration = Duration::from_secs(2);

/// An open connection.
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    socket: PathBuf,
    frames: Frames,
    /// Descriptors that came with bytes, for the messages that say so.
    descriptors: Vec<OwnedFd>,
}

/// The sending half.
#[derive(Debug)]
pub(super) struct Sending(UnixStream);

impl Sending {
    /// Sends a message. After an error nothing can be sent any more.
    pub(super) fn send(&mut self, request: &Request) -> std::io::Result<()> {
        self.0.write_all(&request.encode())
    }

    /// Ends the connection for both halves.
    pub(super) fn end(&self) {
        // An error means that it has ended.
        let _ended = self.0.shutdown(Shutdown::Both);
    }
}

impl Link {
    /// Connects. Doesn't wait for an agent that takes no connections.
    pub(super) fn open(socket: &Path) -> Result<Self, SteerError> {
        let fault = |source| SteerError::AgentUnreachable { socket: socket.to_owned(), source };
        let address = SockAddr::unix(socket).map_err(fault)?;
        let connecting = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(fault)?;
        // A full queue blocks a connect for ever otherwise.
        connecting.set_nonblocking(true).map_err(fault)?;
        connecting.connect(&address).map_err(fault)?;
        connecting.set_nonblocking(false).map_err(fault)?;
        connecting.set_write_timeout(Some(WRITE_PATIENCE)).map_err(fault)?;
        Ok(Self {
            stream: OwnedFd::from(connecting).into(),
            socket: socket.to_owned(),
            frames: Frames::default(),
            descriptors: Vec::new(),
        })
    }

    /// A handle for sending beside this one for reading.
    pub(super) fn sending(&self) -> Result<Sending, SteerError> {
        let copy = self.stream.try_clone();
        copy.map(Sending)
            .map_err(|source| SteerError::AgentUnreachable { socket: self.socket.clone(), source })
    }

    /// Lets reads end after this time.
    pub(super) fn set_patience(&self, patience: Option<Duration>) -> std::io::Result<()> {
        self.stream.set_read_timeout(patience)
    }

    /// Waits for the next message, and gives it with the descriptor that belongs to it.
    pub(super) fn next(&mut self) -> Result<(Event, Option<OwnedFd>), SteerError> {
        loop {
            let agent = |source| SteerError::AgentProtocol { socket: self.socket.clone(), source };
            if let Some((kind, payload)) = self.frames.next_frame().map_err(agent)? {
                let event = Event::decode(kind, payload).map_err(agent)?;
                let sent = matches!(&event, Event::Socket { refusal, .. } if refusal.is_empty());
                let descriptor = if sent && !self.descriptors.is_empty() {
                    Some(self.descriptors.remove(0))
                } else {
                    None
                };
                return Ok((event, descriptor));
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> Result<(), SteerError> {
        let fault = |source| SteerError::AgentUnreachable { socket: self.socket.clone(), source };
        let mut bytes = [0; 16 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [std::io::IoSliceMut::new(&mut bytes)];
        let received = loop {
            match recvmsg(&self.stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other.map_err(|errno| fault(errno.into()))?,
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        if received.bytes == 0 {
            return Err(fault(std::io::ErrorKind::ConnectionReset.into()));
        }
        self.frames.push(bytes.get(..received.bytes).unwrap_or_default());
        Ok(())
    }
}

/// Reads and drops what is left, so that closing doesn't reset what was sent.
impl Drop for Link {
    fn drop(&mut self) {
        let mut rest = [0; 512];
        if self.stream.set_nonblocking(true).is_ok() {
            while self.stream.read(&mut rest).is_ok_and(|count| count > 0) {}
        }
    }
}
