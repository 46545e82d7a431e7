//! A job's start on one host: paths and routes to all peers, our way and the way of Python around the API.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use srv6_fabric::Policy;
use srv6_routes::PROTOCOL;
use srv6_steer::{Config, Hold, Source, Steer};

use crate::{ROUNDS, fabric, host, median_time, steering};

/// Medians.
pub(crate) struct Peers {
    /// Imports are not counted.
    pub(crate) python: Duration,
    /// By default: policy spread, thread and topology included.
    pub(crate) ours: Duration,
    /// With the same query of the API per peer as Python's.
    pub(crate) ours_by_load: Duration,
}

pub(crate) fn measure(api: &str, python: &Path) -> Peers {
    let (mut by_python, mut by_us, mut by_load) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        by_python.push(theirs(api, python));
        by_us.push(ours(api, Policy::Spread));
        by_load.push(ours(api, Policy::Load));
    }
    Peers { python: median_time(&by_python), ours: median_time(&by_us), ours_by_load: median_time(&by_load) }
}

fn theirs(api: &str, python: &Path) -> Duration {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python_peers.py");
    let output = Command::new(python)
        .arg(script)
        .args([api, fabric::SOURCE, "eth1"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    assert!(output.status.success(), "benches/python_peers.py: {}", output.status);
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["peers"], fabric::PEERS);
    // pyroute2's default.
    assert_eq!(host::count("static"), usize::from(fabric::PEERS));
    host::flush("static");
    Duration::from_secs_f64(result["seconds"].as_f64().unwrap())
}

fn ours(api: &str, policy: Policy) -> Duration {
    let flows = fabric::flows();
    let started = Instant::now();
    let steer = Steer::start(Config { policy, ..Config::new(Source::Api(api.to_owned())) }).unwrap();
    let holds: Vec<Hold> = flows.into_iter().map(|flow| steer.request(flow)).collect();
    for hold in &holds {
        steering::wait(hold);
    }
    let took = started.elapsed();
    assert_eq!(host::count(&PROTOCOL.to_string()), usize::from(fabric::PEERS));
    drop(holds);
    steer.settle(Duration::from_secs(10));
    assert_eq!(host::count(&PROTOCOL.to_string()), 0);
    took
}
