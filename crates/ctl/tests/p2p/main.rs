//! `srv6ctl bench p2p` as its users start it: two processes, over the contract-checking net and over the plugin.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    reason = "tests: a panic is the failure"
)]

mod etcd;
mod lab;
mod process;
#[path = "../../../netdrive/tests/strict/mod.rs"]
mod strict;

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use process::{Ended, Process, free_port, own_plugin, p2p};

/// Target and initiator on this host.
struct Two {
    plugin: PathBuf,
    port: u16,
    environment: Vec<(&'static str, &'static str)>,
}

impl Two {
    fn new(plugin: PathBuf) -> Self {
        Self { plugin, port: free_port(), environment: Vec::new() }
    }

    /// This repository's plugin, over loopback and its own transport.
    fn own() -> Self {
        let environment =
            vec![("SRV6_TRANSPORT", "multipath"), ("SRV6_MODE", "off"), ("NCCL_SOCKET_IFNAME", "lo")];
        Self { environment, ..Self::new(own_plugin()) }
    }

    fn start(&self, mode: &str, arguments: &[&str]) -> Process {
        let mut command = p2p(&self.plugin);
        command.args(["--mode", mode, "--ip", "127.0.0.1", "--port", &self.port.to_string()]).args(arguments);
        Process::start(command.envs(self.environment.iter().copied()))
    }

    /// Runs both to their ends; the target is told nothing.
    fn run(&self, arguments: &[&str]) -> (Ended, Ended) {
        let target = self.start("target", &[]);
        let initiator = self.start("initiator", arguments);
        (target.end(), initiator.end())
    }
}

/// What a script of the NIXL benchmark's users reads from it: size, GB/s, mean, p50, p95, p99.
fn parsed(output: &str) -> Vec<Vec<f64>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/p2p/parse.py");
    let mut python = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    python.stdin.take().unwrap().write_all(output.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn json_file(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("p2p-{name}-{}.json", std::process::id()));
    let _absent = std::fs::remove_file(&file);
    file
}

#[test]
fn the_table_is_one_that_the_script_s_users_can_read() {
    let two = Two::new(strict::plugin(&[12], &[]));
    let arguments = ["--buffer_sizes", "1B,17B,1.5KB,3145729", "--iterations", "5", "--warmup", "2"];
    let (target, initiator) = two.run(&arguments);
    target.assert_right();
    initiator.assert_right();
    let lines: Vec<&str> = initiator.printed.lines().collect();
    assert_eq!(lines[2], "srv6ctl Point-to-Point Benchmark (Initiator)");
    assert_eq!(lines[4], "Memory: CPU (DRAM)");
    assert_eq!(lines[5], format!("Target: 127.0.0.1:{}", two.port));
    assert_eq!(lines[6], "Iterations: 5 (warmup: 2)");
    assert_eq!((lines[9], lines[12]), ("Testing 1.0 B...", "Testing 17.0 B..."));
    assert!(lines[10].starts_with("  ✓ ") && lines[10].ends_with(" μs (mean)"), "{}", lines[10]);
    let rows = parsed(&initiator.printed);
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), [1.0, 17.0, 1536.0, 3145728.0]);
    for row in &rows {
        let [_, _, mean, p50, p95, p99] = row[..] else { panic!("{row:?}") };
        assert!(p50 > 0.0 && p50 <= p95 && p95 <= p99 && mean <= p99, "{row:?}");
    }
    // Whatever net opened them, the kernel knows what its connections carried.
    let block = initiator.printed.split("PATHS (Strict v12 strict0").nth(1).unwrap();
    assert!(block.contains("not steered") && block.contains("100.0%"), "{block}");
    for said in ["Connecting to target at 127.0.0.1:", "✓ TCP connection to", "✓ Connected to target\n"] {
        assert!(initiator.said.contains(said), "{said:?}: {}", initiator.said);
    }
    let sent: Vec<&str> = target.said.lines().filter(|line| line.starts_with("✓ Sent")).collect();
    assert_eq!(sent[0], "✓ Sent 1.0 B - data verified");
    assert_eq!(sent.len(), 4, "{}", target.said);
    assert!(target.said.ends_with("Target completed all transfers\n") && target.printed.is_empty());
}

#[test]
fn either_side_may_start_first_and_either_may_send() {
    let two = Two::new(strict::plugin(&[8], &[]));
    let arguments =
        ["--op", "write", "--buffer-sizes", "64KB,1MB", "--iter", "3", "--warmup", "0", "--aligned"];
    let initiator = two.start("initiator", &arguments);
    initiator.await_text("Waiting for the target at 127.0.0.1:");
    let target = two.start("target", &["--buffer_sizes", "65536, 1mb"]).end();
    target.assert_right();
    let initiator = initiator.end();
    initiator.assert_right();
    assert!(target.said.contains("✓ Received 64.0 KB - data verified\n"), "{}", target.said);
    assert_eq!(parsed(&initiator.printed).len(), 2);
    assert!(initiator.printed.contains("Size       | Bandwidth       | Mean"), "{}", initiator.printed);
}

#[test]
fn the_project_s_own_plugin_carries_what_is_said_and_little_more() {
    let (two, file) = (Two::own(), json_file("own"));
    let path = file.to_str().unwrap();
    let (target, initiator) =
        two.run(&["--buffer_sizes", "40MB,1KB", "--iterations", "3", "--warmup", "1", "--json", path]);
    target.assert_right();
    initiator.assert_right();
    let document: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let run = &document["runs"][0];
    assert_eq!((&document["op"], &document["error"]), (&"READ".into(), &serde_json::Value::Null));
    assert_eq!(run["results"][0]["transfers"], 3);
    // READ: the target sends. What its kernel counted is what was transferred, and little more: on a machine that is
    // busy, some of it went twice.
    let connections = run["connections"].as_array().unwrap();
    let bytes: u64 = connections.iter().map(|one| one["bytes"].as_u64().unwrap()).sum();
    let payload = 3 * ((40 << 20) + 1024);
    assert!((payload..payload + payload / 2).contains(&bytes), "{bytes} of {payload}: {connections:#?}");
    let share: f64 = connections.iter().map(|one| one["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-9 && connections.iter().all(|one| one["rtt_us"].as_u64() > Some(0)));
    let block = initiator.printed.split("PATHS (SRv6 ").nth(1).unwrap();
    assert!(block.contains("not steered") && block.contains("100.0%"), "{block}");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn wrong_data_is_found_at_every_size_and_fails_both_sides() {
    let plugin = strict::plugin(&[12], &["CORRUPT=1"]);
    for op in ["read", "write"] {
        let two = Two::new(plugin.clone());
        let (target, initiator) =
            two.run(&["--op", op, "--buffer_sizes", "1KB,2MB", "--iterations", "2", "--warmup", "1"]);
        for side in [&target, &initiator] {
            side.assert_failed(&[
                "✗ Data verification failed for 1.0 KB: ",
                "✗ Data verification failed for 2.0 MB: ",
                "srv6ctl: data verification failed for 1.0 KB, 2.0 MB\n",
            ]);
        }
        assert!(!target.said.contains("data verified"), "{op}: {}", target.said);
        assert!(parsed(&initiator.printed).is_empty(), "no figures for wrong data");
    }
}

#[test]
fn whoever_dies_in_the_middle_is_named_by_the_other() {
    let endless = ["--buffer_sizes", "64KB", "--iterations", "100000000", "--warmup", "3"];
    for dies in ["target", "initiator"] {
        let two = Two::new(strict::plugin(&[12], &[]));
        let mut target = two.start("target", &[]);
        let mut initiator = two.start("initiator", &endless);
        initiator.await_text("Testing 64.0 KB...");
        assert!(target.is_running() && initiator.is_running());
        let (mut dead, living) = if dies == "target" { (target, initiator) } else { (initiator, target) };
        dead.kill();
        living.end().assert_failed(&[&format!("{dies} "), &format!("(pid {}) is gone", dead.pid())]);
    }
}

#[test]
fn a_side_that_stands_still_is_noticed() {
    let two = Two::new(strict::plugin(&[12], &[]));
    let target = two.start("target", &[]);
    let initiator = two.start("initiator", &["--buffer_sizes", "1KB", "--iterations", "100000000"]);
    initiator.await_text("Testing 1.0 KB...");
    let stopped = Command::new("kill").args(["-STOP", &target.pid().to_string()]).status().unwrap();
    assert!(stopped.success());
    initiator.end().assert_failed(&["is silent for 10s"]);
}

#[test]
fn sizes_that_differ_are_refused_on_both_sides() {
    let two = Two::new(strict::plugin(&[12], &[]));
    let target = two.start("target", &["--buffer_sizes", "1MB"]);
    let initiator = two.start("initiator", &["--buffer_sizes", "2MB"]).end();
    let why = "the target was started with --buffer_sizes 1.0 MB, the initiator with 2.0 MB";
    initiator.assert_failed(&[&format!("srv6ctl: the target at 127.0.0.1:{} refused: {why}", two.port)]);
    target.end().assert_failed(&[why]);
}

#[test]
fn a_net_that_does_not_load_is_told_to_the_other_side() {
    let two = Two::new(strict::plugin(&[12], &[]));
    let target = two.start("target", &[]);
    let broken = Two { plugin: "/nowhere/libx.so".into(), port: two.port, environment: Vec::new() };
    broken.start("initiator", &[]).end().assert_failed(&["loading the net: can't load /nowhere/libx.so"]);
    target.end().assert_failed(&["initiator ", " failed: loading the net: can't load /nowhere/libx.so"]);
}

#[test]
fn time_outs_name_address_and_reason() {
    let two = Two::new(strict::plugin(&[12], &["NEVER=1"]));
    let port = two.port;
    two.start("initiator", &["--timeout", "1"])
        .end()
        .assert_failed(&[&format!("can't reach the target at 127.0.0.1:{port}: Connection refused")]);
    let alone = two.start("target", &["--timeout", "1"]).end();
    alone.assert_failed(&[&format!("no initiator came to 127.0.0.1:{port} within the time-out")]);
    let target = two.start("target", &["--timeout", "2"]);
    two.start("initiator", &["--timeout", "2"]).end().assert_failed(&["connecting through the net: "]);
    target.end().assert_failed(&[]);
}

#[test]
fn strangers_do_not_disturb_a_target() {
    let two = Two::new(strict::plugin(&[12], &[]));
    let target = two.start("target", &[]);
    target.await_text("Waiting for initiator to connect...");
    let mut stranger = TcpStream::connect(("127.0.0.1", two.port)).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\nHost: target\r\n\r\n").unwrap();
    target.await_text("is no initiator of ours: what answers there is no srv6ctl bench p2p");
    two.start("initiator", &["--buffer_sizes", "1KB", "--iterations", "1"]).end().assert_right();
    target.end().assert_right();
}
