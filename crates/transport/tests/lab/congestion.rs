//! The congestion control that was asked for, as `ss` sees it.

use srv6_lab::{Fault, Node};
use srv6_transport::{Congestion, SubflowState};

use crate::fabric::Fabric;
use crate::transfer::{Plan, Transfer};

/// All that the kernel has; the tests' rights are enough for any.
fn available(node: &Node) -> Vec<String> {
    let names = node.sh("cat /proc/sys/net/ipv4/tcp_available_congestion_control").unwrap();
    names.split_whitespace().map(str::to_owned).collect()
}

/// One that a socket doesn't have by itself. A kernel with reno alone has none to test with.
fn other_than_default(node: &Node) -> String {
    let default = node.sh("cat /proc/sys/net/ipv4/tcp_congestion_control").unwrap();
    available(node).into_iter().find(|name| name != default.trim()).unwrap()
}

/// What each established socket of a host has.
fn of_sockets(node: &Node) -> Vec<String> {
    let known = available(node);
    let lines = node.sh("ss -Htin state established").unwrap();
    // Of each socket a second line has the name, behind flags such as `ecn`.
    let details = lines.lines().filter(|line| line.starts_with(char::is_whitespace));
    let name = |line: &str| {
        line.split_whitespace().find(|word| known.iter().any(|name| name == word)).map(str::to_owned)
    };
    details.filter_map(name).collect()
}

#[test]
fn all_sockets_have_it_and_those_that_replace_them() {
    let fabric = Fabric::v6(Some(200));
    let wanted = other_than_default(fabric.node(0));
    let mut plan = Plan::new(fabric.marks(), 1 << 20);
    plan.config.congestion = Some(Congestion::named(&wanted).unwrap());
    let transfer = Transfer::begin(&fabric, &plan);
    transfer.wait("all lanes in use", |stats| stats.subflows.iter().all(|s| s.bytes > 2 << 20));
    for end in [0, 1] {
        assert_eq!(of_sockets(fabric.node(end)), [wanted.as_str(); 4], "host {end}");
    }
    fabric.lab.fail("leaf00-spine03", Fault::Silent).unwrap();
    transfer.wait("the end of its socket", |stats| stats.subflows[3].state == SubflowState::Down);
    fabric.lab.heal_all().unwrap();
    transfer.wait("a new socket", |stats| {
        stats.subflows[3].replaced > 0 && stats.subflows[3].state == SubflowState::Good
    });
    for end in [0, 1] {
        let sockets = of_sockets(fabric.node(end));
        // The one that was given up may still be there.
        assert!(sockets.len() >= 4 && sockets.iter().all(|name| *name == wanted), "host {end}: {sockets:?}");
    }
    transfer.end();
}
