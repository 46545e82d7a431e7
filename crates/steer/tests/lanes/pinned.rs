//! Each lane rides its spine, by marks and by ports, IPv6 and IPv4.

use srv6_steer::{Config, LanesWanted, Pinning};

use crate::scene::{
    HOST00, HOST01, MEGABYTE, PATIENCE, assert_only_by, carried, config, connect, flow, lab, lanes, ours,
    send, serve, spines, start, table, wanted,
};

#[test]
fn marked_sockets_ride_the_spine_of_their_lane() {
    let lab = lab("4x4");
    let (from, to) = (lab.node("host00").unwrap(), lab.node("host01").unwrap());
    let rules = from.sh("ip -6 rule show; ip -4 rule show").unwrap();
    serve(to, HOST01, 9000, |_| {});
    let steer = start(&lab, "host00", config("4x4"));
    let flow = flow(HOST00, HOST01);
    let hold = steer.request_lanes(flow, wanted(4, None));
    let opened = lanes(&hold).unwrap();
    // Rank 0 on its leaf, leaves 0 and 1: begins at the second spine, as a single path would.
    assert_eq!((opened.pinning, opened.spares), (Pinning::Mark, 0));
    assert_eq!(spines(&opened), ["spine01", "spine02", "spine03", "spine00"]);
    for lane in &opened.lanes {
        let shown = table(&lab, "host00", lane);
        let encap = format!(
            "2001:db8:1001::2  encap seg6 mode encap.red segs 1 [ {} ] dev eth1 proto 83 src 2001:db8:1000::2 metric 77",
            lane.segments
        );
        assert!(shown.contains(&encap), "{shown}");
        assert!(shown.contains("fc00::/32 via 2001:db8:1000::1 dev eth1 proto 83 metric 77"), "{shown}");
        let bytes = carried(&lab, "leaf00", || {
            send(connect(from, flow, 9000, Some((Pinning::Mark, lane))).unwrap());
        });
        assert_only_by(&bytes, &lane.steered.hops[2], MEGABYTE);
    }
    let marks = from.sh("ip -6 rule show; ip -4 rule show").unwrap();
    assert_eq!(marks.matches("fwmark").count(), 8, "four slots, two families: {marks}");
    // The main table has no route of ours: an unmarked socket goes as ever.
    assert_eq!(from.sh("ip -6 route show proto 83").unwrap(), "");
    drop(hold);
    steer.settle(PATIENCE);
    assert_eq!(ours(&lab, "host00"), "");
    assert_eq!(from.sh("ip -6 rule show; ip -4 rule show").unwrap(), rules);
}

/// The block route in the lane's table makes it independent of the main table's.
#[test]
fn a_marked_lane_outlives_the_main_tables_block_route() {
    let lab = lab("4x4");
    let (from, to) = (lab.node("host00").unwrap(), lab.node("host01").unwrap());
    serve(to, HOST01, 9000, |_| {});
    let steer = start(&lab, "host00", config("4x4"));
    let flow = flow(HOST00, HOST01);
    let hold = steer.request_lanes(flow, wanted(1, Some(Pinning::Mark)));
    let opened = lanes(&hold).unwrap();
    from.sh("ip -6 route del fc00:0::/32 && ip -6 route add blackhole fc00:0::/32").unwrap();
    let bytes = carried(&lab, "leaf00", || {
        send(connect(from, flow, 9000, Some((Pinning::Mark, &opened.lanes[0]))).unwrap());
    });
    assert_only_by(&bytes, "spine01", MEGABYTE);
}

#[test]
fn sockets_bound_to_a_lanes_ports_ride_its_spine_and_so_do_the_acknowledgements() {
    let lab = lab("4x4");
    let (from, to) = (lab.node("host00").unwrap(), lab.node("host01").unwrap());
    serve(to, HOST01, 9000, |_| {});
    let (sender, receiver) = (start(&lab, "host00", config("4x4")), start(&lab, "host01", config("4x4")));
    let (there, back) = (flow(HOST00, HOST01), flow(HOST01, HOST00));
    let hold = sender.request_lanes(there, wanted(3, Some(Pinning::Ports)));
    let opened = lanes(&hold).unwrap();
    let along = opened.lanes.iter().map(|lane| lane.steered.hops.clone()).collect();
    let answering = receiver.request_lanes(back, LanesWanted { along, ..wanted(3, Some(Pinning::Ports)) });
    let answers = lanes(&answering).unwrap();
    assert_eq!(spines(&answers), spines(&opened), "the same switches, the other way");
    for (lane, answer) in opened.lanes.iter().zip(&answers.lanes) {
        assert_eq!(lane.slot, answer.slot, "the peer's port leads here");
        let mut backwards = std::collections::BTreeMap::new();
        let forwards = carried(&lab, "leaf00", || {
            backwards = carried(&lab, "leaf01", || {
                let stream = connect(from, there, 9000, Some((Pinning::Ports, lane))).unwrap();
                assert!(lane.ports().contains(&stream.local_addr().unwrap().port()));
                send(stream);
            });
        });
        assert_only_by(&forwards, &lane.steered.hops[2], MEGABYTE);
        assert_only_by(&backwards, &lane.steered.hops[2], 500);
    }
    drop((hold, answering));
    sender.settle(PATIENCE);
    receiver.settle(PATIENCE);
    assert_eq!((ours(&lab, "host00"), ours(&lab, "host01")), (String::new(), String::new()));
}

#[test]
fn ipv4_has_lanes_over_the_ipv6_fabric() {
    let lab = lab("2x2-dual-stack");
    let (from, to) = (lab.node("host00").unwrap(), lab.node("host03").unwrap());
    serve(to, "10.1.3.2", 9000, |_| {});
    let steer = start(&lab, "host00", config("2x2-dual-stack"));
    let flow = flow("10.1.0.2", "10.1.3.2");
    for pinning in [Pinning::Mark, Pinning::Ports] {
        let hold = steer.request_lanes(flow, wanted(2, Some(pinning)));
        let opened = lanes(&hold).unwrap();
        let mut both = spines(&opened);
        both.sort();
        assert_eq!(both, ["spine00", "spine01"]);
        for lane in &opened.lanes {
            let shown = table(&lab, "host00", lane);
            assert!(shown.contains("10.1.3.2  encap seg6 mode encap.red segs 1 [ fc00:0:1200:"), "{shown}");
            assert!(shown.contains("src 10.1.0.2 metric 77"), "{shown}");
            let bytes =
                carried(&lab, "leaf00", || send(connect(from, flow, 9000, Some((pinning, lane))).unwrap()));
            assert_only_by(&bytes, &lane.steered.hops[2], MEGABYTE);
        }
        drop(hold);
        steer.settle(PATIENCE);
        assert_eq!(ours(&lab, "host00"), "");
    }
    let reason = lanes(&steer.request_lanes(flow, wanted(2, Some(Pinning::RoutingHeader)))).unwrap_err();
    assert!(reason.contains("10.1.3.2") && reason.contains("routing header"), "{reason}");
}

#[test]
fn connections_begin_at_different_paths_and_a_plain_route_is_left_alone() {
    let lab = lab("4x4");
    let steer = start(&lab, "host00", config("4x4"));
    let flow = flow(HOST00, HOST01);
    let plain = steer.request(flow);
    let holds: Vec<_> = (0..4).map(|_| steer.request_lanes(flow, wanted(1, Some(Pinning::Mark)))).collect();
    let begun: Vec<String> = holds.iter().flat_map(|hold| spines(&lanes(hold).unwrap())).collect();
    assert_eq!(begun, ["spine01", "spine02", "spine03", "spine00"]);
    let first = lanes(&holds[0]).unwrap();
    assert_eq!(first.spares, 3);
    let main = lab.node("host00").unwrap().sh("ip -6 route show proto 83").unwrap();
    assert_eq!(main.lines().count(), 1, "{main}");
    drop(holds);
    steer.settle(PATIENCE);
    assert_eq!(lab.node("host00").unwrap().sh("ip -6 route show table all proto 83").unwrap(), main);
    drop(plain);
    steer.settle(PATIENCE);
    assert_eq!(ours(&lab, "host00"), "");
}

#[test]
fn a_lane_carries_the_fabrics_mtu() {
    let lab = lab("4x4");
    let steer = start(&lab, "host00", Config { mtu: Some(1400), ..config("4x4") });
    let hold = steer.request_lanes(flow(HOST00, HOST01), wanted(1, Some(Pinning::Mark)));
    let opened = lanes(&hold).unwrap();
    assert_eq!(opened.lanes[0].mtu, Some(1400));
    let shown = table(&lab, "host00", &opened.lanes[0]);
    assert!(shown.contains("src 2001:db8:1000::2 metric 77 mtu 1400"), "{shown}");
}

#[test]
fn a_gateway_is_the_way_out_of_every_kind_of_lane() {
    let lab = lab("4x4");
    let (from, to) = (lab.node("host00").unwrap(), lab.node("host01").unwrap());
    from.sh("ip -6 route del fc00:0::/32; ip -6 route del default 2>/dev/null || true").unwrap();
    serve(to, HOST01, 9000, |_| {});
    let flow = flow(HOST00, HOST01);
    let without = start(&lab, "host00", config("4x4"));
    for pinning in [Pinning::Mark, Pinning::Ports, Pinning::RoutingHeader] {
        let reason = lanes(&without.request_lanes(flow, wanted(2, Some(pinning)))).unwrap_err();
        assert!(reason.contains("SRV6_GATEWAY"), "{pinning}: {reason}");
    }
    assert_eq!(ours(&lab, "host00"), "");
    let gateway = Some("2001:db8:1000::1".parse().unwrap());
    let steer = start(&lab, "host00", Config { gateway, ..config("4x4") });
    for pinning in [Pinning::Mark, Pinning::Ports] {
        let first = steer.request_lanes(flow, wanted(1, Some(pinning)));
        lanes(&first).unwrap();
        // Somebody takes it away; the next connection puts it back.
        from.sh("ip -6 route flush table all fc00:0::/32 proto 83").unwrap();
        let hold = steer.request_lanes(flow, wanted(4, Some(pinning)));
        let opened = lanes(&hold).unwrap();
        for lane in &opened.lanes {
            let bytes =
                carried(&lab, "leaf00", || send(connect(from, flow, 9000, Some((pinning, lane))).unwrap()));
            assert_only_by(&bytes, &lane.steered.hops[2], MEGABYTE);
        }
        drop((first, hold));
        steer.settle(PATIENCE);
        assert_eq!(ours(&lab, "host00"), "");
    }
}
