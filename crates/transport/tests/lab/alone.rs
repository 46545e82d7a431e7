//! Senders whose caller has gone away, and connections that begin while a path is dead.

use std::time::{Duration, Instant};

use srv6_lab::Fault;
use srv6_transport::{Config, Listener, RecvComm, SendComm, SubflowState};

use crate::fabric::Fabric;
use crate::transfer::{Plan, connect, post, raw, until};
use crate::warnings;

/// IPv6 over four lanes, IPv4 over two.
const BOTH: [fn(Option<u32>) -> Fabric; 2] = [Fabric::v6, Fabric::v4];

/// A connected pair of ends, the sender's made in its host.
pub(crate) fn pair(fabric: &Fabric, plan: &Plan) -> (SendComm, RecvComm) {
    meet(fabric, plan, plan.config)
}

/// The same with a listener of other settings.
pub(crate) fn meet(fabric: &Fabric, plan: &Plan, config: Config) -> (SendComm, RecvComm) {
    let (address, source) = (fabric.address(1), fabric.address(0));
    let mut listener = fabric.node(1).run(move || Listener::bind(address, None, &config).unwrap());
    let (target, plan) = (listener.address(), plan.clone());
    let send = fabric.node(0).run(move || connect(target, source, &plan));
    let mut receive = fabric.node(1).run(move || until("connection", || listener.accept().unwrap()));
    receive.pin(&fabric.marks()).unwrap();
    (send, receive)
}

/// Receives one message of up to 9000 bytes.
fn message(receive: &mut RecvComm) -> (Vec<u8>, Duration) {
    let began = Instant::now();
    let mut to = vec![0; 9000];
    let request = receive.post(raw(&mut to)).unwrap().unwrap();
    let length = until("message", || receive.test(request).unwrap());
    to.truncate(length);
    (to, began.elapsed())
}

/// Sends small messages by turns until each lane has carried one, so that the next may go over any.
fn warm_up(send: &mut SendComm, receive: &mut RecvComm) {
    for n in 0..40_u8 {
        let mut small = vec![n; 300];
        let request = post(|| send.post(raw(&mut small))).unwrap();
        until("small message", || send.test(request).unwrap());
        assert_eq!(message(receive).0, small);
    }
}

#[test]
fn a_small_message_arrives_although_its_path_dies_and_nobody_calls_again() {
    for (up, closed) in BOTH.into_iter().flat_map(|up| [(up, false), (up, true)]) {
        let fabric = up(None);
        let (mut send, mut receive) = pair(&fabric, &Plan::new(fabric.marks(), 0));
        warm_up(&mut send, &mut receive);
        // All but one: whichever lane is the fastest, most likely it is dead.
        for spine in 0..fabric.spines - 1 {
            fabric.lab.fail(&format!("leaf00-spine{spine:02}"), Fault::Silent).unwrap();
        }
        let mut small = vec![9; 3000];
        for _ in 0..5 {
            let request = post(|| send.post(raw(&mut small))).unwrap();
            // Done at once, with the paths as dead as they are.
            assert_eq!(until("small message", || send.test(request).unwrap()), 3000);
        }
        let mut send = Some(send);
        if closed {
            send = None;
        }
        let mut longest = Duration::ZERO;
        for _ in 0..5 {
            let (bytes, took) = message(&mut receive);
            assert_eq!(bytes, small);
            longest = longest.max(took);
        }
        println!("lonely sender, closed {closed}: {longest:?}");
        drop(send);
    }
}

#[test]
fn a_small_message_that_does_not_arrive_is_warned_of_although_nobody_calls() {
    warnings::keep();
    for up in BOTH {
        let fabric = up(None);
        let plan = Plan::new(fabric.marks(), 0);
        let config = Config { dead_after: Duration::from_secs(30), ..plan.config };
        let (mut send, mut receive) = pair(&fabric, &Plan { config, ..plan });
        warm_up(&mut send, &mut receive);
        for spine in 0..fabric.spines {
            fabric.lab.fail(&format!("spine{spine:02}"), Fault::Silent).unwrap();
        }
        let mut small = vec![9; 3000];
        let request = post(|| send.post(raw(&mut small))).unwrap();
        assert_eq!(until("small message", || send.test(request).unwrap()), 3000);
        let line = until("warning", || warnings::slow(send.connection()).pop());
        println!("{line}");
        let is_named = send.stats().subflows.iter().any(|s| {
            let way = format!("peer={} subflow={} path=\"{}\" is slow: message ", s.peer, s.index, s.path);
            line.contains(&way)
        });
        assert!(is_named && line.contains(" s, "), "{line}");
    }
}

#[test]
fn a_connection_begins_without_the_path_that_is_dead_and_gets_it_later() {
    for up in BOTH {
        begins_partly(&up(None));
    }
}

fn begins_partly(fabric: &Fabric) {
    let dead = fabric.spines - 1;
    fabric.lab.fail(&format!("leaf01-spine{dead:02}"), Fault::Silent).unwrap();
    let config = Config { paths: 4, partial_after: Duration::from_millis(700), ..Config::default() };
    let plan = Plan { config, ..Plan::new(fabric.marks(), 0) };
    let began = Instant::now();
    let (mut send, mut receive) = pair(fabric, &plan);
    let took = began.elapsed();
    let states: Vec<_> = send.stats().subflows.iter().map(|s| s.state).collect();
    assert_eq!(states[dead], SubflowState::Down, "{states:?}");
    println!("connected with a dead path in {took:?}: {states:?}");
    warm_up(&mut send, &mut receive);
    fabric.lab.heal_all().unwrap();
    // Messages that wait for the receiver, so that both ends are called all the time.
    let began = Instant::now();
    let (mut from, mut to) = (vec![5; 100_000], vec![0; 100_000]);
    // In the sender's host: that is where the new socket has to be made.
    let back = fabric.node(0).run(move || {
        until("the healed path", || {
            let received = receive.post(raw(&mut to)).unwrap().unwrap();
            let sent = post(|| send.post(raw(&mut from))).unwrap();
            let (mut is_sent, mut is_received) = (false, false);
            until("message", || {
                is_sent = is_sent || send.test(sent).unwrap().is_some();
                is_received = is_received || receive.test(received).unwrap().is_some();
                (is_sent && is_received).then_some(())
            });
            (send.stats().subflows[dead].state == SubflowState::Good).then(|| began.elapsed())
        })
    });
    println!("the missing path came after {back:?}");
}
