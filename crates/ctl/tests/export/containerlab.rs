//! The containerlab file read back: the lab's hosts, switches and links.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Deserialize;
use srv6_lab::{CableKind, End, Plan, Role};

use crate::{FABRICS, changed, exported, nodes, plan, refused, topology};

/// Just what containerlab's schema has, and of that what an export uses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    mgmt: Mgmt,
    topology: Topology,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Mgmt {
    network: String,
    ipv4_subnet: String,
    ipv6_subnet: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Topology {
    groups: BTreeMap<String, Group>,
    nodes: BTreeMap<String, Node>,
    links: Vec<Link>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    kind: String,
    image: String,
    sysctls: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Node {
    group: String,
    mgmt_ipv4: String,
    #[serde(default)]
    binds: Vec<String>,
    #[serde(default)]
    exec: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    endpoints: [String; 2],
    mtu: u32,
}

fn read(arguments: &[&str], fabric: &str) -> (File, BTreeMap<String, String>) {
    let mut files = exported(&[&["containerlab", "--name", "t"], arguments].concat(), &topology(fabric));
    let file = files.remove("t.clab.yml").expect("a topology file");
    (serde_saphyr::from_str(&file).unwrap_or_else(|e| panic!("{e}\n{file}")), files)
}

/// What the lab gives a host, as commands.
fn commands(plan: &Plan, host: usize) -> BTreeSet<String> {
    let ends = plan.ends_of(host).filter(|(cable, _)| cable.kind != CableKind::Management);
    let addresses = ends.flat_map(|(_, end)| {
        end.addresses.iter().map(|(address, length)| {
            let nodad = if address.is_ipv6() { "nodad " } else { "" };
            format!("ip addr replace {address}/{length} dev {} {nodad}noprefixroute", end.interface)
        })
    });
    addresses.chain(plan.routes(host).iter().map(|route| format!("ip route replace {route}"))).collect()
}

#[test]
fn nodes_links_and_hosts_are_those_of_the_lab() {
    for fabric in FABRICS {
        let (plan, (file, files)) = (plan(fabric), read(&[], fabric));
        assert_eq!((file.name.as_str(), file.mgmt.network.as_str()), ("t", "t-mgmt"));
        assert_eq!(file.mgmt.ipv4_subnet, "198.18.0.0/24");
        assert!(file.mgmt.ipv6_subnet.ends_with("::/64"));

        let cables = plan.cables.iter().filter(|c| c.kind != CableKind::Management);
        let end = |end: &End| format!("{}:{}", plan.name_of(end.node), end.interface);
        let wanted: Vec<_> = cables.map(|c| (c.ends.each_ref().map(end), c.mtu)).collect();
        let found: Vec<_> = file.topology.links.into_iter().map(|l| (l.endpoints, l.mtu)).collect();
        assert_eq!(found, wanted, "{fabric}");
        for interface in wanted.iter().flat_map(|(ends, _)| ends) {
            assert!(interface.split(':').nth(1).unwrap().len() <= 15, "{interface}");
        }

        let mut addresses = BTreeSet::new();
        for (host, node) in nodes(&plan, Role::Host) {
            let found = &file.topology.nodes[&node.name];
            assert_eq!(found.group, "hosts");
            assert_eq!(found.mgmt_ipv4, node.management.unwrap().to_string());
            assert_eq!(
                found.exec.iter().cloned().collect::<BTreeSet<_>>(),
                commands(&plan, host),
                "{fabric}"
            );
            addresses.insert(&found.mgmt_ipv4);
        }
        for (_, node) in nodes(&plan, Role::Switch) {
            let found = &file.topology.nodes[&node.name];
            assert_eq!(found.group, "switches");
            assert_eq!(found.exec, ["ip -force -batch /etc/frr/sr0.batch"]);
            for bind in &found.binds {
                let (here, there) = bind.split_once(':').unwrap();
                assert!(files.contains_key(here), "{bind}: not written");
                assert!(there.starts_with("/etc/frr/"), "{bind}");
            }
            assert_eq!(found.binds.len(), 3);
            assert!(addresses.insert(&found.mgmt_ipv4), "{} twice", found.mgmt_ipv4);
        }
        assert_eq!(file.topology.nodes.len(), plan.nodes.len() - 1, "all but the management network");
        assert!(addresses.iter().all(|a| matches!(a.parse(), Ok(IpAddr::V4(_)))));
    }
}

#[test]
fn switches_are_as_frr_exports_them_and_forward() {
    let (file, files) = read(&[], "3x3");
    let alone = exported(&["frr"], &topology("3x3"));
    for (name, text) in &files {
        assert_eq!(&alone[name], text, "{name}");
    }
    let groups = &file.topology.groups;
    for (group, role) in [("hosts", Role::Host), ("switches", Role::Switch)] {
        for (setting, value) in role.settings() {
            assert_eq!(groups[group].sysctls[&setting.replace('/', ".")], value, "{group}");
        }
        assert_eq!(groups[group].sysctls["net.ipv6.conf.default.disable_ipv6"], "0");
        assert_eq!(groups[group].kind, "linux");
    }
    assert!(groups["switches"].image.contains("frr"));
}

#[test]
fn sonic_takes_ports_in_the_lab_s_order() {
    let (plan, (file, files)) = (plan("4x4"), read(&["--switch", "sonic-vs", "--host-image", "h:1"], "4x4"));
    let groups = &file.topology.groups;
    assert_eq!(groups["switches"].kind, "sonic-vs");
    assert_eq!((groups["hosts"].kind.as_str(), groups["hosts"].image.as_str()), ("linux", "h:1"));
    let mut used: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for endpoint in file.topology.links.iter().flat_map(|l| &l.endpoints) {
        let (node, interface) = endpoint.split_once(':').unwrap();
        used.entry(node).or_default().push(interface);
    }
    for (switch, node) in nodes(&plan, Role::Switch) {
        let wanted: Vec<String> = (1..=plan.ends_of(switch).count()).map(|n| format!("eth{n}")).collect();
        assert_eq!(used[node.name.as_str()], wanted);
        for bind in &file.topology.nodes[&node.name].binds {
            assert!(files.contains_key(bind.split_once(':').unwrap().0), "{bind}: not written");
        }
    }
}

#[test]
fn what_containerlab_cannot_have_is_refused() {
    let file = changed("3x3", "\"net1\"", "\"eth0\"");
    let error = refused(&["containerlab"], &file);
    assert!(
        error.contains("srv6-pytorch-0: interface eth0 is containerlab's management interface"),
        "{error}"
    );
    std::fs::remove_file(file).unwrap();
    let error = refused(&["containerlab", "--name", "a/b"], &topology("3x3"));
    assert!(error.contains("--name \"a/b\": want 1 to 63 of"), "{error}");
    let error = refused(&["containerlab", "--switch", "sonic-vs"], &topology("2x2-dual-stack"));
    assert!(error.contains("leaf00: SID fc00:0:1200:e400::/64 (End.DX4 nh4 10.1.0.2)"), "{error}");
    assert!(error.contains("--switch frr has it"), "{error}");
}
