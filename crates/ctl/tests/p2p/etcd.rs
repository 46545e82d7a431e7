//! Addresses through a real etcd.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{LIMIT, Process, free_port, p2p};
use crate::strict;

/// An etcd of one member, with `etcdctl` as judge of what it holds.
struct Etcd {
    child: Child,
    data: PathBuf,
    client: u16,
    peer: u16,
}

impl Etcd {
    fn start(name: &str) -> Self {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("etcd-{name}-{}", std::process::id()));
        let _absent = std::fs::remove_dir_all(&data);
        let (client, peer) = (free_port(), free_port());
        let etcd = Self { child: spawn(&data, client, peer), data, client, peer };
        etcd.await_ready();
        etcd
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = spawn(&self.data, self.client, self.peer);
        self.await_ready();
    }

    fn forget(&self) {
        std::fs::remove_dir_all(&self.data).unwrap();
    }

    fn await_ready(&self) {
        let started = Instant::now();
        while self.etcdctl(&["endpoint", "health"]).is_none() {
            assert!(started.elapsed() < LIMIT, "etcd never answers");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn etcdctl(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint()])
            .args(arguments)
            .output()
            .expect("etcdctl runs (scripts/install-tools installs it)");
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// The keys below a prefix, in order.
    fn keys(&self, prefix: &str) -> Vec<String> {
        let text = self.etcdctl(&["get", "--prefix", "--keys-only", prefix]).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn await_keys(&self, prefix: &str, wanted: &[&str], limit: Duration) {
        let started = Instant::now();
        while self.keys(prefix) != wanted {
            assert!(started.elapsed() < limit, "{wanted:?} wanted: {:?}", self.keys(prefix));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn start_side(&self, mode: &str, name: &str, arguments: &[&str]) -> Process {
        self.start_side_at(&self.endpoint(), mode, name, arguments)
    }

    fn start_side_at(&self, endpoints: &str, mode: &str, name: &str, arguments: &[&str]) -> Process {
        let mut command = p2p(&strict::plugin(&[12], &[]));
        if mode == "target" {
            command.args(["--ip", "127.0.0.1", "--port", "0"]);
        }
        let command = command.args(["--mode", mode, "--name", name]).args(arguments);
        Process::start(command.env("NIXL_ETCD_ENDPOINTS", endpoints))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ended = self.child.kill();
        let _status = self.child.wait();
        let _removed = std::fs::remove_dir_all(&self.data);
    }
}

fn spawn(data: &Path, client: u16, peer: u16) -> Child {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    Command::new("etcd")
        .arg("--data-dir")
        .arg(data)
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd runs (scripts/install-tools installs it)")
}

const QUICK: [&str; 6] = ["--buffer_sizes", "64KB", "--iterations", "3", "--warmup", "1"];
const ENDLESS: [&str; 6] = ["--buffer_sizes", "4KB", "--iterations", "100000000", "--warmup", "1"];

#[test]
fn several_targets_and_initiators_find_each_other_in_any_order() {
    let etcd = Etcd::start("several");
    let two = [&QUICK[..], &["--targets", "2"]].concat();
    let first = etcd.start_side("initiator", "i1", &two);
    first.await_text("Waiting for targets: 0 of 2 there ()");
    let a = etcd.start_side("target", "a", &["--initiators", "2"]);
    first.await_text("Waiting for targets: 1 of 2 there (a)");
    etcd.await_keys("/nixl/agents/", &["/nixl/agents/a/srv6ctl-p2p", "/nixl/agents/i1/srv6ctl-p2p"], LIMIT);
    let second = etcd.start_side("initiator", "i2", &two);
    let b = etcd.start_side("target", "b", &["--initiators", "2"]);
    for initiator in [first, second] {
        let ended = initiator.end();
        ended.assert_right();
        assert_eq!(ended.printed.matches("RESULTS SUMMARY").count(), 2, "{}", ended.printed);
    }
    for target in [a, b] {
        let ended = target.end();
        ended.assert_right();
        for initiator in ["i1", "i2"] {
            assert!(
                ended.said.contains(&format!("✓ Connected to initiator {initiator}\n")),
                "{}",
                ended.said
            );
        }
    }
    // Who ends takes its key along.
    assert_eq!(etcd.keys("/nixl/agents/"), Vec::<String>::new());
}

#[test]
fn a_named_target_in_a_namespace_of_its_own_over_the_endpoint_that_answers() {
    let etcd = Etcd::start("named");
    // Somebody else's keys in the same namespace.
    etcd.etcdctl(&["put", "/mine/other/metadata", "x"]).unwrap();
    etcd.etcdctl(&["put", "/mine/odd/srv6ctl-p2p", "x"]).unwrap();
    let endpoints = format!("http://127.0.0.1:{},{}", free_port(), etcd.endpoint());
    let start = |mode: &str, name: &str, arguments: &[&str]| {
        let arguments = [&["--etcd-namespace", "/mine"], arguments].concat();
        etcd.start_side_at(&endpoints, mode, name, &arguments)
    };
    let (a, b) = (start("target", "a", &[]), start("target", "b", &["--timeout", "600"]));
    b.await_text("Registered as b in etcd");
    let initiator = start("initiator", "i", &[&QUICK[..], &["--peer", "a"]].concat()).end();
    initiator.assert_right();
    a.end().assert_right();
    let keys = ["/mine/b/srv6ctl-p2p", "/mine/odd/srv6ctl-p2p", "/mine/other/metadata"];
    assert_eq!(etcd.keys("/mine/"), keys);
}

#[test]
fn a_dead_target_disappears_and_its_name_is_free_again() {
    let etcd = Etcd::start("dead");
    let mut dead = etcd.start_side("target", "a", &[]);
    dead.await_text("Waiting for initiator to connect...");
    let taken = etcd.start_side("target", "a", &["--timeout", "1"]).end();
    taken.assert_failed(&[
        "registering \"a\" in etcd: /nixl/agents/a/srv6ctl-p2p is there already: host ",
        &format!(", pid {}", dead.pid()),
    ]);
    dead.kill();
    // Its address is still there, but nobody at it; the initiator waits for what comes next.
    let initiator = etcd.start_side("initiator", "i", &QUICK);
    initiator.end().assert_failed(&["target a: target a is no longer in etcd"]);
    let again = etcd.start_side("target", "a", &[]);
    etcd.start_side("initiator", "i", &QUICK).end().assert_right();
    again.end().assert_right();
}

#[test]
fn etcd_killed_and_restarted_breaks_no_transfer_and_registrations_come_back() {
    let mut etcd = Etcd::start("restart");
    let keys = ["/nixl/agents/a/srv6ctl-p2p", "/nixl/agents/i/srv6ctl-p2p"];
    let mut target = etcd.start_side("target", "a", &[]);
    let mut initiator = etcd.start_side("initiator", "i", &ENDLESS);
    initiator.await_text("Testing 4.0 KB...");
    etcd.await_keys("/nixl/", &keys, LIMIT);
    etcd.kill();
    target.await_text("Registration lost, trying again: etcd does not answer");
    etcd.restart();
    etcd.await_keys("/nixl/", &keys, LIMIT);
    // Without its data: leases and keys are unknown to it.
    etcd.kill();
    etcd.forget();
    etcd.restart();
    etcd.await_keys("/nixl/", &keys, LIMIT);
    target.await_text("etcd is back; /nixl/agents/a/srv6ctl-p2p is registered");
    assert!(target.is_running() && initiator.is_running(), "the transfer went on");
    initiator.kill();
    target.end().assert_failed(&["is gone"]);
}

#[test]
fn an_etcd_that_comes_late_is_waited_for_and_one_that_never_comes_is_an_error() {
    let mut etcd = Etcd::start("late");
    etcd.kill();
    let target = etcd.start_side("target", "a", &[]);
    target.await_text("Waiting to be registered in etcd: etcd does not answer: ");
    let none = etcd.start_side("initiator", "i", &["--timeout", "1"]).end();
    none.assert_failed(&[&format!("etcd does not answer: {}: ", etcd.endpoint())]);
    etcd.restart();
    etcd.start_side("initiator", "i", &QUICK).end().assert_right();
    target.end().assert_right();
    let alone = etcd.start_side("initiator", "i", &["--timeout", "1", "--peer", "zoe"]).end();
    alone.assert_failed(&["not all targets came within 1 s (--timeout): zoe not there; there are "]);
}
