//! Paths that die in the middle of a transfer: every byte arrives, and soon.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use srv6_lab::Fault;
use srv6_transport::{ConnectionStats, Error, SubflowState};

use crate::fabric::Fabric;
use crate::transfer::{Plan, Transfer};

/// IPv6 over four shaped lanes and IPv4 over two: the last lane is the one that something happens to.
const BOTH: [fn() -> Fabric; 2] = [|| Fabric::v6(Some(200)), || Fabric::v4(Some(200))];

/// Lets a transfer run until all lanes are in use.
fn in_use(up: fn() -> Fabric) -> (Fabric, Transfer, usize) {
    let fabric = up();
    let last = fabric.spines - 1;
    let transfer = Transfer::begin(&fabric, &Plan::new(fabric.marks(), 1 << 20));
    transfer.wait("all lanes in use", |stats| stats.subflows.iter().all(|s| s.bytes > 2 << 20));
    (fabric, transfer, last)
}

/// Waits until the other lanes have carried on without this one.
///
/// How long the transfer stood still is measured by `srv6ctl bench multipath`: here the machine may be busy.
fn goes_on_without(transfer: &Transfer, dead: usize) {
    transfer.wait("suspicion", |stats| stats.subflows[dead].state != SubflowState::Good);
    let others = |stats: &ConnectionStats| -> u64 {
        stats.subflows.iter().filter(|s| s.index != dead).map(|s| s.bytes).sum()
    };
    let before = others(&transfer.stats());
    // More than can be outstanding: the receiver has messages of which a part went to the dead lane.
    transfer.wait("the other lanes", |stats| others(stats) > before + (64 << 20));
}

/// Waits until a lane that had died carries again.
fn comes_back(transfer: &Transfer, lane: usize) -> Duration {
    let before = transfer.stats().subflows[lane].bytes;
    transfer.wait("the healed path", |stats| {
        let lane = &stats.subflows[lane];
        lane.state == SubflowState::Good && lane.bytes > before + (2 << 20)
    })
}

#[test]
fn a_path_that_dies_silently_is_replaced_by_the_others_and_comes_back() {
    for up in BOTH {
        let (fabric, transfer, lane) = in_use(up);
        let link = format!("leaf00-spine{lane:02}");
        let struck = Instant::now();
        fabric.lab.fail(&link, Fault::Silent).unwrap();
        goes_on_without(&transfer, lane);
        assert_ne!(transfer.stats().subflows[lane].state, SubflowState::Good, "it is still dead");
        fabric.lab.heal(&link).unwrap();
        let back = comes_back(&transfer, lane);
        let (sent, received) = transfer.end();
        let gap = received.longest_gap(struck);
        println!("silent death: longest gap {gap:?}, carries again {back:?} after it healed");
        assert!(sent.subflows[lane].replaced > 0 && received.stats.subflows[lane].replaced > 0, "{sent:?}");
    }
}

#[test]
fn a_path_whose_way_back_dies_is_replaced_by_the_others() {
    for up in BOTH {
        let (fabric, transfer, lane) = in_use(up);
        let struck = Instant::now();
        let spine = format!("spine{lane:02}");
        fabric.lab.fail_one_way(&format!("leaf00-{spine}"), &spine, Fault::Silent).unwrap();
        goes_on_without(&transfer, lane);
        fabric.lab.heal_all().unwrap();
        comes_back(&transfer, lane);
        let (_, received) = transfer.end();
        println!("dead way back: longest gap {:?}", received.longest_gap(struck));
    }
}

#[test]
fn a_path_that_comes_and_goes_loses_nothing() {
    for up in BOTH {
        let (fabric, transfer, lane) = in_use(up);
        let link = format!("leaf01-spine{lane:02}");
        let struck = Instant::now();
        for _ in 0..6 {
            fabric.lab.fail(&link, Fault::Silent).unwrap();
            std::thread::sleep(Duration::from_millis(120));
            fabric.lab.heal(&link).unwrap();
            std::thread::sleep(Duration::from_millis(200));
        }
        let (sent, received) = transfer.end();
        let changes = sent.subflows[lane].changes;
        println!("flap: longest gap {:?}, {changes} changes", received.longest_gap(struck));
    }
}

#[test]
fn a_path_that_carries_short_packets_only_is_not_trusted_again() {
    for up in BOTH {
        let (fabric, transfer, lane) = in_use(up);
        let spine = fabric.lab.node(&format!("spine{lane:02}")).unwrap();
        // As behind a link of a smaller MTU whose "too big" nobody hears.
        spine
            .sh("nft 'add table ip6 hole; add chain ip6 hole in { type filter hook prerouting priority raw; }; \
                 add rule ip6 hole in meta length > 1000 drop'")
            .unwrap();
        transfer.wait("the end of its socket", |stats| stats.subflows[lane].state == SubflowState::Down);
        let before = transfer.stats().subflows[lane].replaced;
        transfer.wait("trials", |stats| {
            let lane = &stats.subflows[lane];
            // Each of them gets short pings through.
            assert!(matches!(lane.state, SubflowState::Down | SubflowState::Trial), "{lane:?}");
            lane.replaced > before + 3
        });
        spine.sh("nft delete table ip6 hole").unwrap();
        comes_back(&transfer, lane);
        transfer.end();
    }
}

#[test]
fn a_host_s_last_path_is_never_given_up() {
    let fabric = Fabric::v4(None);
    let transfer = Transfer::begin(&fabric, &Plan::new(fabric.marks(), 300_000));
    transfer.wait("both lanes in use", |stats| stats.subflows.iter().all(|s| s.bytes > 1 << 20));
    fabric.lab.fail("spine00", Fault::Silent).unwrap();
    transfer.wait("suspicion", |stats| stats.subflows[0].state != SubflowState::Good);
    // For a moment there is none; dead_after is longer.
    fabric.lab.fail("spine01", Fault::Silent).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    fabric.lab.heal("spine01").unwrap();
    let before = transfer.stats().subflows[1].bytes;
    transfer.wait("the last path", |stats| stats.subflows[1].bytes > before + (4 << 20));
    transfer.end();
}

#[test]
fn when_all_paths_are_dead_both_ends_say_which() {
    for up in BOTH {
        let (fabric, transfer, _) = in_use(up);
        let struck = Instant::now();
        for spine in 0..fabric.spines {
            fabric.lab.fail(&format!("spine{spine:02}"), Fault::Silent).unwrap();
        }
        let (sender, receiver) = transfer.fail();
        let took = struck.elapsed();
        println!("all dead, after {took:?}:\n{sender}\n{receiver}");
        assert!(took > Duration::from_secs(2), "{took:?}");
        for error in [sender, receiver] {
            names_all(&fabric, &error);
        }
    }
}

/// The error is about both ends' addresses and every path.
fn names_all(fabric: &Fabric, error: &Error) {
    let Error::Dead { troubles, .. } = error else { panic!("{error:?}") };
    assert_eq!(troubles.len(), fabric.spines);
    let text = error.to_string();
    let paths = (0..fabric.spines).map(|spine| format!("leaf00 > spine{spine:02} > leaf01"));
    for wanted in paths.chain([0, 1].map(|end| fabric.address(end).to_string())) {
        assert!(text.contains(&wanted), "{wanted}: {text}");
    }
    assert!(error.is_remote());
}

#[test]
fn when_the_kernel_knows_why_all_paths_are_dead_the_error_says_so() {
    for up in BOTH {
        let (fabric, transfer, _) = in_use(up);
        // The host's own interface goes down: its sockets find no way any more.
        fabric.node(0).sh("ip link set dev eth1 down").unwrap();
        let (sender, _) = transfer.fail();
        println!("no way: {sender}");
        names_all(&fabric, &sender);
        let Error::Dead { troubles, .. } = &sender else { panic!("{sender:?}") };
        let said = troubles.iter().filter_map(|trouble| trouble.source.as_ref());
        let said: Vec<_> = said.map(|error| error.kind()).collect();
        assert!(said.iter().any(|kind| UNREACHABLE.contains(kind)), "{troubles:?}");
        assert!(sender.to_string().contains("unreachable (os error"), "{sender}");
    }
}

/// EHOSTUNREACH and ENETUNREACH.
const UNREACHABLE: [ErrorKind; 2] = [ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable];

/// The second lane's link takes packets of up to 1400 bytes, and the routes over it say so. Gives the lanes' segments.
fn unequal_mtu(fabric: &Fabric) -> Vec<u32> {
    for (node, device) in [("leaf00", "spine01"), ("spine01", "leaf00")] {
        fabric.lab.node(node).unwrap().sh(&format!("ip link set dev {device} mtu 1400")).unwrap();
    }
    for (from, to) in [(0, 1), (1, 0)] {
        fabric.lane(from, to, 1, "mtu 1400");
    }
    let transfer = Transfer::begin(fabric, &Plan::new(fabric.marks(), 500_000));
    transfer.wait("all lanes in use", |stats| stats.subflows.iter().all(|s| s.bytes > 4 << 20));
    let subflows = transfer.stats().subflows;
    assert!(subflows.iter().all(|s| s.state == SubflowState::Good), "{subflows:?}");
    transfer.end();
    subflows.iter().map(|s| s.tcp.map_or(0, |tcp| tcp.mss)).collect()
}

/// What goes around a segment on a path: the outer IPv6 header, and the inner headers with TCP's time stamps.
const OUTER: u32 = 40;
const TCP: u32 = 32;

#[test]
fn paths_of_unequal_mtu_carry_what_their_route_says() {
    let v6 = unequal_mtu(&Fabric::v6(None));
    assert!(v6[1] < v6[0] && v6[1] <= 1400 - OUTER - 40 - TCP, "{v6:?}");
    let v4 = unequal_mtu(&Fabric::v4(None));
    assert!(v4[1] < v4[0] && v4[1] <= 1400 - OUTER - 20 - TCP, "{v4:?}");
}
