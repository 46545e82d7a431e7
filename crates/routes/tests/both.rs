//! The kernel and VPP side by side, where VPP goes wrong or addresses move. `ip` and a stand-in for VPP are the judges.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helper functions fail as tests do")]

mod scene;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use scene::{PATIENCE, in_namespace, sh};
use srv6_fabric::{Flow, Prefix, Segments};
use srv6_routes::vpp::{VppConfig, VppError};
use srv6_routes::{ByInterface, Dataplane, EncapMode, Route, RouteError, RouteKey, Target};
use srv6_vpp_standin::{Fault, Offer, Setup, StandIn};

/// On `eth1`, which is the kernel's.
const KERNELS: &str = "2001:db8:1000::2";

/// On an interface of VPP's.
const VPPS: &str = "2001:db8:7::7";

/// Long enough for a stand-in on a busy machine, and short enough to be waited for.
const HASTE: Duration = Duration::from_secs(5);

type Interfaces = Vec<(String, Vec<(IpAddr, u8)>)>;

fn interface_with(address: &str) -> Interfaces {
    vec![("fabric0".to_owned(), vec![(address.parse().unwrap(), 64)])]
}

fn start(test: &str, offer: Offer, timeout: Duration) -> (StandIn, ByInterface) {
    let socket: PathBuf = std::env::temp_dir().join(format!("both-{}-{test}.sock", std::process::id()));
    let setup = Setup { interfaces: interface_with(VPPS), offer, ..Setup::default() };
    let vpp = StandIn::start(&socket, setup).unwrap();
    let config = VppConfig { socket, timeout, ..VppConfig::default() };
    (vpp, ByInterface::new(config, None).unwrap())
}

fn flow(source: &str) -> Flow {
    Flow { src: source.parse().unwrap(), dst: "2001:db8:1001::2".parse().unwrap() }
}

/// As steering makes it: the table is that of the dataplane that the source belongs to.
fn route(both: &mut ByInterface, source: &str) -> Route {
    let flow = flow(source);
    let table = both.capabilities(flow.src).table.unwrap_or(0);
    let carrier = "fc00:0:1200:1001:1201:fe06::".parse().unwrap();
    Route {
        key: RouteKey { table, destination: Prefix::host(flow.dst) },
        interface: both.interface_of(flow.src).unwrap().index,
        source: Some(flow.src),
        mtu: None,
        target: Target::Encap { mode: EncapMode::Reduced, segments: Segments::new(vec![carrier]).unwrap() },
    }
}

fn kernel() -> String {
    sh("ip -6 route show table all proto 83")
}

fn is_vpps(both: &mut ByInterface, source: &str) -> bool {
    both.is_vpps(source.parse().unwrap()).unwrap()
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A flow of the kernel's from its beginning to its end, with every call that steering makes.
fn kernels_flow_comes_and_goes(both: &mut ByInterface, what: &str) {
    let route = route(both, KERNELS);
    assert_eq!(both.find(&route.key).unwrap(), None, "{what}");
    both.set(&route).unwrap();
    both.takes(flow(KERNELS), &route.key).unwrap();
    assert_eq!(both.find(&route.key).unwrap().map(|found| found.key), Some(route.key), "{what}");
    assert_eq!(both.owned().unwrap().len(), 1, "{what}");
    assert!(both.replace_all(std::slice::from_ref(&route)).is_empty(), "{what}");
    assert!(kernel().starts_with("2001:db8:1001::2  encap seg6"), "{what}: {}", kernel());
    both.remove(&route.key).unwrap();
    assert_eq!(kernel(), "", "{what}");
}

#[test]
fn whatever_vpp_does_the_kernel_steers_its_own_flows() {
    in_namespace(|| {
        for fault in [Fault::Silent, Fault::Garbage, Fault::Cut, Fault::Endless, Fault::Close] {
            let what = format!("{fault:?}");
            // One that nobody has asked yet, and one that goes wrong later.
            for asked_before in [false, true] {
                let (vpp, mut both) = start("fault", Offer::Current, HASTE);
                if asked_before {
                    kernels_flow_comes_and_goes(&mut both, &what);
                }
                vpp.fault(fault);
                kernels_flow_comes_and_goes(&mut both, &what);
                assert!(vpp.steering().is_empty(), "{what}");
            }
        }
        for offer in [Offer::WithoutSegmentRouting, Offer::Changed("sr_steering_add_del")] {
            let (_vpp, mut both) = start("offer", offer, HASTE);
            kernels_flow_comes_and_goes(&mut both, &format!("{offer:?}"));
        }
    });
}

#[test]
fn a_vpp_that_hangs_is_waited_for_once_and_found_again() {
    in_namespace(|| {
        let (vpp, mut both) = start("hangs", Offer::Current, HASTE);
        let route = route(&mut both, VPPS);
        both.set(&route).unwrap();
        vpp.fault(Fault::Silent);
        let silent = |error: RouteError| matches!(error, RouteError::Vpp(VppError::Silent { .. }));
        assert!(silent(both.set(&route).unwrap_err()));
        let asked = vpp.served();
        // It is still VPP's, and each of these would wait once more.
        for _ in 0..50 {
            assert!(is_vpps(&mut both, VPPS));
            assert!(silent(both.set(&route).unwrap_err()));
        }
        assert_eq!(vpp.served(), asked);
        vpp.fault(Fault::None);
        eventually("VPP answers again", || both.set(&route).is_ok());
        assert_eq!(vpp.steering().len(), 1);
    });
}

#[test]
fn a_restarted_vpp_is_asked_anew_whose_an_address_is() {
    in_namespace(|| {
        let (mut vpp, mut both) = start("restart", Offer::Current, HASTE);
        assert!(is_vpps(&mut both, VPPS) && !is_vpps(&mut both, KERNELS));
        let of_vpp = route(&mut both, VPPS);
        both.set(&of_vpp).unwrap();
        vpp.kill();
        vpp.interfaces(interface_with(KERNELS));
        sh(&format!("ip addr add {VPPS}/64 dev eth1 nodad"));
        vpp.revive().unwrap();
        assert!(both.replace_all(std::slice::from_ref(&of_vpp)).is_empty());
        assert_eq!((vpp.steering().len(), kernel().as_str()), (1, ""), "it stays where it was put");
        // What was found over the connection before it doesn't count any more, but for want of better.
        vpp.fault(Fault::Silent);
        assert!(is_vpps(&mut both, VPPS) && !is_vpps(&mut both, KERNELS));
        vpp.fault(Fault::None);
        eventually("asked anew", || is_vpps(&mut both, KERNELS) && !is_vpps(&mut both, VPPS));
    });
}

#[test]
fn an_address_that_moves_takes_new_flows_along_and_the_old_ones_end_where_they_are() {
    in_namespace(|| {
        let (vpp, mut both) = start("moves", Offer::Current, PATIENCE);
        let before = route(&mut both, VPPS);
        both.set(&before).unwrap();
        assert_eq!((vpp.steering().len(), kernel().as_str()), (1, ""));
        vpp.interfaces(Vec::new());
        sh(&format!("ip addr add {VPPS}/64 dev eth1 nodad"));
        eventually("the kernel's now", || !is_vpps(&mut both, VPPS));
        let after = route(&mut both, VPPS);
        assert_ne!(after.key, before.key);
        both.set(&after).unwrap();
        both.takes(flow(VPPS), &after.key).unwrap();
        assert!(kernel().starts_with("2001:db8:1001::2  encap seg6"), "{}", kernel());

        // And back.
        sh(&format!("ip addr del {VPPS}/64 dev eth1"));
        vpp.interfaces(interface_with(VPPS));
        assert_eq!(both.interface_of(VPPS.parse().unwrap()).unwrap().name, "fabric0", "at once");
        for key in [before.key, after.key] {
            both.remove(&key).unwrap();
        }
        assert_eq!((vpp.steering().len(), kernel().as_str(), vpp.abuse()), (0, "", None));
    });
}
