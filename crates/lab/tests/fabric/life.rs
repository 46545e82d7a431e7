//! Up, down, and nothing left.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;

use srv6_lab::{Lab, Options};

use crate::support::{eventually, example, ping};

/// Numbers of a lab's network namespaces. The kernel gives a number again once its namespace is gone.
fn of(lab: &Lab) -> HashSet<u64> {
    lab.nodes().iter().map(|n| std::fs::metadata(n.namespace_path()).unwrap().ino()).collect()
}

#[test]
fn up_down_up_leaves_nothing() {
    let topology = example("4x4.json");
    let lab = Lab::up(&topology, &Options::default()).unwrap();
    assert_eq!(of(&lab).len(), 13, "every node has its own");
    // A veth with one end out here: the kernel removes it when, and only when, the namespace is really gone.
    let leaf = lab.node("leaf00").unwrap();
    let out_here = format!("/proc/{}/ns/net", std::process::id());
    leaf.sh(&format!("ip link add name in type veth peer name canary0 netns {out_here}")).unwrap();
    assert!(
        std::process::Command::new("ip").args(["link", "show", "canary0"]).output().unwrap().status.success()
    );

    drop(lab);
    eventually("the namespace is gone", || {
        !std::process::Command::new("ip").args(["link", "show", "canary0"]).output().unwrap().status.success()
    });

    let lab = Lab::up(&topology, &Options::default()).unwrap();
    ping(lab.node("host00").unwrap(), "2001:db8:1003::2");
}

#[test]
fn nodes_may_have_names_that_interfaces_cannot() {
    let text = include_str!("../../../../examples/fabrics/3x3.json")
        .replace("\"name\": \"spine01\"", "\"name\": \"spine01 of rack a\"");
    let lab = Lab::up(&crate::support::topology(&text), &Options::default()).unwrap();
    let odd = lab.node("spine01 of rack a").unwrap();
    assert!(odd.sh("ip -br link show dev leaf00").unwrap().contains("UP"));
    let host = lab.node("srv6-pytorch-0").unwrap();
    host.sh("ip route replace fcbb:0:800:1::/64 encap seg6 mode encap.red segs fcbb:0:1004:1001:1005:fe06:: dev net1")
        .unwrap();
    ping(host, "fcbb:0:800:1::10");
}

#[test]
fn commands_run_in_the_node_and_in_the_callers_directory() {
    let lab = Lab::up(&example("3x3.json"), &Options::default()).unwrap();
    let host = lab.node("srv6-pytorch-1").unwrap();
    assert_eq!(host.sh("pwd").unwrap().trim(), std::env::current_dir().unwrap().to_str().unwrap());
    let there = host.command("pwd").current_dir("/usr").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&there.stdout).trim(), "/usr");
    // sysfs is the node's own too: NCCL reads it.
    assert!(host.sh("ls /sys/class/net").unwrap().split_whitespace().eq(["lo", "mgmt0", "net1"]));
    let error = host.sh("echo out; echo err >&2; exit 3").unwrap_err().to_string();
    assert!(error.ends_with("exit status: 3: out\nerr\n"), "{error}");
    assert_eq!(host.run(|| 6 * 7), 42);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| host.run(|| panic!("expected"))));
    assert!(panicked.is_err());
    assert_eq!(host.run(|| 6 * 7), 42, "the node's thread survives");
    let error = lab.node("host99").unwrap_err().to_string();
    assert!(
        error.starts_with("no node \"host99\"; there are 10.") || error.contains("spine00 spine01"),
        "{error}"
    );
}

#[test]
fn hosts_have_the_congestion_control_that_was_asked_for_and_switches_the_machines() {
    let topology = example("3x3.json");
    let up =
        |name: &str| Lab::up(&topology, &Options { congestion: Some(name.into()), ..Options::default() });
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
    let (machine, allowed) = (read("tcp_congestion_control"), read("tcp_allowed_congestion_control"));
    let other = allowed.split_whitespace().find(|name| *name != machine.trim()).unwrap();
    let lab = up(other).unwrap();
    let has =
        |node: &str| lab.node(node).unwrap().sh("cat /proc/sys/net/ipv4/tcp_congestion_control").unwrap();
    for host in lab.hosts() {
        assert_eq!(has(host.name()).trim(), other);
    }
    assert_eq!(has("leaf00"), machine);
    let error = up("none-such").unwrap_err().to_string();
    assert!(error.contains("tcp_congestion_control") && error.contains("none-such"), "{error}");
}
