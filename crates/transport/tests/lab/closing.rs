//! Ends that go away with requests outstanding, on a fabric that is not well.

use std::collections::VecDeque;
use std::time::Duration;

use srv6_lab::Fault;
use srv6_transport::{Config, Error, RecvComm, SendComm};

use crate::alone::pair;
use crate::fabric::Fabric;
use crate::transfer::{Plan, post, raw, until};

/// Longer than what the sender copies.
const LEN: usize = 4 << 20;

/// A pair in the middle of a message, with more behind it, and memory of each end.
fn busy(fabric: &Fabric, paths: usize) -> (SendComm, RecvComm, [Vec<u8>; 2]) {
    let lanes = fabric.marks().into_iter().cycle().take(paths).collect();
    let plan = Plan::new(lanes, 0);
    // So long that the kernel finds nothing out before we do.
    let config = Config { dead_after: Duration::from_secs(120), ..plan.config };
    let (mut send, mut receive) = pair(fabric, &Plan { config, ..plan });
    let mut memory = [vec![7; LEN], vec![0; LEN]];
    let [out, into] = &mut memory;
    let mut sent: VecDeque<_> = (0..8).map(|_| post(|| send.post(raw(out))).unwrap()).collect();
    let mut received = receive.post(raw(into)).unwrap().unwrap();
    until("all lanes in use", || {
        if send.test(sent[0]).unwrap().is_some() {
            sent.pop_front();
        }
        if receive.test(received).unwrap().is_some() {
            received = receive.post(raw(into)).unwrap().unwrap();
        }
        receive.stats().subflows.iter().all(|subflow| subflow.bytes > 0).then_some(())
    });
    (send, receive, memory)
}

/// One lane's path dies silently, so that neither end of its socket hears of the other's close.
fn one_dies(fabric: &Fabric) {
    fabric.lab.fail("leaf00-spine01", Fault::Silent).unwrap();
}

#[test]
fn a_sender_that_closes_while_a_path_is_dead_is_noticed() {
    for paths in [4, 8] {
        let fabric = Fabric::v6(Some(50));
        let (send, mut receive, mut memory) = busy(&fabric, paths);
        one_dies(&fabric);
        drop(send);
        let error = fabric.node(1).run(move || {
            let mut other = vec![0; LEN];
            let request = receive.post(raw(&mut other)).unwrap().unwrap();
            let error = until("error", || receive.test(request).err());
            // The first message's memory isn't written to after the comm is gone.
            drop(receive);
            memory[1].fill(1);
            error
        });
        println!("sender closed: {error}");
        assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
    }
}

#[test]
fn a_receiver_that_closes_while_a_path_is_dead_is_noticed() {
    for fabric in [|| Fabric::v6(Some(50)), || Fabric::v4(Some(50))] {
        let fabric = fabric();
        let (mut send, receive, memory) = busy(&fabric, fabric.spines);
        one_dies(&fabric);
        drop(receive);
        let error = fabric.node(0).run(move || {
            let mut other = vec![0; LEN];
            let error = until("error", || match send.post(raw(&mut other)) {
                Ok(Some(request)) => Some(until("error", || send.test(request).err())),
                Ok(None) => None,
                Err(error) => Some(error),
            });
            drop((send, memory));
            error
        });
        println!("receiver closed: {error}");
        assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
    }
}

#[test]
fn both_ends_may_go_at_any_moment_of_a_failure() {
    let fabric = Fabric::v6(Some(50));
    let before = descriptors();
    for (pause, receiver_first) in [(0, true), (0, false), (30, true), (30, false), (300, true), (300, false)]
    {
        let (send, receive, memory) = busy(&fabric, 4);
        one_dies(&fabric);
        // Before the sender notices, when it suspects the path, when it has given the socket up.
        std::thread::sleep(Duration::from_millis(pause));
        if receiver_first {
            drop(receive);
            drop(send);
        } else {
            drop(send);
            drop(receive);
        }
        drop(memory);
        until("the end of all sockets", || (descriptors() == before).then_some(()));
        fabric.lab.heal_all().unwrap();
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
