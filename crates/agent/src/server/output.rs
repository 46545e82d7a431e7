//! What is to be sent to a client that may read slowly, or not at all.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use srv6_steer::protocol::Event;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// More than this isn't kept: no request is read and no change is told until the client has read.
const MOST: usize = 1 << 20;

/// Messages that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Output {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// When the client last took something, or there was something to take.
    moved: Option<Instant>,
}

#[derive(Debug)]
struct Frame {
    bytes: Vec<u8>,
    sent: usize,
    /// Goes with the first byte.
    descriptor: Option<OwnedFd>,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether more may be put.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < MOST
    }

    /// Since when nothing has been taken, if something waits.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.moved.filter(|_| !self.is_empty())
    }

    pub(super) fn put(&mut self, event: &Event, descriptor: Option<OwnedFd>) {
        if self.is_empty() {
            self.moved = Some(Instant::now());
        }
        let bytes = event.encode();
        self.bytes += bytes.len();
        self.frames.push_back(Frame { bytes, sent: 0, descriptor });
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self, stream: &UnixStream) -> io::Result<()> {
        while let Some(frame) = self.frames.front_mut() {
            match stream.try_io(Interest::WRITABLE, || frame.send(stream)) {
                Ok(count) => {
                    self.bytes -= count;
                    self.moved = Some(Instant::now());
                    if frame.sent == frame.bytes.len() {
                        self.frames.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Frame {
    fn send(&mut self, stream: &UnixStream) -> io::Result<usize> {
        let left = self.bytes.get(self.sent..).unwrap_or_default();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = self.descriptor.iter().map(AsFd::as_fd).collect();
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        // NOSIGNAL: a client that is gone must not end the agent.
        let count = sendmsg(stream, &[IoSlice::new(left)], &mut control, SendFlags::NOSIGNAL)?;
        self.descriptor = None;
        self.sent += count;
        Ok(count)
    }
}
