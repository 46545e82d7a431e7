//! The protocol without the client's manners: messages one by one, and what comes back.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use srv6_fabric::Flow;
use srv6_steer::protocol::{Event, Frames, Hello, Request, VERSION};

use crate::scene::{PATIENCE, Scene};

/// An open connection.
pub(crate) struct Raw {
    pub(crate) stream: UnixStream,
    frames: Frames,
}

impl Raw {
    pub(crate) fn connect(scene: &Scene) -> Self {
        let stream = UnixStream::connect(scene.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, frames: Frames::default() }
    }

    pub(crate) fn greeted(scene: &Scene) -> Self {
        let mut raw = Self::connect(scene);
        raw.send(&Request::Hello(Hello { version: VERSION, ..Hello::default() }));
        assert!(matches!(raw.hear(), Some(Event::Welcome { .. })));
        raw
    }

    pub(crate) fn send(&mut self, request: &Request) {
        self.stream.write_all(&request.encode()).unwrap();
    }

    /// Sends a message together with a descriptor.
    pub(crate) fn send_with(&mut self, request: &Request, descriptor: impl AsFd) {
        let descriptors = [descriptor.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let frame = request.encode();
        let sent = sendmsg(&self.stream, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL);
        assert_eq!(sent, Ok(frame.len()));
    }

    /// The next message; `None` at the end of the session.
    pub(crate) fn hear(&mut self) -> Option<Event> {
        loop {
            if let Some((kind, payload)) = self.frames.next_frame().unwrap() {
                return Some(Event::decode(kind, payload).unwrap());
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.frames.push(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Why the session ends.
    pub(crate) fn refusal(&mut self) -> String {
        let reason = loop {
            if let Event::Refused { reason } = self.hear().expect("a last word") {
                break reason;
            }
        };
        assert_eq!(self.hear(), None);
        reason
    }
}

pub(crate) fn flow(text: &str) -> Flow {
    let (src, dst) = text.split_once(',').unwrap();
    Flow { src: src.parse().unwrap(), dst: dst.parse().unwrap() }
}
