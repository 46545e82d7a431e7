//! Each kind of pin really takes its path, there and back.

use std::net::IpAddr;
use std::time::Instant;

use srv6_transport::{Config, Connector, Error, Lane, Listener, Pin};

use crate::fabric::Fabric;
use crate::transfer::{Plan, Transfer, until};

/// Bytes that a spine forwards on nobody's account while a transfer runs.
const NOISE: u64 = 20_000;

/// Runs a transfer over one lane and says which spine carried it; all others carried next to nothing.
fn spine_of(fabric: &Fabric, lane: Lane, back: Lane) -> usize {
    let plan = Plan { back: vec![back], ..Plan::new(vec![lane], 200_000) };
    let (forwarded, _) = fabric.forwarded(|| {
        let transfer = Transfer::begin(fabric, &plan);
        transfer.wait("20 messages", |stats| stats.subflows[0].bytes >= 4_000_000);
        transfer.end()
    });
    let most = (0..forwarded.len()).max_by_key(|spine| forwarded[*spine]).unwrap();
    for (spine, bytes) in forwarded.iter().enumerate() {
        let wanted = if spine == most { 4_000_000..u64::MAX } else { 0..NOISE };
        assert!(wanted.contains(bytes), "spine {spine} of {forwarded:?}");
    }
    most
}

#[test]
fn marks_take_their_spine() {
    for up in [Fabric::v6, Fabric::v4] {
        let fabric = up(None);
        let lanes = fabric.marks();
        for (spine, lane) in lanes.iter().enumerate() {
            assert_eq!(spine_of(&fabric, lane.clone(), lane.clone()), spine);
        }
    }
}

#[test]
fn source_ports_take_their_spine() {
    for up in [Fabric::v6, Fabric::v4] {
        let fabric = up(None);
        for spine in 0..fabric.spines {
            let lane = fabric.ports(spine);
            // The receiver's rule goes by the port that is the destination there.
            assert_eq!(spine_of(&fabric, lane.clone(), lane), spine);
        }
    }
}

#[test]
fn routing_headers_take_their_spine_where_the_receiver_takes_them() {
    let fabric = Fabric::v6(None);
    for end in [0, 1] {
        fabric
            .node(end)
            .sh("sysctl -qw net.ipv6.conf.all.seg6_enabled=1 net.ipv6.conf.eth1.seg6_enabled=1")
            .unwrap();
    }
    for spine in [0, 3, 1] {
        assert_eq!(spine_of(&fabric, fabric.header(0, 1, spine), fabric.header(1, 0, spine)), spine);
    }
}

#[test]
fn a_receiver_that_drops_routing_headers_is_found_out() {
    let fabric = Fabric::v6(None);
    let (source, lane) = (fabric.address(0), fabric.header(0, 1, 2));
    let address = fabric.address(1);
    let listener = fabric.node(1).run(move || Listener::bind(address, None, &Config::default()).unwrap());
    let target = listener.address();
    let error = fabric.node(0).run(move || {
        let began = Instant::now();
        let mut connector = Connector::new(target, Some(source), vec![lane], &Config::default()).unwrap();
        let error = until("error", || connector.poll().err());
        let status: Vec<_> = connector.status().collect();
        (error, began.elapsed(), status.len())
    });
    let (error, took, statuses) = error;
    assert!(error.is_unanswered_header() && statuses == 0, "{error}");
    assert!(error.to_string().contains("spine02"), "{error}");
    // Sooner than the time that a connect may take.
    assert!(took < Config::default().connect_timeout, "{took:?}");
}

#[test]
fn a_mark_without_the_right_to_it_is_an_error_that_says_what_is_wanted() {
    let fabric = Fabric::v6(None);
    let (source, lanes): (IpAddr, _) = (fabric.address(0), fabric.marks());
    let address = fabric.address(1);
    let listener = fabric.node(1).run(move || Listener::bind(address, None, &Config::default()).unwrap());
    let target = listener.address();
    let error = fabric.node(0).run(move || {
        // The thread's rights end with it.
        let unprivileged = std::thread::spawn(move || {
            rustix::thread::set_capabilities(None, no_capabilities()).unwrap();
            let mut connector = Connector::new(target, Some(source), lanes, &Config::default()).unwrap();
            until("error", || connector.poll().err())
        });
        unprivileged.join().unwrap()
    });
    let Error::Pin { subflow: 0, lane, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(lane.pin, Pin::Mark(100)), "{lane:?}");
    assert!(error.to_string().contains("CAP_NET_RAW or CAP_NET_ADMIN"), "{error}");
}

fn no_capabilities() -> rustix::thread::CapabilitySets {
    let none = rustix::thread::CapabilitySet::empty();
    rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none }
}
