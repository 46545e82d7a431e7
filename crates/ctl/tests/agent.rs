//! `srv6ctl` and the agent of a host: a drain while a stock program transfers data, listings, and a restart in between.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use srv6_agent::{Agent, Config, Layers, Server};
use srv6_lab::{Lab, Options};

const PATIENCE: Duration = Duration::from_secs(60);

/// Counts what comes, and says so for each quarter of a megabyte.
const SERVER: &str = "
import socket
listener = socket.create_server(('2001:db8:1001::2', 5000), family=socket.AF_INET6)
print('listening', flush=True)
connection, count = listener.accept()[0], 0
while data := connection.recv(65536):
    if (count + len(data)) >> 18 > count >> 18:
        print(count + len(data), flush=True)
    count += len(data)
";

/// Sends until its input ends, at a rate that any machine can keep up.
const CLIENT: &str = "
import select, socket, sys
connection = socket.create_connection(('2001:db8:1001::2', 5000))
while not select.select([sys.stdin], [], [], 0.001)[0]:
    connection.sendall(bytes(16384))
";

/// First argument of the agent; a folder follows.
const AGENT: &str = "agent";

/// Serves from srv6d's own parts until it is killed.
fn serve(folder: &Path) {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let values = [
        ("SRV6_TOPOLOGY", fabric().to_str().unwrap().to_owned()),
        ("SRV6_AGENT_SOCKET", path("agent.sock")),
        ("SRV6D_STATE", path("drained.json")),
        ("SRV6D_HINTS", path("hints")),
    ];
    let values = values.into_iter().map(|(name, value)| (name.to_owned(), value));
    let config = Config::read(Layers::of_environment(values)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::bind(&config.socket, None).unwrap();
        let agent = Arc::new(Agent::start(config).unwrap());
        tokio::spawn(Arc::clone(agent.hinting()).run());
        server.serve(agent, Arc::default()).await;
    });
}

/// A running agent that answers. Dropped, it is killed, and leaves routes as they are.
struct Running(Child);

impl Running {
    fn start(scene: &Scene) -> Self {
        let program = std::env::current_exe().unwrap();
        let agent = Command::new(program).arg(AGENT).arg(scene.folder.path()).spawn().unwrap();
        let running = Self(agent);
        eventually("the agent answers", || scene.output(&["agent", "status"]).status.success());
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended and been waited for.
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, AGENT, folder] = arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        serve(Path::new(folder));
        return ExitCode::SUCCESS;
    }
    let drained = Trial::test("a_spine_is_drained_and_given_back_while_a_stock_program_sends", || {
        drained();
        Ok(())
    });
    let killed = Trial::test("an_agent_that_is_killed_during_an_all_reduce_loses_nothing", || {
        killed();
        Ok(())
    });
    let begun = Trial::test("a_job_that_begins_during_a_drain_has_all_paths_after_it", || {
        begun_during_a_drain();
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![drained, killed, begun]).exit_code()
}

fn fabric() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json")
}

struct Scene {
    lab: Lab,
    folder: tempfile::TempDir,
}

impl Scene {
    fn start() -> Self {
        let (_, topology) = srv6_paths::read_topology(&fabric(), "fabric_graph", "hosts").unwrap();
        Self { lab: Lab::up(&topology, &Options::default()).unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    fn srv6ctl(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.node("host00").unwrap().command(env!("CARGO_BIN_EXE_srv6ctl"));
        command.args(arguments).env("SRV6_AGENT_SOCKET", self.folder.path().join("agent.sock"));
        command.env("SRV6_TOPOLOGY", fabric());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.srv6ctl(arguments).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    /// The flow's carrier in the kernel.
    fn carrier(&self) -> String {
        let routes = self.lab.node("host00").unwrap().sh("ip -6 route show table all proto 83").unwrap();
        assert_eq!(routes.lines().count(), 1, "{routes}");
        routes.split_once("segs 1 [ ").unwrap().1.split(' ').next().unwrap().to_owned()
    }

    /// Bytes that the first leaf has sent to a spine.
    fn carried(&self, spine: &str) -> u64 {
        self.lab.sent_by("leaf00").unwrap()[spine]
    }

    /// The only flow is ready again.
    fn await_flow(&self) {
        eventually("the flow is registered", || {
            let flows = self.json(&["flows", "--json"]);
            flows.as_array().unwrap().len() == 1 && flows[0]["state"] == "ready"
        });
    }
}

fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program that ends with the test.
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }
}

/// How many bytes the server has said to have got, read as it says so.
struct Arrived(Arc<AtomicU64>);

impl Arrived {
    fn of(said: BufReader<ChildStdout>) -> Self {
        let count = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&count);
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                counting.store(line.parse().unwrap(), Ordering::Relaxed);
            }
        });
        Self(count)
    }

    /// Waits until so many more have arrived.
    fn more(&self, bytes: u64) {
        let goal = self.0.load(Ordering::Relaxed) + bytes;
        eventually("the transfer goes on", || self.0.load(Ordering::Relaxed) >= goal);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail where it has ended and been waited for.
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

fn drained() {
    let scene = Scene::start();
    let agent = Running::start(&scene);

    let mut server =
        Program::start(scene.lab.node("host01").unwrap().command("python3").args(["-c", SERVER]));
    let mut listening = String::new();
    let mut said = BufReader::new(server.0.stdout.take().unwrap());
    said.read_line(&mut listening).unwrap();
    assert_eq!(listening.trim(), "listening");
    let arrived = Arrived::of(said);
    let library = std::env::current_exe().unwrap().with_file_name("libsrv6_shim.so");
    assert!(library.exists(), "{} is not built", library.display());
    let mut client = scene.lab.node("host00").unwrap().command("python3");
    client.args(["-c", CLIENT]).env("LD_PRELOAD", &library).env("SRV6_MODE", "agent");
    client.env("SRV6_AGENT_SOCKET", scene.folder.path().join("agent.sock")).env("SRV6_TOPOLOGY", fabric());
    client.env("SRV6_JOB", "transfer").env("SRV6_CONNECT_TIMEOUT_MS", "60000");
    let mut client = Program::start(&mut client);
    arrived.more(1 << 20);
    scene.await_flow();
    assert_eq!(scene.json(&["agent", "status", "--json"])["sessions"][0]["job"], "transfer");
    assert!(scene.carrier().contains(":1001:1201:"));

    // What it reports as arrived has left: from now on nothing but probes goes by that spine.
    let drained = scene.json(&["drain", "spine01", "--wait", "60", "--json"]);
    assert_eq!((&drained["moved"], &drained["unfinished"]), (&1.into(), &0.into()), "{drained}");
    assert!(drained["empty_after_ms"].as_f64().unwrap() >= drained["moved_after_ms"].as_f64().unwrap());
    assert!(!scene.carrier().contains(":1001:"));
    let before = scene.carried("spine01");
    arrived.more(8 << 20);
    assert!(scene.carried("spine01") - before < 2 << 20);

    // A crash changes nothing, and the job goes on.
    let kept = scene.carrier();
    drop(agent);
    assert_eq!(scene.carrier(), kept);
    arrived.more(1 << 20);
    let _agent = Running::start(&scene);
    scene.await_flow();
    assert_eq!(scene.json(&["drain", "--json"])["drained"], serde_json::json!(["spine01"]));
    assert_eq!(scene.carrier(), kept);

    for place in ["spine00", "spine02"] {
        assert!(scene.output(&["drain", place, "--wait", "60"]).status.success());
    }
    assert!(scene.carrier().contains(":1003:1201:"));
    let refused = scene.refusal(&["drain", "spine03"]);
    assert!(refused.contains("2001:db8:1000::2 -> 2001:db8:1001::2"), "{refused}");
    assert!(scene.refusal(&["drain", "spine99"]).contains("\"spine99\""));

    for listing in [&["flows"][..], &["paths"], &["agent", "status"]] {
        watched(&scene, listing);
    }
    // The listing goes on until it is ended, and shows each change.
    let mut watching = Program::start(&mut scene.srv6ctl(&["routes", "--watch", "--json"]));
    let mut lines = BufReader::new(watching.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut listed = || {
        let listing: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
        listing[0]["segments"][0].as_str().unwrap().to_owned()
    };
    assert!(listed().contains(":1003:"));
    for place in ["spine00", "spine02", "spine01"] {
        scene.json(&["undrain", place, "--json"]);
    }
    eventually("its own path is its own again", || scene.carrier().contains(":1001:1201:"));
    while !listed().contains(":1001:") {}
    assert!(scene.refusal(&["undrain", "spine01"]).contains("isn't drained"));

    let before = scene.carried("spine01");
    arrived.more(4 << 20);
    assert!(scene.carried("spine01") - before > 2 << 20);
    drop(client.0.stdin.take());
    assert!(client.0.wait().unwrap().success());
    assert!(server.0.wait().unwrap().success());
    let removed = scene.json(&["gc", "--json"]);
    assert_eq!(removed["in_use"], 0, "{removed}");
}

/// A listing that is watched comes again and again.
fn watched(scene: &Scene, listing: &[&str]) -> Vec<Value> {
    let mut watching = Program::start(&mut scene.srv6ctl(&[listing, &["--watch", "1", "--json"]].concat()));
    let lines = BufReader::new(watching.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let listed: Vec<Value> = lines.take(3).map(|line| serde_json::from_str(&line).unwrap()).collect();
    assert_eq!(listed.len(), 3, "{listing:?} ends");
    listed
}

/// An all-reduce over the multipath transport between two hosts, whose ranks have what they need from the agent.
struct Job<'a> {
    scene: &'a Scene,
    ranks: Vec<Program>,
}

impl<'a> Job<'a> {
    const HOSTS: [&'static str; 2] = ["host00", "host01"];

    fn start(scene: &'a Scene, iterations: &str) -> Self {
        let plugin = std::env::current_exe().unwrap().with_file_name("libnccl_net_srv6.so");
        let start = |(rank, host): (usize, &&str)| {
            let mut command = scene.lab.node(host).unwrap().command(env!("CARGO_BIN_EXE_srv6ctl"));
            command.args(["bench", "all-reduce", "-b", "1M", "-e", "1M", "-w", "1", "-n", iterations]);
            command.arg("--plugin").arg(&plugin);
            command.env("RANK", rank.to_string()).env("WORLD_SIZE", Self::HOSTS.len().to_string());
            command.env("MASTER_ADDR", scene.lab.management_address("host00").unwrap().to_string());
            command.env("MASTER_PORT", "29500").env("NCCL_SOCKET_IFNAME", "=eth1");
            command.env("NCCL_SOCKET_FAMILY", "AF_INET6").env("NCCL_DEBUG", "INFO");
            command.env("SRV6_TRANSPORT", "multipath").env("SRV6_MODE", "agent").env("SRV6_STRICT", "1");
            command.env("SRV6_AGENT_SOCKET", scene.folder.path().join("agent.sock"));
            command.env("SRV6_CONNECT_TIMEOUT_MS", "60000").stdin(Stdio::null());
            command.stdout(File::create(Self::file(scene, rank, "out")).unwrap());
            command.stderr(File::create(Self::file(scene, rank, "err")).unwrap());
            Program(command.spawn().unwrap())
        };
        Self { scene, ranks: Self::HOSTS.iter().enumerate().map(start).collect() }
    }

    fn file(scene: &Scene, rank: usize, kind: &str) -> PathBuf {
        scene.folder.path().join(format!("{rank}.{kind}"))
    }

    fn said(&self, rank: usize) -> String {
        std::fs::read_to_string(Self::file(self.scene, rank, "err")).unwrap()
    }

    /// Waits until the first host has sent so many more bytes.
    fn more(&self, bytes: u64) {
        let sent = || self.scene.lab.sent_by("host00").unwrap().values().sum::<u64>();
        let goal = sent() + bytes;
        eventually("the job sends", || sent() >= goal);
    }

    fn is_running(&mut self) -> bool {
        self.ranks.iter_mut().all(|rank| rank.0.try_wait().unwrap().is_none())
    }

    /// Waits for its end, and gives the first rank's table.
    fn end(mut self) -> String {
        for rank in 0..self.ranks.len() {
            let status = self.ranks[rank].0.wait().unwrap();
            assert!(status.success(), "rank {rank}: {status}\n{}", self.said(rank));
            assert!(!self.said(rank).contains("goes unsteered"), "{}", self.said(rank));
        }
        std::fs::read_to_string(Self::file(self.scene, 0, "out")).unwrap()
    }
}

fn killed() {
    let scene = Scene::start();
    let mut agent = Running::start(&scene);
    let mut job = Job::start(&scene, "1500");
    let routes = || {
        Job::HOSTS
            .map(|host| scene.lab.node(host).unwrap().sh("ip -6 route show table all proto 83").unwrap())
    };
    let registered = || {
        let flows = scene.json(&["flows", "--json"]);
        let flows = flows.as_array().unwrap();
        flows.iter().filter(|flow| flow["state"] == "ready").count()
    };
    job.more(20_000_000);
    let (flows, kept) = (registered(), routes());
    assert!(flows >= 2 && kept.iter().all(|routes| routes.contains("encap seg6")), "{flows} {kept:?}");
    let slots = scene.json(&["hints", "set", "all", "700,300", "--json"])["set"].as_u64().unwrap();
    assert!(slots > 0, "lanes have slots");
    let file_of_hints = scene.folder.path().join("hints");
    let shown = watched(&scene, &["hints", "show", "--file", file_of_hints.to_str().unwrap()]);
    assert!(shown[2].to_string().contains("700"), "{shown:?}");
    for _ in 0..2 {
        // SIGKILL.
        drop(agent);
        job.more(20_000_000);
        assert_eq!(routes(), kept);
        agent = Running::start(&scene);
        eventually("all is registered again", || registered() == flows);
        job.more(20_000_000);
        assert_eq!(routes(), kept);
    }
    assert!(job.is_running(), "it was over before the last agent: {}", job.said(0));
    let table = job.end();
    assert!(table.contains("# Out of bounds values : 0 OK"), "{table}");
    eventually("its routes go with it", || routes() == ["", ""]);
}

fn begun_during_a_drain() {
    let scene = Scene::start();
    let _agent = Running::start(&scene);
    scene.json(&["drain", "spine01", "--wait", "60", "--json"]);
    let before = scene.carried("spine01");
    let mut job = Job::start(&scene, "1000000");
    // Of each connection that the first host sends over, the spines of its subflows.
    let spines = || -> Vec<BTreeSet<String>> {
        let listing = scene.json(&["connections", "--json"]);
        let processes = listing["processes"].as_array().unwrap();
        let connections = processes.iter().flat_map(|process| process["connections"].as_array().unwrap());
        let sending = connections.filter(|connection| connection["direction"] == "send");
        let spine =
            |subflow: &Value| subflow["path"].as_str().unwrap().split(" > ").nth(2).unwrap().to_owned();
        sending.map(|one| one["subflows"].as_array().unwrap().iter().map(spine).collect()).collect()
    };
    let all_over = |wanted: &[&str]| {
        let (seen, wanted) = (spines(), wanted.iter().map(|&spine| spine.to_owned()).collect());
        !seen.is_empty() && seen.iter().all(|spines| *spines == wanted)
    };
    job.more(20_000_000);
    eventually("all go over three spines", || all_over(&["spine00", "spine02", "spine03"]));
    assert!(scene.carried("spine01") - before < 1_000_000, "{}", scene.carried("spine01") - before);
    scene.json(&["undrain", "spine01", "--json"]);
    eventually("all go over four", || all_over(&["spine00", "spine01", "spine02", "spine03"]));
    let before = scene.carried("spine01");
    job.more(40_000_000);
    assert!(scene.carried("spine01") - before > 4_000_000, "{}", scene.carried("spine01") - before);
    assert!(job.is_running(), "{}", job.said(0));
}
