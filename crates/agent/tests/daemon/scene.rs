//! A lab and an agent beside it, outside of the hosts' namespaces as a daemon of the machine is outside of pods.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use srv6_lab::{Lab, Node, Options};
use srv6_pathserver::Running;
use srv6_steer::{AgentSession, Attachment, SteerError};

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// From host00 to the first host of each other leaf.
pub(crate) const TO_HOST01: &str = "2001:db8:1000::2,2001:db8:1001::2";
pub(crate) const TO_HOST02: &str = "2001:db8:1000::2,2001:db8:1002::2";

pub(crate) struct Scene {
    pub(crate) lab: Lab,
    folder: tempfile::TempDir,
    agent: Option<Child>,
    /// Where the agent has paths from, as flags.
    source: [String; 2],
}

impl Scene {
    /// A lab and an agent with these flags besides.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut scene = Self::without_agent();
        scene.start_agent(flags);
        scene
    }

    pub(crate) fn without_agent() -> Self {
        let (_, topology) = srv6_paths::read_topology(&fabric(), "fabric_graph", "hosts").unwrap();
        let lab = Lab::up(&topology, &Options::default()).unwrap();
        let source = ["--srv6-topology".to_owned(), fabric().to_str().unwrap().to_owned()];
        Self { lab, folder: tempfile::tempdir().unwrap(), agent: None, source }
    }

    /// A lab and an agent with these flags besides, which asks a path server.
    pub(crate) fn asking(server: &Running, flags: &[&str]) -> Self {
        let mut scene = Self::without_agent();
        scene.source = ["--jalapeno-api-endpoint".to_owned(), server.url()];
        scene.start_agent(flags);
        scene
    }

    /// Starts the agent and waits until it answers.
    pub(crate) fn start_agent(&mut self, flags: &[&str]) {
        self.start_agent_by(Command::new(env!("CARGO_BIN_EXE_srv6d")), flags);
        self.eventually("the agent answers", || self.session().is_ok());
    }

    /// Starts it as a sidecar of a host's: inside its network namespace, with CAP_NET_ADMIN alone, and without a sight of
    /// other processes.
    pub(crate) fn start_sidecar(&mut self, host: &str) {
        let mut command = self.host(host).command("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "setpriv"]);
        command.args(["--bounding-set=-all,+net_admin", "--inh-caps=-all", "--no-new-privs"]);
        command.arg(env!("CARGO_BIN_EXE_srv6d"));
        self.start_agent_by(command, &["--srv6d-scope", "pod"]);
        self.eventually("the agent answers", || self.session().is_ok());
    }

    /// As [`Self::start_agent`], in a host's own namespace.
    pub(crate) fn start_agent_in(&mut self, host: &str, flags: &[&str]) {
        self.start_agent_by(self.host(host).command(env!("CARGO_BIN_EXE_srv6d")), flags);
        self.eventually("the agent answers", || self.session().is_ok());
    }

    /// Starts the agent by a command that ends in the program's name, and doesn't wait.
    pub(crate) fn start_agent_by(&mut self, mut command: Command, flags: &[&str]) {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let (socket, state) = (self.socket(), self.path("drained.json"));
        let usual = [
            ("--srv6-agent-socket", socket.as_str()),
            ("--srv6d-state", state.to_str().unwrap()),
            ("--srv6d-http", "off"),
            ("--srv6d-hints", "off"),
            ("--srv6-log", "debug"),
        ];
        let unsaid = usual.iter().filter(|(name, _)| !flags.contains(name));
        let child = command
            .args(&self.source)
            .args(unsaid.flat_map(|&(name, value)| [name, value]))
            .args(flags)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(child);
    }

    pub(crate) fn socket(&self) -> String {
        self.folder.path().join("run/agent.sock").to_str().unwrap().to_owned()
    }

    /// A file of this scene.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What all agents of this scene have logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) fn host(&self, name: &str) -> &Node {
        self.lab.node(name).unwrap()
    }

    pub(crate) fn agent_pid(&self) -> u32 {
        self.agent.as_ref().unwrap().id()
    }

    pub(crate) fn kill_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// SIGTERM, and waits for its end.
    pub(crate) fn stop_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        let pid = rustix::process::Pid::from_child(&agent);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(agent.wait().unwrap().success(), "{}", self.log());
    }

    /// A session of the test's own.
    pub(crate) fn session(&self) -> Result<AgentSession, SteerError> {
        AgentSession::open(&Attachment { deadline: PATIENCE, ..Attachment::new(self.socket().into()) })
    }

    /// All answers to one order.
    pub(crate) fn ask(&self, order: &str) -> Vec<Value> {
        let mut answers = Vec::new();
        let each = |json: &str| answers.push(serde_json::from_str(json).unwrap());
        self.session().unwrap().control(order, Some(PATIENCE), each).unwrap();
        answers
    }

    /// All registrations.
    pub(crate) fn flows(&self) -> Vec<Value> {
        let answers = self.ask(r#"{"command":"flows"}"#);
        answers.iter().flat_map(|answer| answer["flows"].as_array().unwrap().clone()).collect()
    }

    /// Processes that are attached, the test itself left out.
    pub(crate) fn attached(&self) -> Vec<u32> {
        let status = &self.ask(r#"{"command":"status"}"#)[0];
        let pids = status["sessions"].as_array().unwrap().iter().map(|s| s["pid"].as_u64().unwrap());
        pids.filter_map(|pid| u32::try_from(pid).ok()).filter(|&pid| pid != std::process::id()).collect()
    }

    /// Our routes in a host, as `ip` shows them.
    pub(crate) fn routes(&self, host: &str) -> String {
        self.host(host).sh("ip -6 route show table all proto 83").unwrap()
    }

    /// Waits until it is so.
    pub(crate) fn eventually(&self, what: &str, is_so: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < PATIENCE, "not in time: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            // Both fail where it has ended and been waited for.
            let _ended = agent.kill();
            let _waited = agent.wait();
        }
    }
}

pub(crate) fn fabric() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json")
}
