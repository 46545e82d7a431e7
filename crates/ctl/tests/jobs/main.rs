//! Whole jobs in the lab: one process per host, the plugin over multipath, and the kernel (`ip`, link counters,
//! tshark) as judge.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

mod connections;
mod scene;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use scene::Scene;
use srv6_pathserver::{Faults, FaultyReply};

const LIMIT: Duration = Duration::from_secs(300);

/// Enough work that there is time to look at a job while it runs.
const LONG: [&str; 8] = ["-b", "1M", "-e", "1M", "-n", "400", "-w", "1"];
const SHORT: [&str; 8] = ["-b", "1M", "-e", "1M", "-n", "2", "-w", "1"];
/// More than there is time for: such a job is killed.
const ENDLESS: [&str; 8] = ["-b", "1M", "-e", "1M", "-n", "1000000", "-w", "1"];

/// Encapsulating routes of a rank in a ring: four lanes to the next, and four back to the one before.
const LANES: usize = 8;

#[test]
fn every_flow_of_a_job_takes_the_path_that_it_was_given() {
    let scene = Scene::raise("steered");
    let hosts = scene.hosts();
    // The flow of host00 goes to host01: rank 0 of its leaf, leaves 0 and 1, so spine01.
    let capture = scene.capture("leaf00", "spine01");
    let before = scene.lab.links().unwrap();
    // As many lanes as there are paths: none can be moved to another, whatever the machine does.
    let job = scene.start("job", 29500, &hosts, &LONG, &[("SRV6_STRICT", "1")]);
    let mut shown = Vec::new();
    for host in &hosts {
        shown.push(scene.await_routes(host, LANES));
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
        let next = &hosts[(rank + 1) % hosts.len()];
        let data = |line: &&&str| line.contains(&format!(" > {next} carrier "));
        let line = lines.iter().find(data).unwrap_or_else(|| panic!("{lines:?}"));
        let (said, lanes) = line.split_once(": 4 lanes by mark, 0 spare; ").unwrap();
        assert!(said.starts_with("2001:db8:"), "{line}");
        let (mut spines, mut tables) = (BTreeSet::new(), BTreeSet::new());
        for lane in lanes.split("; ") {
            let (path, carrier) = lane.split_once(": ").unwrap().1.split_once(" carrier ").unwrap();
            let hops: Vec<&str> = path.split(" > ").collect();
            assert_eq!((hops.len(), hops[0], hops[4]), (5, host.as_str(), next.as_str()), "{line}");
            let route = |route: &&String| route.contains(&format!("segs 1 [ {carrier} ]"));
            let routes: Vec<&String> = shown[rank].iter().filter(route).collect();
            assert_eq!(routes.len(), 1, "{:?} {line}", shown[rank]);
            tables.insert(routes[0].split_once(" table ").unwrap().1.split(' ').next().unwrap());
            spines.insert(hops[2]);
            assert!(carried(hops[1], hops[2]) > 0.0 && carried(hops[2], hops[3]) > 0.0, "{line}");
        }
        assert_eq!((spines.len(), tables.len()), (4, 4), "{line} {:?}", shown[rank]);
    }
    let switched: f64 = (0..4).map(|spine| carried(&format!("spine{spine:02}"), "")).sum();
    let sent: f64 = hosts.iter().map(|host| carried(host, "")).sum();
    assert!(switched > 0.9 * sent, "{switched} of {sent}");
    // The leaf's uSID is gone by then: the carrier has been shifted once.
    let wanted = "fc00:0:1001:1201:fe06::,2001:db8:1001::2";
    assert!(captured.lines().any(|l| l == wanted), "no packet of the flow in its tunnel:\n{captured}");
    scene.assert_no_routes();
}

/// The README's first command, but for building and installing.
#[test]
fn the_demo_proves_every_lane_and_leaves_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_srv6ctl"));
    let demo = demo.args(["demo", "--size", "2M", "--trials", "1", "--plugin"]).arg(scene::plugin());
    // A setting that somebody has exported is none of the demo's.
    let output = demo.env("SRV6_PATHS", "nonsense").current_dir(root).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let lanes = said.lines().filter(|line| line.starts_with("  lane ")).count();
    assert_eq!(lanes, 16, "four of each of four flows: {said}");
    for wanted in ["no route is left after the job", "plain ECMP", "steered, 4 paths"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn a_dead_api_delays_a_job_by_the_deadline_and_no_more() {
    let scene = Scene::raise("dead");
    let hosts = scene.hosts();
    let dead = [("JALAPENO_API_ENDPOINT", "http://198.18.0.1:9"), ("SRV6_CONNECT_TIMEOUT_MS", "1000")];
    let outcome = scene.start("lenient", 29500, &hosts, &SHORT, &dead).wait(LIMIT);
    outcome.assert_right();
    for rank in 0..hosts.len() {
        let lines = outcome.unsteered(rank);
        let line = lines.first().unwrap_or_else(|| panic!("{}", outcome.logs[rank]));
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
            let pinned = outcome.connections(rank).iter().any(|line| line.contains(" carrier "));
            let unsteered = !outcome.unsteered(rank).is_empty();
            assert_eq!((pinned, unsteered), (steered, !steered), "{name}: {}", outcome.logs[rank]);
        }
        scene.assert_no_routes();
    }
}

#[test]
fn a_killed_rank_ends_the_job_and_its_routes_go_with_gc() {
    let scene = Scene::raise("killed");
    let hosts = scene.hosts();
    let mut job = scene.start("job", 29500, &hosts, &ENDLESS, &[]);
    for host in &hosts {
        scene.await_routes(host, LANES);
        scene.await_bytes(host, 10_000_000);
    }
    job.kill(1);
    let outcome = job.wait(LIMIT);
    assert!(outcome.statuses.iter().all(|s| !s.success()));
    for (rank, host) in hosts.iter().enumerate() {
        if rank == 1 {
            let left = scene.routes(host);
            assert_eq!(left.matches(" encap seg6 ").count(), LANES, "SIGKILL leaves the routes: {left}");
            assert!(!scene.rules(host).is_empty(), "SIGKILL leaves the rules");
        }
        scene.gc(host);
    }
    scene.assert_no_routes();
}

#[test]
fn two_jobs_on_the_same_hosts_share_routes() {
    let scene = Scene::raise("two");
    let hosts = scene.hosts();
    let mut long = scene.start("long", 29500, &hosts, &ENDLESS, &[]);
    for host in &hosts {
        scene.await_routes(host, LANES);
    }
    let list = || {
        let routes = format!("{} routes --json", env!("CARGO_BIN_EXE_srv6ctl"));
        let text = scene.lab.node("host00").unwrap().sh(&routes).unwrap();
        let list: serde_json::Value = serde_json::from_str(&text).unwrap();
        list.as_array().unwrap().iter().map(|r| r["holders"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let before = scene.routes("host00");
    let mut short = scene.start("short", 29501, &hosts, &LONG, &[]);
    while list().iter().any(|holders| *holders != 2) {
        assert!(short.is_running(), "the jobs never shared their routes: {:?}", list());
    }
    short.wait(LIMIT).assert_right();
    assert_eq!(scene.routes("host00"), before, "the routes of the job that goes on");
    let alone = list();
    assert!(alone.len() >= LANES && alone.iter().all(|holders| *holders == 1), "{alone:?}");
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
    let shown = scene.await_routes(&hosts[0], LANES);
    assert!(shown.iter().all(|route| route.contains(" mtu 1400 ")), "{shown:?}");
    job.wait(LIMIT).assert_right();
    scene.assert_no_routes();
}
