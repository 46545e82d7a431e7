//! Ten thousand connections of the multipath transport over lanes: no descriptor, memory, rule or route stays behind.
//!
//! Alone in its process, which has one of each.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test that fails panics; what was measured goes to stdout"
)]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use srv6_fabric::Flow;
use srv6_lab::{Lab, Node, Options};
use srv6_paths::read_topology;
use srv6_steer::{Config, Lanes, LanesHold, LanesStatus, LanesWanted, Pinning, Source, Steer};
use srv6_transport::{Connector, Lane, Listener, Pin, RawBuf, RecvComm, RequestId, SendComm};

const CONNECTIONS: usize = 10_000;

/// Connections that live at a time, so that routes and rules are shared by some and withdrawn by others.
const WINDOW: usize = 3;

/// Connections over the same lanes, one after the other.
const IN_TURN: usize = 4;

/// After so many all are closed, and everything is counted.
const BATCH: usize = 500;

const PATHS: usize = 4;

/// Longer than what is copied, so that a sender's request needs the receiver.
const LEN: usize = 100_000;

const HOSTS: [&str; 2] = ["host00", "host02"];

/// Their addresses, by family.
const FAMILIES: [[&str; 2]; 2] = [["2001:db8:1000::2", "2001:db8:1002::2"], ["10.1.0.2", "10.1.2.2"]];

#[test]
fn ten_thousand_connections_over_lanes_leave_nothing_behind() {
    let scene = Scene::new();
    let before = scene.left();
    let mut settled = 0;
    let began = Instant::now();
    for batch in 0..CONNECTIONS / BATCH {
        let mut alive: Vec<Option<Connection>> = (0..WINDOW).map(|_| None).collect();
        for number in 0..BATCH / IN_TURN {
            let place = &mut alive[number % WINDOW];
            // The older one goes first, as a job's do when it begins anew.
            *place = None;
            *place = Some(scene.connect(batch * BATCH + number * IN_TURN + number % 2));
        }
        drop(alive);
        scene.await_left(&before);
        println!("{} connections after {:.1?}", (batch + 1) * BATCH, began.elapsed());
        if batch == 1 {
            settled = resident();
        }
    }
    let grown = resident().saturating_sub(settled);
    assert!(grown < 4 << 20, "{grown} bytes more than after {} connections", 2 * BATCH);
    assert!(srv6_transport::connections().is_empty());
}

/// Two hosts under different leaves, each with steering.
struct Scene {
    steers: [Steer; 2],
    lab: Lab,
}

/// What processes can leave behind: descriptors, and each host's rules and routes.
#[derive(Debug, PartialEq)]
struct Left {
    descriptors: usize,
    hosts: [String; 2],
}

/// A connection and what it holds. Ends first: lanes are given back when no socket is on them.
struct Connection {
    _ends: Ends,
    _holds: [LanesHold; 2],
}

/// Both ends, and what they send from and receive into.
struct Ends {
    _send: SendComm,
    _receive: RecvComm,
    _memory: [Vec<u8>; 2],
}

impl Scene {
    fn new() -> Scene {
        let (_, topology) = read_topology(&file(), "fabric_graph", "hosts").unwrap();
        let lab = Lab::up(&topology, &Options::default()).unwrap();
        let start = |host| {
            let config = Config { deadline: PATIENCE / 2, ..Config::new(Source::File(file())) };
            lab.node(host).unwrap().run(move || Steer::start(config)).unwrap()
        };
        let scene = Scene { steers: HOSTS.map(start), lab };
        // The first lanes of all start threads and tables.
        drop(scene.connect(0));
        scene
    }

    fn node(&self, end: usize) -> &Node {
        self.lab.node(HOSTS[end]).unwrap()
    }

    /// Lanes of one family, and as many connections over them as it takes in turn; the last lives on.
    fn connect(&self, number: usize) -> Connection {
        let [from, to]: [IpAddr; 2] = FAMILIES[number % 2].map(|address| address.parse().unwrap());
        let wanted = |along| LanesWanted { count: PATHS, pinning: Some(Pinning::Mark), along };
        let there = self.steers[0].request_lanes(Flow { src: from, dst: to }, wanted(Vec::new()));
        let lanes = ready(&there);
        let along = lanes.lanes.iter().map(|lane| lane.steered.hops.clone()).collect();
        let back = self.steers[1].request_lanes(Flow { src: to, dst: from }, wanted(along));
        let pins = [marked(&lanes), marked(&ready(&back))];
        let mut ends = self.open([from, to], &pins, number);
        for turn in 1..IN_TURN {
            drop(ends);
            ends = self.open([from, to], &pins, number + turn);
        }
        Connection { _ends: ends, _holds: [there, back] }
    }

    /// A connection; by turns idle, used, or with requests outstanding on both sides.
    fn open(&self, [from, to]: [IpAddr; 2], pins: &[Vec<Lane>; 2], number: usize) -> Ends {
        let config = srv6_transport::Config { paths: PATHS, ..srv6_transport::Config::default() };
        let mut listener = self.node(1).run(move || Listener::bind(to, None, &config).unwrap());
        let (target, pinned) = (listener.address(), pins[0].clone());
        let mut send = self.node(0).run(move || {
            let mut connector = Connector::new(target, Some(from), pinned, &config).unwrap();
            until("connection", || connector.poll().unwrap())
        });
        let mut receive = self.node(1).run(move || until("accept", || listener.accept().unwrap()));
        receive.pin(&pins[1]).unwrap();

        let mut memory = [vec![5; LEN], vec![0; LEN]];
        let [out, into] = &mut memory;
        match number % 3 {
            0 => {}
            1 => {
                let received = receive.post(raw(into)).unwrap().unwrap();
                let sent = post(&mut send, out);
                let (mut is_sent, mut is_received) = (false, false);
                until("message", || {
                    is_sent = is_sent || send.test(sent).unwrap().is_some();
                    is_received = is_received || receive.test(received).unwrap().is_some();
                    (is_sent && is_received).then_some(())
                });
                assert!(out == into);
            }
            _ => {
                let sent = post(&mut send, out);
                send.test(sent).unwrap();
                receive.post(raw(into)).unwrap().unwrap();
            }
        }
        Ends { _send: send, _receive: receive, _memory: memory }
    }

    fn left(&self) -> Left {
        for steer in &self.steers {
            steer.settle(PATIENCE);
        }
        let show = "ip -6 rule show; ip -4 rule show; ip -6 route show table all; ip -4 route show table all";
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
        Left { descriptors, hosts: [0, 1].map(|end| self.node(end).sh(show).unwrap()) }
    }

    /// Waits until nothing else is left: the thread that looks after senders may have the last ones for a moment.
    fn await_left(&self, wanted: &Left) {
        let began = Instant::now();
        loop {
            let left = self.left();
            if left == *wanted {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "left: {left:#?}, want {wanted:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/2x2-dual-stack.json")
}

fn ready(hold: &LanesHold) -> Arc<Lanes> {
    until("lanes", || match hold.status() {
        LanesStatus::Ready(lanes) => Some(lanes),
        LanesStatus::Failed(reason) => unreachable!("{reason}"),
        LanesStatus::Pending => None,
    })
}

fn marked(lanes: &Lanes) -> Vec<Lane> {
    let lane = |lane: &srv6_steer::LanePath| Lane {
        pin: Pin::Mark(lane.mark()),
        path: lane.steered.hops.join(" > ").into(),
    };
    lanes.lanes.iter().map(lane).collect()
}

/// Posts until it is taken: the thread that looks after senders may be at this one.
fn post(send: &mut SendComm, memory: &mut [u8]) -> RequestId {
    until("request", || send.post(raw(memory)).unwrap())
}

/// A connection's memory lives as long as its ends.
fn raw(memory: &mut [u8]) -> RawBuf {
    // SAFETY: it belongs to the connection, whose ends are dropped first, and is posted once.
    unsafe { RawBuf::new(memory.as_mut_ptr(), memory.len()) }
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    4096 * pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
}

const PATIENCE: Duration = Duration::from_secs(60);

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "no {what} within a minute");
        std::thread::yield_now();
    }
}
