//! A network namespace with host00's place in the 4×4 fabric: its address, a cable to its leaf, its block route.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

/// host00 of examples/fabrics/4x4.json.
pub(crate) const ADDRESS: &str = "2001:db8:1000::2";
/// host01, the peer.
pub(crate) const PEER: &str = "2001:db8:1001::2";

/// Moves this process there. Threads started before stay behind, so it comes first.
pub(crate) fn enter() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: the test runs as root of its own");
    for command in [
        "ip link set lo up",
        "ip link add eth1 type veth peer name leaf00",
        // NCCL takes an interface's first address, and a link-local one may come first.
        "ip link set eth1 addrgenmode none",
        "ip link set leaf00 addrgenmode none",
        "ip link set eth1 up",
        "ip link set leaf00 up",
        &format!("ip -6 addr add {ADDRESS}/64 dev eth1 nodad"),
        "ip -6 route add fc00:0::/32 via 2001:db8:1000::1 dev eth1",
    ] {
        ip(command);
    }
}

/// Our routes, as the kernel has them.
pub(crate) fn routes() -> String {
    ip("ip -6 route show proto 83")
}

/// Waits until the kernel has no route of ours.
///
/// Each look starts a process, which holds copies of this one's sockets until its exec; a route must go all the same, though
/// such a socket is how processes see that it is still needed.
pub(crate) fn wait_for_no_routes() {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let routes = routes();
        if routes.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still there after a minute: {routes}");
    }
}

fn ip(command: &str) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
