//! What a sender does about its subflows' health: sockets that go and come, and what is told of it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::Token;
use super::redial::{Redial, Redialled};
use super::sending::{SYN, Sending};
use crate::connections::{Count, Place, SubflowState};
use crate::error::{Error, Result, Trouble};
use crate::hello::{Objection, Refusal};
use crate::pin::Lane;
use crate::proto::{Action, Closing, Health, Reason, Violation};
use crate::subflow::{Role, Subflow};
use crate::uninherited::Uninherited;

impl Sending {
    /// Does what the state machine wants done, and goes on with sockets that are being replaced.
    pub(super) fn act(&mut self, now: Instant) -> Result<()> {
        for index in 0..self.lines.len() {
            self.redial(index, now);
            self.advance_notice(index, now);
        }
        while let Some(action) = self.core.poll_action(now) {
            match action {
                Action::Abort(subflow) => self.abort(subflow, now),
                Action::Reopen { subflow, incarnation } => self.reopen(subflow, incarnation, now),
                Action::Avoid(subflow) => {
                    if let Some(keeper) = &self.origin.keeper {
                        keeper.avoid(subflow);
                    }
                }
                Action::Changed { subflow, from, to, why } => self.changed(subflow, from, to, why),
                Action::Slow { message, waited, stuck } => self.slow(message, waited, stuck),
                Action::Dead { waited } => return Err(self.dead(waited)),
                Action::PeerClosed => return Err(self.peer_closed()),
            }
        }
        Ok(())
    }

    /// A socket's stream has ended, in order or with an error.
    pub(super) fn closed(&mut self, index: usize, error: Option<io::Error>, now: Instant) {
        let Some(line) = self.lines.get_mut(index) else { return };
        if let Some(error) = error {
            line.trouble = Some(Arc::new(error));
        }
        // A write may have failed before, and taken the error away from the read.
        let how = line.trouble.as_deref().map_or(Closing::End, closing);
        if let Some(subflow) = line.subflow.take() {
            self.poller.remove(subflow.socket());
            // Only a sender that closes ends a stream in order.
            subflow.abort();
        }
        line.notice = None;
        (line.readable, line.writable) = (false, false);
        self.core.closed(index, how, now);
    }

    /// Says whether what came first over a socket is the listener's refusal, and acts on it.
    pub(super) fn is_refused(&mut self, index: usize, count: usize, now: Instant) -> Result<bool> {
        let said = self.core.inbox(index).get(..count).unwrap_or_default();
        let Some((objection, theirs)) = Refusal::decode(said) else { return Ok(false) };
        let ours = self.origin.identity(index);
        let peer = self.peer(index);
        let error = Error::Refused {
            peer,
            subflow: index,
            objection,
            ours: Box::new(ours),
            theirs: Box::new(theirs),
        };
        match objection {
            // The place is not free yet, or was given away while this socket was on its way: the next may fit.
            Objection::Duplicate | Objection::Stale | Objection::Connection => {
                log::warn!("{error}");
                let refused = io::Error::new(io::ErrorKind::ConnectionReset, error);
                self.closed(index, Some(refused), now);
                Ok(true)
            }
            _ => Err(error),
        }
    }

    /// The error for a receiver that claims what can't be.
    pub(super) fn broke(&self, index: usize, source: Violation) -> Error {
        Error::Protocol { subflow: index, peer: self.peer(index), source }
    }

    /// Publishes the numbers of the subflows that this call has touched.
    pub(super) fn publish(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        if touched == 0 {
            return;
        }
        for index in (0..self.lines.len()).filter(|index| touched & (1 << index) != 0) {
            let counters = self.core.counters(index);
            let count = Count {
                bytes: counters.bytes,
                chunks: counters.chunks,
                reissued: counters.reissued,
                hedged: counters.hedged,
                duplicates: 0,
                state: state(counters.health),
                changes: counters.changes,
                suspected: counters.suspected,
                replaced: counters.replaced,
                rate: counters.rate,
                ack_time: counters.ack_time,
            };
            self.published.count(index, &count);
        }
    }

    fn abort(&mut self, index: usize, now: Instant) {
        // What the peer's kernel has need not be sent again.
        self.observe(index, now);
        let Some(line) = self.lines.get_mut(index) else { return };
        (line.redial, line.notice) = (None, None);
        (line.readable, line.writable) = (false, false);
        if let Some(subflow) = line.subflow.take() {
            self.poller.remove(subflow.socket());
            subflow.abort();
        }
        self.touched |= 1 << index;
    }

    fn reopen(&mut self, index: usize, incarnation: u16, now: Instant) {
        let lane = self.lane(index);
        let (Some(port), Some(lane), Some(line)) = (self.core.port(), lane, self.lines.get_mut(index)) else {
            // The receiver hasn't said yet where.
            self.core.open_failed(index, incarnation, now);
            return;
        };
        match Redial::begin(&self.origin, &lane, index, incarnation, port, &self.poller, now) {
            Ok(redial) => line.redial = Some(redial),
            Err(error) => {
                line.trouble = Some(Arc::new(error));
                self.core.open_failed(index, incarnation, now);
            }
        }
    }

    fn redial(&mut self, index: usize, now: Instant) {
        let Some(line) = self.lines.get_mut(index) else { return };
        let Some(redial) = line.redial.take_if(|redial| redial.is_due(now)) else { return };
        let (redial, redialled) = Redial::advance(redial, &self.poller, now);
        line.redial = redial;
        match redialled {
            Redialled::Waiting => {}
            Redialled::Connected { socket, incarnation, said, path } => {
                match self.install(index, socket, incarnation, said) {
                    Ok(()) => {
                        self.core.opened(index, incarnation, now);
                        if let Some(line) = self.lines.get_mut(index) {
                            line.told = path;
                        }
                        // The lane may have moved on since the hello was written.
                        self.say_path(index, now);
                    }
                    Err(error) => self.redial_failed(index, incarnation, Some(error), now),
                }
            }
            Redialled::Failed { incarnation, error } => self.redial_failed(index, incarnation, error, now),
        }
    }

    fn redial_failed(&mut self, index: usize, incarnation: u16, error: Option<io::Error>, now: Instant) {
        if let Some(line) = self.lines.get_mut(index)
            && let Some(error) = error
        {
            line.trouble = Some(Arc::new(error));
        }
        self.core.open_failed(index, incarnation, now);
    }

    /// Gives a subflow its new socket.
    fn install(
        &mut self,
        index: usize,
        socket: Uninherited<Socket>,
        incarnation: u16,
        said: usize,
    ) -> io::Result<()> {
        let peer = socket.peer_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let subflow = Subflow::new(socket, peer, Role::Sender(&self.origin.config))?;
        self.poller.rename(subflow.socket(), Token::Stream(index).encode())?;
        let path = self.path(index);
        self.published.move_to(index, Place::of(path, &subflow));
        if let Some(line) = self.lines.get_mut(index) {
            line.subflow = Some(subflow);
            line.incarnation = incarnation;
            line.before = SYN + said as u64;
            (line.readable, line.writable) = (true, true);
            (line.ended, line.heard) = (false, false);
            line.trouble = None;
        }
        self.touched |= 1 << index;
        Ok(())
    }

    fn changed(&mut self, index: usize, from: Health, to: Health, why: Reason) {
        self.touched |= 1 << index;
        let path = self.path(index);
        if let Some(place) = self.published.place(index)
            && place.path != path
        {
            self.published.move_to(index, place.on(Arc::clone(&path)));
        }
        let peer = self.peer(index);
        let connection = self.origin.connection;
        let said = self.lines.get(index).and_then(|line| line.trouble.as_ref());
        let said = said.map_or_else(String::new, |error| format!(" kernel=\"{error}\""));
        let (from, to) = (state(from), state(to));
        match to {
            SubflowState::Good => {
                log::info!(
                    "conn={connection:016x} peer={peer} subflow={index} path=\"{path}\" is back: {why}"
                );
            }
            SubflowState::Trial => {
                log::debug!(
                    "conn={connection:016x} peer={peer} subflow={index} path=\"{path}\" on trial: {why}"
                );
            }
            // It was known to be bad, or the receiver closes all of them, as it has said.
            SubflowState::Down if self.core.is_left() || from == SubflowState::Trial => {
                log::debug!(
                    "conn={connection:016x} peer={peer} subflow={index} path=\"{path}\" is down: {why}{said}"
                );
            }
            SubflowState::Suspect | SubflowState::Down => {
                let to = if to == SubflowState::Down { "down" } else { "suspect" };
                log::warn!(
                    "conn={connection:016x} peer={peer} subflow={index} path=\"{path}\" is {to}: {why}{said}; \
                     its chunks go over the others"
                );
            }
        }
    }

    fn dead(&self, waited: Duration) -> Error {
        let troubles = (0..self.lines.len()).map(|index| self.trouble(index)).collect();
        Error::Dead { peer: self.origin.target, waited, troubles }
    }

    fn peer_closed(&self) -> Error {
        let with_error = self.lines.iter().position(|line| line.trouble.is_some());
        let trouble = self.trouble(with_error.unwrap_or(0));
        Error::PeerClosed { peer: trouble.peer, trouble: Box::new(trouble) }
    }

    fn trouble(&self, index: usize) -> Trouble {
        let (local, peer) = self
            .published
            .place(index)
            .map_or((self.origin.target, self.origin.target), |p| (p.local, p.peer));
        let source = self.lines.get(index).and_then(|line| line.trouble.clone());
        Trouble { subflow: index, path: self.path(index), local, peer, source }
    }

    pub(super) fn peer(&self, index: usize) -> std::net::SocketAddr {
        self.published.place(index).map_or(self.origin.target, |place| place.peer)
    }

    /// The path that the lane takes now.
    pub(super) fn path(&self, index: usize) -> Arc<str> {
        let moved = self.origin.keeper.as_ref().and_then(|keeper| keeper.path(index));
        moved.unwrap_or_else(|| self.origin.identity(index).path)
    }

    pub(super) fn lane(&self, index: usize) -> Option<Lane> {
        let lane = self.origin.lanes.get(index)?;
        Some(Lane { pin: lane.pin.clone(), path: self.path(index) })
    }
}

/// How a socket ended that failed with this error.
pub(super) fn closing(error: &io::Error) -> Closing {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Closing::Reset,
        _ => Closing::Failed,
    }
}

fn state(health: Health) -> SubflowState {
    match health {
        Health::Good => SubflowState::Good,
        Health::Suspect => SubflowState::Suspect,
        Health::Down => SubflowState::Down,
        Health::Trial => SubflowState::Trial,
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::Silent(time) => write!(f, "nothing was acknowledged for {time:.0?}"),
            Reason::Acknowledged => f.write_str("everything has been acknowledged"),
            Reason::Closed(Closing::End) => f.write_str("the peer ended it"),
            Reason::Closed(Closing::Reset) => f.write_str("the peer reset it"),
            Reason::Closed(Closing::Failed) => f.write_str("its socket failed"),
            Reason::Blocked => f.write_str("the receiver waits for what another subflow has lost"),
            Reason::Connected => f.write_str("its new socket is connected"),
            Reason::Answered => f.write_str("pings come through"),
            Reason::Unanswered(time) => write!(f, "no ping came through for {time:.0?}"),
        }
    }
}
