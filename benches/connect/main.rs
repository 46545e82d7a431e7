//! What steering adds to a connect, and how fast routes and whole sets of peers are done.
//!
//! `scripts/measure connect` runs it, in a network namespace of its own. Each comparison alternates between the two
//! sides, so that a slow minute of the machine hits both, and gives medians. The last line is one JSON object.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench that can't measure ends and says where"
)]

mod fabric;
mod host;
mod peers;
mod rates;
mod steering;

use std::path::PathBuf;
use std::time::Duration;

use srv6_pathserver::{Options, Server};

/// Runs of each side.
const ROUNDS: usize = 7;

fn main() {
    let python = python();
    host::set_up();
    let documents = fabric::documents();
    let server = Server::bind("[::1]:0".parse().unwrap(), &documents, Options::default()).unwrap();
    let server = server.spawn().unwrap();

    let added = steering::measure(&server.url());
    eprintln!("added to a connect, {} samples each:", steering::SAMPLES);
    eprintln!("  path asked for    {:8.1} us (the path API's own time is left out)", micros(added.uncached));
    eprintln!("  path in the cache {:8.1} us", micros(added.cached));
    eprintln!("  route in use      {:8.1} us", micros(added.shared));

    let rates = rates::measure();
    eprintln!("{} routes, routes per second:", rates::COUNT);
    eprintln!("  ours, one by one  {:8.0}", rates.ours);
    eprintln!("  ip -batch         {:8.0}", rates.ip_batch);

    let peers = peers::measure(&server.url(), &python);
    eprintln!("paths and routes to {} peers:", fabric::PEERS);
    eprintln!("  Python            {:8.3} s", peers.python.as_secs_f64());
    eprintln!("  ours              {:8.3} s", peers.ours.as_secs_f64());
    eprintln!("  ours, same query  {:8.3} s", peers.ours_by_load.as_secs_f64());

    let result = serde_json::json!({
        "cached_us": rounded(micros(added.cached), 1),
        "uncached_us": rounded(micros(added.uncached), 1),
        "shared_us": rounded(micros(added.shared), 1),
        "routes_per_s": rates.ours.round(),
        "ip_batch_routes_per_s": rates.ip_batch.round(),
        "python_100_peers_s": rounded(peers.python.as_secs_f64(), 4),
        "ours_100_peers_s": rounded(peers.ours.as_secs_f64(), 4),
        "ours_by_load_100_peers_s": rounded(peers.ours_by_load.as_secs_f64(), 4),
        "rounds": ROUNDS,
    });
    println!("{result}");
}

/// The interpreter that has requests and pyroute2: the value of `--python`. Cargo adds arguments of its own.
fn python() -> PathBuf {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--python").skip(1);
    arguments.next().expect("--python INTERPRETER; run scripts/measure connect").into()
}

/// The middle one; the mean of the two in the middle if there is no such.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn median_time(values: &[Duration]) -> Duration {
    Duration::from_secs_f64(median(values.iter().map(Duration::as_secs_f64).collect()))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn rounded(value: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (value * unit).round() / unit
}
