//! A sender's new socket: for a subflow that has lost its own, or to say where one that lives goes now.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::{Origin, Token};
use crate::connect::{Dial, DialError};
use crate::pin::{Lane, Pin};
use crate::poller::Poller;
use crate::uninherited::Uninherited;

/// A replacement under way.
#[derive(Debug)]
pub(super) struct Redial {
    dial: Dial,
    hello: Vec<u8>,
    path: Arc<str>,
    subflow: usize,
    pub(super) incarnation: u16,
    deadline: Instant,
    ready: bool,
}

/// What has become of a replacement.
#[derive(Debug)]
pub(super) enum Redialled {
    /// Nothing yet.
    Waiting,
    /// Connected, and the hello said, which named this path: so many bytes went before the first frame.
    Connected { socket: Uninherited<Socket>, incarnation: u16, said: usize, path: Arc<str> },
    /// Given up; none if nobody answered.
    Failed { incarnation: u16, error: Option<io::Error> },
}

impl Redial {
    /// Begins to connect to `port` of the receiver, over the lane as it is now.
    pub(super) fn begin(
        origin: &Origin,
        lane: &Lane,
        subflow: usize,
        incarnation: u16,
        port: u16,
        poller: &Poller,
        now: Instant,
    ) -> io::Result<Redial> {
        let mut target = origin.target;
        target.set_port(port);
        let dial = Dial::begin(origin.over(lane, target)).map_err(DialError::into_source)?;
        if !dial.is_marking() {
            poller.add(dial.socket(), Token::Dial(subflow).encode())?;
        }
        let patience = match lane.pin {
            Pin::RoutingHeader { .. } => HEADER_PATIENCE,
            _ => PATIENCE,
        };
        let mut hello = origin.hello(subflow, incarnation);
        let path = Arc::clone(&lane.path);
        hello.identity.path = Arc::clone(&path);
        Ok(Redial {
            dial,
            hello: hello.encode(),
            path,
            subflow,
            incarnation,
            deadline: now + patience,
            ready: false,
        })
    }

    /// The kernel says that the socket is connected, or has failed.
    pub(super) fn ready(&mut self) {
        self.ready = true;
    }

    /// Says whether [`Redial::advance`] has something to do.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        // The kernel doesn't tell when somebody has marked the socket.
        self.ready || self.dial.is_marking() || now >= self.deadline
    }

    /// Goes on as far as it can.
    pub(super) fn advance(mut redial: Redial, poller: &Poller, now: Instant) -> (Option<Redial>, Redialled) {
        redial.ready = false;
        let (incarnation, was_marking) = (redial.incarnation, redial.dial.is_marking());
        let advanced = redial.dial.advance(&redial.hello).map_err(DialError::into_source).and_then(|done| {
            if was_marking && !redial.dial.is_marking() {
                poller.add(redial.dial.socket(), Token::Dial(redial.subflow).encode())?;
            }
            Ok(done)
        });
        let error = match advanced {
            Ok(true) => {
                let said = redial.hello.len();
                let socket = redial.dial.into_socket();
                return (None, Redialled::Connected { socket, incarnation, said, path: redial.path });
            }
            Ok(false) if now < redial.deadline => return (Some(redial), Redialled::Waiting),
            Ok(false) => None,
            Err(error) => Some(error),
        };
        if !redial.dial.is_marking() {
            poller.remove(redial.dial.socket());
        }
        (None, Redialled::Failed { incarnation, error })
    }
}

/// An answer takes a few round trips; it may have died on the way back, and the next socket has another port.
const PATIENCE: Duration = Duration::from_millis(300);

const HEADER_PATIENCE: Duration = Duration::from_millis(400);
