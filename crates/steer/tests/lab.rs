//! Steering in lab hosts: the kernel's routes and the switches' counters are the judges.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helper functions fail as tests do"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use srv6_fabric::{Flow, Policy};
use srv6_lab::{Lab, Options};
use srv6_paths::read_topology;
use srv6_pathserver::Server;
use srv6_steer::{Config, Hold, Source, Status, Steer, Steered};

fn file(fabric: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/fabrics/{fabric}.json"))
}

fn lab(fabric: &str) -> Lab {
    let (_, topology) = read_topology(&file(fabric), "fabric_graph", "hosts").unwrap();
    Lab::up(&topology, &Options::default()).unwrap()
}

fn config(fabric: &str) -> Config {
    Config { deadline: PATIENCE / 2, ..Config::new(Source::File(file(fabric))) }
}

/// Starts steering as a process in that host does.
fn start(lab: &Lab, host: &str, config: Config) -> Steer {
    lab.node(host).unwrap().run(move || Steer::start(config)).unwrap()
}

fn flow(src: &str, dst: &str) -> Flow {
    Flow { src: src.parse().unwrap(), dst: dst.parse().unwrap() }
}

fn wait(hold: &Hold) -> Result<Arc<Steered>, String> {
    let started = Instant::now();
    loop {
        match hold.status() {
            Status::Ready(steered) => return Ok(steered),
            Status::Failed(reason) => return Err(reason.to_string()),
            Status::Pending => {
                assert!(started.elapsed() < PATIENCE, "neither ready nor failed")
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn routes(lab: &Lab, host: &str) -> String {
    lab.node(host).unwrap().sh("ip -6 route show proto 83; ip route show proto 83").unwrap()
}

/// Packets that each spine got from leaf00 while `work` ran: one direction only, so that replies, which nobody
/// steers, don't count.
fn from_leaf00(lab: &Lab, work: impl FnOnce()) -> BTreeMap<String, u64> {
    let count = || -> BTreeMap<String, u64> {
        let links = lab.links().unwrap();
        let up = links.into_iter().filter(|l| l.from == "leaf00" && l.to.starts_with("spine"));
        up.map(|l| (l.to, l.packets)).collect()
    };
    let before = count();
    work();
    count().into_iter().map(|(spine, packets)| (spine.clone(), packets - before[&spine])).collect()
}

/// All but a handful (routers' own chatter) went by this spine.
fn assert_only_by(carried: &BTreeMap<String, u64>, chosen: &str, packets: u64) {
    for (spine, &count) in carried {
        if spine == chosen {
            assert!(count >= packets, "{chosen}: {carried:?}");
        } else {
            assert!(count < 10, "{spine} too: {carried:?}");
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

const TO_HOST01: (&str, &str) = ("2001:db8:1000::2", "2001:db8:1001::2");

#[test]
fn a_flow_takes_the_path_it_was_given_and_no_other() {
    let lab = lab("4x4");
    let steer = start(&lab, "host00", config("4x4"));
    let hold = steer.request(flow(TO_HOST01.0, TO_HOST01.1));
    let steered = wait(&hold).unwrap();
    // Rank 0 on its leaf, leaves 0 and 1: index 1 of the four.
    assert_eq!(steered.hops, ["host00", "leaf00", "spine01", "leaf01", "host01"]);
    assert_eq!(steered.carrier, "fc00:0:1200:1001:1201:fe06::");
    assert_eq!(steered.origin, "topology file");
    let shown = routes(&lab, "host00");
    assert!(
        shown.starts_with(
            "2001:db8:1001::2  encap seg6 mode encap.red segs 1 [ fc00:0:1200:1001:1201:fe06:: ] dev eth1 src 2001:db8:1000::2"
        ),
        "{shown}"
    );
    let carried = from_leaf00(&lab, || {
        for _ in 0..2 {
            lab.node("host00").unwrap().sh("ping -6 -c 20 -i 0.002 -W 2 -q 2001:db8:1001::2").unwrap();
        }
    });
    assert_only_by(&carried, "spine01", 40);
    drop(hold);
    steer.settle(PATIENCE);
    assert_eq!(routes(&lab, "host00"), "");
}

#[test]
fn connections_of_a_pair_share_a_route_and_the_last_one_takes_it_along() {
    let lab = lab("4x4");
    let (first, second) = (start(&lab, "host00", config("4x4")), start(&lab, "host00", config("4x4")));
    let mut holds: Vec<Hold> = (0..3).map(|_| first.request(flow(TO_HOST01.0, TO_HOST01.1))).collect();
    for hold in &holds {
        wait(hold).unwrap();
    }
    // Another process of the host would choose another path; the one in place stands.
    let other = start(&lab, "host00", Config { policy: Policy::Hops, ..config("4x4") });
    let theirs = other.request(flow(TO_HOST01.0, TO_HOST01.1));
    let adopted = wait(&theirs).unwrap();
    assert_eq!(adopted.hops[2], "spine01");
    assert_eq!(adopted.carrier, "fc00:0:1200:1001:1201:fe06::");
    let before = routes(&lab, "host00");
    assert_eq!(before.lines().count(), 1);
    while let Some(hold) = holds.pop() {
        drop(hold);
        first.settle(PATIENCE);
        assert_eq!(routes(&lab, "host00"), before);
    }
    drop(theirs);
    other.settle(PATIENCE);
    assert_eq!(routes(&lab, "host00"), "");
    // An abandoned request leaves nothing, however far it got.
    for _ in 0..20 {
        drop(second.request(flow(TO_HOST01.0, "2001:db8:1002::2")));
    }
    second.settle(PATIENCE);
    assert_eq!(routes(&lab, "host00"), "");
}

#[test]
fn a_start_removes_what_a_killed_process_left_and_nothing_else() {
    let lab = lab("4x4");
    let host = lab.node("host00").unwrap();
    host.sh("ip -6 route add 2001:db8:1003::2/128 encap seg6 mode encap.red segs fc00:0:1200:: dev eth1 proto 83 metric 77")
        .unwrap();
    host.sh("ip -6 route add 2001:db8:1003::3/128 via 2001:db8:1000::1 dev eth1 proto static metric 77")
        .unwrap();
    let steer = start(&lab, "host00", config("4x4"));
    steer.settle(PATIENCE);
    assert_eq!(routes(&lab, "host00"), "");
    assert!(host.sh("ip -6 route show proto static").unwrap().contains("2001:db8:1003::3"));
}

#[test]
fn without_a_block_route_packets_would_be_lost_so_there_is_no_route() {
    let lab = lab("4x4");
    let host = lab.node("host00").unwrap();
    host.sh("ip -6 route del fc00:0::/32").unwrap();
    host.sh("ip -6 route del default 2>/dev/null || true").unwrap();
    let steer = start(&lab, "host00", config("4x4"));
    let reason = wait(&steer.request(flow(TO_HOST01.0, TO_HOST01.1))).unwrap_err();
    assert!(reason.contains("fc00:0:1200:1001:1201:fe06::") && reason.contains("SRV6_GATEWAY"), "{reason}");
    assert_eq!(routes(&lab, "host00"), "");
    drop(steer);

    let gateway = Some("2001:db8:1000::1".parse().unwrap());
    let steer = start(&lab, "host00", Config { gateway, ..config("4x4") });
    let hold = steer.request(flow(TO_HOST01.0, TO_HOST01.1));
    wait(&hold).unwrap();
    let shown = routes(&lab, "host00");
    assert!(shown.contains("fc00::/32 via 2001:db8:1000::1 dev eth1 metric 77"), "{shown}");
    host.sh("ping -6 -c 2 -i 0.01 -W 2 -q 2001:db8:1001::2").unwrap();
    // Taken away, it is back before the next connection.
    host.sh("ip -6 route del fc00:0::/32 proto 83").unwrap();
    let second = steer.request(flow(TO_HOST01.0, TO_HOST01.1));
    wait(&second).unwrap();
    assert_eq!(routes(&lab, "host00"), shown);
    host.sh("ping -6 -c 2 -i 0.01 -W 2 -q 2001:db8:1001::2").unwrap();
    drop((hold, second));
    steer.settle(PATIENCE);
    assert_eq!(routes(&lab, "host00"), "");
}

#[test]
fn each_reason_for_no_path_is_told() {
    let lab = lab("4x4");
    let reason = |config: Config, flow: Flow| {
        let steer = start(&lab, "host00", config);
        wait(&steer.request(flow)).unwrap_err()
    };
    let usual = flow(TO_HOST01.0, TO_HOST01.1);
    let foreign = reason(config("4x4"), flow("2001:db8:1002::2", TO_HOST01.1));
    assert!(
        foreign.contains("2001:db8:1002::2") && foreign.contains("no address of this network namespace"),
        "{foreign}"
    );
    let stranger = reason(config("4x4"), flow(TO_HOST01.0, "2001:db8:ffff::1"));
    assert!(stranger.contains("2001:db8:ffff::1"), "{stranger}");
    let interface = reason(Config { interface: Some("eth7".to_owned()), ..config("4x4") }, usual);
    assert!(interface.contains("eth7"), "{interface}");
    let algo = reason(Config { algo: 128, ..config("4x4") }, usual);
    assert!(algo.contains("algorithm 128"), "{algo}");
    let missing = reason(Config { source: Source::File("/nonexistent.json".into()), ..config("4x4") }, usual);
    assert!(missing.contains("/nonexistent.json"), "{missing}");
    let dead = Config {
        deadline: Duration::from_millis(300),
        ..Config::new(Source::Api("http://127.0.0.1:9".to_owned()))
    };
    assert!(reason(dead, usual).contains("can't be reached"));
    assert_eq!(routes(&lab, "host00"), "");
}

#[test]
fn every_policy_works_over_the_path_api() {
    let lab = lab("4x4");
    let (documents, _) = read_topology(&file("4x4"), "fabric_graph", "hosts").unwrap();
    let address = lab.management_address(lab.management().name()).unwrap();
    let server = lab
        .management()
        .run(move || Server::bind((address, 8000).into(), &documents, Default::default())?.spawn())
        .unwrap();
    let api = || Config::new(Source::Api(format!("http://{address}:8000")));
    for policy in [Policy::Spread, Policy::Load, Policy::Latency, Policy::Utilization, Policy::Hops] {
        let steer = start(&lab, "host00", Config { policy, ..api() });
        let asked = server.requests();
        let flows =
            ["2001:db8:1001::2", "2001:db8:1002::2", "2001:db8:1003::2"].map(|dst| flow(TO_HOST01.0, dst));
        let holds: Vec<Hold> = flows.iter().map(|&flow| steer.request(flow)).collect();
        let mut spines = Vec::new();
        for hold in &holds {
            let steered = wait(hold).unwrap();
            assert_eq!(steered.origin, "jalapeno");
            assert_eq!(steered.hops.len(), 5, "{policy}: {steered}");
            spines.push(steered.hops[2].clone());
        }
        spines.sort();
        spines.dedup();
        // Both keep the flows of one leaf apart; the others look at nothing but the graph.
        if matches!(policy, Policy::Spread | Policy::Load) {
            assert_eq!(spines.len(), 3, "{policy}: {spines:?}");
        }
        // One probe, one topology, one question per pair.
        assert_eq!(server.requests() - asked, 5, "{policy}");
        drop(holds);
        steer.settle(PATIENCE);
        assert_eq!(routes(&lab, "host00"), "");
    }
    let algo = start(&lab, "host00", Config { algo: 128, ..api() });
    let reason = wait(&algo.request(flow(TO_HOST01.0, TO_HOST01.1))).unwrap_err();
    assert!(reason.contains("algorithm 128"), "{reason}");
    let graph = start(&lab, "host00", Config { graph: "no_such".to_owned(), ..api() });
    let reason = wait(&graph.request(flow(TO_HOST01.0, TO_HOST01.1))).unwrap_err();
    assert!(reason.contains("no_such") && reason.contains("fabric_graph"), "{reason}");
}

#[test]
fn ipv4_rides_the_same_fabric() {
    let lab = lab("2x2-dual-stack");
    let steer = start(&lab, "host00", config("2x2-dual-stack"));
    let hold = steer.request(flow("10.1.0.2", "10.1.3.2"));
    let steered = wait(&hold).unwrap();
    let spine = steered.hops[2].clone();
    let shown = routes(&lab, "host00");
    assert!(shown.starts_with("10.1.3.2  encap seg6 mode encap.red segs 1 [ fc00:0:1200:"), "{shown}");
    let carried = from_leaf00(&lab, || {
        lab.node("host00").unwrap().sh("ping -c 20 -i 0.002 -W 2 -q 10.1.3.2").unwrap();
    });
    assert_only_by(&carried, &spine, 20);
}

#[test]
fn a_route_that_was_taken_away_is_back_before_the_next_connection() {
    let lab = lab("4x4");
    let steer = start(&lab, "host00", config("4x4"));
    let first = steer.request(flow(TO_HOST01.0, TO_HOST01.1));
    wait(&first).unwrap();
    let before = routes(&lab, "host00");
    lab.node("host00").unwrap().sh("ip -6 route flush proto 83").unwrap();
    let second = steer.request(flow(TO_HOST01.0, TO_HOST01.1));
    wait(&second).unwrap();
    assert_eq!(routes(&lab, "host00"), before);
    // A better route of somebody else makes ours idle: that is no steering.
    lab.node("host00")
        .unwrap()
        .sh("ip -6 route add 2001:db8:1002::2/128 via 2001:db8:1000::1 metric 10")
        .unwrap();
    let reason = wait(&steer.request(flow(TO_HOST01.0, "2001:db8:1002::2"))).unwrap_err();
    assert!(reason.contains("don't take the route"), "{reason}");
    steer.settle(PATIENCE);
    assert_eq!(routes(&lab, "host00"), before);
}

#[test]
fn a_destination_is_steered_from_one_source_of_the_host() {
    let lab = lab("4x4");
    lab.node("host00").unwrap().sh("ip -6 addr add 2001:db8:1000::3/64 dev eth1 nodad").unwrap();
    let (one, other) = (start(&lab, "host00", config("4x4")), start(&lab, "host00", config("4x4")));
    let first = one.request(flow(TO_HOST01.0, TO_HOST01.1));
    wait(&first).unwrap();
    for steer in [&one, &other] {
        let reason = wait(&steer.request(flow("2001:db8:1000::3", TO_HOST01.1))).unwrap_err();
        assert!(reason.contains("in use for source 2001:db8:1000::2"), "{reason}");
    }
}
