//! Lanes by a routing header on the socket: no route, no privilege, but a far side that accepts it.

use srv6_lab::Lab;
use srv6_steer::{Pinning, Steer};

use crate::scene::{
    HOST00, HOST01, MEGABYTE, PATIENCE, assert_only_by, await_move, carried, config, connect, flow,
    keep_capabilities, lab, lanes, ours, send, serve, spines, wanted,
};

/// Starts steering as a process without any capability does.
fn start_unprivileged(lab: &Lab, host: &str) -> Steer {
    lab.node(host).unwrap().run(|| {
        let started = std::thread::spawn(|| {
            keep_capabilities(0);
            Steer::start(config("4x4"))
        });
        started.join().unwrap().unwrap()
    })
}

#[test]
fn an_unprivileged_process_has_lanes_where_the_far_side_accepts_headers() {
    let lab = lab("4x4");
    let (from, to) = (lab.node("host00").unwrap(), lab.node("host01").unwrap());
    serve(to, HOST01, 9000, |_| {});
    let steer = start_unprivileged(&lab, "host00");
    let flow = flow(HOST00, HOST01);
    let hold = steer.request_lanes(flow, wanted(4, None));
    let opened = lanes(&hold).unwrap();
    assert_eq!(opened.pinning, Pinning::RoutingHeader);
    assert_eq!(spines(&opened), ["spine01", "spine02", "spine03", "spine00"]);
    assert_eq!(opened.lanes[0].segments.to_string(), "fc00:0:1200:1001:1201::", "no function at the end");
    assert_eq!(ours(&lab, "host00"), "", "nothing is installed");

    // Both settings are off, then one is: the kernel drops the SYN and says nothing.
    for switch_on in ["true", "echo 1 > /proc/sys/net/ipv6/conf/all/seg6_enabled"] {
        to.sh(switch_on).unwrap();
        let error = connect(from, flow, 9000, Some((Pinning::RoutingHeader, &opened.lanes[0]))).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "after {switch_on}: {error}");
    }
    to.sh("echo 1 > /proc/sys/net/ipv6/conf/eth1/seg6_enabled").unwrap();
    for lane in &opened.lanes {
        let bytes = carried(&lab, "leaf00", || {
            send(connect(from, flow, 9000, Some((Pinning::RoutingHeader, lane))).unwrap());
        });
        assert_only_by(&bytes, &lane.steered.hops[2], MEGABYTE);
    }

    // What needs routes is refused, with the remedy.
    for pinning in [Pinning::Mark, Pinning::Ports] {
        let reason = lanes(&steer.request_lanes(flow, wanted(2, Some(pinning)))).unwrap_err();
        assert!(reason.contains("CAP_NET_ADMIN"), "{pinning}: {reason}");
    }
    assert_eq!(ours(&lab, "host00"), "");
}

#[test]
fn a_leaf_that_pops_the_header_spares_the_far_side_everything() {
    let lab = lab("4x4");
    let (from, to) = (lab.node("host00").unwrap(), lab.node("host01").unwrap());
    serve(to, HOST01, 9000, |_| {});
    // PSP (RFC 8986 section 4.16.1) for the end of a carrier; what has uSIDs behind this one is shifted as before.
    let leaf = lab.node("leaf01").unwrap();
    leaf.sh("ip -6 route add fc00:0:1201::/128 encap seg6local action End flavors psp dev sr0").unwrap();
    let steer = start_unprivileged(&lab, "host00");
    let flow = flow(HOST00, HOST01);
    let hold = steer.request_lanes(flow, wanted(2, None));
    for lane in &lanes(&hold).unwrap().lanes {
        let bytes = carried(&lab, "leaf00", || {
            send(connect(from, flow, 9000, Some((Pinning::RoutingHeader, lane))).unwrap());
        });
        assert_only_by(&bytes, &lane.steered.hops[2], MEGABYTE);
    }
}

#[test]
fn a_function_at_the_end_of_a_header_would_lose_every_packet() {
    let lab = lab("4x4");
    let (from, to) = (lab.node("host00").unwrap(), lab.node("host01").unwrap());
    serve(to, HOST01, 9000, |_| {});
    to.sh("for i in all eth1; do echo 1 > /proc/sys/net/ipv6/conf/$i/seg6_enabled; done").unwrap();
    let steer = start_unprivileged(&lab, "host00");
    let flow = flow(HOST00, HOST01);
    let hold = steer.request_lanes(flow, wanted(1, None));
    let mut lane = lanes(&hold).unwrap().lanes[0].clone();
    send(connect(from, flow, 9000, Some((Pinning::RoutingHeader, &lane))).unwrap());
    let decapsulating = "fc00:0:1200:1001:1201:fe06::".parse().unwrap();
    lane.segments = srv6_fabric::Segments::new(vec![decapsulating]).unwrap();
    connect(from, flow, 9000, Some((Pinning::RoutingHeader, &lane))).unwrap_err();
}

#[test]
fn a_dead_headers_lane_gets_new_segments_and_the_others_keep_theirs() {
    let lab = lab("4x4");
    let steer = start_unprivileged(&lab, "host00");
    let flow = flow(HOST00, HOST01);
    let (hold, other) =
        (steer.request_lanes(flow, wanted(2, None)), steer.request_lanes(flow, wanted(4, None)));
    let (before, others) = (lanes(&hold).unwrap(), lanes(&other).unwrap());
    let generation = hold.generation();
    hold.avoid(0);
    hold.avoid(0);
    let path = await_move(&hold, 0, &before.lanes[0].steered.hops);
    steer.settle(PATIENCE);
    assert_eq!(path[2], "spine03", "the first that the connection doesn't use");
    let after = lanes(&hold).unwrap();
    assert_eq!(after.lanes[0].segments.to_string(), "fc00:0:1200:1003:1201::");
    assert_eq!((&after.lanes[1], after.spares), (&before.lanes[1], 1), "spine00; spine01 is avoided");
    assert_eq!(hold.generation(), generation + 1, "once, however often it is said");
    assert_eq!(lanes(&other).unwrap(), others);
    // Nothing to spare: nothing changes.
    other.avoid(2);
    steer.settle(PATIENCE);
    assert_eq!(lanes(&other).unwrap().lanes, others.lanes);
    assert_eq!(hold.path(7), None);
}
