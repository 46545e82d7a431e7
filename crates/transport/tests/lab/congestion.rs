//! The congestion control that was asked for, as `ss` sees it.

use srv6_lab::{Fault, Node};
use srv6_transport::{Congestion, SubflowState};

use crate::fabric::Fabric;
use crate::transfer::{Plan, Transfer};

/// One that isn't the host's own: the tests' rights are enough for any that the kernel has.
fn other_than_default(node: &Node) -> String {
    let read = |name: &str| node.sh(&format!("cat /proc/sys/net/ipv4/{name}")).unwrap();
    let (default, available) = (read("tcp_congestion_control"), read("tcp_available_congestion_control"));
    let other = available.split_whitespace().find(|name| *name != default.trim());
    // No kernel is without reno, so one with nothing else has no other to test with.
    other.unwrap().to_owned()
}

/// What each established socket of a host has.
fn of_sockets(node: &Node) -> Vec<String> {
    let lines = node.sh("ss -Htin state established").unwrap();
    // Of each socket a second line, which begins with the name; ECN and the like may stand before it.
    let details = lines.lines().filter(|line| line.starts_with(char::is_whitespace));
    let known = ["bbr", "cubic", "reno", "dctcp", "bic", "vegas", "westwood", "htcp", "cdg"];
    details
        .filter_map(|line| line.split_whitespace().find(|word| known.contains(word)))
        .map(str::to_owned)
        .collect()
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
