//! What a receiver does in one call: take in, tell, and judge whether more can come.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::door::Door;
use super::health::closing;
use super::repin::Asked;
use super::rest::Rest;
use super::{BYTES_PER_CALL, Token};
use crate::buffer::RawBuf;
use crate::config::{Config, MAX_PATHS};
use crate::connections::{ConnectionStats, Count, Direction, Place, Published, SubflowState};
use crate::error::{Activity, Error, Result};
use crate::hello::{Hello, Terms};
use crate::keeper::PathKeeper;
use crate::listen::Arrival;
use crate::pin::Lane;
use crate::poller::Poller;
use crate::proto::{Closing, Landing, Receiver, Refused, Want};
use crate::request::{MAX_REQUESTS, RequestId};
use crate::subflow::{Moved, Role, Subflow};

/// An accepted socket that has said hello.
#[derive(Debug)]
pub(crate) struct Welcomed {
    pub(crate) arrival: Arrival,
    pub(crate) hello: Hello,
}

/// The receiving side of a connection: state machine, sockets and memory.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) connection: u64,
    pub(super) terms: Terms,
    pub(super) config: Config,
    pub(super) core: Receiver,
    /// By stream: one a subflow, then those that were replaced and are read to their end.
    pub(super) lines: Vec<Line>,
    pub(super) paths: usize,
    pub(super) lanes: Vec<Lane>,
    pub(super) keeper: Option<Arc<dyn PathKeeper>>,
    pub(super) asked: Asked,
    pub(super) door: Option<Door>,
    pub(super) poller: Poller,
    pub(super) published: Arc<Published>,
    pub(super) touched: u32,
    failed: Option<Error>,
    buffers: [RawBuf; MAX_REQUESTS],
    /// Stands for memory that the kernel doesn't write to.
    scratch: Box<[MaybeUninit<u8>]>,
    /// When the sockets were last asked about.
    polled: Instant,
    /// When the sender was last told what there was to tell, and bytes that have come since.
    told: Instant,
    untold: usize,
    rest: Rest,
    /// Where the next pass begins: the subflow that brought the last payload.
    first: usize,
}

/// One stream's socket, if it has one.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) subflow: Option<Subflow>,
    pub(super) readable: bool,
    /// The stream's end is there to be read.
    pub(super) ended: bool,
    /// The stream waits for a receive to be posted, and may then go on without a read.
    pub(super) parked: bool,
    /// When something came last.
    pub(super) heard: Option<Instant>,
    /// What the kernel said when it failed.
    pub(super) trouble: Option<Arc<io::Error>>,
}

impl Receiving {
    pub(super) fn new(
        connection: u64,
        terms: Terms,
        subflows: Vec<Option<Welcomed>>,
        config: &Config,
        now: Instant,
    ) -> Result<Receiving> {
        let nobody = SocketAddr::from(([0; 4], 0));
        let peer = subflows.iter().flatten().next().map_or(nobody, |welcomed| welcomed.arrival.peer);
        let failed =
            |source: io::Error| Error::Comm { activity: Activity::Open, peer, source: Arc::new(source) };
        let poller = Poller::new().map_err(failed)?;
        let paths = subflows.len();
        let mut core = Receiver::new(paths, now);
        let mut lines: Vec<Line> = (0..2 * MAX_PATHS).map(|_| Line::default()).collect();
        let (mut places, mut local) = (Vec::new(), None);
        for ((index, welcomed), line) in subflows.into_iter().enumerate().zip(&mut lines) {
            let Some(Welcomed { arrival, hello }) = welcomed else {
                core.closed(index, Closing::Failed, now);
                places.push(Place::nowhere("".into(), None, peer));
                continue;
            };
            let failed = |source| Error::Subflow {
                activity: Activity::Open,
                subflow: index,
                peer: arrival.peer,
                source: Arc::new(source),
            };
            let subflow =
                Subflow::new(arrival.socket, arrival.peer, Role::Receiver(config)).map_err(failed)?;
            poller.add(subflow.socket(), Token::Stream(index).encode()).map_err(failed)?;
            local = local.or(Some(subflow.local()));
            places.push(Place::of(hello.identity.path, &subflow));
            *line = Line { subflow: Some(subflow), readable: true, ..Line::default() };
        }
        let door = local.map(|local| Door::open(local, config.congestion)).transpose().map_err(failed)?;
        if let Some(door) = &door {
            poller.add(door.socket(), Token::Door.encode()).map_err(failed)?;
            core.set_port(door.port());
        }
        let mut receiving = Receiving {
            connection,
            terms,
            config: *config,
            core,
            lines,
            paths,
            lanes: Vec::new(),
            keeper: None,
            asked: Asked::new(now),
            door,
            poller,
            published: Published::new(connection, Direction::Receive, places, now),
            touched: (1 << paths) - 1,
            failed: None,
            buffers: [RawBuf::EMPTY; MAX_REQUESTS],
            scratch: Box::new_uninit_slice(SCRATCH),
            polled: now,
            told: now,
            untold: 0,
            rest: Rest::default(),
            first: 0,
        };
        receiving.publish();
        Ok(receiving)
    }

    pub(super) fn post(&mut self, buffer: RawBuf) -> Result<Option<RequestId>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let request = self.core.post(buffer.len());
        if let Some(place) = request.and_then(|request| self.buffers.get_mut(request.slot())) {
            *place = buffer;
        }
        Ok(request)
    }

    pub(super) fn test(&mut self, request: RequestId) -> Result<Option<usize>> {
        if let Some(bytes) = self.core.retire(request)? {
            return Ok(Some(bytes));
        }
        let progress = self.progress(request);
        // A message that came whole before the connection failed is done all the same.
        match self.core.retire(request)? {
            Some(bytes) => Ok(Some(bytes)),
            None => progress.map(|()| None),
        }
    }

    pub(super) fn connection(&self) -> u64 {
        self.connection
    }

    pub(super) fn stats(&self) -> ConnectionStats {
        self.published.stats()
    }

    /// Moves bytes until nothing more comes, or enough have, or `request` is complete.
    fn progress(&mut self, request: RequestId) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let now = Instant::now();
        if self.rest.lasts(now) {
            return Ok(());
        }
        self.poll(now);
        self.admit(now);
        self.follow_lanes(now);
        let taken = self.take_in(request, now);
        let came = *taken.as_ref().unwrap_or(&0);
        self.untold += came;
        self.rest.after(came, self.core.underway(), now);
        // While more comes and the caller calls again, one state frame for several messages does: writing one costs
        // as much as reading a hundred kilobytes. The sender hears when the stream runs dry, at the latest; a fast
        // receiver finds it dry after every message.
        let dry = came == 0 && now.saturating_duration_since(self.told) >= BETWEEN;
        if dry || self.untold >= UNTOLD || !self.core.is_waiting() {
            (self.untold, self.told) = (0, now);
            self.tell(now);
        }
        self.publish();
        if let Some(late) = self.core.poll_late(now) {
            self.slow(&late, now);
        }
        if let Err(error) = taken.and_then(|_| self.stranded(now)) {
            self.failed = Some(error.clone());
            return Err(error);
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant) {
        // One socket needs nobody to say which one it is; the others are a matter of replacement.
        if let [line] = self.lines.get_mut(..self.paths).unwrap_or_default()
            && line.subflow.is_some()
            && now.saturating_duration_since(self.polled) < UNPOLLED
        {
            line.readable = true;
            return;
        }
        self.polled = now;
        let (lines, door) = (&mut self.lines, &mut self.door);
        self.poller.poll(|ready| match Token::decode(ready.token) {
            Token::Stream(stream) => {
                if let Some(line) = lines.get_mut(stream) {
                    line.readable |= ready.readable;
                    line.ended |= ready.ended;
                }
            }
            Token::Door => {
                if let Some(door) = door {
                    door.knock();
                }
            }
            Token::Dial(_) => {}
        });
    }

    /// Reads from every stream that has something, up to a bound; gives the number of bytes.
    fn take_in(&mut self, request: RequestId, now: Instant) -> Result<usize> {
        let mut moved = 0;
        let count = self.lines.len();
        for turn in 0..count {
            let stream = (self.first + turn) % count;
            while self.lines.get(stream).is_some_and(|line| line.readable || line.parked) {
                if moved >= BYTES_PER_CALL || self.core.is_complete(request) {
                    return Ok(moved);
                }
                match self.advance(stream, now)? {
                    0 => break,
                    bytes => {
                        moved += bytes;
                        self.first = stream;
                    }
                }
            }
        }
        Ok(moved)
    }

    /// Reads once, and takes what has come; 0 when there is nothing to be had from this stream now.
    fn advance(&mut self, stream: usize, now: Instant) -> Result<usize> {
        let Some(line) = self.lines.get_mut(stream) else { return Ok(0) };
        let Some(subflow) = &line.subflow else {
            (line.readable, line.parked) = (false, false);
            return Ok(0);
        };
        let peer = subflow.peer();
        settle(&mut self.core, &mut self.buffers, stream, peer)?;
        let Some(Want { landing, inbox }) = self.core.wants(stream) else {
            line.parked = true;
            return Ok(0);
        };
        line.parked = false;
        if !line.readable {
            return Ok(0);
        }
        let (moved, wanted) = match landing {
            None => (subflow.receive(&mut [], inbox), inbox.len()),
            Some(Landing::Buffer { slot, offset, length }) => {
                // The core names only what it was given.
                let payload = self.buffers.get_mut(slot).and_then(|buffer| buffer.incoming(offset, length));
                let payload = payload.unwrap_or_default();
                let wanted = payload.len() + inbox.len();
                (subflow.receive(payload, inbox), wanted)
            }
            Some(Landing::Discard(length)) => {
                (subflow.discard(length, &mut self.scratch), length.min(self.scratch.len()))
            }
        };
        match moved {
            Moved::Bytes(count) => {
                line.readable = count == wanted || line.ended;
                line.heard = Some(now);
                self.touched |= 1 << (stream % MAX_PATHS);
                self.core.came(stream, count);
                settle(&mut self.core, &mut self.buffers, stream, peer)?;
                line.parked = self.core.wants(stream).is_none();
                Ok(count)
            }
            Moved::Blocked => {
                line.readable = false;
                Ok(0)
            }
            Moved::End => {
                self.closed(stream, None, now);
                Ok(0)
            }
            Moved::Failed(error) => {
                self.closed(stream, Some(error), now);
                Ok(0)
            }
        }
    }

    /// Tells the sender what has come, where that is due.
    pub(super) fn tell(&mut self, now: Instant) {
        for (index, line) in self.lines.iter().enumerate().take(self.paths) {
            if let Some(subflow) = &line.subflow
                && self.core.ack_due(index, now)
            {
                // What an error means, the read finds out.
                if let Moved::Bytes(count) = subflow.send(&[IoSlice::new(self.core.ack(index))]) {
                    self.core.acked(index, count, now);
                }
            }
        }
    }

    fn publish(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        if touched == 0 {
            return;
        }
        for (index, line) in self.lines.iter().enumerate().take(self.paths) {
            if touched & (1 << index) == 0 {
                continue;
            }
            let counters = self.core.counters(index);
            let state = if line.subflow.is_some() { SubflowState::Good } else { SubflowState::Down };
            let count = Count {
                bytes: counters.bytes,
                chunks: counters.chunks,
                reissued: 0,
                hedged: 0,
                duplicates: counters.duplicates,
                state,
                changes: counters.replaced,
                suspected: None,
                replaced: counters.replaced,
                rate: 0,
                ack_time: Duration::ZERO,
            };
            self.published.count(index, &count);
        }
    }

    /// A stream has ended, in order or with an error.
    pub(super) fn closed(&mut self, stream: usize, error: Option<io::Error>, now: Instant) {
        let Some(line) = self.lines.get_mut(stream) else { return };
        let how = error.as_ref().map_or(Closing::End, closing);
        (line.readable, line.parked) = (false, false);
        if let Some(subflow) = line.subflow.take() {
            self.poller.remove(subflow.socket());
            if let Some(error) = &error {
                self.lost(stream, &subflow, error);
            }
        }
        if let (Some(error), Some(line)) = (error, self.lines.get_mut(stream)) {
            line.trouble = Some(Arc::new(error));
        }
        self.touched |= 1 << (stream % MAX_PATHS);
        self.core.closed(stream, how, now);
    }
}

/// Takes what has come on a stream: copies what came with a header to its place.
fn settle(
    core: &mut Receiver,
    buffers: &mut [RawBuf; MAX_REQUESTS],
    stream: usize,
    peer: SocketAddr,
) -> Result<()> {
    let refused = |refused| match refused {
        Refused::TooLong { message, sent, posted } => Error::TooLong { message, peer, sent, posted },
        Refused::Violation(source) => Error::Protocol { subflow: stream % MAX_PATHS, peer, source },
    };
    while let Some(inline) = core.step(stream).map_err(refused)? {
        let place = buffers.get_mut(inline.slot);
        if let Some(place) = place.and_then(|buffer| buffer.incoming(inline.offset, inline.bytes.len())) {
            place.copy_from_slice(inline.bytes);
        }
    }
    Ok(())
}

/// A fraction of what a sender of large messages keeps outstanding.
const UNTOLD: usize = 1 << 20;

/// Time between two state frames while there is no need for more: a few of what it takes to write and read one.
const BETWEEN: Duration = Duration::from_micros(50);

/// How long a lone socket is read without asking about the others.
const UNPOLLED: Duration = Duration::from_millis(10);

/// Most bytes that one call discards. Never touched, so it costs address space only.
const SCRATCH: usize = 256 << 10;
