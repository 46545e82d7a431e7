//! One connection to the agent: bytes out, messages in.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
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
}

/// The sending half.
#[derive(Debug)]
pub(super) struct Sending(UnixStream);

impl Sending {
    /// Sends a message. After an error nothing can be sent any more.
    pub(super) fn send(&mut self, request: &Request) -> std::io::Result<()> {
        self.0.write_all(&request.encode())
    }

    /// Sends a message together with a descriptor. After an error nothing can be sent any more.
    pub(super) fn send_with(&mut self, request: &Request, descriptor: BorrowedFd<'_>) -> std::io::Result<()> {
        let frame = request.encode();
        let descriptors = [descriptor];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        // NOSIGNAL: an agent that is gone must not end the process.
        let sent = loop {
            match sendmsg(&self.0, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        self.0.write_all(frame.get(sent..).unwrap_or_default())
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

    /// Waits for the next message.
    pub(super) fn next(&mut self) -> Result<Event, SteerError> {
        loop {
            let agent = |source| SteerError::AgentProtocol { socket: self.socket.clone(), source };
            if let Some((kind, payload)) = self.frames.next_frame().map_err(agent)? {
                return Event::decode(kind, payload).map_err(agent);
            }
            let fault = |source| SteerError::AgentUnreachable { socket: self.socket.clone(), source };
            let mut bytes = [0; 16 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(fault(std::io::ErrorKind::ConnectionReset.into())),
                Ok(count) => self.frames.push(bytes.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(fault(error)),
            }
        }
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
