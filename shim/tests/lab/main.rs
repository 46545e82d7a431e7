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

use std::time::Duration;

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

/// Connects without blocking, and stays until its input ends.
const AT_ONCE: &str = "
import select, socket, sys
connection = socket.socket(socket.AF_INET6)
connection.setblocking(False)
connection.connect_ex((sys.argv[1], 5000))
print('called', flush=True)
select.select([], [connection], [])
connection.setblocking(True)
connection.sendall(b'ping')
assert connection.recv(4) == b'ping'
sys.stdin.read()
connection.sendall(b'ping')
assert connection.recv(4) == b'ping'
";

#[test]
fn ipv4_is_steered_by_sockets_of_either_family() {
    let scene = Scene::up("2x2-dual-stack");
    for (host, address, asked) in
        [("host02", "10.1.2.2", "10.1.2.2"), ("host03", "10.1.3.2", "::ffff:10.1.3.2")]
    {
        let server = scene.plain_server(host, address);
        let mut client = scene.client("host00", asked, &[]);
        assert!(client.line().ends_with("10.1.0.2"));
        scene.await_route("host00", &format!("{address}  encap seg6 mode encap.red"));
        client.end();
        server.end();
        assert_eq!(scene.routes("host00"), "");
    }
}

#[test]
fn a_connected_udp_socket_is_steered() {
    let scene = Scene::up("4x4");
    let source = "import socket, sys
socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).connect((sys.argv[1], 9))
print('connected', flush=True)
sys.stdin.read()";
    let mut program = scene.python("host00", source, &["2001:db8:1003::2"], &[]);
    program.expect("connected");
    scene.await_route("host00", "2001:db8:1003::2  encap seg6 mode encap.red");
    program.end();
}

#[test]
fn prefixes_say_what_is_steered() {
    let scene = Scene::up("4x4");
    let only = [("SRV6_SHIM_PREFIXES", "2001:db8:1002::/64, 10.0.0.0/8")];
    for (host, address, steered) in
        [("host01", "2001:db8:1001::2", false), ("host02", "2001:db8:1002::2", true)]
    {
        let server = scene.plain_server(host, address);
        let mut client = scene.client("host00", address, &only);
        client.expect("connected 2001:db8:1000::2");
        assert_eq!(scene.routes("host00").contains(address), steered, "{address}");
        client.end();
        server.end();
    }
}

#[test]
fn a_connection_that_did_not_wait_moves_to_its_path_when_it_is_there() {
    let scene = Scene::up("4x4");
    let server = scene.plain_server("host01", "2001:db8:1001::2");
    let (_api, endpoint) = scene.api(Duration::from_secs(1));
    let settings = [("JALAPENO_API_ENDPOINT", &*endpoint), ("SRV6_TOPOLOGY", ""), ("SRV6_SHIM_WAIT_MS", "1")];
    let mut client = scene.python("host00", AT_ONCE, &["2001:db8:1001::2"], &settings);
    client.expect("called");
    scene.await_route("host00", "2001:db8:1001::2  encap seg6 mode encap.red");
    client.end();
    server.end();
}

#[test]
fn without_the_right_to_install_routes_programs_go_on() {
    let scene = Scene::up("4x4");
    let _server = scene.plain_server("host01", "2001:db8:1001::2");
    let source = "import socket
for turn in range(3): socket.create_connection(('2001:db8:1001::2', 5000)).close()
print('connected', flush=True)";
    let output = scene
        .command("host00", "setpriv")
        .args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin", "python3", "-c", source])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "connected\n", "{said}");
    assert!(said.contains("CAP_NET_ADMIN") && said.lines().count() == 1, "{said}");
    assert_eq!(scene.routes("host00"), "");
}
