//! A connection to VPP's API socket: handshake, requests, dumps, many requests at once.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::catalog::Catalog;
use super::error::VppError;
use super::message::{
    ControlPing, ControlPingReply, DeleteClient, Message, Reply, Request, ShowVersion, Version,
};
use super::wire::{FRAME_HEADER, LONGEST, Malformed, Reader, Writer};

/// `sockclnt_create`, the one message whose number is the same in every VPP, and its reply.
const CREATE: u16 = 15;
const CREATE_REPLY: u16 = 16;

/// The name that `show api clients` has for us.
const NAME: &str = "nccl-net-srv6";

/// Requests under way at once. VPP takes in about 4 KiB at a time, so more would only wait in the socket.
const WINDOW: usize = 64;

/// Longest wait for VPP to close a connection that is given up.
const GOODBYE: Duration = Duration::from_millis(200);

/// A client of one VPP. Blocking; every call ends after the timeout.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    socket: PathBuf,
    timeout: Duration,
    catalog: Catalog,
    /// What VPP calls us.
    index: u32,
    /// Of the request sent last.
    context: u32,
    /// Bytes that have come, from `taken` on not yet looked at.
    input: Vec<u8>,
    taken: usize,
}

impl Client {
    /// Connects and shakes hands. `timeout` counts for this and for each call later.
    ///
    /// # Errors
    /// No socket, no answer in time, or one that isn't VPP's.
    pub fn connect(socket: &Path, timeout: Duration) -> Result<Self, VppError> {
        let unreachable =
            |error| VppError::Unreachable { socket: socket.to_owned(), source: Arc::new(error) };
        let stream = match open(socket, timeout) {
            // The queue of those who wait to be accepted is full.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let socket = socket.to_owned();
                return Err(VppError::Silent { socket, doing: "connect", waited: timeout });
            }
            stream => stream.map_err(unreachable)?,
        };
        let mut client = Self {
            stream,
            socket: socket.to_owned(),
            timeout,
            catalog: Catalog::default(),
            index: 0,
            context: 0,
            input: Vec::new(),
            taken: 0,
        };
        let deadline = Instant::now() + timeout;
        let mut hello = Writer::default();
        hello.u16(CREATE).u32(client.context).text(NAME, 64);
        client.send(&hello.framed(), deadline, "sockclnt_create")?;
        let reply = client.receive(deadline, "sockclnt_create")?;
        let (index, catalog) = client.accepted(reply)?;
        client.index = index;
        client.catalog = catalog;
        Ok(client)
    }

    fn accepted(&self, reply: Range<usize>) -> Result<(u32, Catalog), VppError> {
        let unreadable = |source| VppError::Unreadable { message: "sockclnt_create_reply", source };
        let mut reader = Reader::new(self.input.get(reply).unwrap_or_default());
        let number = reader.u16("number").map_err(unreadable)?;
        if number != CREATE_REPLY {
            let (asked, wanted) = ("sockclnt_create", "sockclnt_create_reply");
            return Err(VppError::Unexpected { asked, number, wanted });
        }
        let mut fields = || {
            reader.u32("client_index")?;
            reader.u32("context")?;
            Ok((reader.i32("response")?, reader.u32("index")?, reader.u16("count")?))
        };
        let (response, index, count) = fields().map_err(unreadable)?;
        if response < 0 {
            return Err(VppError::Rejected { response });
        }
        let catalog = Catalog::read(&mut reader, count).map_err(unreadable)?;
        reader.end().map_err(unreadable)?;
        Ok((index, catalog))
    }

    /// How many messages this VPP has.
    pub fn messages(&self) -> usize {
        self.catalog.len()
    }

    /// Whether a request and its reply are, in this VPP, those that are known here.
    ///
    /// # Errors
    /// [`VppError::Missing`], [`VppError::Changed`].
    pub fn offers<R: Request>(&self) -> Result<(), VppError> {
        self.catalog.number::<R>().and(self.catalog.number::<R::Reply>()).map(|_| ())
    }

    /// Which VPP this is.
    ///
    /// # Errors
    /// As for any call.
    pub fn version(&mut self) -> Result<String, VppError> {
        self.call(&ShowVersion).map(|Version { version, .. }| version)
    }

    /// Asks, and waits for the answer, whatever its return value is.
    ///
    /// # Errors
    /// A message that this VPP doesn't have, no answer in time, or one that can't be read.
    pub fn call<R: Request>(&mut self, request: &R) -> Result<R::Reply, VppError> {
        let mut replies = self.call_all(std::slice::from_ref(request))?;
        replies.pop().ok_or_else(|| self.closed(R::NAME))
    }

    /// Asks everything, many at a time, and gives the answers in the order of the requests.
    ///
    /// # Errors
    /// As for [`Self::call`]. How many requests VPP has carried out then is not known.
    pub fn call_all<R: Request>(&mut self, requests: &[R]) -> Result<Vec<R::Reply>, VppError> {
        let (ask, answer) = (self.catalog.number::<R>()?, self.catalog.number::<R::Reply>()?);
        let first = self.context.wrapping_add(1);
        let mut replies: Vec<Option<R::Reply>> = requests.iter().map(|_| None).collect();
        let (mut sent, mut received) = (0, 0);
        while received < requests.len() {
            let deadline = Instant::now() + self.timeout;
            if sent - received <= WINDOW / 2 {
                let end = requests.len().min(received + WINDOW);
                let mut batch = Vec::new();
                for request in requests.get(sent..end).unwrap_or_default() {
                    batch.extend(self.encode(ask, request));
                }
                self.send(&batch, deadline, R::NAME)?;
                sent = end;
            }
            let message = self.receive(deadline, R::NAME)?;
            let (number, context, mut fields) = self.header::<R>(message)?;
            // An answer to something that was given up is nobody's.
            let place = usize::try_from(context.wrapping_sub(first)).unwrap_or(usize::MAX);
            let Some(reply) = replies.get_mut(place) else { continue };
            if number != answer {
                return Err(VppError::Unexpected { asked: R::NAME, number, wanted: R::Reply::NAME });
            }
            *reply = Some(read::<R::Reply>(&mut fields)?);
            received += 1;
        }
        Ok(replies.into_iter().flatten().collect())
    }

    /// Asks for a list: everything that comes before the answer to a ping behind the request.
    ///
    /// # Errors
    /// As for [`Self::call`].
    pub fn dump<R: Request>(&mut self, request: &R) -> Result<Vec<R::Reply>, VppError> {
        let (ask, details) = (self.catalog.number::<R>()?, self.catalog.number::<R::Reply>()?);
        let (ping, pong) =
            (self.catalog.number::<ControlPing>()?, self.catalog.number::<ControlPingReply>()?);
        let mut both = self.encode(ask, request);
        let context = self.context;
        both.extend(self.encode(ping, &ControlPing));
        let closing = self.context;
        self.send(&both, Instant::now() + self.timeout, R::NAME)?;
        let mut list = Vec::new();
        loop {
            // A long list takes as long as it takes, as long as it goes on.
            let message = self.receive(Instant::now() + self.timeout, R::NAME)?;
            let (number, of, mut fields) = self.header::<R>(message)?;
            if of == closing && number == pong {
                return Ok(list);
            }
            if of != context {
                continue;
            }
            if number != details {
                return Err(VppError::Unexpected { asked: R::NAME, number, wanted: R::Reply::NAME });
            }
            list.push(read::<R::Reply>(&mut fields)?);
        }
    }

    /// The connection once more, to see it end. As long as this is open, so is the connection.
    pub(super) fn line(&self) -> io::Result<UnixStream> {
        self.stream.try_clone()
    }

    fn encode<R: Request>(&mut self, number: u16, request: &R) -> Vec<u8> {
        self.context = self.context.wrapping_add(1);
        let mut writer = Writer::default();
        writer.u16(number).u32(self.index).u32(self.context);
        request.write(&mut writer);
        writer.framed()
    }

    /// Number, context and the rest of a message.
    fn header<R: Request>(&self, message: Range<usize>) -> Result<(u16, u32, Reader<'_>), VppError> {
        let mut reader = Reader::new(self.input.get(message).unwrap_or_default());
        let unreadable = |source: Malformed| VppError::Unreadable { message: R::Reply::NAME, source };
        let number = reader.u16("number").map_err(unreadable)?;
        let context = reader.u32("context").map_err(unreadable)?;
        Ok((number, context, reader))
    }

    fn send(&mut self, bytes: &[u8], deadline: Instant, doing: &'static str) -> Result<(), VppError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = self.left(deadline, doing)?;
            let written = self.stream.set_write_timeout(Some(left)).and_then(|()| self.stream.write(rest));
            match written {
                Ok(0) => return Err(self.closed(doing)),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) => self.failure(error, doing)?,
            }
        }
        Ok(())
    }

    /// The next message's place in the input.
    fn receive(&mut self, deadline: Instant, doing: &'static str) -> Result<Range<usize>, VppError> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(message);
            }
            let left = self.left(deadline, doing)?;
            let mut chunk = [0; 1 << 16];
            let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut chunk));
            match read {
                Ok(0) => return Err(self.closed(doing)),
                Ok(count) => self.input.extend(chunk.get(..count).unwrap_or_default()),
                Err(error) => self.failure(error, doing)?,
            }
        }
    }

    /// Takes a message that has come as a whole. What lies before it is forgotten.
    fn whole(&mut self) -> Result<Option<Range<usize>>, VppError> {
        if self.taken == self.input.len() {
            self.input.clear();
            self.taken = 0;
        }
        let start = self.taken + FRAME_HEADER;
        // VPP's own pointers and time stamps are around the length.
        let Some(header) = self.input.get(self.taken..start) else { return Ok(self.shift()) };
        let [.., a, b, c, d, _, _, _, _] = header else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(VppError::TooLong { socket: self.socket.clone(), length });
        }
        if self.input.len() < start + length {
            return Ok(self.shift());
        }
        self.taken = start + length;
        Ok(Some(start..self.taken))
    }

    /// Makes room before more is read.
    fn shift(&mut self) -> Option<Range<usize>> {
        self.input.drain(..self.taken);
        self.taken = 0;
        None
    }

    fn left(&self, deadline: Instant, doing: &'static str) -> Result<Duration, VppError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(VppError::Silent { socket: self.socket.clone(), doing, waited: self.timeout });
        }
        Ok(left)
    }

    /// A time-out is found out by the deadline, an interruption is none.
    fn failure(&self, error: io::Error, doing: &'static str) -> Result<(), VppError> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, Interrupted, TimedOut, WouldBlock};
        match error.kind() {
            WouldBlock | TimedOut | Interrupted => Ok(()),
            BrokenPipe | ConnectionReset => Err(self.closed(doing)),
            _ => Err(VppError::Socket { socket: self.socket.clone(), doing, source: Arc::new(error) }),
        }
    }

    fn closed(&self, doing: &'static str) -> VppError {
        VppError::Closed { socket: self.socket.clone(), doing }
    }
}

/// Connects within the timeout; where VPP accepts nobody, a plain `connect` would wait for ever.
fn open(socket: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC;
    let stream = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Of zero it would be none.
    set_socket_timeout(&stream, Timeout::Send, Some(timeout.max(Duration::from_millis(1))))?;
    rustix::net::connect(&stream, &SocketAddrUnix::new(socket)?)?;
    Ok(stream.into())
}

/// VPP has to be told. One that finds a connection ended by itself keeps it where a call of its own, at any time before, has
/// left `EAGAIN` behind, and with sixteen such it does nothing any more (26.10-rc0: `vl_socket_read_ready`, `vlib_file_poll`).
impl Drop for Client {
    fn drop(&mut self) {
        let Ok(number) = self.catalog.number::<DeleteClient>() else { return };
        let goodbye = self.encode(number, &DeleteClient(self.index));
        let deadline = Instant::now() + GOODBYE.min(self.timeout);
        // One that has ended or hangs need not be told. Answers that come still are nobody's.
        let mut waiting = self.send(&goodbye, deadline, DeleteClient::NAME).is_ok();
        while waiting {
            self.taken = self.input.len();
            waiting = self.receive(deadline, DeleteClient::NAME).is_ok();
        }
    }
}

fn read<R: Reply>(reader: &mut Reader<'_>) -> Result<R, VppError> {
    let unreadable = |source| VppError::Unreadable { message: R::NAME, source };
    let reply = R::read(reader).map_err(unreadable)?;
    std::mem::replace(reader, Reader::new(&[])).end().map_err(unreadable)?;
    Ok(reply)
}
