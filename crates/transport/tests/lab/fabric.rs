//! A fabric with lanes: rules and routes that send a mark or a source port over one spine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use srv6_fabric::{Documents, Topology};
use srv6_lab::{Lab, Mbps, Node, Options};
use srv6_transport::{Lane, Pin};

/// Where a test fabric's host is, and what steers packets to it.
pub(crate) struct End {
    pub(crate) host: &'static str,
    pub(crate) address: &'static str,
    /// The leaf's uSID, and the function that decapsulates for the host.
    leaf: &'static str,
    function: &'static str,
}

/// Two hosts under different leaves, IPv6 over four spines.
pub(crate) const V6: [End; 2] = [
    End { host: "host00", address: "2001:db8:1000::2", leaf: "1200", function: "fe06" },
    End { host: "host01", address: "2001:db8:1001::2", leaf: "1201", function: "fe06" },
];

/// The same with IPv4 over two spines.
pub(crate) const V4: [End; 2] = [
    End { host: "host00", address: "10.1.0.2", leaf: "1200", function: "e400" },
    End { host: "host02", address: "10.1.2.2", leaf: "1201", function: "e402" },
];

/// First source port of the first lane's range; each has 256.
const PORTS: u16 = 20_480;

/// A fabric, for this test alone: a thread per process looks after lonely senders, and it is in one namespace.
pub(crate) struct Fabric {
    pub(crate) lab: Lab,
    pub(crate) ends: [End; 2],
    pub(crate) spines: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Fabric {
    /// IPv6, four spines, links of so many Mbit/s.
    pub(crate) fn v6(rate: Option<u32>) -> Fabric {
        Fabric::up("4x4.json", V6, 4, rate)
    }

    /// IPv4, two spines, links of so many Mbit/s.
    pub(crate) fn v4(rate: Option<u32>) -> Fabric {
        Fabric::up("2x2-dual-stack.json", V4, 2, rate)
    }

    fn up(example: &str, ends: [End; 2], spines: usize, rate: Option<u32>) -> Fabric {
        static ONE: Mutex<()> = Mutex::new(());
        // A test that failed has dropped its lab all the same.
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics").join(example);
        let text = std::fs::read_to_string(&path).unwrap();
        let documents = Documents::parse([(example, text.as_str())], "fabric_graph", "hosts").unwrap();
        let topology = Topology::new(&documents, "fabric_graph").unwrap();
        let rate_fabric = rate.map(|rate| Mbps::new(rate).unwrap());
        let lab = Lab::up(&topology, &Options { rate_fabric, ..Options::default() }).unwrap();
        let fabric = Fabric { lab, ends, spines, _alone: alone };
        for (from, to) in [(0, 1), (1, 0)] {
            for spine in 0..spines {
                fabric.lane(from, to, spine, "");
            }
        }
        fabric
    }

    /// Makes, or changes, a host's lane over a spine; `more` goes into the route.
    pub(crate) fn lane(&self, from: usize, to: usize, spine: usize, more: &str) {
        let target = &self.ends[to];
        let family = if self.address(to).is_ipv6() { "-6" } else { "-4" };
        let bits = if self.address(to).is_ipv6() { 128 } else { 32 };
        let (table, first) = (mark(spine), PORTS + 256 * u16::try_from(spine).unwrap());
        let carrier = self.carrier(from, to, spine);
        let last = first + 255;
        self.node(from)
            .sh(&format!(
                "ip {family} rule show | grep -q 'lookup {table}$' || {{ \
                   ip {family} rule add fwmark {table} table {table} && \
                   ip {family} rule add ipproto tcp sport {first}-{last} table {table} && \
                   ip {family} rule add ipproto tcp dport {first}-{last} table {table}; }}; \
                 ip {family} route replace {}/{bits} {more} encap seg6 mode encap.red segs {carrier} dev eth1 \
                   table {table}",
                target.address
            ))
            .unwrap();
    }

    pub(crate) fn node(&self, end: usize) -> &Node {
        self.lab.node(self.ends[end].host).unwrap()
    }

    pub(crate) fn address(&self, end: usize) -> IpAddr {
        self.ends[end].address.parse().unwrap()
    }

    /// One address with the SIDs of a path, decapsulation included.
    fn carrier(&self, from: usize, to: usize, spine: usize) -> String {
        let [from, to] = [&self.ends[from], &self.ends[to]];
        format!("fc00:0:{}:{}:{}:{}::", from.leaf, 1000 + spine, to.leaf, to.function)
    }

    /// Lanes over all spines in order, tied by mark.
    pub(crate) fn marks(&self) -> Vec<Lane> {
        (0..self.spines).map(|spine| self.lane_of(spine, Pin::Mark(mark(spine)))).collect()
    }

    /// One lane over a spine, tied by source port.
    pub(crate) fn ports(&self, spine: usize) -> Lane {
        let first = PORTS + 256 * u16::try_from(spine).unwrap();
        self.lane_of(spine, Pin::SourcePorts(first..=first + 255))
    }

    /// One lane over a spine, tied by a routing header, which ends at the leaf: it has no SID for the host.
    pub(crate) fn header(&self, from: usize, to: usize, spine: usize) -> Lane {
        let [from, to] = [&self.ends[from], &self.ends[to]];
        let carrier = format!("fc00:0:{}:{}:{}::", from.leaf, 1000 + spine, to.leaf);
        self.lane_of(spine, Pin::RoutingHeader { carriers: vec![carrier.parse().unwrap()], mtu: None })
    }

    fn lane_of(&self, spine: usize, pin: Pin) -> Lane {
        Lane { pin, path: format!("leaf00 > spine{spine:02} > leaf01").into() }
    }

    /// Bytes that each spine forwards while `work` runs.
    pub(crate) fn forwarded<T>(&self, work: impl FnOnce() -> T) -> (Vec<u64>, T) {
        let bytes = || -> BTreeMap<String, u64> { self.lab.spine_bytes().unwrap() };
        let before = bytes();
        let result = work();
        (bytes().into_iter().map(|(spine, after)| after - before[&spine]).collect(), result)
    }
}

/// The mark of a lane, which is also the number of its table.
fn mark(spine: usize) -> u32 {
    100 + u32::try_from(spine).unwrap()
}
