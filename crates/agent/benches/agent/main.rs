//! What the agent costs with many flows: registration to ready, memory, what a restart touches, and how long a dead spine and a
//! drained one have flows; and what it adds to a connect of the plugin.
//!
//! `cargo bench -p srv6-agent --bench agent [-- FLOWS]`, 10 000 by 64 processes without a number. In a lab host of the 4x4 fabric; the
//! agent is `srv6d` itself, and each client a process. Prints one JSON object.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a measurement that goes wrong ends with the reason; results go to stdout"
)]

mod clients;
mod connects;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clients::{CLIENT, Clients};
use serde_json::{Value, json};
use srv6_lab::{Fault, Lab, Options};
use srv6_steer::{AgentSession, Attachment};

/// Processes that register.
const PROCESSES: usize = 64;

pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, CLIENT, socket, first, count] =
        arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice()
    {
        return clients::run(socket, first.parse().unwrap(), count.parse().unwrap());
    }
    if let [_, connects::RANK, role] = arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        return connects::run(*role == "listen");
    }
    // Cargo adds a flag of its own.
    let flows: usize = arguments.iter().skip(1).find_map(|text| text.parse().ok()).unwrap_or(10_000);
    let (_, topology) = srv6_paths::read_topology(&fabric(), "fabric_graph", "hosts").unwrap();
    let lab = Lab::up(&topology, &Options::default()).unwrap();
    let host = lab.node("host00").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");

    let mut agent = start(&socket);
    let connects = connects::measure(&lab, &socket);
    let clients = Clients::start(host, &socket, PROCESSES, flows);
    let mut took: Vec<f64> = clients.took_ms();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let (rss_mib, cpu_s) = (rss_mib(agent.id()), cpu_s(agent.id()));
    let before = routes(host);
    assert_eq!(before.lines().count(), flows, "each flow has a route");

    let mut monitor =
        host.command("ip").args(["-6", "monitor", "route"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = clients::lines(monitor.stdout.take().unwrap());
    // It listens from here on.
    heard(host, &lines);
    agent.kill().unwrap();
    agent.wait().unwrap();
    let restarted = Instant::now();
    let mut agent = start(&socket);
    while ready(&socket) < flows {
        assert!(restarted.elapsed() < PATIENCE, "not all flows are registered again");
        std::thread::sleep(Duration::from_millis(20));
    }
    let adopt_ms = restarted.elapsed().as_secs_f64() * 1e3;
    let touched = heard(host, &lines);
    assert_eq!(routes(host), before);

    let resteer_ms = resteered(&lab, &lines, &before);
    let drained = ask(&socket, &json!({ "command": "drain", "place": "spine01", "patience_ms": 60_000 }));
    let drain_ms = drained[0]["moved_after_ms"].as_f64().unwrap_or_else(|| panic!("{drained:?}"));
    println!(
        "{}",
        json!({
            "flows": flows,
            "processes": PROCESSES,
            "ready_p50_ms": at(0.5),
            "ready_p99_ms": at(0.99),
            "rss_mib": rss_mib,
            "cpu_s": cpu_s,
            "restart_routes_touched": touched,
            "adopt_ms": adopt_ms,
            "resteer_ms": resteer_ms,
            "drain_ms": drain_ms,
            "drain_moved": drained[0]["moved"],
            "connect": connects,
        })
    );
    drop(clients);
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
}

/// Lets a spine die silently, and gives the milliseconds until the last of the flows over it has another route.
fn resteered(lab: &Lab, lines: &mpsc::Receiver<String>, routes: &str) -> f64 {
    let over = routes.lines().filter(|route| route.contains(":1001:")).count();
    assert!(over > 0, "no flow goes over it");
    let moved = |what: &str| {
        let mut left = over;
        while left > 0 {
            let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{left} flows are not {what}"));
            left -= usize::from(line.contains("proto 83") && !line.contains("Deleted"));
        }
    };
    // A way counts as good after five answers, and only what was good can go bad.
    std::thread::sleep(PROBED);
    let died = Instant::now();
    lab.fail("spine01", Fault::Silent).unwrap();
    moved("moved");
    let took = died.elapsed().as_secs_f64() * 1e3;
    lab.heal("spine01").unwrap();
    moved("back");
    took
}

/// More than five rounds of probes.
const PROBED: Duration = Duration::from_secs(5);

pub(crate) fn fabric() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json")
}

/// An agent that answers.
fn start(socket: &Path) -> Child {
    let child = Command::new(env!("CARGO_BIN_EXE_srv6d"))
        .arg("--srv6-topology")
        .arg(fabric())
        .arg("--srv6-agent-socket")
        .arg(socket)
        .arg("--srv6d-state")
        .arg(socket.with_extension("drained"))
        .args(["--srv6d-http", "off", "--srv6d-hints", "off", "--srv6-log", "warn"])
        .args(["--srv6-connect-timeout-ms", "300000"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while AgentSession::open(&Attachment::new(socket.to_owned())).is_err() {
        assert!(started.elapsed() < PATIENCE, "the agent doesn't answer");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

fn ask(socket: &Path, order: &Value) -> Vec<Value> {
    let attachment = Attachment { deadline: PATIENCE, ..Attachment::new(socket.to_owned()) };
    let mut answers = Vec::new();
    let each = |json: &str| answers.push(serde_json::from_str(json).unwrap());
    AgentSession::open(&attachment).unwrap().control(&order.to_string(), Some(PATIENCE), each).unwrap();
    answers
}

/// Registrations that are steered.
fn ready(socket: &Path) -> usize {
    let status = ask(socket, &json!({ "command": "status" }));
    let sessions = status[0]["sessions"].as_array().unwrap();
    sessions.iter().filter_map(|session| session["ready"].as_u64()).map(|n| n as usize).sum()
}

fn routes(host: &srv6_lab::Node) -> String {
    host.sh("ip -6 route show proto 83").unwrap()
}

/// How many changes of our routes the monitor has told, once it has told all.
fn heard(host: &srv6_lab::Node, lines: &mpsc::Receiver<String>) -> usize {
    let mut ours = 0;
    let started = Instant::now();
    loop {
        host.sh("ip -6 route add 2001:db8:9::/64 dev eth1 && ip -6 route del 2001:db8:9::/64").unwrap();
        while let Ok(line) = lines.recv_timeout(Duration::from_millis(200)) {
            if line.contains("Deleted 2001:db8:9::/64") {
                return ours;
            }
            ours += usize::from(line.contains("proto 83"));
        }
        assert!(started.elapsed() < PATIENCE, "the monitor hears nothing");
    }
}

fn rss_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS");
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// User and system time so far (proc(5), `stat` fields 14 and 15).
fn cpu_s(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().map(|&at| fields[at].parse::<f64>().unwrap()).sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}
