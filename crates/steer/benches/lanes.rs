//! How long lanes take: the first connection of a pair, a further one, and moving a lane off a dead path.
//!
//! `cargo bench -p srv6-steer --bench lanes [-- SAMPLES]`. In a lab host of the 4x4 fabric; four lanes a connection by marks,
//! by ports and by routing headers. Prints one JSON object: microseconds from the call until the answer is there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement that goes wrong ends with the reason; results go to stdout"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use srv6_fabric::Flow;
use srv6_lab::{Lab, Options};
use srv6_paths::read_topology;
use srv6_steer::{Config, LanesHold, LanesStatus, LanesWanted, Pinning, Source, Steer};

const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    // Cargo adds a flag of its own.
    let samples = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(200);
    let fabric = file();
    let (_, topology) = read_topology(&fabric, "fabric_graph", "hosts").unwrap();
    let lab = Lab::up(&topology, &Options::default()).unwrap();
    let start = || {
        let config = Config::new(Source::File(fabric.clone()));
        lab.node("host00").unwrap().run(move || Steer::start(config)).unwrap()
    };
    let mut fields = Vec::new();
    for pinning in [Pinning::Mark, Pinning::Ports, Pinning::RoutingHeader] {
        let (mut first, mut further, mut moved) = (Vec::new(), Vec::new(), Vec::new());
        let steer = start();
        drop(ask(&steer, 4, pinning));
        for _ in 0..samples {
            steer.settle(PATIENCE);
            let (one, took) = ask(&steer, 4, pinning);
            first.push(took);
            let (other, took) = ask(&steer, 4, pinning);
            further.push(took);
            drop((one, other));
        }
        while moved.len() < samples {
            // A path is avoided for seconds, so each steering of its own has three paths to give.
            let steer = start();
            let (hold, _) = ask(&steer, 1, pinning);
            for _ in 0..3 {
                moved.push(avoid(&hold));
            }
        }
        for (name, mut times) in [("first", first), ("further", further), ("avoid", moved)] {
            times.sort();
            let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
            fields.push(format!(
                "\"{pinning}_{name}_us\": {{\"p50\": {:.0}, \"p99\": {:.0}}}",
                at(50),
                at(99)
            ));
        }
    }
    println!("{{\"samples\": {samples}, {}}}", fields.join(", "));
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json")
}

fn ask(steer: &Steer, count: usize, pinning: Pinning) -> (LanesHold, Duration) {
    let flow = Flow { src: "2001:db8:1000::2".parse().unwrap(), dst: "2001:db8:1001::2".parse().unwrap() };
    let asked = Instant::now();
    let hold = steer.request_lanes(flow, LanesWanted { count, pinning: Some(pinning), along: Vec::new() });
    loop {
        match hold.status() {
            LanesStatus::Ready(_) => return (hold, asked.elapsed()),
            LanesStatus::Failed(reason) => panic!("{reason}"),
            LanesStatus::Pending => assert!(asked.elapsed() < PATIENCE, "no answer"),
        }
        std::thread::yield_now();
    }
}

fn avoid(hold: &LanesHold) -> Duration {
    let (generation, asked) = (hold.generation(), Instant::now());
    hold.avoid(0);
    while hold.generation() == generation {
        assert!(asked.elapsed() < PATIENCE, "the lane stays");
        std::thread::yield_now();
    }
    asked.elapsed()
}
