//! Both queues against a simple model, in random schedules: every byte delivered exactly once.
//!
//! The streams between the two sides are byte queues that move any number of bytes at any time, as
//! TCP may. The model knows what was posted; it judges bytes, order and completion.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{Chunk, Incoming, Outgoing, ReceiveQueue, SendQueue};
use crate::request::{MAX_REQUESTS, RequestId};

#[derive(Clone, Debug)]
enum Step {
    Send { len: usize },
    Receive { spare: usize },
    Write { subflow: usize, room: usize },
    Read { subflow: usize, room: usize },
    TestSend { pick: usize },
    TestReceive { pick: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![Just(0), Just(1), 0..200_usize];
    let room = prop_oneof![Just(0), Just(Chunk::HEADER), 1..40_usize, Just(1000)];
    let step = prop_oneof![
        2 => len.prop_map(|len| Step::Send { len }),
        2 => prop_oneof![Just(0), 0..50_usize].prop_map(|spare| Step::Receive { spare }),
        6 => (0..8_usize, room.clone()).prop_map(|(subflow, room)| Step::Write { subflow, room }),
        6 => (0..8_usize, room).prop_map(|(subflow, room)| Step::Read { subflow, room }),
        1 => any::<usize>().prop_map(|pick| Step::TestSend { pick }),
        2 => any::<usize>().prop_map(|pick| Step::TestReceive { pick }),
    ];
    proptest::collection::vec(step, 0..400)
}

struct Subflow {
    outgoing: Outgoing,
    stream: VecDeque<u8>,
    incoming: Incoming,
}

struct World {
    send: SendQueue,
    receive: ReceiveQueue,
    subflows: Vec<Subflow>,
    sent: Vec<Vec<u8>>,
    /// Per posted receive: its buffer, and how often each byte was written.
    received: Vec<(Vec<u8>, Vec<u8>)>,
    sending: Vec<RequestId>,
    receiving: Vec<RequestId>,
    send_order: Vec<bool>,
    receive_order: Vec<bool>,
}

impl World {
    fn new(paths: usize, largest: u32) -> World {
        let subflow =
            || Subflow { outgoing: Outgoing::new(), stream: VecDeque::new(), incoming: Incoming::new() };
        World {
            send: SendQueue::new(paths, largest),
            receive: ReceiveQueue::new(),
            subflows: (0..paths).map(|_| subflow()).collect(),
            sent: Vec::new(),
            received: Vec::new(),
            sending: Vec::new(),
            receiving: Vec::new(),
            send_order: Vec::new(),
            receive_order: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        let paths = self.subflows.len();
        match *step {
            Step::Send { len } => self.post_send(len),
            Step::Receive { spare } => self.post_receive(spare),
            Step::Write { subflow, room } => self.write(subflow % paths, room),
            Step::Read { subflow, room } => self.read(subflow % paths, room),
            Step::TestSend { pick } => {
                if !self.sending.is_empty() {
                    self.test_send(pick % self.sending.len());
                }
            }
            Step::TestReceive { pick } => {
                if !self.receiving.is_empty() {
                    self.test_receive(pick % self.receiving.len());
                }
            }
        }
        // While a receive waits, some subflow can bring what it waits for.
        let mut subflows = self.subflows.iter();
        assert!(
            self.receive.waiting().is_none()
                || subflows.any(|subflow| !subflow.incoming.is_stuck(&self.receive))
        );
    }

    fn post_send(&mut self, len: usize) {
        let message = self.sent.len();
        let oldest = self.sending.iter().map(|r| r.message()).min();
        match self.send.post(len) {
            Some(request) => {
                assert_eq!(request.message(), message as u64);
                let byte = |at: usize| (message * 31 + at * 7 + at / 251).to_le_bytes()[0];
                self.sent.push((0..len).map(byte).collect());
                self.sending.push(request);
                self.send_order.push(false);
            }
            None => {
                assert!(oldest.unwrap() + MAX_REQUESTS as u64 <= message as u64);
            }
        }
    }

    /// Only for messages that are known, so that the capacity can be chosen to fit.
    fn post_receive(&mut self, spare: usize) {
        let Some(message) = self.sent.get(self.received.len()) else {
            return;
        };
        let capacity = message.len() + spare;
        if let Some(request) = self.receive.post(capacity) {
            assert_eq!(request.message(), self.received.len() as u64);
            self.received.push((vec![0; capacity], vec![0; capacity]));
            self.receiving.push(request);
            self.receive_order.push(false);
        }
    }

    fn write(&mut self, subflow: usize, room: usize) {
        let subflow = &mut self.subflows[subflow];
        let Some(rest) = subflow.outgoing.rest(&self.send) else {
            return;
        };
        let mut outstanding = self.sending.iter();
        let request = outstanding.find(|request| request.slot() == rest.slot);
        let message = &self.sent[usize::try_from(request.unwrap().message()).unwrap()];
        let bytes = [rest.header, &message[rest.payload.clone()]].concat();
        let count = bytes.len().min(room);
        subflow.stream.extend(&bytes[..count]);
        subflow.outgoing.advance(count, &mut self.send);
    }

    fn read(&mut self, subflow: usize, room: usize) {
        let subflow = &mut self.subflows[subflow];
        if subflow.incoming.is_parked(&mut self.receive).unwrap() {
            return;
        }
        let room = room.min(subflow.stream.len());
        let (landing, header) = subflow.incoming.wants();
        let mut count = 0;
        if let Some(landing) = landing {
            let message = usize::try_from(landing.message).unwrap();
            let (buffer, writes) = &mut self.received[message];
            for at in (landing.offset..landing.offset + landing.length).take(room) {
                buffer[at] = subflow.stream.pop_front().unwrap();
                writes[at] += 1;
                count += 1;
            }
        }
        for byte in header.iter_mut().take(room - count) {
            *byte = subflow.stream.pop_front().unwrap();
            count += 1;
        }
        subflow.incoming.advance(count, &mut self.receive).unwrap();
    }

    fn test_send(&mut self, index: usize) {
        let request = self.sending[index];
        if let Some(len) = self.send.retire(request).unwrap() {
            let message = usize::try_from(request.message()).unwrap();
            assert_eq!(len, self.sent[message].len());
            assert!(self.send.retire(request).is_err(), "done twice");
            self.send_order[message] = true;
            self.sending.swap_remove(index);
        }
    }

    fn test_receive(&mut self, index: usize) {
        let request = self.receiving[index];
        let Some(len) = self.receive.retire(request).unwrap() else {
            return;
        };
        let message = usize::try_from(request.message()).unwrap();
        // Complete means complete with all before it, whether or not those have been tested.
        for earlier in 0..=message {
            let (sent, (buffer, writes)) = (&self.sent[earlier], &self.received[earlier]);
            assert_eq!(&buffer[..sent.len()], &sent[..], "message {earlier}");
            assert!(writes[..sent.len()].iter().all(|count| *count == 1));
            assert!(writes[sent.len()..].iter().all(|count| *count == 0));
        }
        assert_eq!(len, self.sent[message].len());
        assert!(self.receive.retire(request).is_err(), "done twice");
        self.receive_order[message] = true;
        self.receiving.swap_remove(index);
    }

    /// From any state, both sides come to an end once all that was sent has a receive.
    fn finish(&mut self) {
        for _ in 0..100_000 {
            self.post_receive(0);
            for subflow in 0..self.subflows.len() {
                self.write(subflow, 64);
                self.read(subflow, 64);
            }
            for index in (0..self.sending.len()).rev() {
                self.test_send(index);
            }
            for index in (0..self.receiving.len()).rev() {
                self.test_receive(index);
            }
            if self.receive_order.len() == self.sent.len()
                && self.sending.is_empty()
                && self.receiving.is_empty()
            {
                break;
            }
        }
        assert_eq!(self.receive_order, vec![true; self.sent.len()]);
        assert_eq!(self.send_order, vec![true; self.sent.len()]);
        for subflow in &self.subflows {
            assert!(subflow.stream.is_empty());
            assert!(subflow.incoming.is_between_chunks());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_byte_is_delivered_exactly_once(
        paths in 1..=8_usize,
        largest in prop_oneof![Just(1_u32), 2..60_u32, Just(4096)],
        steps in steps(),
    ) {
        let mut world = World::new(paths, largest);
        for step in &steps {
            world.step(step);
        }
        world.finish();
    }
}

/// A subflow that stands still holds up its own chunk only.
#[test]
fn a_stuck_subflow_keeps_only_what_it_has_begun() {
    let mut world = World::new(2, 10);
    world.post_send(100);
    world.post_receive(0);
    world.write(0, Chunk::HEADER + 3);
    while world.send.next().is_some() {
        world.write(1, 1000);
        world.read(1, 1000);
    }
    while !world.subflows[1].stream.is_empty() {
        world.read(1, 1000);
    }
    let written: usize = world.received[0].1.iter().map(|n| usize::from(*n)).sum();
    assert_eq!(written, 90, "all but the chunk that subflow 0 has begun");
    world.finish();
}
