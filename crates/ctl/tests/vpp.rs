//! The plugin, the preload library and `srv6ctl` in a host whose data interface belongs to VPP. A stand-in for VPP and `ip` are
//! the judges.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helper functions fail as tests do"
)]

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use srv6_fabric::Prefix;
use srv6_lab::{Lab, Options};
use srv6_vpp_standin::{Setup, StandIn};

/// For what takes milliseconds where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(120);

const SOURCE: &str = "2001:db8:1000::2";
const DESTINATION: &str = "2001:db8:1001::2";

/// A lab whose host00 has a VPP with the address of its data interface.
struct Scene {
    lab: Lab,
    /// Before the folder that its socket is in, as it needs that to end.
    vpp: StandIn,
    _folder: tempfile::TempDir,
}

/// Processes that are killed with the test.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _gone = child.kill();
            let _status = child.wait();
        }
    }
}

fn fabric() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json")
}

/// What cargo built beside this test.
fn built(name: &str) -> PathBuf {
    let file = std::env::current_exe().unwrap().with_file_name(name);
    assert!(file.exists(), "{} is not built", file.display());
    file
}

impl Scene {
    fn new() -> Self {
        let (_, topology) = srv6_paths::read_topology(&fabric(), "fabric_graph", "hosts").unwrap();
        let lab = Lab::up(&topology, &Options::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::of_host(SOURCE.parse().unwrap());
        let vpp = StandIn::start(&folder.path().join("api.sock"), setup).unwrap();
        Self { lab, vpp, _folder: folder }
    }

    /// A command in a host; host00's settings name VPP.
    fn command(&self, host: &str, program: &str) -> Command {
        let mut command = self.lab.node(host).unwrap().command(program);
        command.env("SRV6_TOPOLOGY", fabric()).env("SRV6_MODE", "local");
        if host == "host00" {
            command.env("ROUTE_PLATFORM", "vpp").env("SRV6_VPP_SOCKET", self.vpp.socket());
        }
        command
    }

    /// `srv6ctl … --json` in host00.
    fn srv6ctl(&self, arguments: &[&str]) -> Value {
        let mut command = self.command("host00", env!("CARGO_BIN_EXE_srv6ctl"));
        let output = command.args(arguments).arg("--json").output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}; {errors}"))
    }

    fn start_job(&self) -> Running {
        let master = self.lab.management_address("host00").unwrap().to_string();
        let start = |(rank, host): (usize, &str)| {
            let words = ["-b", "1M", "-e", "1M", "-n", "1000000", "-w", "1"];
            self.command(host, env!("CARGO_BIN_EXE_srv6ctl"))
                .args(["bench", "all-reduce", "--plugin"])
                .arg(built("libnccl_net_srv6.so"))
                .args(words)
                .env("RANK", rank.to_string())
                .env("WORLD_SIZE", "2")
                .env("MASTER_ADDR", &master)
                .env("MASTER_PORT", "29500")
                .env("NCCL_SOCKET_IFNAME", "=eth1")
                .env("NCCL_SOCKET_FAMILY", "AF_INET6")
                .env("SRV6_TRANSPORT", "multipath")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        Running(["host00", "host01"].into_iter().enumerate().map(start).collect())
    }

    fn kernel_routes(&self, host: &str) -> String {
        self.lab.node(host).unwrap().sh("ip -6 route show table all proto 83").unwrap()
    }

    /// The one flow is steered, in VPP alone, over the path that the policy `spread` gives.
    fn assert_steered_in_vpp(&self) {
        let steering: Vec<(u32, Prefix)> = self.vpp.steering().into_keys().collect();
        assert_eq!(steering, [(0, Prefix::host(DESTINATION.parse().unwrap()))]);
        let policies: Vec<_> = self.vpp.policies().into_values().collect();
        assert_eq!(policies.len(), 1);
        assert_eq!(policies[0].source, SOURCE.parse::<std::net::Ipv6Addr>().unwrap());
        assert_eq!(policies[0].lists, [(1, vec!["fc00:0:1200:1001:1201:fe06::".parse().unwrap()])]);
        assert_eq!(self.kernel_routes("host00"), "");
    }
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The findings of a check, as status and message.
fn findings<'a>(report: &'a Value, check: &str) -> Vec<(&'a str, &'a str)> {
    let all = report["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check);
    all.map(|finding| (finding["status"].as_str().unwrap(), finding["message"].as_str().unwrap())).collect()
}

#[test]
fn a_job_is_steered_in_vpp_and_every_command_says_so() {
    let scene = Scene::new();
    let mut job = scene.start_job();
    eventually("the job is steered", || !scene.vpp.steering().is_empty());
    eventually("the other host's kernel steers", || !scene.kernel_routes("host01").is_empty());
    scene.assert_steered_in_vpp();

    let shown = scene.srv6ctl(&["paths"]);
    let flow = &shown["flows"].as_array().unwrap()[..];
    assert_eq!(flow.len(), 1, "{shown:#}");
    assert_eq!((&flow[0]["dataplane"], &flow[0]["destination"]), (&"vpp".into(), &DESTINATION.into()));
    let path: Vec<&str> =
        flow[0]["path"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(path, ["host00", "leaf00", "spine01", "leaf01", "host01"]);
    assert_eq!(flow[0]["references"], 1, "{shown:#}");
    assert_eq!(scene.srv6ctl(&["routes"])[0]["dataplane"], "vpp");

    let report = scene.srv6ctl(&["doctor"]);
    let api = findings(&report, "vpp.api");
    assert!(matches!(api[..], [("ok", text)] if text.contains("1 policies")), "{report:#}");
    let flows = findings(&report, "vpp.flows");
    let of_vpp = format!("flows from {SOURCE} are steered by VPP");
    assert!(flows.contains(&("ok", of_vpp.as_str())), "{report:#}");
    assert_eq!(findings(&report, "vpp.block").len(), 1, "{report:#}");

    // Killed without a word: what it had is nobody's then.
    for child in &mut job.0 {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    scene.assert_steered_in_vpp();
    let collected = scene.srv6ctl(&["gc"]);
    assert_eq!(collected["removed"], serde_json::json!([format!("{DESTINATION}/128")]), "{collected:#}");
    assert!(scene.vpp.steering().is_empty() && scene.vpp.policies().is_empty());
    assert_eq!(scene.vpp.abuse(), None);
}

#[test]
fn the_preload_library_steers_in_vpp_for_as_long_as_the_program_runs() {
    let scene = Scene::new();
    let address: SocketAddr = format!("[{DESTINATION}]:7007").parse().unwrap();
    let listener = scene.lab.node("host01").unwrap().run(move || TcpListener::bind(address)).unwrap();
    let program = format!("exec 3<>/dev/tcp/{DESTINATION}/7007; read -r end");
    let mut child = scene
        .command("host00", "bash")
        .args(["-c", &program])
        .env("LD_PRELOAD", built("libsrv6_shim.so"))
        .env("SRV6_SHIM_PREFIXES", "2001:db8:1001::/64")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let end = child.stdin.take().unwrap();
    let mut running = Running(vec![child]);
    let (_connection, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip().to_string(), SOURCE);
    scene.assert_steered_in_vpp();
    drop(end);
    running.0[0].wait().unwrap();
    eventually("it gives back what it had", || scene.vpp.steering().is_empty());
    assert_eq!((scene.vpp.policies().len(), scene.vpp.abuse()), (0, None));
}
