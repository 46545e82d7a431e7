//! `srv6ctl connections`, a third process, about a job that runs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use srv6_lab::Fault;

use crate::scene::Scene;
use crate::{ENDLESS, LANES};

const PATIENCE: Duration = Duration::from_secs(120);

fn listed(scene: &Scene, host: &str, format: &str) -> String {
    let command = format!("{} connections {format}", env!("CARGO_BIN_EXE_srv6ctl"));
    scene.lab.node(host).unwrap().sh(&command).unwrap()
}

/// Number of a host's only rank, and one of its connections, once there is one as wanted.
fn connection(scene: &Scene, host: &str, wanted: impl Fn(&Value) -> bool) -> (u64, Value) {
    let started = Instant::now();
    loop {
        // Of a process that has no time to answer now there are no connections in it.
        let all: Value = serde_json::from_str(&listed(scene, host, "--json")).unwrap();
        let processes = all["processes"].as_array().unwrap();
        assert!(processes.len() <= 1, "{all}");
        for process in processes {
            let mut connections = process["connections"].as_array().unwrap().iter();
            if let Some(connection) = connections.find(|connection| wanted(connection)) {
                return (process["pid"].as_u64().unwrap(), connection.clone());
            }
        }
        assert!(started.elapsed() < PATIENCE, "{host} has no connection as it should: {all}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn subflows(connection: &Value) -> &[Value] {
    connection["subflows"].as_array().unwrap()
}

fn bytes(connection: &Value) -> u64 {
    subflows(connection).iter().map(|subflow| subflow["bytes"].as_u64().unwrap()).sum()
}

fn paths(connection: &Value) -> Vec<String> {
    subflows(connection).iter().map(|subflow| subflow["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_third_process_sees_every_path_of_a_job_and_which_one_has_died() {
    let scene = Scene::raise("connections");
    let hosts = scene.hosts();
    let (near, far) = (&hosts[0], &hosts[1]);
    let mut job = scene.start("job", 29500, &hosts, &ENDLESS, &[("SRV6_STRICT", "1")]);
    for host in &hosts {
        scene.await_routes(host, LANES);
    }
    let everywhere = |connection: &Value| {
        connection["direction"] == "send"
            && subflows(connection).iter().all(|s| s["bytes"].as_u64() > Some(0))
    };
    let (pid, sending) = connection(&scene, near, everywhere);
    assert_eq!(pid, u64::from(job.pid(0)));
    let share: f64 = subflows(&sending).iter().map(|subflow| subflow["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-9, "{sending}");
    // The peer knows the connection by the same number, and its subflows by the same paths.
    let sent = bytes(&sending);
    let same = |other: &Value| other["connection"] == sending["connection"];
    let (_, receiving) = connection(&scene, far, |connection| same(connection) && bytes(connection) >= sent);
    assert_eq!(receiving["direction"], "receive");
    let spines: BTreeSet<String> =
        paths(&sending).iter().map(|path| path.split(" > ").nth(2).unwrap().to_owned()).collect();
    assert_eq!((subflows(&sending).len(), spines.len()), (4, 4), "{sending}");
    assert_eq!(paths(&receiving), paths(&sending));
    let table = listed(&scene, near, "");
    let rows = table.lines().filter(|row| row.contains(sending["connection"].as_str().unwrap()));
    let rows: Vec<&str> = rows.collect();
    assert_eq!(rows.len(), 4, "{table}");
    assert!(rows[2].contains(" send ") && rows[2].contains(&format!(" {} ", paths(&sending)[2])), "{table}");

    scene.lab.fail("spine01", Fault::Silent).unwrap();
    let given_up = |subflow: &Value| {
        subflow["path"].as_str().unwrap().contains(" > spine01 > ")
            && subflow["state"] != "good"
            && subflow["changes"].as_u64() > Some(0)
    };
    connection(&scene, near, |connection| same(connection) && subflows(connection).iter().any(given_up));
    assert!(job.is_running());
    job.kill(0);
    job.wait(crate::LIMIT);
    for host in &hosts {
        assert_eq!(
            listed(&scene, host, "").trim_end(),
            "no process here has multipath connections that it tells of"
        );
        let sockets = scene.lab.node(host).unwrap().sh("cat /proc/net/unix").unwrap();
        assert!(!sockets.contains("srv6/connections"), "{sockets}");
    }
}

/// Connections begin without the subflow over the dead spine, and get it later. Of two connections between two hosts it is the
/// first subflow of one and the last of the other.
#[test]
fn a_job_that_begins_beside_a_dead_spine_has_it_when_it_is_back() {
    let scene = Scene::raise("begins");
    let hosts = &scene.hosts()[..2];
    scene.lab.fail("spine01", Fault::Silent).unwrap();
    let mut job = scene.start("job", 29500, hosts, &ENDLESS, &[("SRV6_STRICT", "1")]);
    let missing = |connection: &Value| {
        let subflows = subflows(connection);
        let missing: Vec<&Value> = subflows.iter().filter(|subflow| subflow["bytes"] == 0).collect();
        missing.len() == 1 && missing[0]["state"] == "down" && subflows.len() == 4
    };
    for host in hosts {
        for direction in ["send", "receive"] {
            connection(&scene, host, |one| one["direction"] == direction && missing(one));
        }
    }
    scene.lab.heal("spine01").unwrap();
    for host in hosts {
        for (direction, number) in [("send", 0), ("send", 3), ("receive", 0), ("receive", 3)] {
            let healed = |one: &Value| {
                let subflow = &subflows(one)[number];
                one["direction"] == direction
                    && subflow["path"].as_str().unwrap().contains(" > spine01 > ")
                    && subflow["state"] == "good"
                    && subflow["bytes"].as_u64() > Some(0)
            };
            connection(&scene, host, healed);
        }
    }
    assert!(job.is_running());
    job.kill(0);
    let outcome = job.wait(crate::LIMIT);
    for log in &outcome.logs {
        assert!(!log.contains("unsteered: "), "{log}");
    }
}
