//! What came in at every switch, counted by nftables, and how much of it had been sent over its flow's path.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use serde_json::Value;
use srv6_fabric::{Encoding, equal_cost_paths, segments, spread};

use crate::scene::Scene;

/// Counts on every switch from its start on.
pub(crate) struct Census<'a> {
    scene: &'a Scene,
}

/// Packets that a switch got from a neighbour, by the addresses of their outermost header.
#[derive(Debug)]
struct Seen {
    switch: String,
    from: String,
    source: IpAddr,
    destination: IpAddr,
    bytes: u64,
}

/// Bytes between hosts of a fabric, IP headers and tunnels included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares {
    /// Everything that hosts sent to hosts.
    pub(crate) sent: u64,
    /// What of it came in at every switch of its flow's path, with that path's carrier.
    pub(crate) steered: u64,
}

impl Shares {
    pub(crate) fn steered_share(&self) -> f64 {
        self.steered as f64 / self.sent.max(1) as f64
    }
}

/// All uSIDs of the example fabrics are in this block.
const BLOCK: u128 = 0xfc00_0000 << 96;
const BLOCK_MASK: u128 = 0xffff_ffff << 96;

impl<'a> Census<'a> {
    /// Starts counting, anew if it counts already.
    pub(crate) fn start(scene: &'a Scene) -> Self {
        let links = scene.lab.links().unwrap();
        for switch in scene.lab.switches() {
            let own = links.iter().filter(|link| link.from == switch.name());
            let devices: Vec<String> = own.map(|link| format!("\"{}\"", link.interface)).collect();
            // The first line makes the second right in either case.
            let table = format!(
                "table netdev census {{ }}
                 delete table netdev census
                 table netdev census {{
                   set six {{ type ifname . ipv6_addr . ipv6_addr; flags dynamic; counter; }}
                   set four {{ type ifname . ipv4_addr . ipv4_addr; flags dynamic; counter; }}
                   chain arriving {{
                     type filter hook ingress devices = {{ {} }} priority 0;
                     update @six {{ iifname . ip6 saddr . ip6 daddr }}
                     update @four {{ iifname . ip saddr . ip daddr }}
                   }}
                 }}",
                devices.join(", ")
            );
            switch.sh(&format!("nft -f - <<'END'\n{table}\nEND\n")).unwrap();
        }
        Self { scene }
    }

    /// What has been sent and steered so far.
    pub(crate) fn shares(&self) -> Shares {
        let seen = self.read();
        let topology = &self.scene.topology;
        let hosts: Vec<&str> = self.scene.lab.hosts().map(|host| host.name()).collect();
        let addresses = |host: &str| &topology.vertex(topology.by_name(host).unwrap()).addresses;
        let to_host = |address: &IpAddr| hosts.iter().any(|host| addresses(host).contains(address));
        let sent = seen
            .iter()
            .filter(|one| hosts.contains(&one.from.as_str()))
            .filter(|one| in_block(one.destination) || to_host(&one.destination))
            .map(|one| one.bytes)
            .sum();
        // Flows of one host may have the same carrier, where they end at one leaf: each is counted once.
        let pairs = hosts.iter().flat_map(|from| hosts.iter().map(move |to| (*from, *to)));
        let ways: BTreeSet<_> = pairs.filter(|(from, to)| from != to).map(|(f, t)| self.way(f, t)).collect();
        let steered = ways
            .iter()
            .map(|(source, hops)| {
                let arrived = hops.iter().map(|(from, switch, carrier)| {
                    let same = |one: &&Seen| {
                        (&one.switch, &one.from, one.destination) == (switch, from, IpAddr::V6(*carrier))
                            && addresses(source).contains(&one.source)
                    };
                    seen.iter().filter(same).map(|one| one.bytes).sum()
                });
                arrived.min().unwrap_or(0u64)
            })
            .sum();
        Shares { sent, steered }
    }

    /// A flow's source, and per switch on its path the neighbour before it and the carrier as it comes in.
    fn way(&self, from: &str, to: &str) -> (String, Vec<(String, String, Ipv6Addr)>) {
        let topology = &self.scene.topology;
        let [source, destination] = [from, to].map(|name| topology.by_name(name).unwrap());
        let paths = equal_cost_paths(topology, source, destination, 256);
        let path = &paths[spread(topology, source, destination, &paths)];
        let carrier = segments(topology, path, &Encoding::of(self.scene.family)).unwrap().first();
        let names = path.names(topology);
        let hops = names.windows(2).take(names.len() - 2).enumerate();
        let hops = hops.map(|(shift, pair)| (pair[0].clone(), pair[1].clone(), shifted(carrier, shift)));
        (from.to_owned(), hops.collect())
    }

    fn read(&self) -> Vec<Seen> {
        let links = self.scene.lab.links().unwrap();
        let mut seen = Vec::new();
        for switch in self.scene.lab.switches() {
            for set in ["six", "four"] {
                let text = switch.sh(&format!("nft -j list set netdev census {set}")).unwrap();
                let document: Value = serde_json::from_str(&text).unwrap();
                let objects = document["nftables"].as_array().unwrap();
                let elements = objects.iter().find_map(|object| object["set"].get("elem"));
                for element in elements.and_then(Value::as_array).into_iter().flatten() {
                    let element = &element["elem"];
                    let key = |index: usize| element["val"]["concat"][index].as_str().unwrap();
                    let cable =
                        links.iter().find(|l| l.from == switch.name() && l.interface == key(0)).unwrap();
                    seen.push(Seen {
                        switch: switch.name().to_owned(),
                        from: cable.to.clone(),
                        source: key(1).parse().unwrap(),
                        destination: key(2).parse().unwrap(),
                        bytes: element["counter"]["bytes"].as_u64().unwrap(),
                    });
                }
            }
        }
        seen
    }
}

fn in_block(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if u128::from(address) & BLOCK_MASK == BLOCK)
}

/// A carrier after so many switches have taken their uSID out of it (RFC 9800 section 4.1).
fn shifted(carrier: Ipv6Addr, times: usize) -> Ipv6Addr {
    let left = (u128::from(carrier) & !BLOCK_MASK) << (16 * times);
    Ipv6Addr::from(BLOCK | (left & !BLOCK_MASK))
}
