//! A sender and a receiver joined by sockets that fail in every way, against a simple model.
//!
//! A socket is what TCP promises and no more: bytes arrive in order or not at all, the sender's kernel
//! knows what the peer's kernel has, and what that has can be read even after a reset. The model knows
//! what was posted. It judges bytes, order and completion; a buffer that was given back is overwritten
//! or watched at once.

mod fabric;
mod faults;
mod landing;
mod lending;
mod pulling;
mod schedules;
mod slow;
mod socket;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::{
    Action, Closing, EAGER_LIMIT, EAGER_SLOTS, Given, Health, Landing, MAX_STREAMS, Payload, Receiver,
    Sender, Shares,
};
use crate::config::MAX_PATHS;
use crate::request::{MAX_REQUESTS, RequestId};
use socket::{Run, Socket};

/// Nothing of this may ever land.
const FILLER: u8 = 0xdd;
const GIVEN_BACK: u8 = 0xee;

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) paths: usize,
    pub(super) send: Sender,
    pub(super) receive: Receiver,
    sockets: Vec<Socket>,
    /// Per subflow: the sender's socket, and the one that is being opened.
    pub(super) ours: [Option<usize>; MAX_PATHS],
    opening: [Option<u16>; MAX_PATHS],
    /// Per stream: the receiver's socket. Those that have arrived and are not accepted.
    theirs: [Option<usize>; MAX_STREAMS],
    arrived: Vec<usize>,
    /// Which paths carry anything.
    pub(super) up: [bool; MAX_PATHS],
    /// Buffers are not copied when they are written to a socket.
    pub(super) lends: bool,
    sent: Vec<Sent>,
    eager: Vec<Vec<u8>>,
    received: Vec<Received>,
    /// Bytes written into receive buffers.
    pub(super) landed: u64,
    sending: Vec<RequestId>,
    receiving: Vec<RequestId>,
    pub(super) actions: Vec<Action>,
}

struct Sent {
    len: usize,
    /// The caller's memory; empty once nobody may need it.
    buffer: Vec<u8>,
}

struct Received {
    buffer: Vec<u8>,
    /// Up to where anything was written.
    written: usize,
    done: bool,
}

impl World {
    pub(super) fn new(paths: usize) -> World {
        World::impatient(paths, Duration::from_secs(3600))
    }

    /// One whose sender gives up after this time.
    pub(super) fn impatient(paths: usize, dead_after: Duration) -> World {
        let now = Instant::now();
        World {
            now,
            paths,
            send: Sender::new(paths, dead_after, now),
            receive: Receiver::new(paths, now),
            sockets: (0..paths).map(|subflow| Socket::new(subflow, 0)).collect(),
            ours: std::array::from_fn(|subflow| (subflow < paths).then_some(subflow)),
            opening: [None; MAX_PATHS],
            theirs: std::array::from_fn(|stream| (stream < paths).then_some(stream)),
            arrived: Vec::new(),
            up: [true; MAX_PATHS],
            lends: false,
            sent: Vec::new(),
            eager: vec![vec![0; EAGER_LIMIT]; EAGER_SLOTS],
            received: Vec::new(),
            landed: 0,
            sending: Vec::new(),
            receiving: Vec::new(),
            actions: Vec::new(),
        }
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now += time;
    }

    pub(super) fn set_shares(&mut self, shares: &Shares) {
        self.send.set_shares(shares);
    }

    pub(super) fn post_send(&mut self, len: usize) -> Option<RequestId> {
        let message = self.sent.len();
        let oldest = self.sending.iter().map(|request| request.message()).min();
        let Some(posted) = self.send.post(len, self.now) else {
            assert!(oldest.unwrap() + MAX_REQUESTS as u64 <= message as u64);
            return None;
        };
        assert_eq!(posted.request.message(), message as u64);
        let content = content(message, len).to_vec();
        if let Some(slot) = posted.eager {
            self.eager[slot][..len].copy_from_slice(&content);
        }
        self.sent.push(Sent { len, buffer: content });
        self.sending.push(posted.request);
        Some(posted.request)
    }

    /// Only for messages that are known, so that the capacity can be chosen to fit.
    pub(super) fn post_receive(&mut self, spare: usize) {
        if let Some(message) = self.sent.get(self.received.len()) {
            let capacity = message.len + spare;
            if let Some(request) = self.receive.post(capacity) {
                assert_eq!(request.message(), self.received.len() as u64);
                self.received.push(Received { buffer: vec![0; capacity], written: 0, done: false });
                self.receiving.push(request);
            }
        }
    }

    /// Offers the subflow frames and writes up to `room` bytes of them; gives how many.
    pub(super) fn write(&mut self, subflow: usize, room: usize) -> usize {
        let Some(socket) = self.ours[subflow] else { return 0 };
        if !self.send.prepare(subflow, self.now) {
            return 0;
        }
        let mut runs = Vec::new();
        for piece in self.send.pieces(subflow) {
            runs.push(Run::Copied(piece.header.to_vec()));
            runs.push(match piece.payload {
                Payload::Filler(len) => Run::Copied(vec![FILLER; len]),
                Payload::Eager { slot, range } => Run::Copied(self.eager[slot][range].to_vec()),
                Payload::Buffer { slot, range } => {
                    let request = self.sending.iter().find(|request| request.slot() == slot);
                    let message = usize::try_from(request.expect("its buffer is ours").message()).unwrap();
                    match self.lends {
                        true => Run::Lent { message, range },
                        false => Run::Copied(self.sent[message].buffer[range].to_vec()),
                    }
                }
            });
        }
        assert!(!runs.is_empty());
        let count = self.sockets[socket].write(runs, room);
        let given = if self.lends { Given::Lent } else { Given::Copied };
        self.send.pushed(subflow, count, given, self.now);
        count
    }

    /// Reads up to `room` bytes of a stream; gives how many.
    pub(super) fn read(&mut self, stream: usize, room: usize) -> usize {
        let Some(socket) = self.theirs[stream] else { return 0 };
        self.steps(stream);
        let Some(want) = self.receive.wants(stream) else { return 0 };
        let socket = &mut self.sockets[socket];
        let mut count = 0;
        match want.landing {
            None => {}
            Some(Landing::Discard(len)) => {
                assert!(want.inbox.is_empty());
                count = bytes(&self.sent, socket.read(len.min(room))).len();
            }
            Some(Landing::Buffer { slot, offset, length }) => {
                let bytes = bytes(&self.sent, socket.read(length.min(room)));
                count = bytes.len();
                self.landed += bytes.len() as u64;
                land(&mut self.received, &self.receiving, slot, offset, &bytes);
            }
        }
        let behind = bytes(&self.sent, socket.read(want.inbox.len().min(room - count)));
        want.inbox[..behind.len()].copy_from_slice(&behind);
        count += behind.len();
        self.receive.came(stream, count);
        self.steps(stream);
        count
    }

    fn steps(&mut self, stream: usize) {
        while let Some(inline) = self.receive.step(stream).unwrap() {
            assert!(!inline.bytes.is_empty());
            self.landed += inline.bytes.len() as u64;
            land(&mut self.received, &self.receiving, inline.slot, inline.offset, inline.bytes);
        }
    }

    /// Writes up to `room` bytes of a state frame, if one is due.
    pub(super) fn ack(&mut self, subflow: usize, room: usize) {
        if let Some(socket) = self.theirs[subflow]
            && self.receive.ack_due(subflow, self.now)
        {
            let frame = self.receive.ack(subflow);
            let count = frame.len().min(room);
            self.sockets[socket].answer(&frame[..count]);
            self.receive.acked(subflow, count, self.now);
        }
    }

    /// Reads up to `room` bytes of the reverse direction.
    pub(super) fn hear(&mut self, subflow: usize, room: usize) {
        let Some(socket) = self.ours[subflow] else { return };
        let inbox = self.send.inbox(subflow);
        assert!(!inbox.is_empty());
        let bytes = self.sockets[socket].hear(room.min(inbox.len()));
        inbox[..bytes.len()].copy_from_slice(&bytes);
        self.send.heard(subflow, bytes.len(), self.now).unwrap();
        if self.sockets[socket].is_refused() {
            self.ours[subflow] = None;
            self.send.closed(subflow, Closing::End, self.now);
        }
    }

    pub(super) fn observe(&mut self, subflow: usize) {
        if let Some(socket) = self.ours[subflow] {
            let observation = self.sockets[socket].observe(self.now);
            self.send.observe(subflow, &observation, self.now);
        }
    }

    /// Asks the sender's kernel what it holds, where the sender wants to know.
    pub(super) fn ask(&mut self) {
        let doubtful = self.send.doubtful(self.now);
        for (subflow, socket) in self.ours.iter().enumerate().take(self.paths) {
            if let Some(socket) = socket.filter(|_| doubtful & (1 << subflow) != 0) {
                self.send.holds(subflow, self.sockets[socket].held() as u64);
            }
        }
    }

    /// Moves up to so many bytes each way, if the path carries anything.
    pub(super) fn carry(&mut self, socket: usize, there: usize, back: usize) {
        let shut = self.theirs.iter().all(|at| *at != Some(socket)) && !self.arrived.contains(&socket);
        let socket = &mut self.sockets[socket];
        if self.up[socket.subflow()] {
            socket.carry(there, back, shut, self.now);
        }
    }

    /// The sender's socket comes to an end.
    pub(super) fn close(&mut self, subflow: usize, how: Closing) {
        if self.ours[subflow].take().is_some() {
            self.send.closed(subflow, how, self.now);
        }
    }

    /// Lets time pass with everything happening that can, except what takes new receives.
    pub(super) fn rounds(&mut self, millis: u64) {
        for _ in 0..millis {
            self.advance(Duration::from_millis(1));
            self.round();
        }
    }

    pub(super) fn health(&self, subflow: usize) -> Health {
        self.send.counters(subflow).health
    }

    /// The actions since the last call.
    pub(super) fn new_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Does what the sender asks for.
    pub(super) fn poll(&mut self) {
        while let Some(action) = self.send.poll_action(self.now) {
            match action {
                Action::Abort(subflow) => assert!(self.ours[subflow].take().is_some()),
                Action::Reopen { subflow, incarnation } => {
                    assert_eq!(self.ours[subflow], None);
                    self.opening[subflow] = Some(incarnation);
                }
                _ => {}
            }
            self.actions.push(action);
        }
        for subflow in 0..self.paths {
            if self.send.observe_due(subflow, self.now) {
                self.observe(subflow);
            }
        }
    }

    /// Brings an attempt to open a socket to its end.
    pub(super) fn connect(&mut self, subflow: usize) {
        if let Some(incarnation) = self.opening[subflow].take() {
            if self.up[subflow] {
                self.ours[subflow] = Some(self.sockets.len());
                self.arrived.push(self.sockets.len());
                self.sockets.push(Socket::new(subflow, incarnation));
                self.send.opened(subflow, incarnation, self.now);
            } else {
                self.send.open_failed(subflow, incarnation, self.now);
            }
        }
    }

    /// The receiver takes the sockets that have arrived.
    pub(super) fn accept(&mut self) {
        for socket in std::mem::take(&mut self.arrived) {
            let subflow = self.sockets[socket].subflow();
            if self.receive.replace(subflow, self.sockets[socket].incarnation()) {
                self.theirs[subflow + MAX_PATHS] = self.theirs[subflow].replace(socket);
            } else {
                self.sockets[socket].refuse();
            }
        }
    }

    /// Ends a stream that was replaced, once it is read to its end.
    pub(super) fn drain(&mut self, subflow: usize) {
        let stream = subflow + MAX_PATHS;
        if let Some(socket) = self.theirs[stream] {
            self.steps(stream);
            if self.sockets[socket].is_read() && self.receive.wants(stream).is_some() {
                self.theirs[stream] = None;
                self.receive.closed(stream, Closing::Reset, self.now);
            }
        }
    }

    pub(super) fn test_send(&mut self, index: usize) {
        let Some(request) = self.sending.get(index).copied() else { return };
        if let Some(len) = self.send.retire(request).unwrap() {
            let message = usize::try_from(request.message()).unwrap();
            assert_eq!(len, self.sent[message].len);
            assert!(self.send.retire(request).is_err(), "done twice");
            assert!(self.sending.iter().all(|other| self.send.is_complete(*other) || request < *other));
            self.sending.swap_remove(index);
            self.sent[message].buffer.fill(GIVEN_BACK);
        }
    }

    pub(super) fn test_receive(&mut self, index: usize) {
        let Some(request) = self.receiving.get(index).copied() else { return };
        let Some(len) = self.receive.retire(request).unwrap() else { return };
        let message = usize::try_from(request.message()).unwrap();
        // Complete means complete with all before it, whether or not those have been tested.
        for earlier in (0..=message).rev().take(MAX_REQUESTS) {
            let (sent, received) = (self.sent[earlier].len, &self.received[earlier]);
            assert!(received.done || received.buffer[..sent] == *content(earlier, sent), "message {earlier}");
            assert!(received.written <= sent, "message {earlier}");
        }
        assert_eq!(len, self.sent[message].len);
        assert!(self.receive.retire(request).is_err(), "done twice");
        self.received[message].done = true;
        self.received[message].buffer = Vec::new();
        self.receiving.swap_remove(index);
    }

    pub(super) fn test_all(&mut self) {
        for index in (0..self.sending.len()).rev() {
            self.test_send(index);
        }
        for index in (0..self.receiving.len()).rev() {
            self.test_receive(index);
        }
    }

    /// Requests outstanding on either side.
    pub(super) fn outstanding(&self) -> (usize, usize) {
        (self.sending.len(), self.receiving.len())
    }

    pub(super) fn is_all_posted(&self) -> bool {
        self.received.len() == self.sent.len()
    }

    pub(super) fn subflow(&self, socket: usize) -> usize {
        self.sockets[socket].subflow()
    }

    /// Bytes of a socket that the peer's kernel has acknowledged.
    pub(super) fn acked(&self, socket: usize) -> u64 {
        self.sockets[socket].acked()
    }

    /// Bytes that the subflow's kernel holds on our side.
    pub(super) fn backlog(&self, subflow: usize) -> usize {
        self.ours[subflow].map_or(usize::MAX, |socket| self.sockets[socket].out())
    }

    pub(super) fn is_done(&self) -> bool {
        self.received.len() == self.sent.len() && self.sending.is_empty() && self.receiving.is_empty()
    }

    /// Everything that can happen without faults happens, once.
    pub(super) fn round(&mut self) {
        self.poll();
        for subflow in 0..self.paths {
            self.connect(subflow);
        }
        while (0..self.paths).fold(0, |sum, subflow| sum + self.write(subflow, usize::MAX)) > 0 {}
        self.deliver();
    }

    /// All that is on its way comes, and is answered.
    pub(super) fn deliver(&mut self) {
        for socket in self.live() {
            self.carry(socket, usize::MAX, usize::MAX);
        }
        self.accept();
        for stream in (0..MAX_STREAMS).rev() {
            while self.read(stream, usize::MAX) > 0 {}
        }
        for subflow in 0..self.paths {
            self.drain(subflow);
            self.ack(subflow, usize::MAX);
        }
        for socket in self.live() {
            self.carry(socket, 0, usize::MAX);
        }
        for subflow in 0..self.paths {
            self.hear(subflow, usize::MAX);
        }
        self.test_all();
    }

    /// Sockets that either side still has.
    pub(super) fn live(&self) -> Vec<usize> {
        let sides = self.ours.iter().chain(&self.theirs).flatten().chain(&self.arrived);
        let mut live: Vec<usize> = sides.copied().collect();
        live.sort_unstable();
        live.dedup();
        live
    }

    /// From any state, once faults stop, all that was sent and has a receive comes to its end.
    pub(super) fn finish(&mut self) {
        self.up = [true; MAX_PATHS];
        for _ in 0..20_000 {
            self.post_receive(0);
            self.round();
            let over = |action: &Action| matches!(action, Action::Dead { .. } | Action::PeerClosed);
            assert!(!self.actions.iter().any(over), "{:?}", self.actions);
            if self.is_done() {
                return;
            }
            // Nothing but time is missing, and both sides say how much.
            let timers = [self.send.next_timer(self.now), self.receive.next_timer()];
            let timer = timers.into_iter().flatten().min().unwrap_or(self.now);
            self.now = timer.max(self.now + Duration::from_micros(100));
        }
        panic!("stuck: {} of {} received, {:?}", self.received.len(), self.sent.len(), self.send);
    }
}

/// What a message consists of; no byte of it is one of those above.
fn content(message: usize, len: usize) -> &'static [u8] {
    static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let byte = |at: usize| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0] >> 1;
        (0..(4 << 20) + 1000).map(byte).collect()
    });
    &PATTERN[message % 1000..][..len]
}

/// What is read from a socket.
fn bytes(sent: &[Sent], runs: Vec<Run>) -> Vec<u8> {
    let bytes = |run| match run {
        Run::Copied(bytes) => bytes,
        Run::Lent { message, range } => sent[message].buffer[range].to_vec(),
    };
    runs.into_iter().flat_map(bytes).collect()
}

fn land(received: &mut [Received], receiving: &[RequestId], slot: usize, offset: usize, bytes: &[u8]) {
    let request = receiving.iter().find(|request| request.slot() == slot).expect("its buffer is ours");
    let received = &mut received[usize::try_from(request.message()).unwrap()];
    assert!(!received.done, "late data");
    received.buffer[offset..offset + bytes.len()].copy_from_slice(bytes);
    received.written = received.written.max(offset + bytes.len());
}
