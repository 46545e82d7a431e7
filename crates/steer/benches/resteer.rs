//! One link is denied among many flows: how long until the last of those over it has moved, and what the kernel was told.
//!
//! `cargo bench -p srv6-steer --bench resteer [-- FLOWS]`, 10 000 without a number. In a lab host of the 4x4 fabric; a third of the
//! flows goes over the link. Prints one JSON object.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement that goes wrong ends with the reason; results go to stdout"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use srv6_fabric::Flow;
use srv6_lab::{Lab, Options};
use srv6_paths::read_topology;
use srv6_routes::{Change, Dataplane, LinuxRoutes, Watch};
use srv6_steer::{Config, Denials, Hold, Place, Source, Status, Steer};

const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    // Cargo adds a flag of its own.
    let count: usize = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(10_000);
    let fabric = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json");
    let (_, topology) = read_topology(&fabric, "fabric_graph", "hosts").unwrap();
    let lab = Lab::up(&topology, &Options::default()).unwrap();
    let host = lab.node("host00").unwrap();
    // A reference is a socket: more than a shell's usual limit.
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let limit = rustix::process::Rlimit { current: most, maximum: most };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let config = Config { deadline: PATIENCE, ..Config::new(Source::File(fabric)) };
    let steer = host.run(move || Steer::start(config)).unwrap();

    // Every address of a host's prefix is that host's.
    let flow = |number: usize| Flow {
        src: "2001:db8:1000::2".parse().unwrap(),
        dst: format!("2001:db8:100{}::1:{:x}", 1 + number % 3, number / 3).parse().unwrap(),
    };
    let started = Instant::now();
    let holds: Vec<Hold> = (0..count).map(|number| steer.request(flow(number))).collect();
    for hold in &holds {
        while matches!(hold.status(), Status::Pending) {
            assert!(started.elapsed() < PATIENCE, "not all flows are steered");
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Status::Failed(reason) = hold.status() {
            panic!("{reason}");
        }
    }
    let steered = started.elapsed();

    let told = host.run(|| LinuxRoutes::new().unwrap().watch().unwrap().remove(0));
    let stop = told.stopper();
    let counting = std::thread::spawn(move || replaced(told));
    let bad = BTreeSet::from([Place::link("leaf00", "spine01")]);
    let moved = steer.deny(Denials { bad, ..Denials::default() }).wait(PATIENCE).unwrap();
    let back = steer.deny(Denials::default()).wait(PATIENCE).unwrap();
    // What the kernel tells arrives a moment after what it was told to do.
    std::thread::sleep(Duration::from_secs(2));
    stop();
    let replaced = counting.join().unwrap();
    println!(
        "{{\"flows\": {count}, \"steered_ms\": {:.0}, \"moved\": {}, \"last_replace_ms\": {:.1}, \"back_ms\": {:.1}, \
         \"routes_replaced_both_ways\": {replaced}}}",
        steered.as_secs_f64() * 1e3,
        moved.moved,
        moved.took.as_secs_f64() * 1e3,
        back.took.as_secs_f64() * 1e3,
    );
    assert_eq!(replaced, moved.moved + back.moved, "a route was touched that was right");
}

/// Route changes that the kernel tells of until it is stopped.
fn replaced(mut told: Box<dyn Watch>) -> usize {
    let mut routes = 0;
    while let Some(changes) = told.wait().unwrap() {
        routes +=
            changes.iter().filter(|change| matches!(change, Change::Set(_) | Change::Removed(_))).count();
        assert!(!changes.contains(&Change::Lost), "changes were missed");
    }
    routes
}
