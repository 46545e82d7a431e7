//! What share of each framework's bytes rides its paths with the shim, for `scripts/measure shim`. Prints one JSON object.
//!
//! The jobs and the judge are those of the test of the same name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement that prints; a panic is its failure"
)]

#[path = "../../tests/frameworks/census.rs"]
mod census;
#[path = "../../tests/frameworks/gloo.rs"]
mod gloo;
#[path = "../../tests/frameworks/mpi.rs"]
mod mpi;
#[allow(dead_code, reason = "the test of p2p, whose module this is, needs more of it")]
#[path = "../../tests/p2p/process.rs"]
mod process;
#[allow(dead_code, reason = "the tests, whose module this is, need more of it")]
#[path = "../../tests/frameworks/scene.rs"]
mod scene;
#[path = "../../tests/frameworks/ucx.rs"]
mod ucx;

use census::Census;
use scene::{Scene, Shim};
use srv6_fabric::Family;

const HOSTS: [&str; 4] = ["host00", "host01", "host02", "host03"];

fn main() {
    let scene = Scene::raise("measure", "4x4.json", Family::V6);
    let share = |name: &str, job: &mut dyn FnMut()| {
        let census = Census::start(&scene);
        job();
        let shares = census.shares();
        eprintln!("{name}: {} of {} bytes rode their paths", shares.steered, shares.sent);
        (shares.steered_share() * 1e4).round() / 1e4
    };
    let plain = gloo::train(&scene, &HOSTS, 29500, Shim::Absent);
    plain.assert_right();
    let mut trained = None;
    let gloo = share("gloo", &mut || trained = Some(gloo::train(&scene, &HOSTS, 29501, Shim::Preloaded)));
    let equal = trained.is_some_and(|trained| {
        trained == plain && trained.weights.iter().all(|weights| *weights == trained.weights[0])
    });
    let figures = serde_json::json!({
        "gloo_weights_equal": equal,
        "gloo_steered_share": gloo,
        "ucx_steered_share": share("ucx", &mut || ucx::perftest(&scene, "host00", "host02", Shim::Preloaded)),
        "mpi_steered_share": share("mpi", &mut || mpi::ring(&scene, &HOSTS, Shim::Preloaded)),
        "nixl_steered_share": share("nixl", &mut || ucx::nixl(&scene, "host00", "host01", Shim::Preloaded)),
    });
    println!("{figures}");
}
