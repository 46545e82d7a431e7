//! What a sender does in one call: hear, judge, act, send.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::busy::Busy;
use super::copies::Copies;
use super::redial::Redial;
use super::repin::Asked;
use super::writing::Sent;
use super::{BYTES_PER_CALL, Open, Origin, Token};
use crate::buffer::RawBuf;
use crate::config::MAX_PATHS;
use crate::connections::{Direction, Place, Published};
use crate::error::{Activity, Error, Result};
use crate::poller::Poller;
use crate::proto::{self, Closing, Observation, Sender};
use crate::request::{MAX_REQUESTS, RequestId};
use crate::shares::Share;
use crate::splice::Pipes;
use crate::subflow::{Moved, Role, Subflow};
use crate::uninherited::Uninherited;

/// The sending side of a connection: state machine, sockets and memory.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) core: Sender,
    pub(super) origin: Origin,
    pub(super) lines: Vec<Line>,
    pub(super) poller: Poller,
    pub(super) published: Arc<Published>,
    pub(super) failed: Option<Error>,
    pub(super) asked: Asked,
    pub(super) buffers: [RawBuf; MAX_REQUESTS],
    pub(super) copies: Copies,
    /// What buffers go through without a copy; none where they can't.
    pub(super) pipes: Option<Arc<Pipes>>,
    /// Subflows whose numbers have changed in this call.
    pub(super) touched: u32,
    /// When the sockets were last asked about, and messages that were sent since.
    polled: Instant,
    unpolled: u32,
    shares: u32,
    /// Requests that the caller has not been told are done.
    outstanding: u32,
    owes: Busy,
    /// The caller has left; until when what it owes is tried.
    left: Option<Instant>,
}

/// One subflow's socket, or what becomes of it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) subflow: Option<Subflow>,
    pub(super) redial: Option<Redial>,
    /// The path that the receiver was told, and another that it is being told beside a socket that lives.
    pub(super) told: Arc<str>,
    pub(super) notice: Option<Redial>,
    pub(super) incarnation: u16,
    /// Bytes that went over this socket before its first frame, as the kernel counts them.
    pub(super) before: u64,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The stream's end is there to be read.
    pub(super) ended: bool,
    /// Something has come over this socket.
    pub(super) heard: bool,
    /// What the kernel said last when it failed.
    pub(super) trouble: Option<Arc<io::Error>>,
}

impl Sending {
    pub(super) fn new(
        origin: Origin,
        sockets: Vec<Option<Uninherited<Socket>>>,
        now: Instant,
    ) -> Result<Sending> {
        let peer = origin.target;
        let failed =
            |source: io::Error| Error::Comm { activity: Activity::Open, peer, source: Arc::new(source) };
        let poller = Poller::new().map_err(failed)?;
        let mut core = Sender::new(sockets.len(), origin.config.dead_after, now);
        let (mut lines, mut places) = (Vec::new(), Vec::new());
        for (index, socket) in sockets.into_iter().enumerate() {
            let path = origin.identity(index).path;
            let mut line = Line {
                subflow: None,
                redial: None,
                told: Arc::clone(&path),
                notice: None,
                incarnation: 0,
                before: SYN + origin.hello(index, 0).encode().len() as u64,
                readable: true,
                writable: true,
                ended: false,
                heard: false,
                trouble: None,
            };
            match socket {
                Some(socket) => {
                    let failed =
                        |source| Error::Subflow { activity: Activity::Open, subflow: index, peer, source };
                    let subflow = Subflow::new(socket, peer, Role::Sender(&origin.config))
                        .map_err(|source| failed(Arc::new(source)))?;
                    let added = poller.add(subflow.socket(), Token::Stream(index).encode());
                    added.map_err(|source| failed(Arc::new(source)))?;
                    places.push(Place::of(path, &subflow));
                    line.subflow = Some(subflow);
                }
                None => {
                    core.closed(index, Closing::Failed, now);
                    places.push(Place::nowhere(path, origin.source, peer));
                }
            }
            lines.push(line);
        }
        let published = Published::new(origin.connection, Direction::Send, places, now);
        let touched = (1 << lines.len()) - 1;
        let mut sending = Sending {
            core,
            lines,
            poller,
            published,
            failed: None,
            asked: Asked::new(now),
            buffers: [RawBuf::EMPTY; MAX_REQUESTS],
            copies: Copies::new(),
            pipes: origin.config.zero_copy.then(Pipes::shared),
            touched,
            polled: now,
            unpolled: 0,
            shares: 0,
            outstanding: 0,
            owes: Busy::new(),
            left: None,
            origin,
        };
        sending.publish();
        Ok(sending)
    }

    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    pub(super) fn post(&mut self, buffer: RawBuf, now: Instant) -> Result<Option<RequestId>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let Some(posted) = self.core.post(buffer.len(), now) else {
            // What is outstanding may be complete by now.
            self.progress(None, now)?;
            return Ok(None);
        };
        match posted.eager {
            Some(slot) => self.copies.put(slot, buffer.outgoing(0, buffer.len()).unwrap_or_default()),
            None => {
                if let Some(place) = self.buffers.get_mut(posted.request.slot()) {
                    *place = buffer;
                }
            }
        }
        self.outstanding += 1;
        self.unpolled += 1;
        // A failure in here is about earlier messages as much as about this one, and the request
        // has been taken: its test reports it.
        if self.unpolled >= UNPOLLED_POSTS || now.saturating_duration_since(self.polled) >= UNPOLLED_TIME {
            let _ = self.progress(None, now);
        } else if !self.core.may_wait(buffer.len()) {
            self.push(None, now);
            self.publish();
        }
        Ok(Some(posted.request))
    }

    pub(super) fn test(&mut self, request: RequestId) -> Result<Option<usize>> {
        let mut bytes = self.core.retire(request)?;
        if bytes.is_none() {
            let progress = self.progress(Some(request), Instant::now());
            bytes = self.core.retire(request)?;
            if bytes.is_none() {
                return progress.map(|()| None);
            }
        }
        self.outstanding -= 1;
        Ok(bytes)
    }

    /// What the watch does for a caller that doesn't call.
    pub(super) fn look_after(&mut self, now: Instant) {
        // The next call, if there is one, says so.
        let _ = self.progress(None, now);
    }

    /// Whether something is owed to the receiver, if that has changed since this was last asked.
    pub(super) fn owes_newly(&mut self) -> Option<bool> {
        let owes = self.failed.is_none() && self.core.is_waiting();
        self.owes.set(owes).then_some(owes)
    }

    /// Closes everything, unless messages that were reported done still have to go out; false then.
    ///
    /// Messages that were not reported done are forgotten, with their memory.
    pub(super) fn close(&mut self, now: Instant) -> bool {
        let first = self.left.is_none();
        let until = *self.left.get_or_insert(now + self.origin.config.dead_after);
        if first && self.failed.is_none() && self.core.is_waiting() {
            // The receiver need not have said what its kernel knows.
            for index in 0..self.lines.len() {
                self.observe(index, now);
            }
        }
        if self.failed.is_none() && self.outstanding == 0 && self.core.is_waiting() && now < until {
            // This process may end before that: from here on each socket is in a state in which the kernel alone
            // brings what it has to an end.
            for subflow in self.lines.iter().filter_map(|line| line.subflow.as_ref()).filter(|_| first) {
                subflow.deafen();
            }
            return false;
        }
        // Memory that is the caller's again from here on must not go out any more, as whatever it becomes.
        let lending = self.core.is_lending();
        for line in &mut self.lines {
            (line.redial, line.notice) = (None, None);
            if let Some(subflow) = line.subflow.take() {
                self.poller.remove(subflow.socket());
                if lending {
                    subflow.abort();
                } else {
                    subflow.finish();
                }
            }
        }
        true
    }

    /// Moves bytes until nothing more can, or enough have, or `request` is complete.
    fn progress(&mut self, request: Option<RequestId>, now: Instant) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.take_shares();
        self.follow_lanes(now);
        self.poll(now);
        let mut result = self.hear(now);
        for index in 0..self.lines.len() {
            if self.core.observe_due(index, now) {
                self.observe(index, now);
            }
        }
        result = result.and_then(|()| self.act(now));
        if let Err(error) = result {
            self.failed = Some(error.clone());
            return Err(error);
        }
        self.push(request, now);
        self.publish();
        Ok(())
    }

    fn poll(&mut self, now: Instant) {
        self.polled = now;
        self.unpolled = 0;
        let lines = &mut self.lines;
        self.poller.poll(|ready| match Token::decode(ready.token) {
            Token::Stream(index) => {
                if let Some(line) = lines.get_mut(index) {
                    line.readable |= ready.readable;
                    line.writable |= ready.writable;
                    line.ended |= ready.ended;
                }
            }
            Token::Dial(index) => {
                if let Some(line) = lines.get_mut(index) {
                    line.redial.iter_mut().chain(&mut line.notice).for_each(Redial::ready);
                }
            }
            Token::Door => {}
        });
    }

    /// Reads what the receiver has said.
    fn hear(&mut self, now: Instant) -> Result<()> {
        for index in 0..self.lines.len() {
            while let Some(line) = self.lines.get_mut(index).filter(|line| line.readable)
                && let Some(subflow) = &line.subflow
            {
                let inbox = self.core.inbox(index);
                let room = inbox.len();
                match subflow.receive(&mut [], inbox) {
                    Moved::Bytes(count) => {
                        line.readable = count == room || line.ended;
                        self.touched |= 1 << index;
                        let first = !std::mem::replace(&mut line.heard, true);
                        if !first || !self.is_refused(index, count, now)? {
                            let heard = self.core.heard(index, count, now);
                            heard.map_err(|source| self.broke(index, source))?;
                        }
                    }
                    Moved::Blocked => line.readable = false,
                    Moved::End => self.closed(index, None, now),
                    Moved::Failed(error) => self.closed(index, Some(error), now),
                }
            }
        }
        Ok(())
    }

    /// Asks the kernel what has become of a subflow's bytes.
    pub(super) fn observe(&mut self, index: usize, now: Instant) {
        let Some(line) = self.lines.get(index) else { return };
        let Some(Ok(info)) = line.subflow.as_ref().map(Subflow::tcp_info) else { return };
        let observation = Observation {
            acked: info.bytes_acked.saturating_sub(line.before),
            unacked: info.unacked,
            unsent: info.unsent,
            last_ack: info.last_ack,
            rtt: info.rtt,
            min_rtt: info.min_rtt,
            mss: info.mss,
        };
        self.touched |= 1 << index;
        self.core.observe(index, &observation, now);
    }

    /// Lets every subflow that has room take what is to be sent.
    fn push(&mut self, request: Option<RequestId>, now: Instant) {
        self.core.beside(Busy::count(), Busy::all(), now);
        self.look_what_has_left(now);
        let count = self.lines.len();
        let mut open = Open::all(count);
        let mut moved = 0;
        let mut at = self.core.first();
        while !open.is_empty() && moved < BYTES_PER_CALL {
            at = if at < count { at } else { 0 };
            if !open.has(at) {
                at += 1;
                continue;
            }
            match self.send(at, now) {
                Sent::Bytes(bytes) => {
                    moved += bytes;
                    if request.is_some_and(|request| self.core.is_complete(request)) {
                        return;
                    }
                    // Large chunks go around, so that all get their part; a small one leaves the choice open.
                    at = if bytes > SMALL { at + 1 } else { self.core.first() };
                }
                Sent::Nothing => {
                    open.remove(at);
                    at += 1;
                }
            }
        }
    }

    /// Asks the kernel what it still holds, where that may be all that keeps more from being sent.
    fn look_what_has_left(&mut self, now: Instant) {
        let doubtful = self.core.doubtful(now);
        for (index, line) in self.lines.iter().enumerate().filter(|(index, _)| doubtful & (1 << index) != 0) {
            if let Some(Ok(count)) = line.subflow.as_ref().map(Subflow::unacknowledged) {
                self.core.holds(index, count);
            }
        }
    }

    fn take_shares(&mut self) {
        if let Some(shares) = &self.origin.shares
            && shares.generation() != self.shares
            && let Some((generation, values)) = shares.read()
        {
            self.shares = generation;
            self.core.set_shares(&weighed(&values));
        }
    }
}

/// The shares as the state machine takes them: a lane without a weight counts fully, one without a cap has 0.
fn weighed(values: &[Share; MAX_PATHS]) -> proto::Shares {
    let weighted = values.iter().any(|share| share.weight.is_some());
    let weight = |share: &Share| if weighted { share.weight.unwrap_or(1000) } else { 1 };
    proto::Shares {
        weights: std::array::from_fn(|lane| values.get(lane).map_or(1, weight)),
        caps: std::array::from_fn(|lane| {
            values.get(lane).and_then(|share| share.cap).map_or(0, |cap| cap.max(1))
        }),
    }
}

/// The kernel counts the SYN among the bytes that were acknowledged.
pub(super) const SYN: u64 = 1;

/// Writes up to this length count as small.
const SMALL: usize = 16 << 10;

/// After so many posts, or such a time, a post looks at the sockets; others only write.
///
/// A caller that posts small messages may never have to test one for long. There is a state frame for each 16 of
/// them at most, and room for 64.
const UNPOLLED_POSTS: u32 = 8;
const UNPOLLED_TIME: Duration = Duration::from_micros(500);
