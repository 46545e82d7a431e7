//! Whole jobs in the lab: one process per host, the plugin over multipath, and the kernel (`ip`, link counters,
//! tshark) as judge.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

mod scene;

use std::time::Duration;

use scene::Scene;
use srv6_pathserver::{Faults, FaultyReply};

const LIMIT: Duration = Duration::from_secs(300);

/// Enough work that there is time to look at a job while it runs.
const LONG: [&str; 8] = ["-b", "1M", "-e", "1M", "-n", "400", "-w", "1"];
const SHORT: [&str; 8] = ["-b", "1M", "-e", "1M", "-n", "2", "-w", "1"];
/// More than there is time for: such a job is killed.
const ENDLESS: [&str; 8] = ["-b", "1M", "-e", "1M", "-n", "1000000", "-w", "1"];

#[test]
fn every_flow_of_a_job_takes_the_path_that_it_was_given() {
    let scene = Scene::raise("steered");
    let hosts = scene.hosts();
    // The flow of host00 goes to host01: rank 0 of its leaf, leaves 0 and 1, so spine01.
    let capture = scene.capture("leaf00", "spine01");
    let before = scene.lab.links().unwrap();
    let job = scene.start("job", 29500, &hosts, &LONG, &[("SRV6_STRICT", "1")]);
    let mut shown = Vec::new();
    for host in &hosts {
        shown.push(scene.await_route(host));
    }
    let outcome = job.wait(LIMIT);
    outcome.assert_right();
    let captured = capture.finish();

    let links = scene.lab.links().unwrap();
    let carried = |from: &str, to: &str| -> f64 {
        let sum = |list: &[srv6_lab::LinkCounters]| -> u64 {
            list.iter().filter(|l| l.from == from && (to.is_empty() || l.to == to)).map(|l| l.bytes).sum()
        };
        (sum(&links) - sum(&before)) as f64
    };
    for (rank, host) in hosts.iter().enumerate() {
        let lines = outcome.connections(rank);
        let line = lines.iter().find(|l| l.contains(" carrier ")).unwrap_or_else(|| panic!("{lines:?}"));
        let (path, rest) = line.split_once(": path ").unwrap().1.split_once(" carrier ").unwrap();
        let carrier = rest.split(' ').next().unwrap();
        assert!(rest.contains("from jalapeno") && rest.ends_with(" ms"), "{line}");
        assert!(shown[rank].contains(&format!("segs 1 [ {carrier} ]")), "{} {line}", shown[rank]);
        assert_eq!(shown[rank].lines().count(), 1, "one destination, one route: {}", shown[rank]);
        let hops: Vec<&str> = path.split(" > ").collect();
        assert_eq!(hops.len(), 5, "{line}");
        let sent = carried(host, "");
        for pair in hops.windows(2) {
            let share = carried(pair[0], pair[1]) / sent;
            assert!(share > 0.9, "{} > {} carried {share:.2} of what {host} sent", pair[0], pair[1]);
        }
    }
    // The leaf's uSID is gone by then: the carrier has been shifted once.
    let wanted = "fc00:0:1001:1201:fe06::,2001:db8:1001::2";
    assert!(captured.lines().any(|l| l == wanted), "no packet of the flow in its tunnel:\n{captured}");
    scene.assert_no_routes();
}

#[test]
fn a_dead_api_delays_a_job_by_the_deadline_and_no_more() {
    let scene = Scene::raise("dead");
    let hosts = scene.hosts();
    let dead = [("JALAPENO_API_ENDPOINT", "http://198.18.0.1:9"), ("SRV6_CONNECT_TIMEOUT_MS", "1000")];
    let outcome = scene.start("lenient", 29500, &hosts, &SHORT, &dead).wait(LIMIT);
    outcome.assert_right();
    for rank in 0..hosts.len() {
        let lines = outcome.connections(rank);
        let line = lines.iter().find(|l| l.contains("unsteered")).unwrap_or_else(|| panic!("{lines:?}"));
        assert!(line.contains("2001:db8:100") && line.contains("can't be reached"), "{line}");
    }
    let strict = [dead[0], dead[1], ("SRV6_STRICT", "1")];
    let outcome = scene.start("strict", 29501, &hosts, &SHORT, &strict).wait(LIMIT);
    assert!(outcome.statuses.iter().all(|s| !s.success()));
    assert!(outcome.logs.iter().any(|l| l.contains("can't be reached")), "{}", outcome.logs[0]);
    scene.assert_no_routes();
}

#[test]
fn slow_lying_and_broken_answers_never_hang_a_job() {
    let scene = Scene::raise("faults");
    let hosts = scene.hosts();
    let reply = |body: &str| {
        let body = body.as_bytes().to_vec();
        Some(FaultyReply { status: 200, content_type: "application/json".to_owned(), body })
    };
    // Nobody waits for a hung server's answer.
    let hung = LIMIT * 2;
    for (port, name, faults, steered) in [
        (29500, "slow", Faults { delay: Duration::from_millis(400), ..Faults::default() }, true),
        (29501, "hung", Faults { delay: hung, ..Faults::default() }, false),
        (29502, "garbage", Faults { reply: reply("{\"found\": tru"), ..Faults::default() }, false),
        (29503, "down", Faults { reply: Some(FaultyReply::database_down()), ..Faults::default() }, false),
        (29504, "cut", Faults { cut_after: Some(100), ..Faults::default() }, false),
    ] {
        scene.server.set_faults(faults);
        let patience = if steered { "60000" } else { "3000" };
        let outcome =
            scene.start(name, port, &hosts, &SHORT, &[("SRV6_CONNECT_TIMEOUT_MS", patience)]).wait(LIMIT);
        outcome.assert_right();
        for rank in 0..hosts.len() {
            let lines = outcome.connections(rank);
            let found = lines.iter().any(|l| l.contains(if steered { " carrier " } else { "unsteered" }));
            assert!(found, "{name}: {lines:?}");
        }
        scene.assert_no_routes();
    }
}

#[test]
fn a_killed_rank_ends_the_job_and_its_route_goes_with_gc() {
    let scene = Scene::raise("killed");
    let hosts = scene.hosts();
    let mut job = scene.start("job", 29500, &hosts, &ENDLESS, &[]);
    for host in &hosts {
        scene.await_route(host);
        scene.await_bytes(host, 10_000_000);
    }
    job.kill(1);
    let outcome = job.wait(LIMIT);
    assert!(outcome.statuses.iter().all(|s| !s.success()));
    for (rank, host) in hosts.iter().enumerate() {
        let left = scene.routes(host);
        if rank == 1 {
            assert_eq!(left.lines().count(), 1, "SIGKILL leaves the route: {left}");
        }
        let gc = format!("{} gc", env!("CARGO_BIN_EXE_srv6ctl"));
        scene.lab.node(host).unwrap().sh(&gc).unwrap();
    }
    scene.assert_no_routes();
}

#[test]
fn two_jobs_on_the_same_hosts_share_routes() {
    let scene = Scene::raise("two");
    let hosts = scene.hosts();
    let mut long = scene.start("long", 29500, &hosts, &ENDLESS, &[]);
    for host in &hosts {
        scene.await_route(host);
    }
    let list = || {
        let routes = format!("{} routes --json", env!("CARGO_BIN_EXE_srv6ctl"));
        let text = scene.lab.node("host00").unwrap().sh(&routes).unwrap();
        let list: serde_json::Value = serde_json::from_str(&text).unwrap();
        list.as_array().unwrap().iter().map(|r| r["holders"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let before = scene.routes("host00");
    let mut short = scene.start("short", 29501, &hosts, &LONG, &[]);
    while list() != [2] {
        assert!(short.is_running(), "the jobs never shared the route: {:?}", list());
    }
    short.wait(LIMIT).assert_right();
    assert_eq!((scene.routes("host00"), list()), (before, vec![1]), "the route of the job that goes on");
    long.kill(0);
    assert!(long.wait(LIMIT).statuses.iter().all(|s| !s.success()));
}

#[test]
fn a_smaller_mtu_inside_the_fabric_does_not_stall_a_job() {
    // Only between switches: neither hosts nor their leaves' ports know of it.
    let scene = Scene::raise_with("mtu", |document| {
        let end = |name: &str| document.get(name).and_then(|id| id.as_str()).unwrap_or_default();
        let between_switches = ["_from", "_to"].iter().all(|name| end(name).starts_with("fabric_node/"));
        if between_switches {
            document.insert("mtu".to_owned(), 1400.into());
        }
    });
    let hosts = scene.hosts();
    let job = scene.start("job", 29500, &hosts, &SHORT, &[("SRV6_STRICT", "1")]);
    let shown = scene.await_route(&hosts[0]);
    assert!(shown.contains(" mtu 1400 "), "{shown}");
    job.wait(LIMIT).assert_right();
    scene.assert_no_routes();
}
