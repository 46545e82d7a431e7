//! Routes per second: ours one by one, each acknowledged, against one `ip -batch` of all.

use std::io::Write;
use std::net::Ipv6Addr;
use std::process::{Command, Stdio};
use std::time::Instant;

use srv6_fabric::{Prefix, Segments};
use srv6_routes::{Dataplane, EncapMode, LinuxRoutes, PROTOCOL, Route, RouteKey, Target};

use crate::{ROUNDS, fabric, host, median};

/// Routes in each round.
pub(crate) const COUNT: u16 = 2000;

/// Medians, routes per second.
pub(crate) struct Rates {
    pub(crate) ours: f64,
    pub(crate) ip_batch: f64,
}

pub(crate) fn measure() -> Rates {
    let mut kernel = LinuxRoutes::new().unwrap();
    let interface = kernel.interface_named("eth1").unwrap().index;
    let routes: Vec<Route> = (0..COUNT).map(|number| route(number, interface)).collect();
    let (mut ours, mut ip_batch) = (Vec::new(), Vec::new());
    let ours_is = PROTOCOL.to_string();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for route in &routes {
            kernel.set(route).unwrap();
        }
        ours.push(f64::from(COUNT) / started.elapsed().as_secs_f64());
        assert_eq!(host::count(&ours_is), usize::from(COUNT));
        host::flush(&ours_is);

        let started = Instant::now();
        batch(&routes);
        ip_batch.push(f64::from(COUNT) / started.elapsed().as_secs_f64());
        assert_eq!(host::count(&ours_is), usize::from(COUNT));
        host::flush(&ours_is);
    }
    Rates { ours: median(ours), ip_batch: median(ip_batch) }
}

fn route(number: u16, interface: u32) -> Route {
    let destination = Prefix::host(Ipv6Addr::new(0x2001, 0xdb8, 0x2000, 0, 0, 0, 0, number).into());
    let carrier = Ipv6Addr::new(0xfc00, 0, 0x1200, 0x1000 + number % 4, 0x1201, 0xfe06, 0, 0);
    Route {
        key: RouteKey { table: 254, destination },
        interface,
        source: Some(fabric::address(0).into()),
        mtu: None,
        target: Target::Encap {
            mode: EncapMode::Reduced,
            segments: Segments::new(vec![carrier]).expect("one carrier"),
        },
    }
}

/// Installs all with as many runs of `ip` as it takes: the kernel refuses some for want of memory, which
/// `ip` reports by line and doesn't try again.
fn batch(routes: &[Route]) {
    let mut lines: Vec<String> =
        routes.iter().map(|route| route.command("eth1").replacen("ip -6 ", "", 1)).collect();
    while !lines.is_empty() {
        let mut ip = Command::new("ip")
            .args(["-6", "-force", "-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip of iproute2");
        ip.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
        let output = ip.wait_with_output().unwrap();
        let complaints = String::from_utf8(output.stderr).unwrap();
        let refused: Vec<usize> = complaints
            .lines()
            .filter_map(|line| line.strip_prefix("Command failed -:"))
            .map(|number| number.trim().parse().unwrap())
            .collect();
        assert_eq!(output.status.success(), refused.is_empty(), "{complaints}");
        lines = refused.into_iter().map(|number| lines[number - 1].clone()).collect();
    }
}
