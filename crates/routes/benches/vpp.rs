//! Policies and flows per second over VPP's API.
//!
//! `cargo bench -p srv6-routes --bench vpp [-- [--socket PATH] [--policies N]]`. Without a socket it is a stand-in that answers,
//! which tells what this client costs, and nothing of VPP. Prints one JSON object; docs/PERFORMANCE.md says what its fields are.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement that goes wrong ends with the reason; results go to stdout"
)]

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use srv6_fabric::{Prefix, Segments};
use srv6_routes::vpp::message::{
    AddPolicy, DeletePolicy, ListChange, ModifyPolicy, PolicyListsDump, Reply, Request, SegmentList,
};
use srv6_routes::vpp::{Client, VppConfig, VppRoutes};
use srv6_routes::{Dataplane, EncapMode, Plan, Route, RouteKey, Target, plan};
use srv6_vpp_standin::{Setup, StandIn};

const TIMEOUT: Duration = Duration::from_secs(60);

fn main() {
    let (mut socket, mut count) = (None, 10_000u32);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--socket" => socket = Some(PathBuf::from(arguments.next().expect("--socket wants a path"))),
            "--policies" => {
                let text = arguments.next().expect("--policies wants a number");
                count = text.parse().unwrap_or_else(|_| panic!("--policies {text}: want a number"));
            }
            // Cargo adds this one.
            "--bench" => {}
            other => panic!("unknown argument {other}; want --socket PATH or --policies N"),
        }
    }
    let standin = socket.is_none().then(|| {
        let path = std::env::temp_dir().join(format!("vpp-bench-{}.sock", std::process::id()));
        StandIn::start(&path, Setup::default()).unwrap()
    });
    let socket = socket.unwrap_or_else(|| standin.as_ref().unwrap().socket().to_owned());
    let mut client = Client::connect(&socket, TIMEOUT).unwrap();
    let server = if standin.is_some() { "stand-in".to_owned() } else { client.version().unwrap() };

    let one = policies(&mut client, count, &OneByOne);
    let before = resident();
    let many = policies(&mut client, count, &Pipelined);
    let memory = resident().saturating_sub(before);
    let restored = restore(&socket, 1000);
    let report = serde_json::json!({
        "server": server,
        "policies": count,
        "adds_per_s": many.adds,
        "mods_per_s": many.mods,
        "deletes_per_s": many.deletes,
        "adds_per_s_one_by_one": one.adds,
        "mods_per_s_one_by_one": one.mods,
        "deletes_per_s_one_by_one": one.deletes,
        "restore_1000_ms": restored.as_secs_f64() * 1e3,
        "client_kib": memory,
    });
    println!("{report}");
}

/// Per second.
struct Rates {
    adds: f64,
    mods: f64,
    deletes: f64,
}

fn bsid(number: u32) -> Ipv6Addr {
    let first: Ipv6Addr = "fd53:5256:36:be7c::".parse().unwrap();
    (u128::from(first) + u128::from(number) + 1).into()
}

/// Sends requests that all have to succeed.
trait Sending {
    fn send<R: Request>(&self, client: &mut Client, requests: &[R]);
}

/// One request, one answer, and so on.
struct OneByOne;

/// As many at a time as the client sends.
struct Pipelined;

impl Sending for OneByOne {
    fn send<R: Request>(&self, client: &mut Client, requests: &[R]) {
        requests.iter().for_each(|request| assert_eq!(client.call(request).unwrap().retval(), 0));
    }
}

impl Sending for Pipelined {
    fn send<R: Request>(&self, client: &mut Client, requests: &[R]) {
        client.call_all(requests).unwrap().iter().for_each(|reply| assert_eq!(reply.retval(), 0));
    }
}

/// Adds, modifies (the weight of the one list) and deletes policies.
fn policies(client: &mut Client, count: u32, how: &impl Sending) -> Rates {
    let list = |number: u32| SegmentList {
        weight: 1,
        segments: vec![Ipv6Addr::from(0xfc00_0000_1200_1001_1201_fe06_0000_0000 + u128::from(number))],
    };
    let source = "2001:db8:1000::2".parse().unwrap();
    let add: Vec<AddPolicy> =
        (0..count).map(|number| AddPolicy { bsid: bsid(number), list: list(number), source }).collect();
    let adds = rate(count, || how.send(client, &add));
    let ours: Prefix = "fd53:5256:36:be7c::/64".parse().unwrap();
    let lists = client.dump(&PolicyListsDump).unwrap();
    let lists = lists.into_iter().filter(|policy| ours.contains(policy.bsid.into()));
    let modify: Vec<ModifyPolicy> = lists
        .filter_map(|policy| {
            let change = ListChange::Weight(policy.lists.first()?.0, 3);
            Some(ModifyPolicy { bsid: policy.bsid, change, source })
        })
        .collect();
    assert_eq!(modify.len(), add.len());
    let mods = rate(count, || how.send(client, &modify));
    let delete: Vec<DeletePolicy> = add.iter().map(|policy| DeletePolicy(policy.bsid)).collect();
    let deletes = rate(count, || how.send(client, &delete));
    Rates { adds, mods, deletes }
}

fn rate(count: u32, work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    (f64::from(count) / started.elapsed().as_secs_f64()).round()
}

/// How long it takes from an empty VPP until so many flows are steered, each over a path of its own.
fn restore(socket: &std::path::Path, count: u16) -> Duration {
    let config = VppConfig {
        socket: socket.to_owned(),
        range: "fd53:5256:36:be7c::/64".parse().unwrap(),
        source: Some("2001:db8:1000::2".parse().unwrap()),
        timeout: TIMEOUT,
    };
    let wanted: BTreeMap<RouteKey, Route> = (1..=count).map(flow).map(|route| (route.key, route)).collect();
    let mut vpp = VppRoutes::new(config);
    let started = Instant::now();
    let owned = vpp.owned().unwrap();
    assert!(vpp.apply(&plan(&wanted, &owned)).is_empty());
    let took = started.elapsed();
    assert_eq!(vpp.owned().unwrap().len(), wanted.len());
    let remove = wanted.into_keys().collect();
    assert!(vpp.apply(&Plan { set: Vec::new(), remove }).is_empty());
    took
}

fn flow(number: u16) -> Route {
    let segment = [0xfc00, 0, 0x1200, number, 0x1201, 0xfe06, 0, 0].into();
    let destination = Prefix::host(Ipv6Addr::from([0x2001, 0xdb8, 0x1001, 0, 0, 0, 0, number]).into());
    Route {
        key: RouteKey { table: 0, destination },
        interface: 0,
        source: None,
        mtu: None,
        target: Target::Encap { mode: EncapMode::Reduced, segments: Segments::new(vec![segment]).unwrap() },
    }
}

/// Memory of this process, in KiB (`VmHWM` of /proc/self/status).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
