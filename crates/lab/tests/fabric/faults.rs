//! Dead links and switches, and their way back.

use srv6_lab::{Fault, Lab, LinkState, Options};

use crate::support::{answered, example, ping, pings, spine_packets};

const THERE: &str = "2001:db8:1001::2";

/// Steers host00 and host01 to each other over a spine.
fn steer(lab: &Lab, spine: u16) {
    for (host, prefix, leaves) in [("host00", 1001, (1200, 1201)), ("host01", 1000, (1201, 1200))] {
        let carrier = format!("fc00:0:{}:{spine}:{}:fe06::", leaves.0, leaves.1);
        let route = format!("2001:db8:{prefix}::/64 encap seg6 mode encap.red segs {carrier} dev eth1");
        lab.node(host).unwrap().sh(&format!("ip route replace {route}")).unwrap();
    }
}

fn states(lab: &Lab, state: LinkState) -> Vec<String> {
    let links = lab.links().unwrap().into_iter().filter(|l| l.state == state);
    links.map(|l| format!("{}-{}", l.from, l.to)).collect()
}

#[test]
fn a_silent_spine_swallows_its_flows_and_nobody_else_notices() {
    let lab = Lab::up(&example("4x4.json"), &Options::default()).unwrap();
    let from = lab.node("host00").unwrap();
    steer(&lab, 1001);
    ping(from, THERE);

    lab.fail("spine01", Fault::Silent).unwrap();
    let packets = spine_packets(&lab, || assert_eq!(answered(from, THERE, 50), 0));
    assert!(packets["spine01"] < 20, "a dead spine forwards nothing: {packets:?}");
    let lost = lab.links().unwrap().into_iter().find(|l| l.from == "leaf00" && l.to == "spine01").unwrap();
    assert!(lost.dropped >= 50, "{lost:?}");
    assert_eq!(states(&lab, LinkState::Silent).len(), 8, "4 links, both ways");
    let shown = lab.node("leaf00").unwrap().sh("ip -br link show dev spine01").unwrap();
    assert!(shown.contains("UP"), "its neighbours see the link up: {shown}");

    steer(&lab, 1002);
    pings(from, THERE, 5);

    lab.heal("spine01").unwrap();
    assert_eq!(states(&lab, LinkState::Up).len(), 40);
    steer(&lab, 1001);
    pings(from, THERE, 5);
}

#[test]
fn a_link_that_went_down_comes_back_with_its_routes() {
    let lab = Lab::up(&example("4x4.json"), &Options::default()).unwrap();
    let routes = || {
        let of = |node: &str| {
            // Link-local and multicast routes of the kernel's own come back in another order.
            lab.node(node).unwrap().sh("ip -6 route show proto static; ip -6 addr show dev spine01").unwrap()
        };
        [of("leaf00"), lab.node("spine01").unwrap().sh("ip -6 route show proto static | sort").unwrap()]
    };
    let before = routes();
    let from = lab.node("host00").unwrap();
    steer(&lab, 1001);

    // Either way round names the same link.
    lab.fail("leaf00-spine01", Fault::LinkDown).unwrap();
    assert_eq!(states(&lab, LinkState::Down), ["spine01-leaf00", "leaf00-spine01"]);
    assert_eq!(answered(from, THERE, 3), 0);
    assert_ne!(routes(), before);

    lab.heal("spine01-leaf00").unwrap();
    assert_eq!(routes(), before);
    pings(from, THERE, 5);
}

#[test]
fn a_spine_that_is_switched_off_takes_the_carrier_from_its_neighbours() {
    let lab = Lab::up(&example("3x3.json"), &Options::default()).unwrap();
    lab.fail("spine00", Fault::LinkDown).unwrap();
    for leaf in ["leaf00", "leaf01", "leaf02"] {
        let shown = lab.node(leaf).unwrap().sh("ip -br link show dev spine00").unwrap();
        assert!(shown.contains("NO-CARRIER"), "{leaf}: {shown}");
    }
    // Healing another link of the same leaf doesn't touch the dead spine.
    lab.fail("leaf00-spine01", Fault::Silent).unwrap();
    lab.heal("leaf00-spine01").unwrap();
    assert_eq!(states(&lab, LinkState::Down).len(), 6);
    lab.heal_all().unwrap();
    assert_eq!(states(&lab, LinkState::Up).len(), 24);
    let (from, to) = (lab.node("srv6-pytorch-0").unwrap(), "fcbb:0:800:1::10");
    from.sh("ip route replace fcbb:0:800:1::/64 encap seg6 mode encap.red segs fcbb:0:1004:1000:1005:fe06:: dev net1")
        .unwrap();
    pings(from, to, 5);
}

#[test]
fn healing_one_link_leaves_the_other_faults_of_its_switch() {
    let lab = Lab::up(&example("4x4.json"), &Options::default()).unwrap();
    lab.fail("spine00", Fault::Silent).unwrap();
    lab.fail("leaf00-spine01", Fault::LinkDown).unwrap();
    lab.fail("leaf00-spine02", Fault::Silent).unwrap();
    lab.heal("leaf00-spine02").unwrap();
    assert_eq!(states(&lab, LinkState::Silent).len(), 8, "spine00's");
    assert_eq!(states(&lab, LinkState::Down).len(), 2);
    let from = lab.node("host00").unwrap();
    for (spine, works) in [(1000, 0), (1001, 0), (1002, 3), (1003, 3)] {
        steer(&lab, spine);
        assert_eq!(answered(from, THERE, 3), works, "spine {spine}");
    }
}

#[test]
fn a_dead_host_link_cuts_the_host_off() {
    let lab = Lab::up(&example("2x2-dual-stack.json"), &Options::default()).unwrap();
    let from = lab.node("host00").unwrap();
    for fault in [Fault::Silent, Fault::LinkDown] {
        lab.fail("host02", fault).unwrap();
        assert_eq!(answered(from, "2001:db8:1002::2", 2), 0, "{fault:?}");
        assert_eq!(answered(from, "10.1.2.2", 2), 0, "{fault:?}");
        lab.heal("host02").unwrap();
        pings(from, "2001:db8:1002::2", 2);
        pings(from, "10.1.2.2", 2);
        pings(lab.node("host02").unwrap(), "10.1.3.2", 2);
    }
}

#[test]
fn what_is_neither_node_nor_link_is_refused_with_what_there_is() {
    let lab = Lab::up(&example("2x2-dual-stack.json"), &Options::default()).unwrap();
    for target in ["spine09", "leaf00-leaf01", "mgmt", ""] {
        let error = lab.fail(target, Fault::Silent).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{target:?} is neither a node nor a link")), "{error}");
        assert!(error.contains("spine00-leaf01"), "{error}");
    }
}
