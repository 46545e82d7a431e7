//! What is to be sent to a client that may read slowly, or not at all.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use srv6_steer::protocol::Event;
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

    pub(super) fn put(&mut self, event: &Event) {
        if self.is_empty() {
            self.moved = Some(Instant::now());
        }
        let bytes = event.encode();
        self.bytes += bytes.len();
        self.frames.push_back(Frame { bytes, sent: 0 });
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self, stream: &UnixStream) -> io::Result<()> {
        while let Some(frame) = self.frames.front_mut() {
            match stream.try_write(frame.bytes.get(frame.sent..).unwrap_or_default()) {
                Ok(count) => {
                    frame.sent += count;
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
