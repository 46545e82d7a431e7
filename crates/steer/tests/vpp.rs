//! Steering in a host whose data interface belongs to VPP. A stand-in for VPP and `ip` are the judges.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helper functions fail as tests do")]

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use srv6_fabric::Flow;
use srv6_lab::{Lab, Options};
use srv6_paths::read_topology;
use srv6_routes::vpp::VppConfig;
use srv6_steer::{Config, Hold, LanesStatus, LanesWanted, Source, Status, Steer, Steered};
use srv6_vpp_standin::{Fault, Setup, StandIn};

const PATIENCE: Duration = Duration::from_secs(60);

/// A lab whose host00 has a VPP beside the kernel.
struct Scene {
    lab: Lab,
    vpp: StandIn,
    config: Config,
}

impl Scene {
    fn new(test: &str, setup: Setup) -> Self {
        Self::over("4x4", test, setup)
    }

    fn over(fabric: &str, test: &str, setup: Setup) -> Self {
        let file = format!("{}/../../examples/fabrics/{fabric}.json", env!("CARGO_MANIFEST_DIR"));
        let file = Path::new(&file).to_owned();
        let (_, topology) = read_topology(&file, "fabric_graph", "hosts").unwrap();
        let lab = Lab::up(&topology, &Options::default()).unwrap();
        let socket = std::env::temp_dir().join(format!("steer-{}-{test}.sock", std::process::id()));
        let vpp = StandIn::start(&socket, setup).unwrap();
        let config = Config {
            vpp: Some(VppConfig { socket, timeout: PATIENCE, ..VppConfig::default() }),
            table: 0,
            deadline: PATIENCE,
            ..Config::new(Source::File(file))
        };
        Self { lab, vpp, config }
    }

    /// Starts steering as a process in host00 does.
    fn start(&self) -> Steer {
        let config = self.config.clone();
        self.lab.node("host00").unwrap().run(move || Steer::start(config)).unwrap()
    }

    fn kernel_routes(&self) -> String {
        self.lab.node("host00").unwrap().sh("ip -6 route show table all proto 83").unwrap()
    }

    fn kernel_routes_v4(&self) -> String {
        self.lab.node("host00").unwrap().sh("ip route show table all proto 83").unwrap()
    }
}

/// A VPP that has host00's data interface, and a way to the fabric.
fn data_interface() -> Setup {
    Setup::of_host("2001:db8:1000::2".parse().unwrap())
}

fn flow(host: u8) -> Flow {
    let dst: IpAddr = format!("2001:db8:{:x}::2", 0x1000 + u16::from(host)).parse().unwrap();
    Flow { src: "2001:db8:1000::2".parse().unwrap(), dst }
}

fn wait(hold: &Hold) -> Result<Arc<Steered>, String> {
    let started = Instant::now();
    loop {
        match hold.status() {
            Status::Ready(steered) => return Ok(steered),
            Status::Failed(reason) => return Err(reason.to_string()),
            Status::Pending => assert!(started.elapsed() < PATIENCE, "neither ready nor failed"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_flow_from_an_interface_of_vpps_is_steered_in_vpp_and_nowhere_else() {
    let scene = Scene::new("vpps", data_interface());
    let (first, second) = (scene.start(), scene.start());
    let holds = [first.request(flow(1)), second.request(flow(1)), first.request(flow(2))];
    let steered: Vec<_> = holds.iter().map(|hold| wait(hold).unwrap()).collect();
    assert_eq!(steered[0].hops, ["host00", "leaf00", "spine01", "leaf01", "host01"]);
    assert_eq!(steered[1].hops, steered[0].hops, "two ranks share the policy");
    let steering = scene.vpp.steering();
    assert_eq!((steering.len(), scene.vpp.policies().len()), (2, 2));
    let bsid = steering.get(&(0, "2001:db8:1001::2/128".parse().unwrap())).unwrap();
    let policy = scene.vpp.policies().remove(bsid).unwrap();
    assert_eq!(policy.source, "2001:db8:1000::2".parse::<std::net::Ipv6Addr>().unwrap());
    assert_eq!(policy.lists, [(1, vec!["fc00:0:1200:1001:1201:fe06::".parse().unwrap()])]);
    assert_eq!(scene.kernel_routes(), "");

    let [of_first, of_second, alone] = holds;
    drop((of_first, alone));
    first.settle(PATIENCE);
    assert_eq!(scene.vpp.steering().len(), 1, "another process still needs it");
    drop(of_second);
    second.settle(PATIENCE);
    assert!(scene.vpp.steering().is_empty() && scene.vpp.policies().is_empty());
    assert_eq!(scene.vpp.abuse(), None);
}

#[test]
fn a_flow_from_an_interface_of_the_kernels_is_steered_in_the_kernel() {
    let scene = Scene::new("kernels", Setup::default());
    let steer = scene.start();
    let hold = steer.request(flow(1));
    wait(&hold).unwrap();
    assert!(scene.kernel_routes().starts_with("2001:db8:1001::2  encap seg6"), "{}", scene.kernel_routes());
    assert!(scene.vpp.steering().is_empty());
    drop(hold);
    steer.settle(PATIENCE);
    assert_eq!(scene.kernel_routes(), "");

    // By name it is VPP's though the kernel has the address: the other end of a tap.
    let setup = Setup {
        interfaces: vec![("fabric0".to_owned(), vec![("2001:db8:7::7".parse().unwrap(), 64)])],
        ..data_interface()
    };
    let mut scene = Scene::new("tap", setup);
    scene.config.interface = Some("fabric0".to_owned());
    let steer = scene.start();
    let hold = steer.request(flow(1));
    wait(&hold).unwrap();
    assert_eq!((scene.vpp.steering().len(), scene.kernel_routes().as_str()), (1, ""));
}

#[test]
fn a_vpp_that_hangs_lets_no_flow_of_the_kernels_down() {
    let setup = Setup {
        interfaces: vec![("eth1".to_owned(), vec![("2001:db8:7::7".parse().unwrap(), 64)])],
        ..Setup::default()
    };
    let mut scene = Scene::new("hangs", setup);
    scene.config.vpp.as_mut().unwrap().timeout = Duration::from_millis(500);
    let (before, during) = (scene.start(), scene.start());
    let first = before.request(flow(1));
    wait(&first).unwrap();
    scene.vpp.fault(Fault::Silent);
    // One process knows the address, the other has never reached VPP.
    let holds = [before.request(flow(2)), during.request(flow(2)), during.request(flow(3))];
    holds.iter().for_each(|hold| drop(wait(hold).unwrap()));
    assert_eq!(scene.kernel_routes().lines().count(), 3, "{}", scene.kernel_routes());
    let vpps = Flow { src: "2001:db8:7::7".parse().unwrap(), ..flow(1) };
    let reason = wait(&before.request(vpps)).unwrap_err();
    assert!(reason.contains("did not answer"), "{reason}");
    drop((first, holds));
    [&before, &during].iter().for_each(|process| process.settle(PATIENCE));
    assert_eq!(scene.kernel_routes(), "");
}

#[test]
fn a_flow_ends_where_it_was_put_though_its_address_has_moved() {
    let scene = Scene::new("moved", data_interface());
    let steer = scene.start();
    let old = steer.request(flow(1));
    wait(&old).unwrap();
    assert_eq!((scene.vpp.steering().len(), scene.kernel_routes().as_str()), (1, ""));
    scene.vpp.interfaces(Vec::new());
    let mut fresh = Vec::new();
    eventually("a new connection of the flow is the kernel's", || {
        let hold = steer.request(flow(1));
        wait(&hold).unwrap();
        fresh.push(hold);
        !scene.kernel_routes().is_empty()
    });
    assert_eq!(scene.vpp.steering().len(), 1, "the old one is still there");
    drop(old);
    drop(fresh);
    steer.settle(PATIENCE);
    assert!(scene.vpp.steering().is_empty() && scene.vpp.policies().is_empty());
    assert_eq!(scene.kernel_routes(), "");
}

#[test]
fn after_a_restart_of_vpps_its_flows_are_back_without_anybody_asking() {
    let mut scene = Scene::new("restart", data_interface());
    let processes = [scene.start(), scene.start()];
    let mut holds = Vec::new();
    for process in &processes {
        holds.extend((1..4).map(|host| process.request(flow(host))));
    }
    holds.iter().for_each(|hold| drop(wait(hold).unwrap()));
    let (policies, steering) = (scene.vpp.policies(), scene.vpp.steering());
    assert_eq!(steering.len(), 3);
    scene.vpp.kill();
    scene.vpp.revive().unwrap();
    eventually("the flows are back", || scene.vpp.steering() == steering && scene.vpp.policies() == policies);
    assert_eq!(scene.vpp.served().get("sr_steering_add_del"), Some(&3), "none is set twice");
    drop(holds);
    processes.iter().for_each(|process| process.settle(PATIENCE));
    assert!(scene.vpp.steering().is_empty() && scene.vpp.policies().is_empty());
}

/// In a host whose VPP has the IPv6 address, and whose kernel alone has the IPv4 address.
fn shared_host(test: &str) -> (Scene, Steer, [Hold; 2]) {
    let scene = Scene::over("2x2-dual-stack", test, data_interface());
    let steer = scene.start();
    let holds = [
        steer.request(Flow { dst: "2001:db8:1003::2".parse().unwrap(), ..flow(0) }),
        steer.request(Flow { src: "10.1.0.2".parse().unwrap(), dst: "10.1.3.2".parse().unwrap() }),
    ];
    holds.iter().for_each(|hold| drop(wait(hold).unwrap()));
    (scene, steer, holds)
}

#[test]
fn what_somebody_takes_away_comes_back_on_both_sides() {
    let (mut scene, _steer, _holds) = shared_host("both");
    let (steering, shown) = (scene.vpp.steering(), scene.kernel_routes_v4());
    assert_eq!((steering.len(), shown.lines().count()), (1, 1), "{shown}");
    assert_eq!(scene.kernel_routes(), "");
    let take_away = |scene: &Scene| {
        scene.lab.node("host00").unwrap().sh("ip route del 10.1.3.2 proto 83 metric 77").unwrap();
        // Long before the next look of every 30 s, and not because of VPP.
        let started = Instant::now();
        eventually("the kernel's is back", || scene.kernel_routes_v4() == shown);
        started.elapsed()
    };
    let soon = Duration::from_secs(20);
    assert!(take_away(&scene) < soon, "nobody listens to the kernel");
    scene.vpp.kill();
    assert!(take_away(&scene) < soon, "a VPP that is down keeps the kernel's flows from their routes");
    scene.vpp.revive().unwrap();
    eventually("VPP's is back", || scene.vpp.steering() == steering);
    assert_eq!(scene.kernel_routes_v4(), shown);
}

#[test]
fn processes_that_end_take_their_leave_of_vpp() {
    let (scene, steer, holds) = shared_host("leave");
    drop(holds);
    steer.settle(PATIENCE);
    assert_eq!(scene.vpp.served().get("sockclnt_delete"), Some(&1));
    // It goes on all the same, by another connection, and that one is watched.
    let hold = steer.request(Flow { dst: "2001:db8:1003::2".parse().unwrap(), ..flow(0) });
    wait(&hold).unwrap();
    let steering = scene.vpp.steering();
    let Scene { mut vpp, lab: _lab, .. } = scene;
    vpp.kill();
    vpp.revive().unwrap();
    eventually("the flow is back", || vpp.steering() == steering);
    for _ in 0..20 {
        drop(steer.request(Flow { dst: "2001:db8:1002::2".parse().unwrap(), ..flow(0) }));
        steer.settle(PATIENCE);
    }
    assert_eq!(vpp.abuse(), None);
}

#[test]
fn what_vpp_cant_do_is_said_in_its_own_words() {
    let mut scene = Scene::new("cant", Setup { routes: Vec::new(), ..data_interface() });
    let steer = scene.start();
    let reason = wait(&steer.request(flow(1))).unwrap_err();
    assert!(reason.contains("VPP has no route to carrier fc00:0:1200:"), "{reason}");

    scene.vpp.kill();
    let reason =
        wait(&scene.start().request(Flow { src: "2001:db8:7::7".parse().unwrap(), ..flow(1) })).unwrap_err();
    assert!(reason.contains("SRV6_VPP_SOCKET"), "{reason}");
    scene.vpp.revive().unwrap();
}

#[test]
fn sockets_that_cant_have_lanes_share_the_path_of_their_flow() {
    let scene = Scene::new("lanes", data_interface());
    let steer = scene.start();
    let lanes = steer.request_lanes(flow(1), LanesWanted { count: 4, pinning: None, along: Vec::new() });
    eventually("lanes are answered", || !matches!(lanes.status(), LanesStatus::Pending));
    let LanesStatus::Failed(reason) = lanes.status() else { panic!("lanes without sockets") };
    assert!(
        reason.starts_with("vpp can't tie sockets to paths")
            && reason.contains("distinct destination")
            && reason.ends_with("take host00 > leaf00 > spine01 > leaf01 > host01"),
        "{reason}"
    );
    assert_eq!(scene.vpp.steering().len(), 1);
    drop(lanes);
    steer.settle(PATIENCE);
    assert!(scene.vpp.steering().is_empty() && scene.vpp.policies().is_empty());
}

#[test]
fn a_dry_run_changes_neither() {
    let mut scene = Scene::new("dry", data_interface());
    scene.config.dry_run = true;
    let hold = scene.start().request(flow(1));
    assert_eq!(wait(&hold).unwrap().carrier, "fc00:0:1200:1001:1201:fe06::");
    assert!(scene.vpp.steering().is_empty() && scene.vpp.policies().is_empty());
    assert_eq!(scene.kernel_routes(), "");
}
