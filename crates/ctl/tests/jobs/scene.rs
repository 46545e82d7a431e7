//! A lab with a path server, and jobs of one process per host in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use srv6_fabric::{Documents, Topology};
use srv6_lab::{Lab, Options};
use srv6_pathserver::{Running, Server};

/// For what takes milliseconds where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The 4×4 fabric and its path server in the management network.
pub(crate) struct Scene {
    pub(crate) lab: Lab,
    pub(crate) server: Running,
    folder: PathBuf,
}

/// The processes of one job.
pub(crate) struct Job {
    children: Vec<Child>,
    folder: PathBuf,
    name: String,
}

/// How a job ended: per rank its status and what it wrote.
pub(crate) struct Outcome {
    pub(crate) statuses: Vec<ExitStatus>,
    pub(crate) logs: Vec<String>,
    pub(crate) table: String,
}

/// The plugin as cargo built it beside this test.
pub(crate) fn plugin() -> PathBuf {
    let built = std::env::current_exe().unwrap().with_file_name("libnccl_net_srv6.so");
    assert!(built.exists(), "{} is not built", built.display());
    built
}

impl Scene {
    pub(crate) fn raise(name: &str) -> Self {
        Self::raise_with(name, |_| {})
    }

    /// As `raise`, with every document changed first.
    pub(crate) fn raise_with(
        name: &str,
        change: impl Fn(&mut serde_json::Map<String, serde_json::Value>),
    ) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json");
        let mut fabric: BTreeMap<String, Vec<serde_json::Map<String, serde_json::Value>>> =
            serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        fabric.values_mut().flatten().for_each(change);
        let text = serde_json::to_string(&fabric).unwrap();
        let documents = Documents::parse([(name, text.as_str())], "fabric_graph", "hosts").unwrap();
        let topology = Topology::new(&documents, "fabric_graph").unwrap();
        let lab = Lab::up(&topology, &Options::default()).unwrap();
        let address = lab.management_address(lab.management().name()).unwrap();
        let server = lab.management().run(move || {
            Server::bind((address, 8000).into(), &documents, srv6_pathserver::Options::default())
                .unwrap()
                .spawn()
                .unwrap()
        });
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self { lab, server, folder }
    }

    pub(crate) fn hosts(&self) -> Vec<String> {
        self.lab.hosts().map(|h| h.name().to_owned()).collect()
    }

    pub(crate) fn endpoint(&self) -> String {
        let address = self.lab.management_address(self.lab.management().name()).unwrap();
        format!("http://{address}:8000")
    }

    /// Starts an all-reduce over `hosts`; `port` keeps two jobs apart.
    pub(crate) fn start(
        &self,
        name: &str,
        port: u16,
        hosts: &[String],
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Job {
        let master = self.lab.management_address(&hosts[0]).unwrap().to_string();
        let endpoint = self.endpoint();
        let folder = self.folder.clone();
        let mut job = Job { children: Vec::new(), folder, name: name.to_owned() };
        for (rank, host) in hosts.iter().enumerate() {
            let mut command = self.lab.node(host).unwrap().command(env!("CARGO_BIN_EXE_srv6ctl"));
            command
                .args(["bench", "all-reduce", "--plugin"])
                .arg(plugin())
                .args(arguments)
                .env("RANK", rank.to_string())
                .env("WORLD_SIZE", hosts.len().to_string())
                .env("MASTER_ADDR", &master)
                .env("MASTER_PORT", port.to_string())
                .env("NCCL_SOCKET_IFNAME", "=eth1")
                .env("NCCL_SOCKET_FAMILY", "AF_INET6")
                .env("NCCL_DEBUG", "INFO")
                .env("SRV6_TRANSPORT", "multipath")
                .env("SRV6_MODE", "local")
                .env("JALAPENO_API_ENDPOINT", &endpoint)
                .envs(settings.iter().copied())
                .stdin(Stdio::null())
                .stdout(File::create(job.file(rank, "out")).unwrap())
                .stderr(File::create(job.file(rank, "err")).unwrap());
            job.children.push(command.spawn().unwrap());
        }
        job
    }

    /// Our routes in a host, in all its tables, as `ip` shows them.
    pub(crate) fn routes(&self, host: &str) -> String {
        self.lab.node(host).unwrap().sh("ip -6 route show table all proto 83").unwrap()
    }

    /// Our rules in a host, as `ip` shows them.
    pub(crate) fn rules(&self, host: &str) -> String {
        let show = "(ip -6 rule show; ip -4 rule show) | grep -w 'proto 83' || true";
        self.lab.node(host).unwrap().sh(show).unwrap()
    }

    /// Waits until `host` has so many encapsulating routes of ours, and gives them.
    pub(crate) fn await_routes(&self, host: &str, wanted: usize) -> Vec<String> {
        let started = Instant::now();
        loop {
            let routes = self.routes(host);
            let steered: Vec<String> =
                routes.lines().filter(|route| route.contains(" encap seg6 ")).map(str::to_owned).collect();
            if steered.len() == wanted {
                return steered;
            }
            let waited = started.elapsed();
            assert!(waited < PATIENCE, "{host} does not get {wanted} routes:\n{routes}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until `host` has sent so many bytes.
    pub(crate) fn await_bytes(&self, host: &str, bytes: u64) {
        let started = Instant::now();
        while self.lab.sent_by(host).unwrap().values().sum::<u64>() < bytes {
            assert!(started.elapsed() < PATIENCE, "{host} sends nothing");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Removes what nobody holds in a host.
    pub(crate) fn gc(&self, host: &str) {
        let gc = format!("{} gc", env!("CARGO_BIN_EXE_srv6ctl"));
        self.lab.node(host).unwrap().sh(&gc).unwrap();
    }

    pub(crate) fn assert_no_routes(&self) {
        for host in self.hosts() {
            assert_eq!(self.routes(&host), "", "{host} has routes left");
            assert_eq!(self.rules(&host), "", "{host} has rules left");
        }
    }

    /// Starts capturing IPv6-in-IPv6 packets that a node sends or receives on an interface.
    ///
    /// With tshark: tcpdump insists on changing its user, which a user namespace of one user forbids.
    pub(crate) fn capture(&self, node: &str, interface: &str) -> Capture {
        let mut child = self
            .lab
            .node(node)
            .unwrap()
            .command("tshark")
            .args([
                "-i",
                interface,
                "-f",
                "ip6 proto 41",
                "-c",
                "100",
                "-a",
                "duration:300",
                "-n",
                "-l",
                "-T",
                "fields",
            ])
            .args(["-E", "occurrence=a", "-e", "ipv6.dst"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tshark runs");
        let errors = BufReader::new(child.stderr.take().unwrap());
        let told = errors.lines().map_while(Result::ok).find(|line| line.contains("Capturing on"));
        assert!(told.is_some(), "tshark does not capture");
        Capture { child }
    }
}

/// A capture that ends by itself after some packets; killed if it is dropped before.
pub(crate) struct Capture {
    child: Child,
}

impl Capture {
    /// Outer and inner destination of each packet, a line each.
    pub(crate) fn finish(mut self) -> String {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Job {
    fn file(&self, rank: usize, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{rank}.{kind}", self.name))
    }

    pub(crate) fn pid(&self, rank: usize) -> u32 {
        self.children[rank].id()
    }

    pub(crate) fn kill(&mut self, rank: usize) {
        self.children[rank].kill().unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.children.iter_mut().all(|child| child.try_wait().unwrap().is_none())
    }

    /// Waits for every rank; none may take longer than `limit`.
    pub(crate) fn wait(mut self, limit: Duration) -> Outcome {
        let started = Instant::now();
        let mut statuses = Vec::new();
        for rank in 0..self.children.len() {
            loop {
                if let Some(status) = self.children[rank].try_wait().unwrap() {
                    statuses.push(status);
                    break;
                }
                assert!(
                    started.elapsed() < limit,
                    "{}: rank {rank} still runs after {limit:?}:\n{}",
                    self.name,
                    self.log(rank)
                );
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let logs = (0..self.children.len()).map(|rank| self.log(rank)).collect();
        let table = std::fs::read_to_string(self.file(0, "out")).unwrap();
        Outcome { statuses, logs, table }
    }

    fn log(&self, rank: usize) -> String {
        std::fs::read_to_string(self.file(rank, "err")).unwrap()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        for child in &mut self.children {
            // An error means that it has ended.
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

impl Outcome {
    /// Every rank ended well and no element was wrong.
    pub(crate) fn assert_right(&self) {
        for (rank, status) in self.statuses.iter().enumerate() {
            assert!(status.success(), "rank {rank}: {status}\n{}", self.logs[rank]);
        }
        assert!(self.table.contains("# Out of bounds values : 0 OK"), "{}", self.table);
    }

    /// The lines of a rank's log that tell of its connections.
    pub(crate) fn connections(&self, rank: usize) -> Vec<&str> {
        self.logs[rank].lines().filter_map(|l| l.split_once("connection ").map(|(_, rest)| rest)).collect()
    }

    /// The lines of a rank's log that tell of connections without paths.
    pub(crate) fn unsteered(&self, rank: usize) -> Vec<&str> {
        self.logs[rank].lines().filter(|line| line.contains("goes unsteered: ")).collect()
    }
}
