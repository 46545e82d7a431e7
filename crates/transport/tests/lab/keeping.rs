//! Lanes that somebody moves to other paths while they carry data.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use srv6_lab::Fault;
use srv6_transport::{Config, Connector, Lane, Listener, PathKeeper, Pin, RecvComm, SendComm, SubflowState};

use crate::fabric::Fabric;
use crate::transfer::{post, raw, until};

/// Moves the lanes to others when the test says so.
#[derive(Debug)]
struct Keeper {
    first: Vec<Lane>,
    then: Vec<Lane>,
    moved: AtomicBool,
    generation: AtomicU64,
    avoided: Mutex<Vec<usize>>,
    followed: Mutex<Vec<(usize, String)>>,
}

impl Keeper {
    fn new(first: Vec<Lane>, then: Vec<Lane>) -> Arc<Keeper> {
        Arc::new(Keeper {
            first,
            then,
            moved: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            avoided: Mutex::default(),
            followed: Mutex::default(),
        })
    }

    fn go(&self) {
        self.moved.store(true, Ordering::SeqCst);
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    fn lane(&self, lane: usize) -> Option<&Lane> {
        if self.moved.load(Ordering::SeqCst) { self.then.get(lane) } else { self.first.get(lane) }
    }

    fn has_avoided(&self, lane: usize) -> bool {
        self.avoided.lock().unwrap_or_else(PoisonError::into_inner).contains(&lane)
    }

    fn has_followed(&self, lane: usize, path: &str) -> bool {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.iter().any(|(index, to)| *index == lane && to == path)
    }
}

impl PathKeeper for Keeper {
    fn avoid(&self, lane: usize) {
        self.avoided.lock().unwrap_or_else(PoisonError::into_inner).push(lane);
    }

    fn follow(&self, lane: usize, path: &str) {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner).push((lane, path.to_owned()));
    }

    fn path(&self, lane: usize) -> Option<Arc<str>> {
        self.lane(lane).map(|lane| Arc::clone(&lane.path))
    }

    fn pin(&self, lane: usize) -> Option<Pin> {
        self.lane(lane).map(|lane| lane.pin.clone())
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }
}

/// Both ends of a connection, and who moves its lanes.
struct Pair {
    send: SendComm,
    receive: RecvComm,
    keeper: Arc<Keeper>,
}

impl Pair {
    fn new(fabric: &Fabric, keeper: Arc<Keeper>, back: &[Lane]) -> Pair {
        let (address, source) = (fabric.address(1), fabric.address(0));
        let config = Config { paths: 4, ..Config::default() };
        let mut listener = fabric.node(1).run(move || Listener::bind(address, None, &config).unwrap());
        let (target, kept) = (listener.address(), Arc::clone(&keeper));
        let send = fabric.node(0).run(move || {
            let lanes = kept.first.clone();
            let mut connector = Connector::new(target, Some(source), lanes, &config).unwrap().keeper(kept);
            until("connection", || connector.poll().unwrap())
        });
        let mut receive = fabric.node(1).run(move || until("connection", || listener.accept().unwrap()));
        receive.pin(back).unwrap();
        Pair { send, receive, keeper }
    }

    /// Sends and receives one message after the other, in the sender's host, until `done` says so.
    fn exchange(
        mut self,
        fabric: &Fabric,
        what: &'static str,
        mut done: impl FnMut(&Pair, usize) -> bool + Send + 'static,
    ) -> Pair {
        fabric.node(0).run(move || {
            let (mut from, mut to) = (vec![5; LEN], vec![0; LEN]);
            let mut messages = 0;
            until(what, || {
                let received = post(|| self.receive.post(raw(&mut to))).unwrap();
                let sent = post(|| self.send.post(raw(&mut from))).unwrap();
                let (mut is_sent, mut is_received) = (false, false);
                until("message", || {
                    is_sent = is_sent || self.send.test(sent).unwrap().is_some();
                    is_received = is_received || self.receive.test(received).unwrap().is_some();
                    (is_sent && is_received).then_some(())
                });
                assert!(to == from);
                to.fill(0);
                messages += 1;
                done(&self, messages).then_some(())
            });
            self
        })
    }
}

const LEN: usize = 200_000;

/// Bytes that a spine forwards on nobody's account meanwhile.
const NOISE: u64 = 20_000;

#[test]
fn a_live_socket_takes_the_routing_header_of_its_lane_s_new_path() {
    let fabric = Fabric::v6(None);
    for end in [0, 1] {
        fabric
            .node(end)
            .sh("sysctl -qw net.ipv6.conf.all.seg6_enabled=1 net.ipv6.conf.eth1.seg6_enabled=1")
            .unwrap();
    }
    let keeper = Keeper::new(vec![fabric.header(0, 1, 0)], vec![fabric.header(0, 1, 2)]);
    // What goes back takes another spine all the time.
    let pair = Pair::new(&fabric, keeper, &[fabric.header(1, 0, 3)]);
    let (before, pair) = fabric.forwarded(|| pair.exchange(&fabric, "20 messages", |_, n| n == 20));
    assert!(before[0] > 20 * LEN as u64 && before[2] < NOISE, "{before:?}");
    pair.keeper.go();
    let pair =
        pair.exchange(&fabric, "the move", |pair, _| pair.send.stats().subflows[0].path.contains("spine02"));
    let (after, _pair) = fabric.forwarded(|| pair.exchange(&fabric, "20 more messages", |_, n| n == 20));
    assert!(after[2] > 20 * LEN as u64 && after[0] < NOISE, "{after:?}");
}

#[test]
fn the_receiver_hears_that_a_lane_has_moved() {
    for up in [Fabric::v6, Fabric::v4] {
        hears_of_a_move(&up(None));
    }
}

fn hears_of_a_move(fabric: &Fabric) {
    let elsewhere: Vec<Lane> =
        fabric.marks().into_iter().map(|lane| Lane { path: "here > there".into(), ..lane }).collect();
    let keeper = Keeper::new(fabric.marks(), elsewhere);
    let theirs = Keeper::new(fabric.marks(), fabric.marks());
    let mut pair = Pair::new(fabric, keeper, &fabric.marks());
    pair.receive.keep(Arc::clone(&theirs) as Arc<dyn PathKeeper>);
    fabric.lab.fail("leaf00-spine01", Fault::Silent).unwrap();
    // Without a socket, the lane comes back with a new one only.
    let pair = pair.exchange(fabric, "the end of the dead path's socket", |pair, _| {
        pair.keeper.has_avoided(1) && pair.send.stats().subflows[1].state == SubflowState::Down
    });
    assert!(!theirs.has_followed(1, "here > there"));
    pair.keeper.go();
    fabric.lab.heal_all().unwrap();
    let told = Arc::clone(&theirs);
    pair.exchange(fabric, "the new path's being told", move |_, _| told.has_followed(1, "here > there"));
}

#[test]
fn the_receiver_hears_that_a_living_socket_s_lane_has_moved() {
    let fabric = Fabric::v6(None);
    // The same marks, of which somebody says that the second leads elsewhere.
    let mut elsewhere = fabric.marks();
    elsewhere[1].path = "here > there".into();
    let keeper = Keeper::new(fabric.marks(), elsewhere);
    let theirs = Keeper::new(fabric.marks(), fabric.marks());
    let mut pair = Pair::new(&fabric, keeper, &fabric.marks());
    pair.receive.keep(Arc::clone(&theirs) as Arc<dyn PathKeeper>);
    let pair = pair.exchange(&fabric, "20 messages", |_, n| n == 20);
    assert!(theirs.followed.lock().unwrap().is_empty());
    pair.keeper.go();
    let told = Arc::clone(&theirs);
    let pair =
        pair.exchange(&fabric, "the new path's being told", move |_, _| told.has_followed(1, "here > there"));
    let (sent, received) = (pair.send.stats(), pair.receive.stats());
    assert_eq!(&*received.subflows[1].path, "here > there");
    assert!(received.subflows[0].path.contains("spine00"), "{received:?}");
    assert_eq!(
        sent.subflows.iter().map(|subflow| subflow.replaced).sum::<u64>(),
        0,
        "no socket was replaced"
    );
}
