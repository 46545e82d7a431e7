//! The plan as lines for `ip -batch` and `tc -batch`, and as files below /proc/sys.
//!
//! Lines come in four groups, each complete in all nodes before the next begins: interfaces are made,
//! switched on, given carrier by their other end, then configured.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use super::{Cable, CableKind, Condition, End, Plan, Role};
use crate::{Loss, Mbps};

/// Device that seg6local routes name. The kernel wants one that isn't `lo`; it carries nothing, so a veth whose
/// two ends are in the switch does, and unlike a link to a neighbour it never goes down.
const SID_DEVICE: &str = "sr0";

/// Bridge of the management network.
const BRIDGE: &str = "br0";

/// MAC address that no interface has: what is sent to it arrives and is thrown away.
const NOBODY: [u8; 6] = [0x02, 0x56, 0xff, 0xff, 0xff, 0xff];

impl Role {
    /// Settings of a node before it has interfaces, as files below /proc/sys: `default` is copied by each that is
    /// made later.
    pub fn settings(self) -> Vec<(&'static str, &'static str)> {
        let mut settings = vec![
            // Addresses are usable at once, and stay when a link is taken down for a test.
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv6/conf/all/keep_addr_on_down", "1"),
            ("net/ipv6/conf/default/keep_addr_on_down", "1"),
            ("net/ipv6/conf/default/accept_ra", "0"),
            // A decapsulated IPv4 packet comes in by an interface that has no route back to its source.
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
        ];
        if self == Self::Switch {
            settings.extend([
                ("net/ipv6/conf/all/forwarding", "1"),
                ("net/ipv6/conf/default/forwarding", "1"),
                ("net/ipv4/ip_forward", "1"),
                // By ports, as switches do. The default hashes addresses: one way for all flows of a pair of hosts.
                ("net/ipv6/fib_multipath_hash_policy", "1"),
                ("net/ipv4/fib_multipath_hash_policy", "1"),
            ]);
        }
        settings
    }
}

/// Shapes an interface to a rate, or lets it go as fast as it can.
pub(crate) fn shaping(interface: &str, rate: Option<Mbps>) -> String {
    match rate {
        Some(rate) => format!(
            "qdisc replace dev {interface} root tbf rate {}mbit burst {} limit {}",
            rate.get(),
            rate.burst(),
            rate.queue()
        ),
        None => format!("qdisc replace dev {interface} root noqueue"),
    }
}

impl Plan {
    /// Lines that make the interfaces of which `node` holds the first end; `namespace` gives each node's.
    pub(crate) fn make(&self, node: usize, namespace: impl Fn(usize) -> Box<Path>) -> Vec<String> {
        let mut lines = Vec::new();
        match self.nodes.get(node).map(|n| n.role) {
            Some(Role::Switch) => {
                lines.push(format!("link add name {SID_DEVICE} type veth peer name {SID_DEVICE}-peer"));
            }
            Some(Role::Management) => lines.push(format!("link add name {BRIDGE} type bridge")),
            Some(Role::Host) | None => {}
        }
        for cable in self.cables.iter().filter(|c| c.ends[0].node == node) {
            let [first, second] = &cable.ends;
            let end = |end: &End| {
                let (name, index, mac) = (&end.interface, end.ifindex, mac(end.mac));
                (format!("name {name} index {index} address {mac} mtu {}", cable.mtu), end.node)
            };
            let ((first, _), (second, peer)) = (end(first), end(second));
            let peer = namespace(peer);
            lines.push(format!("link add {first} type veth peer {second} netns {}", peer.display()));
        }
        lines
    }

    /// Lines that switch a node's interfaces on.
    pub(crate) fn switch_on(&self, node: usize) -> Vec<String> {
        let mut lines = vec!["link set dev lo up".to_owned()];
        let role = self.nodes.get(node).map(|n| n.role);
        match role {
            Some(Role::Switch) => {
                for device in [SID_DEVICE.to_owned(), format!("{SID_DEVICE}-peer")] {
                    lines.push(format!("link set dev {device} addrgenmode none"));
                    lines.push(format!("link set dev {device} up"));
                }
            }
            Some(Role::Management) => lines.push(format!("link set dev {BRIDGE} addrgenmode none up")),
            Some(Role::Host) | None => {}
        }
        for (_, end) in self.ends_of(node) {
            // The kernel's own link-local address would be a second one beside fe80::1 and fe80::2.
            lines.push(format!("link set dev {} addrgenmode none", end.interface));
            if role == Some(Role::Management) {
                lines.push(format!("link set dev {} master {BRIDGE}", end.interface));
            }
            lines.push(format!("link set dev {} up", end.interface));
        }
        lines
    }

    /// Lines for addresses, neighbours, routes and SIDs of a node. Running them again changes nothing, and
    /// brings back what the kernel dropped when a link went down. `condition` says which faults to leave alone.
    pub(crate) fn configure(&self, node: usize, condition: impl Fn(&End) -> Condition) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(self.loopback(node).map(|address| format!("addr replace {address}/128 dev lo")));
        if let Some((Role::Management, Some(address))) = self.nodes.get(node).map(|n| (n.role, n.management))
        {
            lines.push(format!("addr replace {address}/24 dev {BRIDGE}"));
        }
        let ends: Vec<(&Cable, &End, Condition)> = self
            .ends_of(node)
            .map(|(c, e)| (c, e, condition(e)))
            .filter(|(.., c)| *c != Condition::Off)
            .collect();
        for (cable, end, _) in &ends {
            for (address, length) in &end.addresses {
                // Without the prefix's own route: hosts of one leaf may share a prefix and are still on
                // different links. Management is one link and needs it.
                let flags = match (cable.kind, address.is_ipv4()) {
                    (CableKind::Management, _) => "",
                    (_, true) => " noprefixroute",
                    (_, false) => " nodad noprefixroute",
                };
                lines.push(format!("addr replace {address}/{length} dev {}{flags}", end.interface));
            }
        }
        for (cable, end, _) in ends.iter().filter(|(.., c)| *c == Condition::On) {
            lines.extend(neighbours(end, other(cable, end).mac));
        }
        let sids = self.local_sids(node).iter();
        lines.extend(sids.map(|s| format!("route replace {s} dev {SID_DEVICE} proto static")));
        let usable = |interface: &str| ends.iter().any(|(_, end, _)| end.interface == interface);
        let routes = self.routes(node).iter().filter_map(|r| r.over(usable));
        lines.extend(routes.map(|r| format!("route replace {r}")));
        lines
    }

    /// IPv6 addresses that a node answers to once it is configured.
    pub(crate) fn addresses(&self, node: usize, condition: impl Fn(&End) -> Condition) -> Vec<Ipv6Addr> {
        let on = self.ends_of(node).filter(|(_, end)| condition(end) != Condition::Off);
        let of_ends = on.flat_map(|(_, end)| &end.addresses).filter_map(|(address, _)| match address {
            // Every link has the same link-local ones; nothing is sent to them.
            IpAddr::V6(address) if !address.is_unicast_link_local() => Some(*address),
            _ => None,
        });
        self.loopback(node).into_iter().chain(of_ends).collect()
    }

    /// `tc` lines for the rates that a node's links start with.
    pub(crate) fn shape(&self, node: usize) -> Vec<String> {
        self.ends_of(node)
            .filter_map(|(cable, end)| Some(shaping(&end.interface, Some(cable.rate?))))
            .collect()
    }
}

/// The end that isn't `end`.
fn other<'a>(cable: &'a Cable, end: &End) -> &'a End {
    let [first, second] = &cable.ends;
    if first.ifindex == end.ifindex { second } else { first }
}

/// Lines that make an end's neighbours known for good, so that no packet waits for an address to be resolved.
fn neighbours(end: &End, mac_there: [u8; 6]) -> Vec<String> {
    end.neighbours
        .iter()
        .map(|n| format!("neigh replace {n} lladdr {} dev {} nud permanent", mac(mac_there), end.interface))
        .collect()
}

/// As [`neighbours`], but everything sent to them vanishes at the other end, with the link still up.
pub(crate) fn lost_neighbours(end: &End) -> Vec<String> {
    neighbours(end, NOBODY)
}

/// `nft` lines that let part of what arrives at an end get lost.
///
/// A lost packet is marked as another host's: IP throws it away before it does anything with it, and the interface
/// counts it. The choice is made by the kernel's random numbers for each packet.
pub(crate) fn lossy(end: &End, loss: Loss) -> Vec<String> {
    let table = loss_table(end);
    let mut lines = lossless(end);
    lines.push(format!("add table netdev {table}"));
    lines.push(format!(
        "add chain netdev {table} arrive {{ type filter hook ingress device \"{}\" priority 0; }}",
        end.interface
    ));
    // A number below 10000 of 10000 is always there, and nft doesn't take the comparison.
    let chosen = match loss.of_all() {
        Loss::ALL => String::new(),
        share => format!("numgen random mod {} < {share} ", Loss::ALL),
    };
    lines.push(format!("add rule netdev {table} arrive {chosen}meta pkttype set other"));
    lines
}

/// `nft` lines after which everything arrives at an end.
pub(crate) fn lossless(end: &End) -> Vec<String> {
    let table = loss_table(end);
    // Adding what is there does nothing, deleting what isn't fails.
    vec![format!("add table netdev {table}"), format!("delete table netdev {table}")]
}

fn loss_table(end: &End) -> String {
    format!("loss_{}", end.ifindex)
}

/// Line that lets an end send packets of the wire's size, one by one.
pub(crate) fn wire_packets(end: &End) -> String {
    format!("link set dev {} gso_max_segs 1", end.interface)
}

/// Line that lets an end send many segments of a connection in one piece, as the kernel does by itself.
pub(crate) fn whole_packets(end: &End) -> String {
    format!("link set dev {} gso_max_segs 65535", end.interface)
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|b| format!("{b:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::Options;
    use crate::plan::tests::{THREE, topology};

    #[test]
    fn a_switch_is_made_switched_on_and_configured_in_this_order() {
        let rate = Some(Mbps::new(200).unwrap());
        let options = Options { rate_host: rate, ..Options::default() };
        let plan = Plan::new(&topology(THREE), &options).unwrap();
        let leaf = plan.node("leaf00").unwrap();
        let made = plan.make(leaf, |peer| PathBuf::from(format!("/ns/{}", plan.name_of(peer))).into());
        assert_eq!(made[0], "link add name sr0 type veth peer name sr0-peer");
        assert_eq!(
            made.last().unwrap(),
            "link add name srv6-pytorch-0 index 1018 address 02:56:00:00:09:00 mtu 1500 type veth peer name net1 \
             index 1019 address 02:56:00:00:09:01 mtu 1500 netns /ns/srv6-pytorch-0"
        );
        assert!(plan.switch_on(leaf).contains(&"link set dev spine02 up".to_owned()));
        let configured = plan.configure(leaf, |_| Condition::On);
        let position = |line: &str| {
            configured
                .iter()
                .position(|l| l.starts_with(line))
                .unwrap_or_else(|| panic!("{line}: {configured:#?}"))
        };
        let order = [
            position("addr replace fd53:5236:6c61:6200::"),
            position("addr replace fcbb:0:800::1/128 dev srv6-pytorch-0 nodad noprefixroute"),
            position(
                "neigh replace fcbb:0:800::10 lladdr 02:56:00:00:09:01 dev srv6-pytorch-0 nud permanent",
            ),
            position(
                "route replace fcbb:0:1004::/48 encap seg6local action End flavors next-csid lblen 32 nflen 16",
            ),
            position("route replace fcbb:0:800:1::/64 proto static nexthop via fe80::1 dev spine00"),
        ];
        assert!(order.is_sorted(), "{order:?}");
        let queue = "qdisc replace dev srv6-pytorch-0 root tbf rate 200mbit burst 98304 limit 393216";
        assert_eq!(plan.shape(leaf), [queue]);
    }

    #[test]
    fn other_faults_are_left_alone() {
        let plan = Plan::new(&topology(THREE), &Options::default()).unwrap();
        let leaf = plan.node("leaf00").unwrap();
        let lines = plan.configure(leaf, |end| match end.interface.as_str() {
            "spine00" => Condition::Off,
            "spine01" => Condition::Silent,
            _ => Condition::On,
        });
        assert!(!lines.iter().any(|l| l.contains("dev spine00")), "{lines:#?}");
        assert!(!lines.iter().any(|l| l.starts_with("neigh") && l.contains("dev spine01")), "{lines:#?}");
        let way = "route replace fcbb:0:800:1::/64 proto static nexthop via fe80::1 dev spine01 nexthop via fe80::1 dev spine02";
        assert!(lines.iter().any(|l| l.starts_with(way)), "{lines:#?}");
    }
}
