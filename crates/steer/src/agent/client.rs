//! The client of the agent in a process whose flows it steers.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use srv6_fabric::chain;

use super::link::{Link, Sending};
use super::{Attachment, Unmarked};
use crate::lanes::LanesClaim;
use crate::notice::{AtEnd, Notice};
use crate::protocol::{Event, Request};
use crate::worker::Job;
use crate::{ATTACHED, LanePath, LanesStatus, STEERING, Slot, Status, SteerError, Steered};

/// Pause before the next attempt to attach, the first time; twice as long each further time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause. Not longer, since a connect may be waiting.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Pause before a flow that was steered and that a new agent refuses is registered again.
const AGAIN: Duration = Duration::from_secs(2);

/// What both threads work on.
#[derive(Debug)]
struct Shared {
    attachment: Attachment,
    state: Mutex<State>,
    /// Told when the process is done with steering.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// `None` while there is no agent.
    sending: Option<Sending>,
    /// Why there is none.
    hindrance: Option<String>,
    registered: HashMap<u32, Registered>,
    last_id: u32,
    settling: HashMap<u32, AtEnd>,
    marking: HashMap<u32, Notice<(), SteerError>>,
    last_token: u32,
    ended: bool,
}

/// What is asked of the agent, as long as somebody wants it.
#[derive(Debug)]
struct Registered {
    wish: Wish,
    /// When it is registered again, although the agent has refused it.
    again: Option<Instant>,
}

#[derive(Debug)]
enum Wish {
    Flow(Arc<Slot>),
    Lanes(Arc<LanesClaim>),
}

impl Wish {
    fn request(&self, id: u32) -> Request {
        match self {
            Self::Flow(slot) => Request::RegisterFlow { id, flow: slot.flow },
            Self::Lanes(claim) => {
                let mut wanted = claim.wanted.clone();
                // A new agent doesn't know which lane has which path, and its order of connections is another one: sockets
                // keep their marks, so lanes have to get what they had.
                if let LanesStatus::Ready(lanes) = claim.status() {
                    let back = |lane: &LanePath| lane.steered.hops.iter().rev().cloned().collect();
                    wanted.along = lanes.lanes.iter().map(back).collect();
                }
                Request::RegisterLanes { id, flow: claim.flow, wanted }
            }
        }
    }

    fn is_pending(&self) -> bool {
        match self {
            Self::Flow(slot) => matches!(slot.status(), Status::Pending),
            Self::Lanes(claim) => matches!(claim.status(), LanesStatus::Pending),
        }
    }

    fn is_ready(&self) -> bool {
        match self {
            Self::Flow(slot) => matches!(slot.status(), Status::Ready(_)),
            Self::Lanes(claim) => matches!(claim.status(), LanesStatus::Ready(_)),
        }
    }

    fn since(&self) -> Instant {
        match self {
            Self::Flow(slot) => slot.since,
            Self::Lanes(claim) => claim.since,
        }
    }

    fn fail(&self, reason: &str) {
        match self {
            Self::Flow(slot) => {
                slot.publish(Status::Failed(reason.into()));
                slot.notify(Err(SteerError::Agent { reason: reason.to_owned() }));
            }
            Self::Lanes(claim) => claim.publish(LanesStatus::Failed(reason.into())),
        }
    }
}

/// Starts both threads.
pub(super) fn start(attachment: Attachment, inbox: mpsc::Receiver<Job>) -> Result<(), SteerError> {
    let shared = Arc::new(Shared { attachment, state: Mutex::default(), ended: Condvar::new() });
    let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
    let held = Arc::clone(&shared);
    thread(ATTACHED).spawn(move || held.hold()).map_err(|source| SteerError::Thread { source })?;
    let passing = Arc::clone(&shared);
    thread(STEERING).spawn(move || passing.pass_on(&inbox)).map_err(|source| {
        shared.end();
        SteerError::Thread { source }
    })?;
    Ok(())
}

impl Shared {
    /// Does what the process asks, until nobody can ask any more.
    fn pass_on(&self, inbox: &mpsc::Receiver<Job>) {
        loop {
            let patience = self.state.lock().due(self.attachment.deadline);
            match inbox.recv_timeout(patience) {
                Ok(Job::End) | Err(mpsc::RecvTimeoutError::Disconnected) => return self.end(),
                Ok(job) => self.state.lock().work(job),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            self.state.lock().give_up_late(&self.attachment);
        }
    }

    /// Attaches, reads what the agent says until it is gone, and attaches again.
    fn hold(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let lost = match self.attach() {
                Ok(mut link) => {
                    let (error, welcome) = self.listen(&mut link);
                    if welcome {
                        pause = FIRST_PAUSE;
                    }
                    error
                }
                Err(error) => error,
            };
            let mut state = self.state.lock();
            state.sending = None;
            state.settling.clear();
            let hindrance = chain(&lost);
            for (_, done) in state.marking.drain() {
                done.give(Err(SteerError::Agent { reason: hindrance.clone() }));
            }
            if state.ended {
                return;
            }
            if state.hindrance.replace(hindrance.clone()).is_none() && !state.registered.is_empty() {
                log::warn!("{hindrance}; routes stay as they are until an agent is there again");
            }
            self.ended.wait_for(&mut state, pause);
            if state.ended {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A new session in which everything is registered.
    fn attach(&self) -> Result<Link, SteerError> {
        let link = Link::open(&self.attachment.socket)?;
        let mut sending = link.sending()?;
        let mut state = self.state.lock();
        let requests = state.registered.iter().map(|(&id, registered)| registered.wish.request(id));
        for request in std::iter::once(Request::Hello(self.attachment.hello())).chain(requests) {
            sending.send(&request).map_err(|source| SteerError::AgentUnreachable {
                socket: self.attachment.socket.clone(),
                source,
            })?;
        }
        state.sending = Some(sending);
        Ok(link)
    }

    /// Why the session ended, and whether the agent had opened it.
    fn listen(&self, link: &mut Link) -> (SteerError, bool) {
        let mut welcome = false;
        loop {
            match link.next() {
                Ok(Event::Welcome { agent, .. }) => {
                    welcome = true;
                    let mut state = self.state.lock();
                    if state.hindrance.take().is_some() && !state.registered.is_empty() {
                        log::info!("attached to agent {agent} at {}", self.attachment.socket.display());
                    }
                }
                Ok(Event::Refused { reason }) => {
                    let socket = self.attachment.socket.clone();
                    return (SteerError::AgentRefused { socket, reason }, welcome);
                }
                Ok(event) => self.state.lock().hear(event),
                Err(error) => return (error, welcome),
            }
        }
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        if let Some(sending) = state.sending.take() {
            sending.end();
        }
        self.ended.notify_all();
    }
}

impl State {
    fn work(&mut self, job: Job) {
        match job {
            // Its release is behind this in the queue.
            Job::Acquire(slot) if slot.is_abandoned() => {}
            Job::AcquireLanes(claim) if claim.is_abandoned() => {}
            Job::Acquire(slot) => self.register(Wish::Flow(slot)),
            Job::AcquireLanes(claim) => self.register(Wish::Lanes(claim)),
            Job::Release(slot) => {
                self.deregister(|wish| matches!(wish, Wish::Flow(known) if Arc::ptr_eq(known, &slot)));
            }
            Job::ReleaseLanes(claim) => {
                self.deregister(|wish| matches!(wish, Wish::Lanes(known) if known.number == claim.number));
            }
            Job::Avoid { claim, lane, seen, hops } => {
                if let (Some(id), Ok(lane)) = (self.id_of(&claim), u8::try_from(lane)) {
                    self.send(&Request::Avoid { id, lane, seen, hops });
                }
            }
            Job::Follow { claim, lane, path } => {
                if let (Some(id), Ok(lane)) = (self.id_of(&claim), u8::try_from(lane)) {
                    self.send(&Request::Follow { id, lane, path });
                }
            }
            Job::Settle(done) => {
                self.last_token += 1;
                let token = self.last_token;
                if self.send(&Request::Settle { token }) {
                    self.settling.insert(token, done);
                }
            }
            Job::Mark { socket, slot, done } => self.mark(&socket, slot, done),
            // The rest is for who steers; who asks learns by the dropped channel that nobody here does.
            other => drop(other),
        }
    }

    fn register(&mut self, wish: Wish) {
        self.last_id = self.last_id.wrapping_add(1);
        while self.registered.contains_key(&self.last_id) {
            self.last_id = self.last_id.wrapping_add(1);
        }
        let id = self.last_id;
        self.send(&wish.request(id));
        self.registered.insert(id, Registered { wish, again: None });
    }

    fn deregister(&mut self, is_it: impl Fn(&Wish) -> bool) {
        let gone = self.registered.extract_if(|_, known| is_it(&known.wish)).next();
        if let Some((id, _)) = gone {
            self.send(&Request::Deregister { id });
        }
    }

    fn id_of(&self, claim: &LanesClaim) -> Option<u32> {
        let is_it = |known: &Registered| matches!(&known.wish, Wish::Lanes(c) if c.number == claim.number);
        self.registered.iter().find(|(_, known)| is_it(known)).map(|(&id, _)| id)
    }

    /// Who waits for a mark can ask again; nothing is kept for the next agent.
    fn mark(&mut self, socket: &Unmarked, slot: srv6_routes::Slot, done: Notice<(), SteerError>) {
        self.last_token += 1;
        let token = self.last_token;
        if self.send_by(|sending| sending.send_with(&Request::Mark { token, slot }, socket.0.as_fd())) {
            self.marking.insert(token, done);
        } else {
            let reason = self.hindrance.clone().unwrap_or_else(|| "the agent isn't there yet".to_owned());
            done.give(Err(SteerError::Agent { reason }));
        }
    }

    fn send(&mut self, request: &Request) -> bool {
        self.send_by(|sending| sending.send(request))
    }

    /// Whether it was sent. Without an agent there is nothing to do: an attachment registers everything.
    fn send_by(&mut self, send: impl FnOnce(&mut Sending) -> std::io::Result<()>) -> bool {
        let Some(sending) = &mut self.sending else { return false };
        if send(sending).is_ok() {
            return true;
        }
        // The other thread sees the end, and attaches again.
        sending.end();
        self.sending = None;
        false
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::FlowReady { id, steered } | Event::FlowChanged { id, steered } => {
                if let Some(Registered { wish: Wish::Flow(slot), .. }) = self.registered.get(&id) {
                    let took = match slot.status() {
                        Status::Ready(before) => before.took,
                        Status::Pending | Status::Failed(_) => slot.since.elapsed(),
                    };
                    let steered = Arc::new(Steered { took, ..steered });
                    slot.publish(Status::Ready(Arc::clone(&steered)));
                    slot.notify(Ok(steered));
                }
            }
            Event::LanesReady { id, lanes } | Event::LanesChanged { id, lanes } => {
                if let Some(Registered { wish: Wish::Lanes(claim), .. }) = self.registered.get(&id)
                    && !matches!(claim.status(), LanesStatus::Ready(known) if *known == lanes)
                {
                    claim.publish(LanesStatus::Ready(Arc::new(lanes)));
                }
            }
            Event::Failed { id, reason } => self.refused(id, &reason),
            Event::Settled { token } => drop(self.settling.remove(&token)),
            Event::Marked { token, refusal } => {
                if let Some(done) = self.marking.remove(&token) {
                    done.give(if refusal.is_empty() {
                        Ok(Arc::default())
                    } else {
                        Err(SteerError::Unmarked { reason: refusal })
                    });
                }
            }
            Event::Welcome { .. } | Event::Refused { .. } | Event::Pending { .. } | Event::Answer { .. } => {}
        }
    }

    fn refused(&mut self, id: u32, reason: &str) {
        let Some(known) = self.registered.get_mut(&id) else { return };
        if known.wish.is_ready() {
            // Its route is in place from before; it isn't given up because a new agent can't reach the path source yet.
            log::debug!("registration {id} will be repeated: {reason}");
            known.again = Some(Instant::now() + AGAIN);
        } else {
            known.wish.fail(reason);
            self.registered.remove(&id);
        }
    }

    /// How long nothing has to be done.
    fn due(&self, deadline: Duration) -> Duration {
        let now = Instant::now();
        let pending = self.registered.values().filter(|known| known.wish.is_pending());
        let again = self.registered.values().filter_map(|known| known.again);
        let next = pending.map(|known| known.wish.since() + deadline).chain(again).min();
        next.map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(now))
    }

    /// Fails what has waited for too long, and registers again what is due.
    fn give_up_late(&mut self, attachment: &Attachment) {
        let now = Instant::now();
        let is_late =
            |known: &Registered| known.wish.is_pending() && now >= known.wish.since() + attachment.deadline;
        let late: Vec<(u32, Registered)> = self.registered.extract_if(|_, known| is_late(known)).collect();
        for (id, known) in late {
            let waited = known.wish.since().elapsed();
            let silent = SteerError::AgentTimeout { socket: attachment.socket.clone(), waited }.to_string();
            known.wish.fail(self.hindrance.as_ref().unwrap_or(&silent));
            self.send(&Request::Deregister { id });
        }
        let due: Vec<u32> = self
            .registered
            .iter()
            .filter(|(_, known)| known.again.is_some_and(|at| now >= at))
            .map(|(&id, _)| id)
            .collect();
        for id in due {
            if let Some(known) = self.registered.get_mut(&id) {
                known.again = None;
                let request = known.wish.request(id);
                self.send(&Request::Deregister { id });
                self.send(&request);
            }
        }
    }
}
