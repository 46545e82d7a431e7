//! The data interface: which one it is, which address NCCL takes on it, and settings of the kernel that matter.

use std::net::IpAddr;

use srv6_fabric::{Family, Topology};

use super::finding::Finding;
use super::wrapped::Facts;
use crate::config::Environment;
use crate::interfaces::{Interface, is_link_local};

/// Which interfaces carry the data, and why.
///
/// In this order: the one that `BACKEND_INTERFACE` names, those whose address the topology knows, the plugin's own
/// devices, those that `NCCL_SOCKET_IFNAME` allows.
pub(crate) fn choose<'a>(
    all: &'a [Interface],
    environment: &Environment,
    devices: Option<&Facts>,
    topology: Option<&Topology>,
) -> (Vec<&'a Interface>, Finding) {
    const CHECK: &str = "interface.data";
    let named = |name: &str| all.iter().find(|interface| interface.name == name);
    if let Some(name) = environment.get("BACKEND_INTERFACE") {
        return match named(name) {
            Some(interface) => (vec![interface], Finding::ok(CHECK, format!("{name} (BACKEND_INTERFACE)"))),
            None => (
                Vec::new(),
                Finding::failure(
                    CHECK,
                    format!(
                        "BACKEND_INTERFACE={name}: there is no such interface; there are {}",
                        names(all.iter())
                    ),
                    "export BACKEND_INTERFACE with one of them, or unset it",
                ),
            ),
        };
    }
    let in_topology: Vec<&Interface> = all
        .iter()
        .filter(|i| i.routable().any(|a| topology.is_some_and(|t| t.host_of(a).is_some())))
        .collect();
    let own: Vec<&Interface> =
        devices.map_or_else(Vec::new, |facts| facts.devices.iter().filter_map(|name| named(name)).collect());
    let Some(first) = in_topology.first() else {
        let listed: Vec<&Interface> = environment.get("NCCL_SOCKET_IFNAME").map_or_else(Vec::new, |list| {
            all.iter().filter(|i| allowed(list, &i.name) && i.routable().next().is_some()).collect()
        });
        let (found, why) =
            if own.is_empty() { (listed, "NCCL_SOCKET_IFNAME") } else { (own, "NCCL's choice") };
        let finding = if found.is_empty() {
            Finding::warning(
                CHECK,
                format!("which interface is in the fabric can't be told; there are {}", names(all.iter())),
                "export BACKEND_INTERFACE=NAME",
            )
        } else {
            Finding::ok(CHECK, format!("{} ({why})", names(found.iter().copied())))
        };
        return (found, finding);
    };
    let stray: Vec<&Interface> =
        own.iter().copied().filter(|i| !in_topology.iter().any(|t| t.index == i.index)).collect();
    if !stray.is_empty() {
        let finding = Finding::failure(
            CHECK,
            format!(
                "NCCL takes {}, which is in no host of the topology; {} is",
                names(stray.iter().copied()),
                names(in_topology.iter().copied())
            ),
            format!("export NCCL_SOCKET_IFNAME=={}", first.name),
        );
        return (in_topology, finding);
    }
    // Another interface may be in the subnet of the one that jobs use.
    let data = if own.is_empty() { in_topology } else { own };
    let message = format!("{} (its address is in the topology)", names(data.iter().copied()));
    (data, Finding::ok(CHECK, message))
}

fn names<'a>(interfaces: impl Iterator<Item = &'a Interface>) -> String {
    interfaces.map(|i| i.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whether `NCCL_SOCKET_IFNAME` lets NCCL have an interface: a list of prefixes, `=` before it for whole names, `^` for
/// all but these.
pub(crate) fn allowed(list: &str, name: &str) -> bool {
    let (list, exclude) = list.strip_prefix('^').map_or((list, false), |rest| (rest, true));
    let (list, exact) = list.strip_prefix('=').map_or((list, false), |rest| (rest, true));
    let matches = |entry: &str| {
        // NCCL takes `name:port` as well.
        let entry = entry.split(':').next().unwrap_or(entry);
        !entry.is_empty() && if exact { name == entry } else { name.starts_with(entry) }
    };
    list.split(',').any(matches) != exclude
}

/// Checks of one data interface.
pub(crate) fn check(
    interface: &Interface,
    all: &[Interface],
    environment: &Environment,
    topology: Option<&Topology>,
) -> Vec<Finding> {
    let mut findings = vec![up(interface), choice(interface, all, environment)];
    findings.push(address(interface, environment, topology));
    findings.push(subnet(interface, all));
    findings.extend(settings(interface));
    findings
}

fn up(interface: &Interface) -> Finding {
    const CHECK: &str = "interface.up";
    let name = &interface.name;
    match (interface.up, interface.running) {
        (true, true) => Finding::ok(CHECK, format!("{name} is up")),
        (false, _) => Finding::failure(CHECK, format!("{name} is down"), format!("ip link set {name} up")),
        (true, false) => Finding::failure(
            CHECK,
            format!("{name} has no carrier: NCCL passes it over"),
            "look at its cable and switch port",
        ),
    }
}

fn choice(interface: &Interface, all: &[Interface], environment: &Environment) -> Finding {
    const CHECK: &str = "nccl.interface";
    let name = &interface.name;
    match environment.get("NCCL_SOCKET_IFNAME") {
        Some(list) if allowed(list, name) => {
            Finding::ok(CHECK, format!("NCCL_SOCKET_IFNAME={list} lets NCCL have {name}"))
        }
        Some(list) => Finding::failure(
            CHECK,
            format!("NCCL_SOCKET_IFNAME={list} keeps NCCL from {name}"),
            format!("export NCCL_SOCKET_IFNAME=={name}"),
        ),
        None => {
            let others: Vec<&str> = all
                .iter()
                .filter(|i| i.running && !i.loopback && i.index != interface.index && !i.addresses.is_empty())
                .map(|i| i.name.as_str())
                .collect();
            if others.is_empty() {
                return Finding::ok(CHECK, format!("{name} is the only interface that NCCL can take"));
            }
            Finding::warning(
                CHECK,
                format!("NCCL_SOCKET_IFNAME is not set: NCCL may take {} beside {name}", others.join(", ")),
                format!("export NCCL_SOCKET_IFNAME=={name}"),
            )
        }
    }
}

/// The first address of the family that NCCL is told to take: that is the one it listens at.
pub(crate) fn listening(interface: &Interface, environment: &Environment) -> Option<IpAddr> {
    let family = match environment.get("NCCL_SOCKET_FAMILY") {
        Some("AF_INET") => Some(Family::V4),
        Some("AF_INET6") => Some(Family::V6),
        _ => None,
    };
    let mut addresses = interface.addresses.iter().map(|&(address, _)| address);
    addresses.find(|&address| family.is_none_or(|family| Family::of(address) == family))
}

fn address(interface: &Interface, environment: &Environment, topology: Option<&Topology>) -> Finding {
    const CHECK: &str = "interface.address";
    let name = &interface.name;
    let known = |a: IpAddr| topology.is_none_or(|t| t.host_of(a).is_some());
    let Some(first) = listening(interface, environment) else {
        return Finding::failure(
            CHECK,
            format!("{name} has no address of the family that NCCL_SOCKET_FAMILY asks for"),
            "give it one, or unset NCCL_SOCKET_FAMILY",
        );
    };
    if interface.routable().next().is_none() {
        return Finding::failure(
            CHECK,
            format!("{name} has only {first}, which means nothing beyond its link"),
            format!("ip address add ADDRESS/64 dev {name}"),
        );
    }
    let better = interface.routable().find(|&a| known(a));
    match better {
        Some(better) if is_link_local(first) || !known(first) => {
            let family = if better.is_ipv4() { "AF_INET" } else { "AF_INET6" };
            let what = if is_link_local(first) {
                "means nothing beyond its link"
            } else {
                "is no host of the topology"
            };
            let remedy = if Family::of(first) == Family::of(better) {
                format!("take {first} from {name}, or add {better} before it: NCCL takes the first address")
            } else {
                format!("export NCCL_SOCKET_FAMILY={family}")
            };
            Finding::failure(
                CHECK,
                format!("NCCL listens at {first} on {name}, which {what}; {better} would be right"),
                remedy,
            )
        }
        _ => Finding::ok(CHECK, format!("NCCL listens at {first} on {name}")),
    }
}

fn subnet(interface: &Interface, all: &[Interface]) -> Finding {
    const CHECK: &str = "interface.subnet";
    let own: Vec<_> = interface.subnets().collect();
    let shared = all.iter().filter(|other| other.index != interface.index).find_map(|other| {
        other.subnets().find(|subnet| own.contains(subnet)).map(|subnet| (&other.name, subnet))
    });
    let name = &interface.name;
    match shared {
        Some((other, subnet)) => Finding::warning(
            CHECK,
            format!("{name} and {other} are both in {subnet}: what isn't steered leaves by one of them"),
            "give each interface a subnet of its own, or rules by source address (ip -6 rule add from ADDRESS lookup TABLE)",
        ),
        None => Finding::ok(CHECK, format!("no other interface is in a subnet of {name}")),
    }
}

fn settings(interface: &Interface) -> Vec<Finding> {
    let name = &interface.name;
    let read = |family: &str, interface: &str, setting: &str| -> Option<u32> {
        let path = format!("/proc/sys/net/{family}/conf/{interface}/{setting}");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    let mut findings = Vec::new();
    if read("ipv6", name, "disable_ipv6") == Some(1) {
        findings.push(Finding::failure(
            "sysctl.disable_ipv6",
            format!("IPv6 is switched off on {name}: no carrier can leave by it"),
            format!("sysctl net.ipv6.conf.{name}.disable_ipv6=0"),
        ));
    }
    let keep = read("ipv6", "all", "keep_addr_on_down").max(read("ipv6", name, "keep_addr_on_down"));
    findings.push(if keep.unwrap_or(0) > 0 {
        Finding::ok("sysctl.keep_addr_on_down", format!("{name} keeps its IPv6 addresses when it goes down"))
    } else {
        Finding::note(
            "sysctl.keep_addr_on_down",
            format!("{name} loses its IPv6 addresses and all routes over it when it goes down for a moment"),
        )
        .remedy(format!("sysctl net.ipv6.conf.{name}.keep_addr_on_down=1"))
    });
    // Strict filtering drops what comes in by another interface than answers would leave by.
    let strict = read("ipv4", "all", "rp_filter").max(read("ipv4", name, "rp_filter")) == Some(1);
    if strict && interface.routable().any(|a| a.is_ipv4()) {
        findings.push(Finding::note(
            "sysctl.rp_filter",
            format!("rp_filter=1 on {name}: IPv4 packets are dropped where their sender is routed by another interface"),
        )
        .remedy(format!("sysctl net.ipv4.conf.{name}.rp_filter=2, where hosts have several data interfaces")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    fn interface(name: &str, index: u32, addresses: &[(&str, u8)]) -> Interface {
        let addresses = addresses.iter().map(|(a, l)| (a.parse().unwrap(), *l)).collect();
        let name = name.to_owned();
        Interface { name, index, mtu: 1500, up: true, running: true, loopback: false, addresses }
    }

    #[test]
    fn nccl_reads_its_list_of_interfaces_so() {
        for (list, name, wanted) in [
            ("eth", "eth1", true),
            ("=eth", "eth1", false),
            ("=eth0,eth1", "eth1", true),
            ("^docker,lo", "eth1", true),
            ("^eth", "eth1", false),
            ("^=eth", "eth1", true),
            ("ib", "eth1", false),
        ] {
            assert_eq!(allowed(list, name), wanted, "{list} {name}");
        }
    }

    #[test]
    fn an_address_of_the_wrong_family_or_link_is_a_failure() {
        let both = interface("eth1", 2, &[("10.0.0.1", 24), ("2001:db8:1000::2", 64), ("fe80::1", 64)]);
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/fabrics/4x4.json");
        let (_, topology) = srv6_paths::read_topology(file.as_ref(), "fabric_graph", "hosts").unwrap();
        let plain = Environment::default();
        let found = address(&both, &plain, Some(&topology));
        assert_eq!(found.status, Status::Failure);
        assert_eq!(found.remedy.unwrap(), "export NCCL_SOCKET_FAMILY=AF_INET6");
        let told = Environment::from([("NCCL_SOCKET_FAMILY", "AF_INET6")]);
        assert_eq!(address(&both, &told, Some(&topology)).status, Status::Ok);
        let lonely = interface("eth1", 2, &[("fe80::1", 64)]);
        assert!(address(&lonely, &plain, None).message.contains("beyond its link"));
    }

    #[test]
    fn two_interfaces_in_a_subnet_are_a_warning() {
        let one = interface("eth1", 2, &[("2001:db8::1", 64)]);
        let two = interface("eth2", 3, &[("2001:db8::2", 64)]);
        assert_eq!(subnet(&one, &[one.clone(), two]).status, Status::Warning);
        assert_eq!(subnet(&one, std::slice::from_ref(&one)).status, Status::Ok);
    }

    #[test]
    fn other_interfaces_want_a_choice() {
        let all = [interface("eth0", 2, &[("10.0.0.1", 24)]), interface("eth1", 3, &[("2001:db8::1", 64)])];
        assert_eq!(choice(&all[1], &all, &Environment::default()).status, Status::Warning);
        let told = Environment::from([("NCCL_SOCKET_IFNAME", "=eth1")]);
        assert_eq!(choice(&all[1], &all, &told).status, Status::Ok);
        assert_eq!(choice(&all[0], &all, &told).status, Status::Failure);
    }

    #[test]
    fn the_interface_is_named_or_found_in_order() {
        let all =
            [interface("eth0", 2, &[("10.0.0.1", 24)]), interface("eth1", 3, &[("2001:db8:1000::2", 64)])];
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/fabrics/4x4.json");
        let (_, topology) = srv6_paths::read_topology(file.as_ref(), "fabric_graph", "hosts").unwrap();
        let plain = Environment::default();
        let devices = |name: &str| Facts { name: String::new(), version: 12, devices: vec![name.to_owned()] };
        let (found, finding) = choose(&all, &plain, Some(&devices("eth1")), Some(&topology));
        assert_eq!((found[0].name.as_str(), finding.status), ("eth1", Status::Ok));
        let (found, finding) = choose(&all, &plain, Some(&devices("eth0")), Some(&topology));
        assert_eq!((found[0].name.as_str(), finding.status), ("eth1", Status::Failure));
        let (found, _) = choose(&all, &plain, Some(&devices("eth0")), None);
        assert_eq!(found[0].name, "eth0");
        let named = Environment::from([("BACKEND_INTERFACE", "eth9")]);
        let (found, finding) = choose(&all, &named, None, None);
        assert!(found.is_empty() && finding.message.contains("eth9"), "{finding:?}");
    }
}
