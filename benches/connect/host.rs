//! The steering host's network, in the namespace that the bench was started in, and `ip`.

use std::process::Command;

use crate::fabric;

/// Gives the namespace host000's address, a cable to its leaf, and the block route.
pub(crate) fn set_up() {
    assert_eq!(
        ip("-brief link show type veth"),
        "",
        "run scripts/measure connect: it makes a network namespace"
    );
    for command in [
        "link add eth1 type veth peer name leaf00",
        "link set eth1 up",
        "link set leaf00 up",
        &format!("-6 addr add {}/64 dev eth1 nodad", fabric::address(0)),
        "-6 route add fc00:0::/32 via 2001:db8:1000::1 dev eth1",
    ] {
        ip(command);
    }
}

/// How many routes carry this protocol, by the kernel's own word.
pub(crate) fn count(protocol: &str) -> usize {
    ip(&format!("-6 route show proto {protocol}")).lines().count()
}

/// Removes every route of this protocol.
pub(crate) fn flush(protocol: &str) {
    ip(&format!("-6 route flush proto {protocol}"));
    assert_eq!(count(protocol), 0);
}

pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip of iproute2");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
