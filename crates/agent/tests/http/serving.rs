//! An agent of a test's own that is served over HTTP, with flows that go nowhere but into its tables.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use srv6_agent::{Agent, Config, Http, Layers};
use srv6_fabric::Flow;
use srv6_steer::{Hold, Status, Steer};

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A served agent and the thread that serves it, which ends with the test's process.
pub(crate) struct Serving {
    pub(crate) agent: Arc<Agent>,
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Serving {
    /// Starts one over the 4×4 example with these settings besides; routes are only logged.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        have_an_address();
        Self::beside(&[&[("ROUTE_PLATFORM", "none"), ("BACKEND_INTERFACE", "lo")], settings].concat())
    }

    /// Starts one for the calling thread's network namespace.
    pub(crate) fn beside(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (hints, state) = (folder.path().join("hints"), folder.path().join("state"));
        let fabric = fabric();
        let own = [
            ("SRV6_TOPOLOGY", fabric.to_str().unwrap()),
            ("SRV6D_HINTS", hints.to_str().unwrap()),
            ("SRV6D_STATE", state.to_str().unwrap()),
        ];
        let values = own.iter().chain(settings).map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::read(Layers::of_environment(values)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (agent, http) = runtime.block_on(async {
            (Arc::new(Agent::start(config).unwrap()), Http::bind("127.0.0.1:0".parse().unwrap()).unwrap())
        });
        let (address, served) = (http.local_addr(), Arc::clone(&agent));
        std::thread::spawn(move || runtime.block_on(http.serve(served)));
        Self { agent, address, _folder: folder }
    }

    /// Steering in the agent's own namespace.
    pub(crate) fn steer(&self) -> Steer {
        self.agent.hosts().all()[0].steer().clone()
    }

    /// Flows from host00 to `count` other hosts, ready.
    pub(crate) fn flows(&self, count: usize) -> Vec<Hold> {
        let steer = self.steer();
        let holds: Vec<_> = (1..=count).map(|n| steer.request(flow(n))).collect();
        for hold in &holds {
            eventually("a flow is ready", || match hold.status() {
                Status::Pending => false,
                Status::Ready(_) => true,
                Status::Failed(reason) => panic!("{}: {reason}", hold.flow()),
            });
        }
        holds
    }

    /// Status and text of a page.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let mut response = agent.get(format!("http://{}{path}", self.address)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }
}

pub(crate) fn fabric() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json")
}

/// Gives this namespace, which is the test program's own, the address of host00 and a way to the first switch.
fn have_an_address() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for arguments in ["-6 addr add 2001:db8:1000::2/128 dev lo nodad", "-6 route add fc00:0::/32 dev lo"]
        {
            assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "{arguments}");
        }
    });
}

/// From host00 to another host of the example.
pub(crate) fn flow(n: usize) -> Flow {
    let address = |host: usize| format!("2001:db8:1{host:03x}::2").parse().unwrap();
    Flow { src: address(0), dst: address(n) }
}

/// Waits until it is so.
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
