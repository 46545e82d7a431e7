//! `srv6ctl` and the agent of a host: a drain while a stock program transfers data, listings, and a restart in between.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

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
    libtest_mimic::run(&Arguments::from_args(), vec![drained, killed]).exit_code()
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

fn killed() {
    let scene = Scene::start();
    let mut agent = Running::start(&scene);
    let hosts = ["host00", "host01"];
    let plugin = std::env::current_exe().unwrap().with_file_name("libnccl_net_srv6.so");
    let file = |rank: usize, kind: &str| scene.folder.path().join(format!("{rank}.{kind}"));
    let start = |(rank, host): (usize, &&str)| {
        let mut command = scene.lab.node(host).unwrap().command(env!("CARGO_BIN_EXE_srv6ctl"));
        command.args(["bench", "all-reduce", "-b", "1M", "-e", "1M", "-n", "1500", "-w", "1", "--plugin"]);
        command.arg(&plugin).env("RANK", rank.to_string()).env("WORLD_SIZE", hosts.len().to_string());
        command.env("MASTER_ADDR", scene.lab.management_address("host00").unwrap().to_string());
        command.env("MASTER_PORT", "29500").env("NCCL_SOCKET_IFNAME", "=eth1");
        command.env("NCCL_SOCKET_FAMILY", "AF_INET6").env("NCCL_DEBUG", "INFO");
        command.env("SRV6_TRANSPORT", "multipath").env("SRV6_MODE", "agent").env("SRV6_STRICT", "1");
        command.env("SRV6_AGENT_SOCKET", scene.folder.path().join("agent.sock"));
        command.env("SRV6_CONNECT_TIMEOUT_MS", "60000").stdin(Stdio::null());
        command.stdout(File::create(file(rank, "out")).unwrap());
        command.stderr(File::create(file(rank, "err")).unwrap());
        Program(command.spawn().unwrap())
    };
    let mut ranks: Vec<Program> = hosts.iter().enumerate().map(start).collect();
    let said = |rank: usize| std::fs::read_to_string(file(rank, "err")).unwrap();
    let routes =
        |host: &str| scene.lab.node(host).unwrap().sh("ip -6 route show table all proto 83").unwrap();
    let sent = || scene.lab.sent_by("host00").unwrap().values().sum::<u64>();
    let more = |bytes: u64| {
        let goal = sent() + bytes;
        eventually("the job sends", || sent() >= goal);
    };
    let registered = || {
        let flows = scene.json(&["flows", "--json"]);
        let flows = flows.as_array().unwrap();
        flows.iter().filter(|flow| flow["state"] == "ready").count()
    };
    more(20_000_000);
    let (flows, kept) = (registered(), hosts.map(routes));
    assert!(flows >= 2 && kept.iter().all(|routes| routes.contains("encap seg6")), "{flows} {kept:?}");
    let slots = scene.json(&["hints", "set", "all", "700,300", "--json"])["set"].as_u64().unwrap();
    assert!(slots > 0, "lanes have slots");
    let file_of_hints = scene.folder.path().join("hints");
    let shown = watched(&scene, &["hints", "show", "--file", file_of_hints.to_str().unwrap()]);
    assert!(shown[2].to_string().contains("700"), "{shown:?}");
    for _ in 0..2 {
        // SIGKILL.
        drop(agent);
        more(20_000_000);
        assert_eq!(hosts.map(routes), kept);
        agent = Running::start(&scene);
        eventually("all is registered again", || registered() == flows);
        more(20_000_000);
        assert_eq!(hosts.map(routes), kept);
    }
    let running = |rank: &mut Program| rank.0.try_wait().unwrap().is_none();
    assert!(ranks.iter_mut().all(running), "it was over before the last agent: {}", said(0));
    for (rank, program) in ranks.iter_mut().enumerate() {
        let status = program.0.wait().unwrap();
        assert!(status.success(), "rank {rank}: {status}\n{}", said(rank));
        assert!(!said(rank).contains("goes unsteered"), "{}", said(rank));
    }
    let table = std::fs::read_to_string(file(0, "out")).unwrap();
    assert!(table.contains("# Out of bounds values : 0 OK"), "{table}");
    eventually("its routes go with it", || hosts.map(routes) == ["", ""]);
}
