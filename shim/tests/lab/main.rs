//! The built library, preloaded into programs in lab hosts: the kernel's routes are the judge.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helper functions fail as tests do"
)]

mod native;
mod scene;

use scene::Scene;

#[test]
fn connect_and_accept_are_steered_and_exit_takes_the_routes_along() {
    let scene = Scene::up("4x4");
    let server = scene.server("host01", "2001:db8:1001::2");
    let mut client = scene.client("host00", "2001:db8:1001::2", &[]);
    client.expect("connected 2001:db8:1000::2");
    scene.await_route(
        "host00",
        "2001:db8:1001::2  encap seg6 mode encap.red segs 1 [ fc00:0:1200:1001:1201:fe06:: ] dev eth1 src 2001:db8:1000::2",
    );
    // The way back, of the connection that host01 accepted.
    scene.await_route("host01", "2001:db8:1000::2  encap seg6 mode encap.red");
    client.end();
    assert_eq!(scene.routes("host00"), "");
    server.end();
    assert_eq!(scene.routes("host01"), "");
}
