//! What becomes of a subflow: good, suspect, down, on trial.
//!
//! To fall is easy and to rise is hard. A path that is suspected by mistake costs a few chunks sent
//! twice; one that is trusted too early costs every message that waits for its chunks.

use std::time::{Duration, Instant};

use super::Sender;
use super::action::{Action, Health, Reason};
use super::backlog::Again;
use super::lane::{BACKOFF, Lane, Observation, PINGS};
use crate::proto::slow::SLOW;
use crate::proto::{CLOSING, Closing};

/// Silence of a suspect subflow after which its socket is given up: a little more than TCP's shortest
/// retransmission time-out, so that a path that loses packets is not taken for a dead one.
const GIVE_UP: Duration = Duration::from_millis(250);

/// The same for the one that is used because none is good. A new socket finds a healed path sooner than the old one, which
/// waits twice as long after each attempt.
const GIVE_UP_LAST: Duration = Duration::from_secs(1);

/// Time after which another path is asked for. A shorter silence heals by itself, and the others carry on meanwhile.
///
/// A lane that moves may come to lie on another connection's path and stays there. So this is longer than a busy host keeps
/// a thread waiting, which no measure of silence can tell from a dead path.
const AVOID: Duration = Duration::from_millis(150);

/// Longest wait between two attempts to open a socket.
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// Time that a ping may take: a retransmission is allowed, three are not.
const PING: Duration = Duration::from_millis(100);

/// How long a receiver may take nothing from a subflow that it has a receive for.
const SHUT: Duration = Duration::from_millis(250);

/// How old the kernel's round-trip time may be while a subflow is in use.
const REFRESH: Duration = Duration::from_secs(1);

/// Suspicions further apart are not counted together.
const QUIET: Duration = Duration::from_secs(5);

/// How long a receiver may wait for a chunk that lies behind others which it can't take yet.
const BLOCKED: Duration = Duration::from_millis(20);

impl Sender {
    /// Says whether the kernel is to be asked about the subflow's socket: it has been silent.
    ///
    /// Read what has come before asking this.
    pub(crate) fn observe_due(&self, subflow: usize, now: Instant) -> bool {
        self.lanes.get(subflow).and_then(|lane| self.observation(lane)).is_some_and(|due| due <= now)
    }

    /// The kernel's answer, also if it was asked for another reason, as before an abort.
    pub(crate) fn observe(&mut self, subflow: usize, observation: &Observation, now: Instant) {
        let Some(lane) = self.lanes.get_mut(subflow).filter(|lane| lane.connected) else { return };
        lane.observed = Some(now);
        if observation.mss > 0 {
            lane.mss = observation.mss;
        }
        if !observation.rtt.is_zero() {
            lane.pace.round_trip(observation.rtt, observation.min_rtt);
            self.prefer();
        }
        let Some(lane) = self.lanes.get_mut(subflow) else { return };
        let heard = now.checked_sub(observation.last_ack).unwrap_or(lane.progress);
        let acked = observation.acked.min(lane.stream.pushed);
        if acked > lane.stream.acked {
            lane.stream.acked = acked;
            let begun = lane.flights.get(lane.flights.oldest_insecure()).map(|flight| flight.begun);
            while let Some(flight) = lane.flights.secure_next(acked) {
                if flight.orderly {
                    self.outbox.secure(&flight.part);
                }
            }
            // The kernel may have heard it some time ago, but not before it was sent.
            lane.progressed(begun.map_or(heard, |begun| heard.max(begun)), now);
            self.alive = self.alive.max(lane.progress);
        }
        if observation.unacked == 0 {
            // All that could be sent has arrived; if the rest can't, the receiver has no room.
            (lane.progress, lane.drained) = (now, true);
            lane.quiet += 1;
        } else if lane.drained {
            (lane.progress, lane.drained) = (now, false);
        }
        let silent = now.saturating_duration_since(lane.progress);
        let doubted = match lane.health {
            Health::Good => true,
            Health::Suspect => lane.trouble.cleared.is_some(),
            Health::Down | Health::Trial => false,
        };
        // A window update was lost if the receiver reads elsewhere, has a receive for what is next here,
        // and yet takes nothing.
        let still = now.saturating_duration_since(lane.moved.max(self.posted_at));
        let shut = observation.unsent > 0
            && !lane.is_parked(self.posted)
            && still >= SHUT
            && now.saturating_duration_since(self.heard_at) < SHUT / 2;
        if doubted && observation.unacked > 0 && silent >= lane.patience(observation.unacked) {
            self.suspect(subflow, silent, now);
        } else if doubted && observation.unacked == 0 && shut {
            self.suspect(subflow, still, now);
        }
        self.attention |= self.lanes.get(subflow).is_some_and(|lane| lane.health != Health::Good);
    }

    /// The subflow's socket ended or failed; the caller has closed it or does so now.
    pub(crate) fn closed(&mut self, subflow: usize, how: Closing, now: Instant) {
        let Some(lane) = self.lanes.get_mut(subflow).filter(|lane| lane.connected) else { return };
        // A receiver that can't take a new socket yet closes it before it has answered anything.
        if lane.health == Health::Trial && lane.flights.finished() == 0 {
            self.retry(subflow, now);
        } else {
            let failed = how == Closing::Failed;
            lane.trouble.closed = (!failed).then_some(now);
            // After a goodbye nobody is there to take another socket.
            lane.trouble.reopen = (!self.goodbye).then_some(now);
            if failed {
                (lane.trouble.suspected, lane.trouble.avoided) = (Some(now), false);
            }
        }
        self.give_up(subflow, Reason::Closed(how), now);
        if let Some(lane) = self.lanes.get_mut(subflow) {
            lane.trouble.abort = false;
        }
    }

    /// The socket of [`Action::Reopen`] is connected and has sent its hello.
    pub(crate) fn opened(&mut self, subflow: usize, incarnation: u16, now: Instant) {
        let Some(lane) = self.lanes.get_mut(subflow) else { return };
        if lane.connected || lane.incarnation != incarnation {
            return;
        }
        lane.connected = true;
        lane.restart(now);
        lane.counters.replaced += 1;
        (lane.trouble.ping, lane.trouble.pinged, lane.trouble.closed) = (None, None, None);
        self.turn(subflow, Health::Trial, Reason::Connected, now);
    }

    /// The socket of [`Action::Reopen`] could not be connected; there will be another action.
    pub(crate) fn open_failed(&mut self, subflow: usize, incarnation: u16, now: Instant) {
        let Some(lane) = self.lanes.get(subflow) else { return };
        if !lane.connected && lane.incarnation == incarnation {
            self.retry(subflow, now);
        }
    }

    /// The next thing to do; call until there is none.
    pub(crate) fn poll_action(&mut self, now: Instant) -> Option<Action> {
        if (!self.attention && now < self.timer) || self.over {
            return None;
        }
        for subflow in 0..self.paths {
            self.tick(subflow, now);
        }
        let told = (0..self.paths).find_map(|subflow| self.tell(subflow, now)).or_else(|| self.end(now));
        self.attention = told.is_some();
        if told.is_none() {
            self.timer = self.next_change(now).unwrap_or(now + SLOW);
        }
        told
    }

    /// When time alone will give [`Sender::poll_action`] or [`Sender::observe_due`] something to say,
    /// at the latest.
    #[cfg(test)]
    pub(crate) fn next_timer(&self, now: Instant) -> Option<Instant> {
        if self.over {
            return None;
        }
        let lanes = self.lanes.get(..self.paths).unwrap_or_default();
        let observations = lanes.iter().filter_map(|lane| self.observation(lane));
        let timer = observations.chain([self.timer]).min()?;
        Some(if self.attention { now } else { timer.max(now) })
    }

    /// The next time that changes something, now that everything is as it should be by `now`.
    fn next_change(&self, now: Instant) -> Option<Instant> {
        let lanes = self.lanes.iter().enumerate().take(self.paths);
        let lanes = lanes.flat_map(|(subflow, lane)| {
            let trouble = &lane.trouble;
            let suspect = lane.health == Health::Suspect;
            let asks = suspect || lane.health == Health::Down;
            [
                trouble.reopen,
                trouble.ping.map(|ping| ping.sent + PING),
                trouble.cleared.map(|cleared| cleared + lane.hold_down()),
                trouble.suspected.filter(|_| asks && !trouble.avoided).map(|at| at + AVOID),
                self.given_up(subflow).filter(|_| suspect),
                self.budget.refilled(subflow).filter(|_| self.outbox.has_next()),
                self.held_until(lane).filter(|_| lane.health == Health::Trial),
                // Acknowledgements alone may make it count.
                lane.flights.iter().any(|flight| !flight.orderly).then_some(now + BLOCKED),
            ]
        });
        let dead = (self.good == 0 && self.is_waiting()).then_some(self.alive + self.dead_after);
        lanes.chain([dead, self.slow_at(now)]).flatten().filter(|at| *at > now).min()
    }

    /// When the kernel is to be asked about a subflow next.
    fn observation(&self, lane: &Lane) -> Option<Instant> {
        if !lane.connected {
            return None;
        }
        let Some(observed) = lane.observed else { return Some(lane.progress) };
        let silent = observed.max(lane.progress) + lane.interval();
        (lane.flights.len() > 0).then(|| silent.min(observed + REFRESH))
    }

    /// When the socket of a suspect subflow is given up.
    fn given_up(&self, subflow: usize) -> Option<Instant> {
        let lane = self.lanes.get(subflow)?;
        let from = lane.progress.max(lane.trouble.suspected?);
        let patience = if self.last == Some(subflow) { GIVE_UP_LAST } else { GIVE_UP };
        (lane.trouble.cleared.is_none()).then(|| from + patience)
    }

    /// Until when a subflow on trial is not trusted, whatever it does.
    fn held_until(&self, lane: &Lane) -> Option<Instant> {
        let suspected = lane.trouble.suspected.filter(|_| lane.trouble.strikes > 1)?;
        Some(suspected + lane.hold_down())
    }

    /// When a subflow is to be given up because the receiver waits for a chunk on it that lies behind
    /// messages which it has no receive for.
    fn unblocked(&self, lane: &Lane) -> Option<Instant> {
        if lane.health != Health::Good || !lane.is_parked(self.posted) {
            return None;
        }
        let waited = lane.flights.iter().find(|flight| {
            !flight.orderly && flight.part.message < self.posted && self.outbox.is_needed(&flight.part)
        });
        waited.map(|flight| flight.begun + BLOCKED)
    }

    /// What time has changed about a subflow.
    fn tick(&mut self, subflow: usize, now: Instant) {
        let Some(lane) = self.lanes.get_mut(subflow) else { return };
        match lane.health {
            Health::Good => {
                let Some(lane) = self.lanes.get(subflow) else { return };
                if self.unblocked(lane).is_some_and(|at| at <= now) {
                    self.reset(subflow, Reason::Blocked, now);
                }
            }
            Health::Suspect => {
                if lane.trouble.cleared.is_none() && lane.arrived() >= lane.trouble.until {
                    lane.trouble.cleared = Some(now);
                }
                let (cleared, hold) = (lane.trouble.cleared, lane.hold_down());
                let Some(lane) = self.lanes.get(subflow) else { return };
                if cleared.is_some_and(|cleared| cleared + hold <= now) {
                    self.turn(subflow, Health::Good, Reason::Acknowledged, now);
                } else if self.given_up(subflow).is_some_and(|at| at <= now) {
                    let silent = now.saturating_duration_since(lane.progress);
                    self.reset(subflow, Reason::Silent(silent), now);
                }
            }
            Health::Down => {}
            Health::Trial => self.tick_trial(subflow, now),
        }
    }

    fn tick_trial(&mut self, subflow: usize, now: Instant) {
        let Some(lane) = self.lanes.get_mut(subflow) else { return };
        if let Some(ping) = lane.trouble.ping {
            if lane.arrived() >= ping.end {
                lane.trouble.ping = None;
                lane.trouble.pinged = Some(now);
                self.alive = now;
            } else if now.saturating_duration_since(ping.sent) >= PING {
                self.retry(subflow, now);
                self.give_up(subflow, Reason::Unanswered(PING), now);
                return;
            }
        }
        let Some(lane) = self.lanes.get(subflow) else { return };
        let answered = lane.flights.finished();
        if answered >= PINGS && self.held_until(lane).is_none_or(|until| until <= now) {
            self.turn(subflow, Health::Good, Reason::Answered, now);
        } else if answered > 0 && self.good == 0 && self.last.is_none() {
            self.choose();
        }
    }

    /// What there is to say about a subflow.
    fn tell(&mut self, subflow: usize, now: Instant) -> Option<Action> {
        let lane = self.lanes.get_mut(subflow)?;
        if lane.health != lane.reported {
            let from = std::mem::replace(&mut lane.reported, lane.health);
            return Some(Action::Changed { subflow, from, to: lane.health, why: lane.why });
        }
        let trouble = &mut lane.trouble;
        if std::mem::take(&mut trouble.abort) {
            return Some(Action::Abort(subflow));
        }
        let lasts = trouble.suspected.is_some_and(|at| at + AVOID <= now) && trouble.cleared.is_none();
        if lasts && !trouble.avoided && matches!(lane.health, Health::Suspect | Health::Down) {
            trouble.avoided = true;
            return Some(Action::Avoid(subflow));
        }
        if trouble.reopen.is_some_and(|at| at <= now) {
            trouble.reopen = None;
            lane.incarnation = lane.incarnation.wrapping_add(1);
            return Some(Action::Reopen { subflow, incarnation: lane.incarnation });
        }
        None
    }

    /// What there is to say about the connection.
    fn end(&mut self, now: Instant) -> Option<Action> {
        let lanes = self.lanes.get(..self.paths).unwrap_or_default();
        let lately = |at: Instant| now.saturating_duration_since(at) < CLOSING;
        let counts = |at: Instant| self.goodbye || lately(at);
        let closed = lanes.iter().any(|lane| lane.trouble.closed.is_some_and(counts));
        let lives = |lane: &Lane| matches!(lane.health, Health::Good | Health::Trial);
        let outstanding = self.is_waiting();
        if closed && !lanes.iter().any(lives) && (outstanding || !self.goodbye) {
            self.over = true;
            return Some(Action::PeerClosed);
        }
        let waited = now.saturating_duration_since(self.alive);
        if self.good == 0 && outstanding && waited >= self.dead_after {
            self.over = true;
            return Some(Action::Dead { waited });
        }
        self.slow(now)
    }

    fn suspect(&mut self, subflow: usize, silent: Duration, now: Instant) {
        let Some(lane) = self.lanes.get_mut(subflow) else { return };
        let hold = lane.hold_down();
        let trouble = &mut lane.trouble;
        let again = |at: Instant| now.saturating_duration_since(at) < QUIET.max(hold * 4);
        trouble.strikes = if trouble.suspected.is_some_and(again) { trouble.strikes + 1 } else { 1 };
        trouble.suspected = Some(now);
        trouble.until = lane.stream.pushed;
        (trouble.cleared, trouble.avoided) = (None, false);
        self.turn(subflow, Health::Suspect, Reason::Silent(silent), now);
    }

    /// Gives up a socket that is still there, and opens another at once.
    fn reset(&mut self, subflow: usize, why: Reason, now: Instant) {
        if let Some(lane) = self.lanes.get_mut(subflow) {
            lane.trouble.reopen = Some(now);
        }
        self.give_up(subflow, why, now);
    }

    /// Opens another socket after a while that doubles each time.
    fn retry(&mut self, subflow: usize, now: Instant) {
        let Some(lane) = self.lanes.get_mut(subflow) else { return };
        let trouble = &mut lane.trouble;
        trouble.reopen = Some(now + trouble.backoff);
        trouble.backoff = (trouble.backoff * 2).min(LONGEST_BACKOFF);
        // The path that was asked for instead does not work either.
        trouble.avoided &= trouble.backoff < LONGEST_BACKOFF;
        self.attention = true;
    }

    /// Takes back what a socket was given and forgets the socket.
    fn give_up(&mut self, subflow: usize, why: Reason, now: Instant) {
        self.turn(subflow, Health::Down, why, now);
        self.reclaim(subflow);
        let Some(lane) = self.lanes.get_mut(subflow) else { return };
        lane.trouble.abort = lane.connected;
        lane.connected = false;
        (lane.trouble.ping, lane.trouble.pinged, lane.trouble.cleared) = (None, None, None);
        for frame in lane.writing.drain(..).filter(|frame| frame.held) {
            self.outbox.written(&frame.part);
        }
        if let Some(lane) = self.lanes.get_mut(subflow) {
            lane.restart(now);
        }
    }

    /// Puts what a subflow was given and may not deliver on the backlog.
    fn reclaim(&mut self, subflow: usize) {
        let Some(lane) = self.lanes.get_mut(subflow) else { return };
        let incarnation = lane.incarnation;
        for index in 0..lane.flights.len() {
            if let Some(flight) = lane.flights.get_mut(index)
                && std::mem::take(&mut flight.charged)
                && self.outbox.is_needed(&flight.part)
            {
                self.backlog.push(Again { part: flight.part, subflow, incarnation });
            }
        }
    }

    fn turn(&mut self, subflow: usize, health: Health, why: Reason, now: Instant) {
        let bit = 1 << subflow;
        if self.good & bit != 0 {
            self.alive = now;
        }
        if let Some(lane) = self.lanes.get_mut(subflow) {
            if lane.health != health {
                lane.counters.changes += 1;
            }
            (lane.health, lane.why) = (health, why);
        }
        self.good &= !bit;
        if health == Health::Good {
            self.budget.rejoin(subflow, self.others(bit));
            self.good |= bit;
            self.alive = now;
            if let Some(lane) = self.lanes.get_mut(subflow) {
                lane.trouble.backoff = BACKOFF;
                (lane.trouble.cleared, lane.trouble.avoided) = (None, true);
                lane.progress = lane.progress.max(now);
            }
        }
        self.attention = true;
        self.choose();
    }

    /// Chooses what is used if nothing is good, and takes back what the others were given.
    fn choose(&mut self) {
        let lane = |subflow: &usize| self.lanes.get(*subflow).filter(|_| *subflow < self.paths);
        let usable = |subflow: &usize| lane(subflow).is_some_and(Lane::is_usable);
        self.last = match self.good {
            0 => self.last.filter(usable).or_else(|| {
                let progress = |subflow: &usize| lane(subflow).map(|lane| lane.progress);
                (0..self.paths).filter(usable).max_by_key(progress)
            }),
            _ => None,
        };
        self.prefer();
        for subflow in 0..self.paths {
            let suspect = self.lanes.get(subflow).is_some_and(|lane| lane.health == Health::Suspect);
            // While nobody else can take them, they stay where they are.
            if suspect && (self.good != 0 || self.last.is_some_and(|last| last != subflow)) {
                self.reclaim(subflow);
            }
        }
    }

    /// Sends short messages where the round trip is shortest; a small difference is no reason to move.
    fn prefer(&mut self) {
        let round_trip = |subflow: usize| {
            let lane = self.lanes.get(subflow).filter(|_| self.good & (1 << subflow) != 0);
            lane.map_or(Duration::MAX, |lane| lane.pace.rtt().unwrap_or(UNKNOWN))
        };
        let Some(best) = self.others(0).min_by_key(|subflow| round_trip(*subflow)) else { return };
        if round_trip(best) < round_trip(self.favourite) / 4 * 3 {
            self.favourite = best;
        }
    }
}

/// Stands for a round trip that was not measured.
const UNKNOWN: Duration = Duration::from_secs(60);
