//! The sending side: what goes out over which subflow, and what becomes of each subflow.

mod action;
mod allowance;
mod backlog;
mod confirm;
mod flight;
mod health;
mod lane;
mod outbox;
mod pace;
mod piece;
mod pull;
mod shares;
mod slow;
mod write;

use std::time::{Duration, Instant};

pub(crate) use action::{Action, Health, Reason, Stuck};
pub(crate) use lane::{Counters, FRAMES, Observation};
pub(crate) use piece::{Given, Payload, Piece, Posted};
pub(crate) use shares::Shares;

use super::slow::{SLOW, Warnings};
use super::state::State;
use super::violation::Violation;
use crate::config::MAX_PATHS;
use crate::request::{RequestId, UnknownRequest};
use allowance::Allowance;
use backlog::Backlog;
use confirm::Confirming;
use lane::Lane;
use outbox::Outbox;
use shares::Budget;

/// The sending side of a connection.
#[derive(Debug)]
pub(crate) struct Sender {
    paths: usize,
    dead_after: Duration,
    outbox: Outbox,
    lanes: [Lane; MAX_PATHS],
    backlog: Backlog,
    budget: Budget,
    /// Subflows that are good, a bit each.
    good: u8,
    /// The subflow that is used although it is not good, because none is.
    last: Option<usize>,
    /// Where short messages go.
    favourite: usize,
    allowance: Allowance,
    confirming: Confirming,
    /// Receives that the receiver has posted, as far as it has said.
    posted: u64,
    /// When it said so last, and when it said anything.
    posted_at: Instant,
    heard_at: Instant,
    port: u16,
    goodbye: bool,
    /// The last time that a subflow was good or something arrived.
    alive: Instant,
    warnings: Warnings,
    /// The caller was told that it is over.
    over: bool,
    /// There may be an action now, or at this time.
    attention: bool,
    timer: Instant,
}

impl Sender {
    /// A sender over `paths` subflows, 1 to [`MAX_PATHS`], all connected.
    ///
    /// It gives the connection up when nothing has arrived over any of them for `dead_after`.
    pub(crate) fn new(paths: usize, dead_after: Duration, now: Instant) -> Sender {
        let paths = paths.clamp(1, MAX_PATHS);
        let allowance = Allowance::new(paths, now);
        Sender {
            paths,
            dead_after,
            outbox: Outbox::new(now),
            lanes: std::array::from_fn(|_| Lane::new(&allowance, now)),
            backlog: Backlog::new(),
            budget: Budget::new(now),
            good: u8::MAX >> (MAX_PATHS - paths),
            last: None,
            favourite: 0,
            allowance,
            confirming: Confirming::new(now),
            posted: 0,
            posted_at: now,
            heard_at: now,
            port: 0,
            goodbye: false,
            alive: now,
            warnings: Warnings::new(now),
            over: false,
            attention: false,
            timer: now + SLOW,
        }
    }

    /// Adds a message of `total` bytes, at most [`MAX_MESSAGE`](super::MAX_MESSAGE), unless too many
    /// are outstanding.
    pub(crate) fn post(&mut self, total: usize, now: Instant) -> Option<Posted> {
        debug_assert!(total <= super::MAX_MESSAGE, "the caller refuses longer ones");
        let begins = !self.outbox.is_waiting();
        let posted = self.outbox.post(total, now)?;
        if begins {
            self.allowance.begin(now);
        }
        self.timer = self.timer.min(now + SLOW);
        Some(posted)
    }

    /// `busy` of the `all` connections of this process that send have something to send.
    pub(crate) fn beside(&mut self, busy: u32, all: u32, now: Instant) {
        if self.outbox.is_waiting() && self.allowance.beside(busy, all, now) {
            self.lanes.iter_mut().for_each(|lane| lane.pace.allow(&self.allowance));
        }
    }

    /// Says whether so much is on its way that a message of this length may wait for the next call, which sends it with others.
    ///
    /// Of what is copied, there may be no next call.
    pub(crate) fn may_wait(&self, total: usize) -> bool {
        total > super::EAGER_LIMIT && total as u64 <= write::SHORT && self.in_flight() >= write::BUSY
    }

    /// Payload that is on its way over all subflows.
    fn in_flight(&self) -> u64 {
        self.lanes.iter().take(self.paths).map(Lane::payload_in_flight).sum()
    }

    /// Says whether the request's message is complete with all before it.
    pub(crate) fn is_complete(&self, request: RequestId) -> bool {
        self.outbox.is_complete(request)
    }

    /// The length of the message if it is complete; its request then ends.
    pub(crate) fn retire(&mut self, request: RequestId) -> Result<Option<usize>, UnknownRequest> {
        self.outbox.retire(request)
    }

    /// Says whether a request is outstanding, or a copy that the receiver may not have.
    ///
    /// While this is so somebody has to go on reading and polling, although no request may be left to
    /// ask for: a copy whose path dies is issued again in these calls only.
    pub(crate) fn is_waiting(&self) -> bool {
        self.outbox.is_waiting()
    }

    /// Says whether a socket may refer to memory that is not the caller's again.
    pub(crate) fn is_lending(&self) -> bool {
        self.outbox.is_lending()
    }

    /// Where the reverse direction of the subflow is to be read into; never empty.
    pub(crate) fn inbox(&mut self, subflow: usize) -> &mut [u8] {
        let lane = self.lanes.get_mut(subflow);
        lane.and_then(|lane| lane.inbox.get_mut(lane.heard..)).unwrap_or_default()
    }

    /// `count` bytes were read into [`Sender::inbox`].
    ///
    /// # Errors
    ///
    /// The receiver claims what can't be true; the connection has failed.
    pub(crate) fn heard(&mut self, subflow: usize, count: usize, now: Instant) -> Result<(), Violation> {
        let Some(lane) = self.lanes.get_mut(subflow) else { return Ok(()) };
        lane.heard += count;
        let mut at = 0;
        loop {
            let lane = self.lanes.get_mut(subflow);
            let Some(lane) = lane else { return Ok(()) };
            let rest = lane.inbox.get(at..lane.heard).unwrap_or_default();
            let Some(frame) = rest.first_chunk() else {
                lane.inbox.copy_within(at..lane.heard, 0);
                lane.heard -= at;
                return Ok(());
            };
            let state = State::decode(frame)?;
            self.apply(&state, now)?;
            at += State::LEN;
        }
    }

    /// Takes other shares from the next chunk on.
    pub(crate) fn set_shares(&mut self, shares: &Shares) {
        self.budget.set(shares, self.paths);
    }

    /// What the subflow has carried and how it fares.
    pub(crate) fn counters(&self, subflow: usize) -> Counters {
        let lane = self.lanes.get(subflow).unwrap_or(&self.lanes[0]);
        Counters {
            health: lane.health,
            rate: lane.pace.rate(),
            ack_time: lane.pace.ack_time(),
            suspected: lane.trouble.suspected,
            ..lane.counters
        }
    }

    /// The port on which the receiver takes replacement sockets, once it has said so.
    pub(crate) fn port(&self) -> Option<u16> {
        (self.port != 0).then_some(self.port)
    }

    /// Says whether the receiver has said that it closes the connection.
    pub(crate) fn is_left(&self) -> bool {
        self.goodbye
    }

    fn apply(&mut self, state: &State, now: Instant) -> Result<(), Violation> {
        let posted = self.outbox.posted();
        if state.complete > posted {
            return Err(Violation::Complete { complete: state.complete, posted });
        }
        if state.port != 0 {
            self.port = state.port;
        }
        self.goodbye |= state.goodbye;
        self.heard_at = now;
        if state.posted > self.posted {
            (self.posted, self.posted_at) = (state.posted, now);
        }
        for (subflow, (incarnation, finished)) in state.subflows.into_iter().enumerate().take(self.paths) {
            let lane = self.lanes.get(subflow);
            // Frames of a socket that was given up may still be reported.
            let news = |lane: &Lane| {
                lane.connected && lane.incarnation == incarnation && lane.flights.finished() < finished
            };
            if lane.is_some_and(news) {
                self.finish(subflow, finished, now)?;
            }
        }
        if state.complete > self.outbox.delivered() {
            self.outbox.deliver(state.complete);
        }
        Ok(())
    }

    /// The receiver has so many frames of a subflow.
    fn finish(&mut self, subflow: usize, finished: u64, now: Instant) -> Result<(), Violation> {
        let Some(lane) = self.lanes.get_mut(subflow) else { return Ok(()) };
        let unsent = lane.writing.iter().filter(|frame| frame.begun).count();
        let sent = lane.flights.begun() - unsent as u64;
        if finished > sent {
            return Err(Violation::Finished { subflow, finished, sent });
        }
        let mut last = None;
        while lane.flights.finished() < finished
            && let Some(flight) = lane.flights.pop()
        {
            self.outbox.secure(&flight.part);
            lane.pace.acked(&flight, flight.end - lane.stream.finished, now);
            lane.stream.finished = flight.end;
            last = Some(flight);
        }
        if let Some(flight) = last {
            lane.pace.sample(&flight, now);
            lane.progressed(now, now);
            self.alive = now;
            if lane.flights.len() == 0 {
                lane.drained = true;
            }
            if lane.health != Health::Good {
                self.attention = true;
            }
        }
        Ok(())
    }
}
