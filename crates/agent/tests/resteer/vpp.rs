//! An agent in a host whose data interface belongs to VPP. A stand-in for VPP and `ip` are the judges.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use srv6_agent::{Config, Layers, Namespace, findings};
use srv6_fabric::{Flow, Prefix};
use srv6_lab::{Lab, Options};
use srv6_vpp_standin::{Setup, StandIn};

use crate::scene::{Beside, PATIENCE, eventually, flow, spine, steered};

const HOST00: &str = "2001:db8:1000::2";
const HOST03: &str = "2001:db8:1003::2";

/// VPP has host00's IPv6 address; its IPv4 address is the kernel's alone.
struct Scene {
    lab: Lab,
    /// Before the folder that its socket is in, as it needs that to end.
    vpp: StandIn,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let (_, topology) = srv6_paths::read_topology(&fabric(), "fabric_graph", "hosts").unwrap();
        let lab = Lab::up(&topology, &Options::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::of_host(HOST00.parse().unwrap());
        let vpp = StandIn::start(&folder.path().join("api.sock"), setup).unwrap();
        Self { lab, vpp, folder }
    }

    fn settings(&self) -> [(String, String); 3] {
        [
            ("SRV6_TOPOLOGY", fabric().display().to_string()),
            ("ROUTE_PLATFORM", "vpp".to_owned()),
            ("SRV6_VPP_SOCKET", self.vpp.socket().display().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }

    fn agent(&self) -> Beside {
        let settings = self.settings();
        let settings: Vec<(&str, &str)> = settings.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        Beside::with(&self.lab, "host00", self.folder.path(), &settings)
    }

    /// Our routes in a host's kernel, of both families.
    fn kernel(&self, host: &str) -> String {
        let show = "ip -6 route show table all proto 83; ip route show table all proto 83";
        self.lab.node(host).unwrap().sh(show).unwrap()
    }

    /// The segments of the one policy that there is.
    fn segments(&self) -> Vec<Ipv6Addr> {
        let policies = self.vpp.policies();
        assert_eq!(policies.len(), 1, "{policies:?}");
        policies.into_values().next().unwrap().lists.remove(0).1
    }

    fn steering(&self) -> BTreeMap<(u32, Prefix), Ipv6Addr> {
        self.vpp.steering()
    }

    fn served(&self, request: &str) -> usize {
        self.vpp.served().get(request).copied().unwrap_or(0)
    }
}

fn fabric() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/2x2-dual-stack.json")
}

fn vpps() -> Flow {
    flow(HOST00, HOST03)
}

fn kernels() -> Flow {
    flow("10.1.0.2", "10.1.3.2")
}

#[test]
fn each_flow_goes_where_its_source_is() {
    let scene = Scene::new();
    let agent = scene.agent();
    let (one, _) = agent.steer(vpps());
    assert_eq!((scene.steering().len(), scene.kernel("host00").as_str()), (1, ""));
    let (other, _) = agent.steer(kernels());
    assert!(scene.kernel("host00").starts_with("10.1.3.2  encap seg6 "), "{}", scene.kernel("host00"));
    assert_eq!(scene.steering().len(), 1);

    // Jobs of other network namespaces have nothing to do with this VPP.
    let elsewhere = scene.lab.node("host01").unwrap().run(|| Namespace::own().unwrap());
    let elsewhere = agent.agent.hosts().enter(elsewhere).unwrap();
    let far = elsewhere.steer().request(flow("2001:db8:1001::2", HOST03));
    steered(&far);
    assert!(
        scene.kernel("host01").starts_with("2001:db8:1003::2  encap seg6 "),
        "{}",
        scene.kernel("host01")
    );
    assert_eq!(scene.steering().len(), 1);

    drop((one, other));
    agent.host.steer().settle(PATIENCE);
    assert!(scene.steering().is_empty() && scene.vpp.policies().is_empty());
    assert_eq!((scene.kernel("host00").as_str(), scene.vpp.abuse()), ("", None));
}

#[test]
fn a_drained_spine_is_left_and_a_vpp_that_was_restarted_has_all_back() {
    let mut scene = Scene::new();
    let agent = scene.agent();
    let (there, _) = agent.steer(vpps());
    let (kernels, _) = agent.steer(kernels());
    let (own, segments) = (spine(&there), scene.segments());
    let before = 1 + usize::from(spine(&kernels) == own);
    let drained = agent.agent.drains().drain(&agent.agent, &own, PATIENCE).unwrap();
    assert_eq!((drained.unfinished, drained.moved), (0, before));
    assert_ne!(spine(&there), own);
    assert_ne!(scene.segments(), segments, "VPP still has the path over the drained spine");
    assert_eq!(scene.served("sr_policy_del"), 1, "the old path's policy is left over");

    let (policies, steering) = (scene.vpp.policies(), scene.steering());
    scene.vpp.kill();
    scene.vpp.revive().unwrap();
    eventually("it is steered again", || scene.vpp.policies() == policies && scene.steering() == steering);
    assert_eq!(scene.served("sr_steering_add_del"), 1, "set twice");
    agent.agent.drains().undrain(&agent.agent, &own).unwrap();
    eventually("it is on its own path again", || spine(&there) == own);
    assert_eq!(scene.segments(), segments);
    assert_eq!(scene.vpp.abuse(), None);
}

#[test]
fn check_tells_whether_vpp_answers() {
    let scene = Scene::new();
    let fault = |settings: [(String, String); 3]| {
        let config = Config::read(Layers::of_environment(settings.into_iter())).unwrap();
        let found = scene.lab.node("host00").unwrap().run(move || findings(&config));
        found.into_iter().find(|finding| finding.what.starts_with("VPP at ")).unwrap().fault
    };
    assert_eq!(fault(scene.settings()), None);
    let mut absent = scene.settings();
    absent[2].1 = "/nonexistent/api.sock".to_owned();
    let text = fault(absent).unwrap();
    assert!(text.contains("/nonexistent/api.sock"), "{text}");
}
