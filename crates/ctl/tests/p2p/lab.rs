//! Inside hosts of a lab, steered by the plugin.

use crate::process::{Process, own_plugin};

#[allow(dead_code, reason = "the jobs of the other test that has this module are none of p2p's")]
#[path = "../jobs/scene.rs"]
mod scene;

#[test]
fn transfers_between_lab_hosts_are_steered_and_the_path_is_shown() {
    let scene = scene::Scene::raise("p2p");
    let hosts = scene.hosts();
    let [sender, receiver] = [&hosts[1], &hosts[0]];
    let address = scene.lab.management_address(sender).unwrap().to_string();
    let start = |host: &str, mode: &str, arguments: &[&str]| {
        let mut command = scene.lab.node(host).unwrap().command(env!("CARGO_BIN_EXE_srv6ctl"));
        command
            .args(["bench", "p2p", "--mode", mode, "--ip", &address, "--plugin"])
            .arg(own_plugin())
            .args(arguments)
            .env("NCCL_SOCKET_IFNAME", "=eth1")
            .env("NCCL_SOCKET_FAMILY", "AF_INET6")
            .env("SRV6_TRANSPORT", "multipath")
            .env("SRV6_MODE", "local")
            .env("SRV6_STRICT", "1")
            .env("JALAPENO_API_ENDPOINT", scene.endpoint());
        Process::start(&mut command)
    };
    let target = start(sender, "target", &[]);
    let before = scene.lab.links().unwrap();
    let initiator = start(receiver, "initiator", &["--buffer_sizes", "4MB", "--iterations", "20"]);
    initiator.await_text("Testing 4.0 MB...");
    // READ: the target sends, so its route is the one that counts.
    let route = scene.await_route(sender);
    let carrier = route.split("segs 1 [ ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let initiator = initiator.end();
    initiator.assert_right();
    target.end().assert_right();
    let block = initiator.printed.split("PATHS (SRv6 ").nth(1).unwrap();
    let rows: Vec<&str> = block.lines().filter(|line| line.contains(carrier)).collect();
    assert_eq!(rows.len(), 1, "{carrier} in {block}");
    assert!(rows[0].contains("host01 > leaf01 > spine"), "{block}");
    assert!(!block.contains("not steered"), "{block}");

    // The link counters agree: one spine carried it.
    let after = scene.lab.links().unwrap();
    let leaf = "leaf01";
    let mut carried: Vec<u64> = after
        .iter()
        .zip(&before)
        .filter(|(link, _)| link.from == leaf && link.to.starts_with("spine"))
        .map(|(after, before)| after.bytes - before.bytes)
        .collect();
    carried.sort_unstable();
    let payload: u64 = 31 * (4 << 20);
    assert!(*carried.last().unwrap() > payload, "{carried:?}");
    assert!(carried[..3].iter().sum::<u64>() < payload / 10, "{carried:?}");
    scene.assert_no_routes();
}
