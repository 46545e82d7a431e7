//! Making a connection: K sockets to a listener, without waiting in any call.

mod attempt;
mod dial;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::address::ListenAddress;
use crate::comm::{Origin, SendComm};
use crate::config::{Config, MAX_PATHS};
use crate::error::{Error, Result};
use crate::hello::{Hello, Identity, Terms, VERSION};
use crate::keeper::PathKeeper;
use crate::pin::{Lane, Pin};
use crate::shares::Shares;
use attempt::{Attempt, Fatal};
pub(crate) use dial::{Dial, DialError, Route};

/// A connection in the making.
///
/// Dropping it ends the attempt.
#[derive(Debug)]
pub struct Connector {
    origin: Origin,
    began: Option<Instant>,
    /// When the first subflow was connected.
    first: Option<Instant>,
    state: State,
}

#[derive(Debug)]
enum State {
    Connecting(Vec<Attempt>),
    Spent,
    Failed(Error),
}

/// How far one lane of a [`Connector`] is.
#[derive(Clone, Debug)]
pub struct LaneStatus {
    /// Which subflow, from 0.
    pub subflow: usize,
    /// The lane.
    pub lane: Lane,
    /// Its subflow is connected.
    pub connected: bool,
    /// How often a socket was made.
    pub attempts: u32,
    /// Attempts in a row that nobody answered: the pin may not work on the way, or at the far side.
    pub unanswered: u32,
    /// What the kernel said last; none if nothing came back.
    pub error: Option<Arc<std::io::Error>>,
}

impl Connector {
    /// Prepares a connection to `target` from the address `source`, or from where the route says.
    ///
    /// Makes no socket yet. One subflow per lane, but not more than the listener takes; lanes beyond that are not
    /// used. Every socket is bound to `source`: without that, a change of routes could move it.
    ///
    /// # Errors
    ///
    /// A setting or a lane is out of range, the addresses are of different families, or the system has no
    /// random numbers.
    pub fn new(
        target: ListenAddress,
        source: Option<IpAddr>,
        mut lanes: Vec<Lane>,
        config: &Config,
    ) -> Result<Connector> {
        config.check()?;
        if !(1..=MAX_PATHS).contains(&lanes.len()) {
            let value = lanes.len() as u64;
            return Err(Error::Setting { name: "lanes", value, min: 1, max: MAX_PATHS as u64 });
        }
        lanes.truncate(target.paths());
        let target = target.socket();
        if let Some(origin) = source
            && origin.is_ipv4() != target.is_ipv4()
        {
            return Err(Error::Family { target, origin });
        }
        for (subflow, lane) in lanes.iter().enumerate() {
            lane.check(subflow, target)?;
        }
        let attempts = lanes.iter().map(|_| Attempt::default()).collect();
        let terms = Terms { version: VERSION, paths: u8::try_from(lanes.len()).unwrap_or(u8::MAX) };
        let connection = getrandom::u64().map_err(|reason| Error::Random { reason })?;
        Ok(Connector {
            origin: Origin {
                target,
                source,
                lanes,
                terms,
                connection,
                config: *config,
                shares: None,
                keeper: None,
            },
            began: None,
            first: None,
            state: State::Connecting(attempts),
        })
    }

    /// Lets somebody say, at any time, how much each lane is to carry.
    #[must_use]
    pub fn shares(mut self, shares: Arc<Shares>) -> Connector {
        self.origin.shares = Some(shares);
        self
    }

    /// Names who moves a lane to another path when its own has failed.
    #[must_use]
    pub fn keeper(mut self, keeper: Arc<dyn PathKeeper>) -> Connector {
        self.origin.keeper = Some(keeper);
        self
    }

    /// How far each lane is, while it is connecting.
    pub fn status(&self) -> impl Iterator<Item = LaneStatus> + '_ {
        let attempts = match &self.state {
            State::Connecting(attempts) => attempts.as_slice(),
            State::Spent | State::Failed(_) => &[],
        };
        attempts.iter().zip(&self.origin.lanes).enumerate().map(|(subflow, (attempt, lane))| LaneStatus {
            subflow,
            lane: lane.clone(),
            connected: attempt.is_connected(),
            attempts: attempt.count(),
            unanswered: attempt.unanswered(),
            error: attempt.last_error(),
        })
    }

    /// Goes on as far as it can; the comm, once, when all subflows are connected.
    ///
    /// Does not wait for the peer to accept. A refused or unreachable target is tried again, with
    /// growing pauses between the calls that try, until `connect_timeout` after the first call. Where some
    /// subflows are connected and the others still aren't after `partial_after`, the comm begins without those; it
    /// goes on trying them.
    ///
    /// # Errors
    ///
    /// The time is over, a pin is refused, routing headers get no answer at all, or a socket failed in a way that
    /// time doesn't cure; every later call says the same. [`Error::Spent`] after the comm was given.
    pub fn poll(&mut self) -> Result<Option<SendComm>> {
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        let attempts = match &mut self.state {
            State::Connecting(attempts) => attempts,
            State::Failed(error) => return Err(error.clone()),
            State::Spent => return Err(Error::Spent { target: self.origin.target }),
        };
        let mut connected = 0;
        let mut failed = None;
        for (subflow, attempt) in attempts.iter_mut().enumerate() {
            let Some(route) = self.origin.route(subflow) else { continue };
            if !attempt.is_connected() {
                let hello = self.origin.hello(subflow, 0).encode();
                if let Err(fatal) = attempt.advance(route, &hello, now) {
                    failed =
                        Some(self.origin.given_up(subflow, attempt, now.duration_since(began), Some(fatal)));
                    break;
                }
            }
            connected += usize::from(attempt.is_connected());
        }
        if connected > 0 {
            self.first.get_or_insert(now);
        }
        let partial =
            self.first.is_some_and(|first| now.duration_since(first) >= self.origin.config.partial_after);
        let waited = now.duration_since(began);
        if failed.is_none() && connected == 0 {
            let silent = attempts.iter().zip(&self.origin.lanes).position(|(attempt, lane)| {
                matches!(lane.pin, Pin::RoutingHeader { .. }) && attempt.unanswered() >= SILENT_HEADERS
            });
            let late = (waited >= self.origin.config.connect_timeout).then_some(0);
            if let Some(subflow) = silent.or(late)
                && let Some(attempt) = attempts.get(subflow)
            {
                failed = Some(self.origin.given_up(subflow, attempt, waited, None));
            }
        }
        match failed {
            // The sockets of the other subflows are closed with the attempts.
            Some(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
            None if connected == attempts.len() || partial => self.give(now).map(Some),
            None => Ok(None),
        }
    }

    fn give(&mut self, now: Instant) -> Result<SendComm> {
        let attempts = match std::mem::replace(&mut self.state, State::Spent) {
            State::Connecting(attempts) => attempts,
            State::Spent | State::Failed(_) => Vec::new(),
        };
        let sockets = attempts.into_iter().map(Attempt::into_socket).collect();
        SendComm::new(self.origin.clone(), sockets, now).inspect_err(|error| {
            self.state = State::Failed(error.clone());
        })
    }
}

impl Origin {
    /// From where to where, and over which path, one subflow goes.
    pub(crate) fn route(&self, subflow: usize) -> Option<Route<'_>> {
        Some(self.over(self.lanes.get(subflow)?, self.target))
    }

    /// The same over this lane, to this port of the target.
    pub(crate) fn over<'a>(&self, lane: &'a Lane, target: SocketAddr) -> Route<'a> {
        Route { target, source: self.source, lane, congestion: self.config.congestion }
    }

    /// What one subflow says first.
    pub(crate) fn hello(&self, subflow: usize, incarnation: u16) -> Hello {
        Hello {
            identity: self.identity(subflow),
            index: u8::try_from(subflow).unwrap_or(u8::MAX),
            incarnation,
        }
    }

    /// What one subflow is part of.
    pub(crate) fn identity(&self, subflow: usize) -> Identity {
        let path = self.lanes.get(subflow).map_or_else(|| "".into(), |lane| Arc::clone(&lane.path));
        Identity { terms: self.terms, connection: self.connection, path }
    }

    fn given_up(&self, subflow: usize, attempt: &Attempt, waited: Duration, fatal: Option<Fatal>) -> Error {
        let unpinned = Lane { pin: Pin::None, path: "".into() };
        let lane = self.lanes.get(subflow).cloned().unwrap_or(unpinned);
        let source = match fatal {
            Some(Fatal::Pin(source)) => return lane.refused(subflow, source),
            Some(Fatal::Socket(source)) => Some(Arc::new(source)),
            None => attempt.last_error(),
        };
        Error::Connect {
            subflow,
            target: self.target,
            origin: self.source,
            lane: Box::new(lane),
            waited,
            attempts: attempt.count(),
            source,
        }
    }
}

/// So many dials over a routing header without any answer mean that somebody on the way doesn't take it.
const SILENT_HEADERS: u32 = 5;
