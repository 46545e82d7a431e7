//! A VPP that dies, hangs, says nonsense, or is another version than is known.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helper functions fail as tests do")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use srv6_fabric::{Flow, Prefix, Segments};
use srv6_routes::vpp::{Client, VppConfig, VppError, VppRoutes};
use srv6_routes::{Change, Dataplane, EncapMode, Reach, Route, RouteError, RouteKey, Target, plan};
use srv6_vpp_standin::{Fault, Offer, Setup, StandIn};

const PATIENCE: Duration = Duration::from_secs(60);

fn socket(test: &str) -> PathBuf {
    std::env::temp_dir().join(format!("vpp-{}-{test}.sock", std::process::id()))
}

fn start(test: &str, setup: Setup) -> (StandIn, VppRoutes) {
    let standin = StandIn::start(&socket(test), setup).unwrap();
    let config = VppConfig { socket: standin.socket().to_owned(), timeout: PATIENCE, ..config() };
    (standin, VppRoutes::new(config))
}

fn config() -> VppConfig {
    VppConfig { source: Some("2001:db8:1000::2".parse().unwrap()), ..VppConfig::default() }
}

fn route(destination: &str, carrier: Ipv6Addr) -> Route {
    Route {
        key: RouteKey { table: 0, destination: destination.parse().unwrap() },
        interface: 0,
        source: None,
        mtu: None,
        target: Target::Encap { mode: EncapMode::Reduced, segments: Segments::new(vec![carrier]).unwrap() },
    }
}

fn any_route() -> Route {
    route("2001:db8:1001::2/128", "fc00:0:1200:1001:1201:fe06::".parse().unwrap())
}

/// Flows that differ in destination and, but for every tenth, in path.
fn flows(count: u16) -> BTreeMap<RouteKey, Route> {
    let flow = |n: u16| {
        route(&format!("2001:db8:1001::{n:x}/128"), [0xfc00, 0, n / 10 * 10 + 1, 0, 0, 0, 0, 0].into())
    };
    (1..=count).map(flow).map(|route| (route.key, route)).collect()
}

#[test]
fn after_a_restart_every_flow_is_back_and_none_is_there_twice() {
    let (mut standin, mut vpp) = start("restart", Setup::default());
    let wanted = flows(1000);
    let mut watch = vpp.watch().unwrap().remove(0);
    assert!(vpp.restarts());
    assert!(vpp.apply(&plan(&wanted, &[])).is_empty());
    let (policies, steering) = (standin.policies(), standin.steering());
    assert_eq!((policies.len(), steering.len()), (101, 1000));
    for _ in 0..2 {
        standin.kill();
        let error = vpp.find(&any_route().key).unwrap_err();
        assert!(matches!(error, RouteError::Vpp(VppError::Unreachable { .. })), "{error}");
        standin.revive().unwrap();
        assert_eq!(watch.wait().unwrap(), Some(vec![Change::Lost]));
        // Two processes put everything back; the second finds nothing to do.
        let owned = vpp.owned().unwrap();
        assert_eq!(owned.len(), 0);
        assert!(vpp.apply(&plan(&wanted, &owned)).is_empty());
        let mut other = VppRoutes::new(VppConfig { socket: standin.socket().to_owned(), ..config() });
        assert_eq!(plan(&wanted, &other.owned().unwrap()), Default::default());
        assert_eq!((standin.policies(), standin.steering()), (policies.clone(), steering.clone()));
        assert_eq!(standin.served()["sr_steering_add_del"], 1000);
        assert_eq!(standin.served()["sr_policy_add_v2"], 101);
    }
    let stop = watch.stopper();
    stop();
    assert_eq!(watch.wait().unwrap(), None);
    assert_eq!(standin.abuse(), None);
}

#[test]
fn a_connection_that_breaks_in_between_is_made_again() {
    let (mut standin, mut vpp) = start("again", Setup::default());
    vpp.set(&any_route()).unwrap();
    standin.kill();
    standin.revive().unwrap();
    // Nobody was told of the restart yet.
    vpp.set(&any_route()).unwrap();
    assert_eq!((standin.policies().len(), standin.steering().len()), (1, 1));
    standin.kill();
    standin.revive().unwrap();
    vpp.remove(&any_route().key).unwrap();
    assert!(standin.policies().is_empty() && standin.steering().is_empty());
}

#[test]
fn a_vpp_that_isnt_there_is_named_with_the_remedy() {
    let mut vpp = VppRoutes::new(VppConfig { socket: socket("nobody"), ..config() });
    let text = vpp.set(&any_route()).unwrap_err().to_string();
    assert!(text.contains("vpp-") && text.contains("socksvr") && text.contains("SRV6_VPP_SOCKET"), "{text}");
    let failed = vpp.apply(&plan(&flows(3), &[]));
    assert_eq!(failed.len(), 3);
}

#[test]
fn a_silent_vpp_delays_by_the_timeout_and_no_longer() {
    let (standin, mut vpp) = start("silent", Setup::default());
    vpp.owned().unwrap();
    standin.fault(Fault::Silent);
    let waited = Duration::from_millis(300);
    let mut hasty =
        VppRoutes::new(VppConfig { socket: standin.socket().to_owned(), timeout: waited, ..config() });
    let started = Instant::now();
    let error = hasty.set(&any_route()).unwrap_err();
    assert!(matches!(error, RouteError::Vpp(VppError::Silent { waited: w, .. }) if w == waited), "{error}");
    assert!(started.elapsed() >= waited);
    standin.fault(Fault::None);
    // One that may take its time on a busy machine; its connection is another, and was never asked in vain.
    vpp.set(&any_route()).unwrap();
    assert_eq!(standin.steering().len(), 1);
}

#[test]
fn one_that_accepts_nobody_delays_by_the_timeout_and_no_longer() {
    let socket = socket("full");
    let listener = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(&socket).unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let waited = Duration::from_millis(300);
    // This one waits in the queue, and the next for a place in it.
    let _queued = UnixStream::connect(&socket).unwrap();
    let error = Client::connect(&socket, waited).unwrap_err();
    assert!(matches!(error, VppError::Silent { doing: "connect", waited: w, .. } if w == waited), "{error}");
    std::fs::remove_file(&socket).unwrap();
}

#[test]
fn nonsense_is_an_error_and_the_next_call_begins_anew() {
    let (standin, mut vpp) = start("nonsense", Setup::default());
    for fault in [Fault::Garbage, Fault::Cut, Fault::Endless, Fault::Close] {
        vpp.owned().unwrap();
        standin.fault(fault);
        let error = vpp.set(&any_route()).unwrap_err();
        let RouteError::Vpp(error) = error else { panic!("{fault:?}: {error}") };
        assert!(error.ends_connection(), "{fault:?}: {error}");
        standin.fault(Fault::None);
        vpp.set(&any_route()).unwrap();
        assert_eq!(vpp.owned().unwrap(), [any_route()], "{fault:?}");
        vpp.remove(&any_route().key).unwrap();
    }
    standin.fault(Fault::Slow);
    vpp.set(&any_route()).unwrap();
    assert_eq!(vpp.owned().unwrap(), [any_route()]);
}

#[test]
fn a_message_that_is_another_one_is_not_sent() {
    for message in ["sr_steering_add_del", "sr_policy_del", "sr_steering_pol_details", "control_ping_reply"] {
        let (standin, mut vpp) = start(message, Setup { offer: Offer::Changed(message), ..Setup::default() });
        let error = vpp.set(&any_route()).unwrap_err();
        let RouteError::Vpp(VppError::Changed { message: named, offered, .. }) = error else {
            panic!("{error}")
        };
        assert_eq!((named, offered), (message, 0x0bad_c0de));
        assert!(standin.served().keys().all(|name| *name == "sockclnt_delete"), "{:?}", standin.served());
    }
}

#[test]
fn a_vpp_without_segment_routing_says_so() {
    let setup = Setup { offer: Offer::WithoutSegmentRouting, ..Setup::default() };
    let (_standin, mut vpp) = start("without", setup);
    let text = vpp.set(&any_route()).unwrap_err().to_string();
    assert!(text.contains("sr_policy_del") && text.contains("without segment routing"), "{text}");
}

#[test]
fn older_messages_serve_where_newer_ones_are_not_or_are_others() {
    for (test, offer) in [("older", Offer::Older), ("odd", Offer::Changed("sr_policy_add_v2"))] {
        let (standin, mut vpp) = start(test, Setup { offer, ..Setup::default() });
        for route in flows(25).values() {
            vpp.set(route).unwrap();
            vpp.set(route).unwrap();
        }
        assert_eq!((standin.policies().len(), standin.steering().len()), (3, 25));
        let served = standin.served();
        assert_eq!((served["sr_policy_add"], served["sr_set_encap_source"]), (3, 1), "{served:?}");
        assert!(served.keys().all(|name| !name.contains("v2")), "{served:?}");
        assert!(standin.policies().values().all(|policy| policy.source == config().source.unwrap()));
        assert_eq!(plan(&flows(25), &vpp.owned().unwrap()), Default::default());
        vpp.set(&route("2001:db8:1001::1/128", "fc00:0:77::".parse().unwrap())).unwrap();
        assert_eq!(standin.abuse(), None);
    }
}

#[test]
fn what_lacks_only_speed_is_done_without() {
    let setup = Setup { offer: Offer::Without("ip_route_lookup"), ..Setup::default() };
    let (standin, mut vpp) = start("lookup", setup);
    let flow = Flow { src: "2001:db8:1000::2".parse().unwrap(), dst: "2001:db8:1001::2".parse().unwrap() };
    vpp.set(&any_route()).unwrap();
    assert_eq!(vpp.find(&any_route().key).unwrap(), Some(any_route()));
    vpp.takes(flow, &any_route().key).unwrap();
    vpp.set(&route("2001:db8:1001::2/128", "fc00:0:77::".parse().unwrap())).unwrap();
    vpp.remove(&any_route().key).unwrap();
    assert!(standin.policies().is_empty() && standin.steering().is_empty());
}

#[test]
fn a_binding_sid_that_is_a_route_of_somebody_elses_is_passed_over() {
    let (standin, mut vpp) = start("first", Setup::default());
    vpp.set(&any_route()).unwrap();
    let bsid = *standin.policies().keys().next().unwrap();
    let theirs = (0, Prefix::host(bsid.into()), "2001:db8::1".parse().unwrap(), 1);
    let (standin, mut vpp) = start("second", Setup { routes: vec![theirs], ..Setup::default() });
    vpp.set(&any_route()).unwrap();
    let other = *standin.policies().keys().next().unwrap();
    assert_eq!(u128::from(other), u128::from(bsid) + 1);
    assert_eq!(vpp.owned().unwrap(), [any_route()]);
}

#[test]
fn tables_are_those_that_vpp_has() {
    let tables = vec![(7, true), (9, false)];
    let (standin, mut vpp) = start("tables", Setup { tables, ..Setup::default() });
    let carrier = "fc00:0:1::".parse().unwrap();
    for (table, destination, there) in [
        (7, "2001:db8:1001::2/128", true),
        (7, "10.1.3.2/32", false),
        (9, "2001:db8:1001::2/128", false),
        (9, "10.1.3.2/32", true),
    ] {
        let mut route = route(destination, carrier);
        route.key.table = table;
        assert_eq!(vpp.set(&route).is_ok(), there, "{destination} in {table}");
        assert_eq!(vpp.find(&route.key).unwrap().is_some(), there);
    }
    assert_eq!((standin.abuse(), standin.steering().len()), (None, 2));
}

#[test]
fn interfaces_and_ways_out_are_vpps_own() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let setup = Setup {
        interfaces: vec![
            ("loop0".to_owned(), vec![(address("2001:db8:9::1"), 128)]),
            (
                "eth1".to_owned(),
                vec![(address("fe80::7"), 64), (address("2001:db8:1000::2"), 64), (address("10.1.0.2"), 24)],
            ),
        ],
        routes: vec![(0, "fc00::/32".parse().unwrap(), address("2001:db8:1000::1"), 2)],
        ..Setup::default()
    };
    let (standin, _) = start("interfaces", setup);
    let socket = standin.socket().to_owned();
    let mut vpp = VppRoutes::new(VppConfig { socket, timeout: PATIENCE, ..VppConfig::default() });
    let eth1 = vpp.interface_named("eth1").unwrap();
    assert_eq!((eth1.index, vpp.interface_of(address("10.1.0.2")).unwrap()), (2, eth1.clone()));
    assert_eq!(vpp.interface_of(address("2001:db8:9::1")).unwrap().name, "loop0");
    let error = vpp.interface_of(address("10.9.9.9")).unwrap_err();
    assert!(matches!(error, RouteError::ForeignSource { .. }), "{error}");
    let error = vpp.interface_named("eth7").unwrap_err();
    assert!(matches!(error, RouteError::UnknownInterface { .. }), "{error}");

    let gateway = Some(address("2001:db8:1000::1"));
    let reach = vpp.reach("fc00:0:1200::".parse().unwrap()).unwrap();
    assert_eq!(reach, Some(Reach { interface: 2, gateway, prefix_len: 32 }));
    assert_eq!(vpp.reach("fcbb::1".parse().unwrap()).unwrap(), None, "VPP's default route drops");

    // The source of outer packets: the flow's, or for IPv4 one of its interface.
    let mut v6 = any_route();
    v6.source = Some(address("2001:db8:1000::2"));
    vpp.set(&v6).unwrap();
    let mut v4 = route("10.1.3.2/32", "fc00:0:1::".parse().unwrap());
    (v4.source, v4.interface) = (Some(address("10.1.0.2")), eth1.index);
    vpp.set(&v4).unwrap();
    assert_eq!(standin.policies().len(), 2);
    assert!(
        standin.policies().values().all(|policy| IpAddr::V6(policy.source) == address("2001:db8:1000::2"))
    );

    let mut gateway = any_route();
    gateway.target = Target::Gateway(address("2001:db8:1000::1"));
    let text = vpp.set(&gateway).unwrap_err().to_string();
    assert!(text.contains("unset SRV6_GATEWAY"), "{text}");
}
