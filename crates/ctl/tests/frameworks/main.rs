//! What isn't NCCL, in the lab: PyTorch over gloo, UCX, NIXL and Open MPI, with the shim and without it. The kernel's
//! counters on all switches, and captures, are the judge.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "tests: a panic is the failure"
)]

mod capture;
mod census;
mod gloo;
mod mpi;
#[allow(dead_code, reason = "the test of p2p, whose module this is, needs more of it")]
#[path = "../p2p/process.rs"]
mod process;
mod python;
mod scene;
mod ucx;

use srv6_fabric::Family;

use capture::{Capture, Decoded};
use census::Census;
use scene::{Scene, Shim};

/// Share of a job's bytes that must ride their paths. The rest is what a socket says before its peer's route is
/// there, since nobody's `accept` waits for a path.
const SHARE: f64 = 0.9;

/// Runs a job without the shim and with it, and looks at what the switches saw.
fn compare(scene: &Scene, mut job: impl FnMut(Shim)) {
    let census = Census::start(scene);
    job(Shim::Absent);
    let shares = census.shares();
    assert!(shares.sent > 1_000_000 && shares.steered == 0, "{shares:?}");
    let census = Census::start(scene);
    job(Shim::Preloaded);
    let shares = census.shares();
    assert!(shares.sent > 1_000_000 && shares.steered_share() > SHARE, "{shares:?}");
    scene.assert_no_routes();
}

/// Already the first packet to the TCPStore was in its tunnel, from which the leaf before has taken its own uSID.
fn assert_opened(capture: Capture, carrier: &str, master: &str) {
    let [outer, inner, port] = [carrier, master, "29500"].map(str::to_owned);
    let captured = capture.finish();
    assert!(captured.contains(&Decoded { outer, inner, port, syn: true }), "{captured:#?}");
}

#[test]
fn gloo_trains_to_the_same_weights_over_its_paths() {
    let scene = Scene::raise("gloo", "4x4.json", Family::V6).patient();
    let three = ["host00", "host01", "host03"];
    let mut trained = Vec::new();
    // From rank 1 to rank 0 over leaves 1 and 0, so spine01.
    let capture = Capture::start(&scene, "spine01", "leaf01", 100);
    compare(&scene, |shim| trained.push(gloo::train(&scene, &three, 29500, shim)));
    trained[0].assert_right();
    assert_eq!(trained[0], trained[1], "with and without the shim");
    assert_opened(capture, "fc00:0:1001:1200:fe06::", "2001:db8:1000::2");

    let census = Census::start(&scene);
    gloo::train(&scene, &["host00", "host01", "host02", "host03"], 29501, Shim::Preloaded).assert_right();
    let shares = census.shares();
    assert!(shares.steered_share() > SHARE, "four hosts: {shares:?}");
    scene.assert_no_routes();
}

#[test]
fn gloo_over_ipv4_rides_its_paths_too() {
    let scene = Scene::raise("gloo-ipv4", "2x2-dual-stack.json", Family::V4).patient();
    let four = ["host00", "host01", "host02", "host03"];
    let mut trained = Vec::new();
    // From rank 2 to rank 0 over leaves 1 and 0; e400 hands IPv4 packets to host00.
    let capture = Capture::start(&scene, "spine01", "leaf01", 100);
    compare(&scene, |shim| trained.push(gloo::train(&scene, &four, 29500, shim)));
    trained[0].assert_right();
    assert_eq!(trained[0], trained[1], "with and without the shim");
    assert_opened(capture, "fc00:0:1001:1200:e400::", "10.1.0.2");

    let census = Census::start(&scene);
    gloo::train(&scene, &["host00", "host01", "host03"], 29501, Shim::Preloaded).assert_right();
    let shares = census.shares();
    assert!(shares.steered_share() > SHARE, "three hosts: {shares:?}");
    scene.assert_no_routes();
}

#[test]
fn ucx_rides_its_path() {
    let scene = Scene::raise("ucx", "4x4.json", Family::V6).patient();
    compare(&scene, |shim| ucx::perftest(&scene, "host00", "host02", shim));
}

#[test]
fn nixl_reads_and_writes_over_its_paths() {
    let scene = Scene::raise("nixl", "4x4.json", Family::V6).patient();
    compare(&scene, |shim| ucx::nixl(&scene, "host00", "host01", shim));
}

#[test]
fn a_ring_of_open_mpi_rides_its_paths() {
    let scene = Scene::raise("mpi", "4x4.json", Family::V6).patient();
    let hosts = ["host00", "host01", "host02", "host03"];
    compare(&scene, |shim| mpi::ring(&scene, &hosts, shim));
}
