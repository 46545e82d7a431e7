//! Slots shared by the processes of a host, and what is left when one of them dies.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use srv6_lab::Lab;
use srv6_steer::{Config, Pinning, Steer};

use crate::scene::{
    CAP_NET_RAW, HOST00, HOST01, MEGABYTE, PATIENCE, assert_only_by, await_move, await_ours, carried, config,
    connect, flow, keep_capabilities, lab, lanes, ours, send, serve, spines, start, wanted,
};

/// Set for a child process that takes lanes as a rank does, and waits to be killed: this test binary, running `rank`.
const RANK: &str = "SRV6_TEST_LANES_RANK";

/// A child process in host00 with two lanes to host01, once they are there.
fn rank(lab: &Lab) -> Child {
    let mut child = lab
        .node("host00")
        .unwrap()
        .command(std::env::current_exe().unwrap().to_str().unwrap())
        .args(["--exact", "shared::a_killed_rank_leaves_nothing_for_long", "--nocapture"])
        .env(RANK, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("steered") {
        line.clear();
        assert!(words.read_line(&mut line).unwrap() > 0, "the rank ended");
    }
    child
}

#[test]
fn a_killed_rank_leaves_nothing_for_long() {
    if std::env::vars().any(|(name, _)| name == RANK) {
        let steer = Steer::start(config("4x4")).unwrap();
        let hold = steer.request_lanes(flow(HOST00, HOST01), wanted(2, Some(Pinning::Mark)));
        lanes(&hold).unwrap();
        println!("steered");
        loop {
            std::thread::sleep(Duration::from_secs(60));
        }
    }
    let lab = lab("4x4");
    let mut child = rank(&lab);
    let theirs = ours(&lab, "host00");
    assert_eq!(
        theirs.lines().count(),
        8,
        "two slots: rules of two families, a lane and a block each: {theirs}"
    );
    // A second process starts, which collects garbage, takes the same slots and adds one.
    let steer = start(&lab, "host00", config("4x4"));
    let hold = steer.request_lanes(flow(HOST00, HOST01), wanted(3, Some(Pinning::Mark)));
    assert_eq!(spines(&lanes(&hold).unwrap()), ["spine01", "spine02", "spine03"]);
    assert_eq!(ours(&lab, "host00").lines().count(), 12);
    child.kill().unwrap();
    child.wait().unwrap();
    // A third one starts: everything is still held.
    start(&lab, "host00", config("4x4")).settle(PATIENCE);
    assert_eq!(ours(&lab, "host00").lines().count(), 12);
    drop(hold);
    steer.settle(PATIENCE);
    assert_eq!(ours(&lab, "host00"), "");

    let mut child = rank(&lab);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(ours(&lab, "host00"), theirs, "nobody has started since");
    start(&lab, "host00", config("4x4")).settle(PATIENCE);
    assert_eq!(ours(&lab, "host00"), "");
}

#[test]
fn rules_and_routes_stay_until_the_last_connection_goes() {
    let lab = lab("4x4");
    let (one, other) = (start(&lab, "host00", config("4x4")), start(&lab, "host00", config("4x4")));
    let flow = flow(HOST00, HOST01);
    let ask = |steer: &Steer| {
        let hold = steer.request_lanes(flow, wanted(4, Some(Pinning::Ports)));
        lanes(&hold).unwrap();
        hold
    };
    let (first, second, third) = (ask(&one), ask(&one), ask(&other));
    let installed = ours(&lab, "host00");
    assert_eq!(installed.lines().count(), 4 * (2 * 2 + 1), "{installed}");
    drop(first);
    one.settle(PATIENCE);
    assert_eq!(ours(&lab, "host00"), installed);
    drop(second);
    one.settle(PATIENCE);
    assert_eq!(ours(&lab, "host00"), installed, "the other process still needs them");
    drop(third);
    other.settle(PATIENCE);
    assert_eq!(ours(&lab, "host00"), "");
}

#[test]
fn a_thousand_connections_leave_nothing() {
    let lab = lab("4x4");
    let host = lab.node("host00").unwrap();
    let before =
        host.sh("ip -6 rule show; ip -4 rule show; ip -6 route show table all proto static").unwrap();
    let steer = start(&lab, "host00", config("4x4"));
    let sockets = || host.sh("grep -c srv6/hold /proc/net/unix || true").unwrap().trim().to_owned();
    for round in 0..1000 {
        let pinning = if round % 2 == 0 { Pinning::Mark } else { Pinning::Ports };
        let hold = steer.request_lanes(flow(HOST00, HOST01), wanted(1 + round % 4, Some(pinning)));
        match round % 3 {
            // Given up before there is an answer.
            0 => {}
            1 => assert_eq!(lanes(&hold).unwrap().lanes.len(), 1 + round % 4),
            _ => hold.avoid(0),
        }
    }
    steer.settle(PATIENCE);
    assert_eq!((ours(&lab, "host00"), sockets()), (String::new(), "0".to_owned()));
    let after = host.sh("ip -6 rule show; ip -4 rule show; ip -6 route show table all proto static").unwrap();
    assert_eq!(after, before);
}

#[test]
fn what_an_operator_takes_away_is_put_back_and_what_is_the_operators_stays() {
    let lab = lab("4x4");
    let host = lab.node("host00").unwrap();
    // The same priority and the same words as a rule of ours, but an operator's; and a route in a table of ours.
    host.sh("ip -6 rule add priority 5001 fwmark 0x53520001/0xffffffff lookup 1397882881 protocol static")
        .unwrap();
    host.sh("ip -6 rule add priority 5002 from 2001:db8:7::/64 lookup main protocol static").unwrap();
    host.sh("ip -6 route add 2001:db8:1009::/64 via 2001:db8:1000::1 table 1397882881 proto static").unwrap();
    let operators = || {
        host.sh("ip -6 rule show | grep -w static; ip -6 route show table 1397882881 proto static").unwrap()
    };
    let before = operators();
    assert_eq!(before.lines().count(), 3, "{before}");
    let steer = start(&lab, "host00", config("4x4"));
    let flow = flow(HOST00, HOST01);
    let first = steer.request_lanes(flow, wanted(4, Some(Pinning::Mark)));
    lanes(&first).unwrap();
    let installed = ours(&lab, "host00");
    host.sh("for t in 1397882880 1397882881; do ip -6 route flush table $t proto 83; done").unwrap();
    host.sh("for p in 5002 5003; do ip -6 rule del priority $p protocol 83; done").unwrap();
    await_ours(&lab, "host00", &installed);
    let second = steer.request_lanes(flow, wanted(4, Some(Pinning::Mark)));
    lanes(&second).unwrap();
    await_ours(&lab, "host00", &installed);
    drop((first, second));
    steer.settle(PATIENCE);
    assert_eq!((ours(&lab, "host00"), operators()), (String::new(), before));
}

#[test]
fn a_destination_has_lanes_from_one_source_of_the_host() {
    let lab = lab("4x4");
    lab.node("host00").unwrap().sh("ip -6 addr add 2001:db8:1000::3/64 dev eth1 nodad").unwrap();
    let (one, other) = (start(&lab, "host00", config("4x4")), start(&lab, "host00", config("4x4")));
    let first = one.request_lanes(flow(HOST00, HOST01), wanted(2, Some(Pinning::Mark)));
    lanes(&first).unwrap();
    let installed = ours(&lab, "host00");
    for steer in [&one, &other] {
        let second = flow("2001:db8:1000::3", HOST01);
        let reason = lanes(&steer.request_lanes(second, wanted(2, Some(Pinning::Mark)))).unwrap_err();
        assert!(reason.contains("in use for source 2001:db8:1000::2"), "{reason}");
        assert_eq!(ours(&lab, "host00"), installed, "nothing half done");
    }
}

/// As the job of a pod that may mark sockets beside an agent that may change routes.
#[test]
fn a_process_that_may_only_mark_uses_the_lanes_that_others_hold() {
    let lab = lab("4x4");
    let (from, to) = (lab.node("host00").unwrap(), lab.node("host01").unwrap());
    serve(to, HOST01, 9000, |_| {});
    let steer = start(&lab, "host00", config("4x4"));
    let flow = flow(HOST00, HOST01);
    let marking = from.run(|| {
        let started = std::thread::spawn(|| {
            keep_capabilities(1 << CAP_NET_RAW);
            Steer::start(config("4x4"))
        });
        started.join().unwrap().unwrap()
    });
    let alone = lanes(&marking.request_lanes(flow, wanted(2, None))).unwrap();
    assert_eq!(alone.pinning, Pinning::RoutingHeader, "there are no rules, and it may not make any");
    let hold = steer.request_lanes(flow, wanted(4, Some(Pinning::Mark)));
    lanes(&hold).unwrap();
    let installed = ours(&lab, "host00");
    let marked = marking.request_lanes(flow, wanted(2, Some(Pinning::Mark)));
    let opened = lanes(&marked).unwrap();
    for lane in &opened.lanes {
        let bytes =
            carried(&lab, "leaf00", || send(connect(from, flow, 9000, Some((Pinning::Mark, lane))).unwrap()));
        assert_only_by(&bytes, &lane.steered.hops[2], MEGABYTE);
    }
    assert_eq!(ours(&lab, "host00"), installed);
    // Its references count like any: the routes of its two lanes outlive the one that made them.
    drop(hold);
    steer.settle(PATIENCE);
    assert_eq!(ours(&lab, "host00").lines().count(), 8, "{}", ours(&lab, "host00"));
    drop(marked);
    marking.settle(PATIENCE);
    // It may not remove them; the next one that may does.
    start(&lab, "host00", config("4x4")).settle(PATIENCE);
    assert_eq!(ours(&lab, "host00"), "");
}

#[test]
fn a_dry_run_has_lanes_and_changes_nothing() {
    let lab = lab("4x4");
    let steer = start(&lab, "host00", Config { dry_run: true, ..config("4x4") });
    let hold = steer.request_lanes(flow(HOST00, HOST01), wanted(2, None));
    let before = lanes(&hold).unwrap();
    assert_eq!(before.pinning, Pinning::Mark);
    hold.avoid(0);
    assert_eq!(await_move(&hold, 0, &before.lanes[0].steered.hops)[2], "spine03");
    assert_eq!(ours(&lab, "host00"), "");
}

#[test]
fn a_rule_that_goes_first_makes_a_lane_idle_and_is_told() {
    let lab = lab("4x4");
    let host = lab.node("host00").unwrap();
    host.sh("ip -6 rule add priority 100 to 2001:db8:1001::/64 lookup main").unwrap();
    let steer = start(&lab, "host00", config("4x4"));
    let flow = flow(HOST00, HOST01);
    for pinning in [Pinning::Mark, Pinning::Ports] {
        let reason = lanes(&steer.request_lanes(flow, wanted(2, Some(pinning)))).unwrap_err();
        assert!(reason.contains("don't take the route"), "{pinning}: {reason}");
        assert_eq!(ours(&lab, "host00"), "");
    }
    // Left to itself it takes what works.
    let chosen = lanes(&steer.request_lanes(flow, wanted(2, None))).unwrap();
    assert_eq!(chosen.pinning, Pinning::RoutingHeader);
}
