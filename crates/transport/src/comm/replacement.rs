//! What a receiver does about sockets that go and come.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::Token;
use super::receiving::{Line, Receiving};
use crate::config::MAX_PATHS;
use crate::connections::Place;
use crate::error::{Error, Result, Trouble};
use crate::hello::{Hello, Identity, Objection, Unwelcome};
use crate::keeper::PathKeeper;
use crate::listen::Arrival;
use crate::pin::Lane;
use crate::proto::{CLOSING, Closing};
use crate::subflow::{Role, Subflow};

impl Receiving {
    /// Ties the sockets, and those to come, to lanes.
    pub(super) fn pin(&mut self, lanes: &[Lane]) -> Result<()> {
        for (index, lane) in lanes.iter().enumerate().take(self.paths) {
            if let Some(subflow) = self.lines.get(index).and_then(|line| line.subflow.as_ref()) {
                lane.pin.apply(subflow.socket()).map_err(|source| lane.refused(index, source))?;
            }
        }
        self.lanes = lanes.to_vec();
        Ok(())
    }

    pub(super) fn keep(&mut self, keeper: Arc<dyn PathKeeper>) {
        self.keeper = Some(keeper);
    }

    /// Takes the replacement sockets that have come, and closes the old ones that have been read to their end.
    pub(super) fn admit(&mut self, now: Instant) {
        for index in 0..self.paths {
            let old = index + MAX_PATHS;
            // Nothing more than the kernel has acknowledged can be of use, and that is all there.
            if self
                .lines
                .get(old)
                .is_some_and(|line| line.subflow.is_some() && !line.readable && !line.parked)
            {
                self.closed(old, None, now);
            }
        }
        let Some(mut door) = self.door.take() else { return };
        door.answer(self.terms, self.config.handshake_timeout, now, |arrival, hello| {
            if self.is_notice(&hello) {
                self.moved(usize::from(hello.index), hello.identity.path);
                return None;
            }
            match self.welcome(&hello) {
                Ok(()) => self.replace(arrival, hello).err().map(|error| {
                    log::warn!("conn={:016x} a replacement socket is of no use: {error}", self.connection);
                    None
                })?,
                Err(objection) => {
                    let ours = self.identity(&hello);
                    Some((arrival, Unwelcome::Hello { objection, hello }, ours))
                }
            }
        });
        self.door = Some(door);
    }

    /// Says whether a hello only tells where the socket goes that we have.
    fn is_notice(&self, hello: &Hello) -> bool {
        let index = usize::from(hello.index);
        hello.identity.connection == self.connection
            && self.lines.get(index).is_some_and(|line| line.subflow.is_some())
            && self.core.incarnation(index) == hello.incarnation
    }

    /// A living socket of the sender's takes another path.
    fn moved(&mut self, index: usize, path: Arc<str>) {
        let Some(place) = self.published.place(index).filter(|place| place.path != path) else { return };
        if let Some(keeper) = &self.keeper {
            keeper.follow(index, &path);
        }
        self.published.move_to(index, place.on(path));
    }

    /// Makes room for a socket that is to replace one of ours.
    fn welcome(&mut self, hello: &Hello) -> std::result::Result<(), Objection> {
        if hello.identity.connection != self.connection {
            return Err(Objection::Connection);
        }
        if usize::from(hello.identity.terms.paths) != self.paths {
            return Err(Objection::Paths);
        }
        if self.core.replace(usize::from(hello.index), hello.incarnation) {
            Ok(())
        } else {
            Err(Objection::Stale)
        }
    }

    /// Puts a new socket in the place of a subflow's present one.
    fn replace(&mut self, arrival: Arrival, hello: Hello) -> io::Result<()> {
        let index = usize::from(hello.index);
        let old = index + MAX_PATHS;
        if let Some(line) = self.lines.get_mut(index).map(std::mem::take)
            && let Some(before) = &line.subflow
        {
            self.poller.rename(before.socket(), Token::Stream(old).encode())?;
            if let Some(place) = self.lines.get_mut(old) {
                *place = Line { readable: true, ..line };
            }
        }
        let subflow = Subflow::new(arrival.socket, arrival.peer, Role::Receiver(&self.config))?;
        if let Some(lane) = self.lanes.get(index) {
            lane.pin.apply(subflow.socket())?;
        }
        self.poller.add(subflow.socket(), Token::Stream(index).encode())?;
        let path = hello.identity.path;
        if let Some(keeper) = &self.keeper
            && self.published.place(index).is_some_and(|place| place.path != path)
        {
            keeper.follow(index, &path);
        }
        self.published.move_to(index, Place::of(path, &subflow));
        self.touched |= 1 << index;
        if let Some(line) = self.lines.get_mut(index) {
            *line = Line { subflow: Some(subflow), readable: true, ..Line::default() };
        }
        Ok(())
    }

    /// What this receiver has in the place that was asked for.
    fn identity(&self, hello: &Hello) -> Identity {
        let path = self.published.place(usize::from(hello.index)).map(|place| place.path);
        let path = path.unwrap_or_else(|| "".into());
        Identity { terms: self.terms, connection: self.connection, path }
    }

    /// Tells that a subflow's socket has failed; the sender opens another one.
    pub(super) fn lost(&self, stream: usize, subflow: &Subflow, error: &io::Error) {
        let index = stream % MAX_PATHS;
        let path = self.published.place(index).map(|place| place.path);
        let connection = self.connection;
        // The old one was replaced because something was wrong with it.
        if stream < MAX_PATHS && self.core.is_waiting() {
            log::warn!(
                "conn={connection:016x} peer={} subflow={index} path=\"{}\" is down: {error}",
                subflow.peer(),
                path.unwrap_or_else(|| "".into())
            );
        }
    }

    /// The error if a receive waits, and no subflow can bring anything any more.
    pub(super) fn stranded(&self, now: Instant) -> Result<()> {
        if !self.core.is_waiting()
            || !(self.core.peer_gone(now) || (self.core.is_closing(now) && self.is_deserted()))
        {
            return Ok(());
        }
        let troubles: Vec<Trouble> = (0..self.paths).filter_map(|index| self.trouble(index)).collect();
        let timed_out = |trouble: &Trouble| {
            trouble.source.as_ref().is_some_and(|source| super::health::closing(source) == Closing::Failed)
        };
        let Some(last) = troubles.iter().find(|trouble| trouble.source.is_some()).or(troubles.first()) else {
            return Ok(());
        };
        let peer = last.peer;
        // The sender may have reset some of them itself, to replace them, while their paths still worked.
        if troubles.iter().any(timed_out) {
            return Err(Error::Dead { peer, waited: self.config.dead_after, troubles: troubles.into() });
        }
        Err(Error::PeerClosed { peer, trouble: Box::new(last.clone()) })
    }

    /// Says whether the peer's kernel has acknowledged nothing for a while on any socket that is left, although it should.
    ///
    /// The end of a stream doesn't come over a dead path, and without this the kernel alone would find that out.
    fn is_deserted(&self) -> bool {
        self.lines
            .iter()
            .filter_map(|line| line.subflow.as_ref())
            .all(|subflow| subflow.tcp_info().is_ok_and(|info| info.unacked > 0 && info.last_ack >= CLOSING))
    }

    fn trouble(&self, index: usize) -> Option<Trouble> {
        let Place { path, local, peer, .. } = self.published.place(index)?;
        let source = self.lines.get(index).and_then(|line| line.trouble.as_ref().map(Arc::clone));
        Some(Trouble { subflow: index, path, local, peer, source })
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let now = Instant::now();
        // A sender that hears this doesn't take the ends of its streams for failures.
        self.core.say_goodbye();
        self.tell(now);
        for line in &mut self.lines {
            if let Some(subflow) = line.subflow.take() {
                // With something unread the kernel would reset, and the goodbye might be lost. A sender that is in
                // the middle of something gets its reset all the same, by what it sends next.
                subflow.drain();
            }
        }
    }
}
