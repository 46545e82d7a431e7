//! Inside hosts of a lab, steered by the plugin.

use crate::json_file;
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
    let file = json_file("lab");
    let arguments = ["--buffer_sizes", "4MB", "--iterations", "20", "--json", file.to_str().unwrap()];
    let initiator = start(receiver, "initiator", &arguments);
    initiator.await_text("Testing 4.0 MB...");
    // As many lanes as there are paths, so none is moved. What goes back to the initiator takes the same ones.
    let routes = scene.await_routes(sender, 4);
    let initiator = initiator.end();
    initiator.assert_right();
    target.end().assert_right();
    let after = scene.lab.links().unwrap();
    // READ: the target sends, so its routes are the ones that count.
    let document: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let mut spines = Vec::new();
    for connection in document["runs"][0]["connections"].as_array().unwrap() {
        let bytes = connection["bytes"].as_u64().unwrap();
        let hops: Vec<&str> =
            connection["path"].as_array().unwrap().iter().map(|hop| hop.as_str().unwrap()).collect();
        let carrier = connection["segments"].as_str().unwrap();
        assert!(routes.iter().any(|route| route.contains(&format!(" {carrier} "))), "{carrier}: {routes:?}");
        assert_eq!((hops.len(), hops[0], hops[1]), (5, sender.as_str(), "leaf01"), "{connection:#}");
        // The link counters agree.
        let sum = |links: &[srv6_lab::LinkCounters]| -> u64 {
            let uplink = links.iter().filter(|link| link.from == hops[1] && link.to == hops[2]);
            uplink.map(|link| link.bytes).sum()
        };
        let carried = sum(&after) - sum(&before);
        assert!(carried >= bytes, "{} carried {carried} of {bytes}", hops[2]);
        if bytes > 100_000 {
            spines.push(hops[2].to_owned());
            let row = format!("{} ", hops.join(" > "));
            assert!(initiator.printed.contains(&row), "{row}: {}", initiator.printed);
        }
    }
    spines.sort();
    assert!(!spines.is_empty() && spines.windows(2).all(|pair| pair[0] != pair[1]), "{spines:?}");
    let block = initiator.printed.split("PATHS (SRv6 ").nth(1).unwrap();
    assert!(!block.contains("not steered"), "{block}");
    std::fs::remove_file(file).unwrap();
    scene.assert_no_routes();
}
