//! What the tests of this crate share: the shipped fabrics, and the kernel's tools as judges.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use srv6_fabric::{Documents, Topology};
use srv6_lab::{Lab, Node};

/// A fabric of examples/fabrics.
pub(crate) fn example(name: &str) -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    topology(&text)
}

/// A fabric from text.
pub(crate) fn topology(text: &str) -> Topology {
    let documents = Documents::parse([("test", text)], "fabric_graph", "hosts").unwrap();
    Topology::new(&documents, "fabric_graph").unwrap()
}

/// Pings once and fails with what ping said.
pub(crate) fn ping(from: &Node, to: &str) {
    pings(from, to, 1);
}

/// Pings `count` times, 10 ms apart; every one must be answered.
pub(crate) fn pings(from: &Node, to: &str, count: u32) {
    let said = from.sh(&format!("ping -n -c {count} -i 0.01 -W 30 {to}")).unwrap_or_else(|e| panic!("{e}"));
    assert!(said.contains(&format!(" {count} received")), "{said}");
}

/// How many of `count` pings are answered.
pub(crate) fn answered(from: &Node, to: &str, count: u32) -> u32 {
    let said = from.sh(&format!("ping -n -c {count} -i 0.01 -W 1 {to} || true")).unwrap();
    let words: Vec<&str> = said.split_whitespace().collect();
    let position = words.iter().position(|w| *w == "received,").unwrap_or_else(|| panic!("{said}"));
    words[position - 1].parse().unwrap_or_else(|_| panic!("{said}"))
}

/// Packets that each spine sends while `work` runs.
pub(crate) fn spine_packets(lab: &Lab, work: impl FnOnce()) -> BTreeMap<String, u64> {
    let packets = || -> BTreeMap<String, u64> {
        let mut sum = BTreeMap::new();
        for link in lab.links().unwrap().into_iter().filter(|l| l.from.starts_with("spine")) {
            *sum.entry(link.from).or_default() += link.packets;
        }
        sum
    };
    let before = packets();
    work();
    packets().into_iter().map(|(spine, after)| (spine.clone(), after - before[&spine])).collect()
}

/// Waits until `true`, for at most a minute.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "still not after a minute: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
