//! What a client has sent: bytes, and descriptors that came with them.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use srv6_steer::protocol::Frames;
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::turns::{Turns, Work};
use crate::registry::Place;

/// A message brings one at most, and no second message is read before the first is done.
const MOST: usize = 8;

/// Bytes and descriptors that nobody has looked at yet.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) frames: Frames,
    descriptors: VecDeque<OwnedFd>,
    /// Where descriptors are closed, and for whom.
    turns: Arc<Turns>,
    place: Place,
}

/// What came of a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Something, or nothing yet.
    Some,
    /// The end of the stream.
    End,
    /// More descriptors than any message has.
    Flood,
}

impl Input {
    /// Nothing yet.
    pub(super) fn new(turns: Arc<Turns>, place: Place) -> Self {
        Self { frames: Frames::default(), descriptors: VecDeque::new(), turns, place }
    }

    /// Takes what has come. Never waits.
    pub(super) fn read(&mut self, stream: &UnixStream) -> io::Result<Read> {
        let mut bytes = [0; 16 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = stream.try_io(Interest::READABLE, || {
            let mut into = [IoSliceMut::new(&mut bytes)];
            Ok(recvmsg(stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?)
        });
        let count = match received {
            Ok(message) => message.bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Read::Some),
            Err(error) => return Err(error),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        if count == 0 {
            return Ok(Read::End);
        }
        self.frames.push(bytes.get(..count).unwrap_or_default());
        Ok(if self.descriptors.len() > MOST { Read::Flood } else { Read::Some })
    }

    /// The descriptor of the message that is looked at.
    pub(super) fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }
}

/// Closing a descriptor of a client's may take as long as that likes: it may be a file of a file system of its own.
impl Drop for Input {
    fn drop(&mut self) {
        let left = std::mem::take(&mut self.descriptors);
        if !left.is_empty() {
            self.turns.work(Work::Close, self.place.clone(), move || drop(left));
        }
    }
}
