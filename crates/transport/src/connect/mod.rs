//! Making a connection: K sockets to a listener, without waiting in any call.

mod attempt;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crate::address::ListenAddress;
use crate::comm::SendComm;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::hello::{Hello, Terms, VERSION};
use crate::subflow::Subflow;
use attempt::Attempt;

/// A connection in the making.
///
/// Dropping it ends the attempt.
#[derive(Debug)]
pub struct Connector {
    target: SocketAddr,
    source: Option<IpAddr>,
    config: Config,
    terms: Terms,
    connection: u64,
    began: Option<Instant>,
    state: State,
}

#[derive(Debug)]
enum State {
    Connecting(Vec<Attempt>),
    Spent,
    Failed(Error),
}

impl Connector {
    /// Prepares a connection to `target` from the address `source`, or from where the route says.
    ///
    /// Makes no socket yet. The number of subflows is the smaller of `config`'s and the listener's.
    /// Every socket is bound to `source`: without that, a change of routes could move it.
    ///
    /// # Errors
    ///
    /// A setting is out of range, the addresses are of different families, or the system has no
    /// random numbers.
    pub fn new(target: ListenAddress, source: Option<IpAddr>, config: &Config) -> Result<Connector> {
        config.check()?;
        let paths = config.paths.min(target.paths());
        let target = target.socket();
        if let Some(origin) = source
            && origin.is_ipv4() != target.is_ipv4()
        {
            return Err(Error::Family { target, origin });
        }
        Ok(Connector {
            target,
            source,
            config: *config,
            terms: Terms { version: VERSION, paths: u8::try_from(paths).unwrap_or(u8::MAX) },
            connection: getrandom::u64().map_err(|reason| Error::Random { reason })?,
            began: None,
            state: State::Connecting((0..paths).map(|_| Attempt::default()).collect()),
        })
    }

    /// Goes on as far as it can; the comm, once, when all subflows are connected.
    ///
    /// Does not wait for the peer to accept. A refused or unreachable target is tried again, with
    /// growing pauses between the calls that try, until `connect_timeout` after the first call.
    ///
    /// # Errors
    ///
    /// The time is over, or a socket failed in a way that time doesn't cure; every later call says
    /// the same. [`Error::Spent`] after the comm was given.
    pub fn poll(&mut self) -> Result<Option<SendComm>> {
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        let attempts = match &mut self.state {
            State::Connecting(attempts) => attempts,
            State::Failed(error) => return Err(error.clone()),
            State::Spent => {
                return Err(Error::Spent { target: self.target });
            }
        };
        let mut ready = true;
        let mut failed = None;
        for (index, attempt) in attempts.iter_mut().enumerate() {
            let hello = Hello {
                terms: self.terms,
                index: u8::try_from(index).unwrap_or(u8::MAX),
                connection: self.connection,
            };
            let fatal = attempt.advance(self.target, self.source, &hello, now).err().map(Arc::new);
            let late = now.duration_since(began) >= self.config.connect_timeout;
            if fatal.is_some() || (late && !attempt.is_connected()) {
                failed = Some(Error::Connect {
                    subflow: index,
                    target: self.target,
                    origin: self.source,
                    waited: now.duration_since(began),
                    attempts: attempt.count(),
                    source: fatal.or_else(|| attempt.last_error()),
                });
                break;
            }
            ready &= attempt.is_connected();
        }
        match failed {
            // The sockets of the other subflows are closed with the attempts.
            Some(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
            None if ready => self.give().map(Some),
            None => Ok(None),
        }
    }

    fn give(&mut self) -> Result<SendComm> {
        let attempts = match std::mem::replace(&mut self.state, State::Spent) {
            State::Connecting(attempts) => attempts,
            State::Spent | State::Failed(_) => Vec::new(),
        };
        let sockets = attempts.into_iter().filter_map(Attempt::into_socket);
        let subflows: Result<Vec<Subflow>> = sockets
            .enumerate()
            .map(|(index, socket)| Subflow::new(socket, index, self.target, &self.config))
            .collect();
        match subflows {
            Ok(subflows) => Ok(SendComm::new(self.connection, self.terms, subflows, self.config.chunk)),
            Err(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
        }
    }
}
