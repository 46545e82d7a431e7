//! One subflow's way to a connected socket: dials, one after the other, with growing patience and pauses.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::dial::{Dial, DialError, Route, is_transient};
use crate::pin::Pin;
use crate::uninherited::Uninherited;

/// The dials of one subflow.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    state: State,
    /// How often a socket was made.
    count: u32,
    /// Dials that ended without any answer, one after the other.
    unanswered: u32,
    last_error: Option<Arc<io::Error>>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    New,
    Dialling {
        dial: Dial,
        since: Instant,
    },
    Pausing {
        until: Instant,
    },
    Connected(Uninherited<Socket>),
}

/// Why no further dial will help.
#[derive(Debug)]
pub(super) enum Fatal {
    /// The kernel refuses the lane's pin.
    Pin(io::Error),
    /// The kernel refuses the socket, or a setting of it.
    Socket(io::Error),
}

impl Attempt {
    /// Goes on as far as it can at `now`.
    pub(super) fn advance(&mut self, route: Route<'_>, hello: &[u8], now: Instant) -> Result<(), Fatal> {
        let pin = &route.lane.pin;
        loop {
            let state = std::mem::take(&mut self.state);
            self.state = match state {
                State::Pausing { until } if now < until => State::Pausing { until },
                State::New | State::Pausing { .. } => {
                    self.count = self.count.saturating_add(1);
                    match Dial::begin(route) {
                        Ok(dial) => {
                            self.state = State::Dialling { dial, since: now };
                            continue;
                        }
                        Err(error) => self.failed(error, pin, now)?,
                    }
                }
                State::Dialling { mut dial, since } => match dial.advance(hello) {
                    Ok(true) => State::Connected(dial.into_socket()),
                    // The answer may have died on a path that this one's port hashes to: the next has another.
                    Ok(false) if now.duration_since(since) >= self.patience(pin) => {
                        self.unanswered += 1;
                        self.last_error = None;
                        State::Pausing { until: now }
                    }
                    Ok(false) => State::Dialling { dial, since },
                    Err(error) => self.failed(error, pin, now)?,
                },
                State::Connected(socket) => State::Connected(socket),
            };
            return Ok(());
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// How often a socket was made.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Dials that ended without any answer, one after the other.
    pub(super) fn unanswered(&self) -> u32 {
        self.unanswered
    }

    /// Why the last dial that has ended did not succeed; none if nobody answered.
    pub(super) fn last_error(&self) -> Option<Arc<io::Error>> {
        self.last_error.clone()
    }

    pub(super) fn into_socket(self) -> Option<Uninherited<Socket>> {
        match self.state {
            State::Connected(socket) => Some(socket),
            _ => None,
        }
    }

    fn failed(&mut self, failure: DialError, pin: &Pin, now: Instant) -> Result<State, Fatal> {
        let error = match failure {
            DialError::Pin(error) if !is_transient(&error, pin) => return Err(Fatal::Pin(error)),
            DialError::Socket(error) if !is_transient(&error, pin) => return Err(Fatal::Socket(error)),
            DialError::Pin(error) | DialError::Socket(error) => error,
        };
        self.unanswered = 0;
        self.last_error = Some(Arc::new(error));
        Ok(State::Pausing { until: now + pause(self.count) })
    }

    /// How long the present dial may go without an answer.
    fn patience(&self, pin: &Pin) -> Duration {
        match pin {
            Pin::RoutingHeader { .. } => HEADER_PATIENCE,
            _ => PATIENCE.saturating_mul(1 << self.unanswered.min(4)).min(LONGEST_PATIENCE),
        }
    }
}

/// The pause after so many dials.
fn pause(count: u32) -> Duration {
    SHORTEST_PAUSE.saturating_mul(1 << count.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

/// A first SYN's answer takes a few round trips at most; TCP itself would send a second after 1 s, with the same ports.
const PATIENCE: Duration = Duration::from_millis(250);

/// For a network whose queues hold seconds.
const LONGEST_PATIENCE: Duration = Duration::from_secs(3);

/// A receiver that doesn't take routing headers drops them without a word, and is to be found out soon.
const HEADER_PATIENCE: Duration = Duration::from_millis(400);

const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use socket2::{Domain, Type};

    use super::*;
    use crate::pin::Lane;

    #[test]
    fn pauses_double_up_to_a_second() {
        let pauses = [1, 2, 3, 8, 9, 1_000_000].map(|count| pause(count).as_millis());
        assert_eq!(pauses, [5, 10, 20, 640, 1000, 1000]);
    }

    #[test]
    fn a_refused_dial_is_made_again_after_the_pause() {
        // Bound but not listening: nobody else gets the port, and a connect is refused.
        let closed = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        closed.bind(&any.into()).unwrap();
        let target = closed.local_addr().unwrap().as_socket().unwrap();
        let lanes = Lane::unpinned(1);
        let route = Route { target, source: None, lane: &lanes[0], congestion: None };
        let mut attempt = Attempt::default();
        let now = Instant::now();
        attempt.advance(route, b"hello", now).unwrap();
        attempt.advance(route, b"hello", now).unwrap();
        assert_eq!(attempt.last_error().unwrap().kind(), io::ErrorKind::ConnectionRefused);
        attempt.advance(route, b"hello", now).unwrap();
        assert_eq!((attempt.count(), attempt.unanswered()), (1, 0), "in the pause");

        closed.listen(1).unwrap();
        let later = now + SHORTEST_PAUSE;
        attempt.advance(route, b"hello", later).unwrap();
        attempt.advance(route, b"hello", later).unwrap();
        assert!(attempt.is_connected());
        assert_eq!(attempt.count(), 2);
    }

    #[test]
    fn a_dial_without_an_answer_is_followed_by_one_from_another_port() {
        // A backlog that is full: the kernel drops further SYNs.
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        full.bind(&any.into()).unwrap();
        full.listen(0).unwrap();
        let target = full.local_addr().unwrap().as_socket().unwrap();
        let lanes = Lane::unpinned(1);
        let route = Route { target, source: None, lane: &lanes[0], congestion: None };
        let mut ahead = Vec::new();
        let mut now = Instant::now();
        let mut attempt = loop {
            let mut attempt = Attempt::default();
            attempt.advance(route, b"hello", now).unwrap();
            attempt.advance(route, b"hello", now).unwrap();
            if !attempt.is_connected() {
                break attempt;
            }
            ahead.push(attempt);
            assert!(ahead.len() < 8, "the backlog never fills");
        };
        let port = |attempt: &Attempt| match &attempt.state {
            State::Dialling { dial, .. } => dial.socket().local_addr().unwrap().as_socket().unwrap().port(),
            other => panic!("{other:?}"),
        };
        let first = port(&attempt);
        let began = now;
        while attempt.count() == 1 {
            now += Duration::from_millis(10);
            attempt.advance(route, b"hello", now).unwrap();
        }
        let took = now - began;
        assert!(took >= PATIENCE && took < PATIENCE + Duration::from_millis(40), "{took:?}");
        assert_ne!(port(&attempt), first);
        assert_eq!(attempt.unanswered(), 1);
    }
}
