//! The shipped 4×4 fabric with 101 hosts instead of four: one that steers, and 100 peers.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::{Value, json};
use srv6_fabric::{Documents, Flow};

/// Hosts besides the one that steers.
pub(crate) const PEERS: u16 = 100;

/// The host that steers.
pub(crate) const SOURCE: &str = "host000";

pub(crate) fn documents() -> Documents {
    let mut fabric: Value = serde_json::from_str(include_str!("../../examples/fabrics/4x4.json")).unwrap();
    let leaves: Vec<String> = fabric["fabric_node"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|node| node["name"].as_str().unwrap().starts_with("leaf"))
        .map(|node| format!("fabric_node/{}", node["_key"].as_str().unwrap()))
        .collect();
    let edges = fabric["fabric_graph"].as_array_mut().unwrap();
    edges.retain(|edge| !edge["_key"].as_str().unwrap().contains("host"));
    let mut hosts = Vec::new();
    for host in 0..=PEERS {
        let key = format!("host{host:03}");
        let leaf = &leaves[usize::from(host) % leaves.len()];
        for (from, to) in [(&format!("hosts/{key}"), leaf), (leaf, &format!("hosts/{key}"))] {
            let name = format!("{from}_{to}").replace('/', "_");
            edges.push(json!({ "_key": name, "_from": from, "_to": to }));
        }
        hosts.push(json!({
            "_key": key,
            "name": key,
            "ipv6_address": address(host).to_string(),
            "prefix": Ipv6Addr::from(u128::from(address(host)) & !0xffff).to_string(),
            "prefix_len": 64,
            "interface": "eth1",
        }));
    }
    fabric["hosts"] = Value::Array(hosts);
    let text = fabric.to_string();
    Documents::parse([("101 hosts", text.as_str())], "fabric_graph", "hosts").unwrap()
}

/// From the host that steers to each peer.
pub(crate) fn flows() -> Vec<Flow> {
    let to = |peer| Flow { src: IpAddr::from(address(0)), dst: IpAddr::from(address(peer)) };
    (1..=PEERS).map(to).collect()
}

pub(crate) fn address(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x1000 + host, 0, 0, 0, 0, 2)
}
