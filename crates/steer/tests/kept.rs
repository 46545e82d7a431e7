//! What is steered stays steered, whatever becomes of the kernel's routes, the fabric and the path source meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helper functions fail as tests do"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use srv6_fabric::{Flow, Topology, VertexIndex};
use srv6_lab::{Lab, Options};
use srv6_paths::{
    CacheLimits, Candidates, Origin, PathError, PathSource, Query, TopologyFile, read_topology,
};
use srv6_steer::{
    Config, Denials, Hold, LanesHold, LanesStatus, LanesWanted, Pinning, Place, Reason, Serving, Source,
    Status, Steer,
};

const PATIENCE: Duration = Duration::from_secs(60);

const HOST01: &str = "2001:db8:1001::2";

fn fabric() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json")
}

fn lab() -> Lab {
    let (_, topology) = read_topology(&fabric(), "fabric_graph", "hosts").unwrap();
    Lab::up(&topology, &Options::default()).unwrap()
}

fn config() -> Config {
    Config::new(Source::File(fabric()))
}

fn start(lab: &Lab, config: Config) -> Steer {
    lab.node("host00").unwrap().run(move || Steer::start(config)).unwrap()
}

fn to(dst: &str) -> Flow {
    Flow { src: "2001:db8:1000::2".parse().unwrap(), dst: dst.parse().unwrap() }
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "not so: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The spines of lanes, in order; none yet, as long as they are pending.
fn lane_spines(hold: &LanesHold) -> Vec<String> {
    match hold.status() {
        LanesStatus::Ready(lanes) => lanes.lanes.iter().map(|lane| lane.steered.hops[2].clone()).collect(),
        LanesStatus::Pending => Vec::new(),
        LanesStatus::Failed(reason) => panic!("{reason}"),
    }
}

/// Waits for the answer, and gives the spine.
fn spine(hold: &Hold) -> String {
    let mut spine = String::new();
    eventually("the flow is steered", || match hold.status() {
        Status::Ready(steered) => {
            spine = steered.hops[2].clone();
            true
        }
        Status::Pending => false,
        Status::Failed(reason) => panic!("{reason}"),
    });
    spine
}

fn routes(lab: &Lab) -> String {
    let shown = lab.node("host00").unwrap().sh("ip -6 route show table all proto 83").unwrap();
    let mut lines: Vec<&str> = shown.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn drained(names: &[&str]) -> Denials {
    let drained: BTreeSet<Place> = names.iter().map(|name| Place::Switch((*name).to_owned())).collect();
    Denials { drained, ..Denials::default() }
}

#[test]
fn what_somebody_takes_away_or_alters_is_right_again() {
    let lab = lab();
    let host = lab.node("host00").unwrap();
    let gateway = Some("2001:db8:1000::1".parse().unwrap());
    let steer = start(&lab, Config { gateway, ..config() });
    let hold = steer.request(to(HOST01));
    spine(&hold);
    let right = routes(&lab);
    assert_eq!(right.lines().count(), 2, "a flow and its block: {right}");
    for command in [
        "ip -6 route del 2001:db8:1001::2 proto 83",
        "ip -6 route del fc00::/32 proto 83",
        "ip -6 route flush proto 83",
        "ip -6 route replace 2001:db8:1001::2/128 encap seg6 mode encap.red segs fc00:0:1200:1000:1201:fe06:: dev eth1 \
         proto 83 metric 77",
        "ip -6 route replace fc00::/32 via 2001:db8:1000::1 dev eth1 proto 83 metric 77 mtu 1400",
    ] {
        host.sh(command).unwrap();
        let since = Instant::now();
        eventually(command, || routes(&lab) == right);
        // Within a second is what is promised where nothing else runs. The look every 30 s can't be in time for each of these.
        assert!(since.elapsed() < Duration::from_secs(10), "{:?} after {command}", since.elapsed());
    }
    // The link takes all of them along, and the address that they need.
    host.sh("ip link set eth1 down").unwrap();
    assert_eq!(routes(&lab), "");
    lab.heal("host00-leaf00").unwrap();
    eventually("they are back with the link", || routes(&lab) == right);

    // What an operator puts in a route's place is the operator's, for as long as it is there.
    host.sh("ip -6 route replace 2001:db8:1001::2/128 via 2001:db8:1000::1 dev eth1 proto static metric 77")
        .unwrap();
    eventually("it is known that one is missing", || steer.report().wait(PATIENCE).unwrap().incomplete);
    assert!(!steer.report().wait(PATIENCE).unwrap().flows[0].in_place);
    let theirs = host.sh("ip -6 route show proto static").unwrap();
    assert!(theirs.contains("2001:db8:1001::2 via 2001:db8:1000::1"), "{theirs}");
    host.sh("ip -6 route del 2001:db8:1001::2 proto static").unwrap();
    eventually("its place is free again", || routes(&lab) == right);
    drop(hold);
    steer.settle(PATIENCE);
    assert_eq!(routes(&lab), "");
}

#[test]
fn only_what_is_concerned_moves_and_the_last_path_stays() {
    let lab = lab();
    let steer = start(&lab, config());
    let holds = [1, 2, 3].map(|host| steer.request(to(&format!("2001:db8:100{host}::2"))));
    assert_eq!(holds.each_ref().map(spine), ["spine01", "spine02", "spine03"]);
    let before = routes(&lab);
    let moved = steer.deny(drained(&["spine01"])).wait(PATIENCE).unwrap();
    assert_eq!((moved.moved, moved.flows, moved.stranded), (1, vec![to(HOST01)], vec![]));
    let after = routes(&lab);
    let touched = before.lines().zip(after.lines()).filter(|(before, after)| before != after).count();
    assert_eq!((touched, after.lines().count()), (1, 3), "{before}\n{after}");
    assert_ne!(spine(&holds[0]), "spine01");
    // A connection that comes now keeps off it, too.
    let report = steer.report().wait(PATIENCE).unwrap();
    assert_eq!((report.moves[&Reason::Drain], report.flows[0].moves[&Reason::Drain]), (1, 1));

    let all = ["spine00", "spine01", "spine02", "spine03"];
    let stranded = steer.stranded(drained(&all)).wait(PATIENCE).unwrap();
    assert_eq!(stranded.len(), 3);
    let moved = steer.deny(drained(&all)).wait(PATIENCE).unwrap();
    assert_eq!((moved.moved, moved.stranded.len()), (0, 3));
    assert_eq!(routes(&lab), after);
    steer.deny(Denials::default()).wait(PATIENCE).unwrap();
    assert_eq!(routes(&lab), before, "everything has returned");
}

#[test]
fn lanes_leave_what_is_denied_and_return() {
    let lab = lab();
    let steer = start(&lab, config());
    let wanted = LanesWanted { count: 4, pinning: Some(Pinning::Mark), along: Vec::new() };
    let hold = steer.request_lanes(to(HOST01), wanted);
    let spines = || lane_spines(&hold);
    eventually("there are lanes", || !spines().is_empty());
    let (before, own) = (routes(&lab), spines());
    let moved = steer.deny(drained(&["spine02", "spine03"])).wait(PATIENCE).unwrap();
    assert_eq!((moved.moved, moved.stranded), (2, vec![]));
    let left = routes(&lab);
    assert!(!left.contains(":1002:1201:") && !left.contains(":1003:1201:"), "{left}");
    assert!(spines().iter().all(|spine| ["spine00", "spine01"].contains(&spine.as_str())), "{:?}", spines());
    assert_eq!(steer.stranded(drained(&["leaf01"])).wait(PATIENCE).unwrap(), [to(HOST01)]);
    steer.deny(Denials::default()).wait(PATIENCE).unwrap();
    assert_eq!((spines(), routes(&lab)), (own, before));
}

#[test]
fn lanes_opened_during_a_drain_take_the_drained_path_afterwards() {
    let lab = lab();
    let steer = start(&lab, config());
    for pinning in [Pinning::Mark, Pinning::Ports, Pinning::RoutingHeader] {
        steer.deny(drained(&["spine01"])).wait(PATIENCE).unwrap();
        let wanted = LanesWanted { count: 4, pinning: Some(pinning), along: Vec::new() };
        let hold = steer.request_lanes(to(HOST01), wanted);
        let spines = || -> BTreeSet<String> { lane_spines(&hold).into_iter().collect() };
        eventually("there are lanes", || !spines().is_empty());
        assert_eq!(spines(), ["spine00", "spine02", "spine03"].map(String::from).into(), "{pinning}");
        assert!(!routes(&lab).contains(":1001:1201:"), "{}", routes(&lab));
        let lifted = steer.deny(Denials::default()).wait(PATIENCE).unwrap();
        assert_eq!((lifted.moved, spines().len()), (1, 4), "{pinning}: {:?}", lane_spines(&hold));
        drop(hold);
        steer.settle(PATIENCE);
        assert_eq!(routes(&lab), "");
    }
}

#[test]
fn acknowledgements_follow_the_peer_to_nothing_that_is_drained_here() {
    let lab = lab();
    let steer = start(&lab, config());
    let peers = |spine: &str| ["host01", "leaf01", spine, "leaf00", "host00"].map(String::from).to_vec();
    let wanted = LanesWanted { count: 1, pinning: Some(Pinning::Mark), along: vec![peers("spine02")] };
    let hold = steer.request_lanes(to(HOST01), wanted);
    eventually("it goes along", || lane_spines(&hold) == ["spine02"]);
    steer.deny(drained(&["spine01"])).wait(PATIENCE).unwrap();
    hold.follow(0, peers("spine01"));
    steer.settle(PATIENCE);
    assert_eq!(lane_spines(&hold), ["spine02"]);
    steer.deny(Denials::default()).wait(PATIENCE).unwrap();
    hold.follow(0, peers("spine01"));
    eventually("it follows", || lane_spines(&hold) == ["spine01"]);
}

#[test]
fn a_fabric_that_shrinks_is_followed_and_one_that_cannot_be_is_not() {
    let lab = lab();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fabric.json");
    let whole = std::fs::read_to_string(fabric()).unwrap();
    std::fs::write(&file, &whole).unwrap();
    let steer = start(&lab, Config::new(Source::File(file.clone())));
    let hold = steer.request(to(HOST01));
    assert_eq!(spine(&hold), "spine01");
    let open = steer
        .request_lanes(to(HOST01), LanesWanted { count: 3, pinning: Some(Pinning::Mark), along: Vec::new() });
    let lanes = || lane_spines(&open);
    eventually("there are lanes", || !lanes().is_empty());
    let own = lanes();
    let lanes_routes =
        || lab.node("host00").unwrap().sh("ip -6 route show table all proto 83 | sort").unwrap();
    let before = lanes_routes();
    assert!(own.contains(&"spine01".to_owned()), "{own:?}");
    let without = |part: &str| {
        let mut documents: serde_json::Value = serde_json::from_str(&whole).unwrap();
        for list in
            documents.as_object_mut().unwrap().values_mut().filter_map(serde_json::Value::as_array_mut)
        {
            list.retain(|document| !document.to_string().contains(part));
        }
        documents.to_string()
    };
    let refresh = |text: &str| {
        std::fs::write(&file, text).unwrap();
        steer.refresh().wait(PATIENCE).unwrap()
    };
    assert_eq!(refresh(&without("spine01")).moved, 2, "the flow and a lane");
    let shrunk = spine(&hold);
    assert_ne!(shrunk, "spine01");
    let left: BTreeSet<String> = lanes().into_iter().collect();
    assert_eq!((left.len(), left.contains("spine01")), (3, false), "to the spare, and no other one moved");
    assert!(!lanes_routes().contains(":1001:1201:"), "{}", lanes_routes());
    let kept = routes(&lab);
    // Cut off, a lie without the peer, and no fabric at all: the path in use may still work.
    for text in [&whole[..whole.len() / 2], &without("host01"), "{}", ""] {
        assert_eq!(refresh(text).moved, 0);
        assert_eq!((spine(&hold), routes(&lab)), (shrunk.clone(), kept.clone()));
    }
    assert_eq!(refresh(&whole).moved, 2);
    assert_eq!(spine(&hold), "spine01");
    assert_eq!((lanes(), lanes_routes()), (own, before));
    let moves = steer.report().wait(PATIENCE).unwrap().moves;
    assert_eq!((moves[&Reason::Refresh], moves[&Reason::Return]), (3, 1));
}

/// A path source that stops answering.
#[derive(Debug)]
struct Stalling {
    file: TopologyFile,
    stalls: Arc<AtomicBool>,
}

impl PathSource for Stalling {
    fn graph(&self) -> &str {
        self.file.graph()
    }

    fn origin(&self) -> Origin {
        self.file.origin()
    }

    fn topology(&mut self, deadline: Instant) -> Result<Arc<Topology>, PathError> {
        self.file.topology(deadline)
    }

    fn candidates(
        &mut self,
        topology: &Topology,
        source: VertexIndex,
        destination: VertexIndex,
        query: Query,
        deadline: Instant,
    ) -> Result<Candidates, PathError> {
        while self.stalls.load(Ordering::Relaxed) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.file.candidates(topology, source, destination, query, deadline)
    }
}

#[test]
fn a_path_source_that_hangs_delays_no_move_and_no_repair() {
    let lab = lab();
    let stalls = Arc::new(AtomicBool::new(false));
    let config = Config { deadline: 4 * PATIENCE, ..config() };
    let file = TopologyFile::new(fabric(), config.graph.clone(), config.hosts.clone());
    let source = Box::new(Stalling { file, stalls: Arc::clone(&stalls) });
    let serving = Serving { source, limits: CacheLimits::default() };
    let steer = lab.node("host00").unwrap().run(move || Steer::serve(config, serving)).unwrap();
    let first = steer.request(to(HOST01));
    assert_eq!(spine(&first), "spine01");
    stalls.store(true, Ordering::Relaxed);
    let second = steer.request(to("2001:db8:1002::2"));
    let moved = steer.deny(drained(&["spine01"])).wait(PATIENCE).unwrap();
    assert_eq!(moved.moved, 1);
    let right = routes(&lab);
    lab.node("host00").unwrap().sh("ip -6 route flush proto 83").unwrap();
    eventually("it is back", || routes(&lab) == right);
    // One more connection of the flow that is steered needs no answer either.
    assert_ne!(spine(&steer.request(to(HOST01))), "spine01");
    assert!(matches!(second.status(), Status::Pending));
    stalls.store(false, Ordering::Relaxed);
    assert_eq!(spine(&second), "spine02");
}
