//! Accepted sockets that have not said hello yet.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::hello::{Hello, Terms, Unwelcome};

/// An accepted socket.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) socket: Socket,
    pub(super) peer: SocketAddr,
}

/// Accepted sockets that have not said hello yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Arrivals(VecDeque<Waiting>);

#[derive(Debug)]
struct Waiting {
    arrival: Arrival,
    since: Instant,
    said: [u8; Hello::LEN],
    filled: usize,
}

impl Arrivals {
    /// Adds a socket. If there are too many, the one that has been silent longest goes: a connector
    /// says hello at once.
    pub(super) fn add(&mut self, arrival: Arrival, now: Instant) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(Waiting { arrival, since: now, said: [0; Hello::LEN], filled: 0 });
    }

    /// Reads from every socket, and hands over those that have said hello or something else.
    ///
    /// Reads no byte beyond the hello: chunks follow it. A socket that ended or failed is dropped.
    pub(super) fn listen_to(
        &mut self,
        ours: Terms,
        mut hand_over: impl FnMut(Arrival, Result<Hello, Unwelcome>),
    ) {
        for _ in 0..self.0.len() {
            let Some(mut waiting) = self.0.pop_front() else {
                return;
            };
            match waiting.read() {
                Heard::Nothing => self.0.push_back(waiting),
                Heard::End => {}
                Heard::Stranger => hand_over(waiting.arrival, Err(Unwelcome::Foreign)),
                Heard::Hello => {
                    let hello = Hello::decode(&waiting.said, ours);
                    hand_over(waiting.arrival, hello);
                }
            }
        }
    }

    /// Drops sockets that have been silent for `patience`, and says how many.
    pub(super) fn expire(&mut self, now: Instant, patience: Duration) -> usize {
        let before = self.0.len();
        self.0.retain(|waiting| now.duration_since(waiting.since) < patience);
        before - self.0.len()
    }
}

enum Heard {
    /// Not all of a hello yet.
    Nothing,
    Hello,
    Stranger,
    End,
}

impl Waiting {
    fn read(&mut self) -> Heard {
        loop {
            let rest = self.said.get_mut(self.filled..).unwrap_or_default();
            match (&self.arrival.socket).read(rest) {
                Ok(0) => return Heard::End,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Heard::End,
            }
            let said = self.said.get(..self.filled).unwrap_or_default();
            if !Hello::may_begin(said) {
                return Heard::Stranger;
            }
            if self.filled == Hello::LEN {
                return Heard::Hello;
            }
        }
    }
}

/// Sockets that may be silent at a time.
const MOST: usize = 128;
