//! config_db.json read back: valid by SONiC's models, and the same addresses, routes and SIDs as a lab's switch.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use serde_json::{Map, Value};
use srv6_fabric::Prefix;
use srv6_lab::{Plan, Role, SidAction};

use crate::{exported, nodes, plan, refused, topology};

type Tables = BTreeMap<String, BTreeMap<String, Map<String, Value>>>;

/// What a field may hold.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// One of these words.
    Word(&'static [&'static str]),
    /// A decimal number in this range, as text: CONFIG_DB knows nothing else.
    Number(u32, u32),
    /// Text of this length.
    Text(usize, usize),
    Ipv6,
    /// Addresses or port names between commas.
    List,
}

/// Tables, fields and types of sonic-buildimage's YANG models (src/sonic-yang-models/yang-models, 2026): sonic-device_metadata,
/// sonic-port, sonic-device_neighbor, sonic-loopback-interface, sonic-interface, sonic-static-route and sonic-srv6.
const MODELS: [(&str, &[(&str, Kind)]); 8] = [
    (
        "DEVICE_METADATA",
        &[
            ("hostname", Kind::Text(1, 63)),
            ("docker_routing_config_mode", Kind::Word(&["separated", "unified", "split", "split-unified"])),
        ],
    ),
    ("PORT", &[("admin_status", Kind::Word(&["up", "down"])), ("mtu", Kind::Number(68, 9216))]),
    (
        "DEVICE_NEIGHBOR",
        &[("name", Kind::Text(1, 255)), ("local_port", Kind::Text(1, 128)), ("port", Kind::Text(1, 255))],
    ),
    ("LOOPBACK_INTERFACE", &[]),
    ("INTERFACE", &[]),
    ("STATIC_ROUTE", &[("nexthop", Kind::List), ("ifname", Kind::List)]),
    (
        "SRV6_MY_LOCATORS",
        &[
            ("prefix", Kind::Ipv6),
            ("block_len", Kind::Number(1, 128)),
            ("node_len", Kind::Number(1, 128)),
            ("func_len", Kind::Number(0, 128)),
            ("arg_len", Kind::Number(0, 128)),
        ],
    ),
    (
        "SRV6_MY_SIDS",
        &[
            ("action", Kind::Word(&["uN", "uA", "uDT46"])),
            ("decap_vrf", Kind::Word(&["default"])),
            ("decap_dscp_mode", Kind::Word(&["uniform", "pipe"])),
        ],
    ),
];

fn fits(kind: Kind, text: &str) -> bool {
    match kind {
        Kind::Word(words) => words.contains(&text),
        Kind::Number(from, to) => text.parse::<u32>().is_ok_and(|n| (from..=to).contains(&n)),
        Kind::Text(from, to) => (from..=to).contains(&text.len()),
        Kind::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
        Kind::List => text.split(',').all(|one| one.parse::<IpAddr>().is_ok() || one.starts_with("Ethernet")),
    }
}

/// The tables of a file, after everything that the models and bgpcfgd want of them was looked at.
fn valid(text: &str) -> Tables {
    let tables: Tables = serde_json::from_str(text).unwrap();
    let models: BTreeMap<&str, _> = MODELS.into_iter().collect();
    for (table, rows) in &tables {
        let fields = models.get(table.as_str()).unwrap_or_else(|| panic!("no table {table}"));
        for (key, row) in rows {
            for (name, value) in row {
                let field = fields.iter().find(|(field, _)| field == name);
                let (_, kind) = field.unwrap_or_else(|| panic!("{table} has no field {name}"));
                assert!(fits(*kind, value.as_str().unwrap()), "{table}|{key}: {name} = {value}");
            }
        }
    }
    let number = |row: &Map<String, Value>, field: &str| row[field].as_str().unwrap().parse::<u32>().unwrap();
    let list = |row: &Map<String, Value>, field: &str| -> Vec<String> {
        row[field].as_str().unwrap().split(',').map(str::to_owned).collect()
    };
    let ports = &tables["PORT"];
    for table in ["INTERFACE", "LOOPBACK_INTERFACE"] {
        for key in tables[table].keys() {
            let (name, prefix) = key.split_once('|').unwrap_or((key, "::/0"));
            assert!(tables[table].contains_key(name), "{key}: want an entry for {name} too");
            assert!(table != "INTERFACE" || ports.contains_key(name), "{key}: no such port");
            let (address, length) = prefix.split_once('/').unwrap();
            Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap();
        }
    }
    for (key, row) in &tables["DEVICE_NEIGHBOR"] {
        assert!(ports.contains_key(row["local_port"].as_str().unwrap()), "{key}");
    }
    for (key, row) in tables.get("STATIC_ROUTE").into_iter().flatten() {
        let prefix: Prefix = key.strip_prefix("default|").unwrap().parse().unwrap();
        let (hops, names) = (list(row, "nexthop"), list(row, "ifname"));
        assert_eq!(hops.len(), names.len(), "{key}");
        assert!(names.iter().all(|name| ports.contains_key(name)), "{key}");
        let of_family = |hop: &String| hop.parse::<IpAddr>().unwrap().is_ipv4() == prefix.address().is_ipv4();
        assert!(hops.iter().all(of_family), "{key}: bgpcfgd takes next hops of the same family only");
    }
    for (key, row) in tables.get("SRV6_MY_LOCATORS").into_iter().flatten() {
        let sum: u32 = ["block_len", "node_len", "func_len", "arg_len"].iter().map(|f| number(row, f)).sum();
        assert!(sum <= 128, "{key}: {sum} bits");
    }
    for (key, row) in tables.get("SRV6_MY_SIDS").into_iter().flatten() {
        let (locator, sid) = key.split_once('|').unwrap();
        let sid: Prefix = sid.parse().unwrap();
        let locator = &tables["SRV6_MY_LOCATORS"][locator];
        let length = number(locator, "block_len")
            + if row["action"] == "uN" { number(locator, "node_len") } else { 0 };
        let around =
            Prefix::new(locator["prefix"].as_str().unwrap().parse().unwrap(), length.try_into().unwrap());
        assert!(around.unwrap().contains(sid.address()), "{key} is outside of its locator");
    }
    tables
}

/// The port that a switch's interface is, by counting links.
fn ports(plan: &Plan, switch: usize) -> BTreeMap<String, String> {
    plan.ends_of(switch)
        .enumerate()
        .map(|(i, (_, end))| (end.interface.clone(), format!("Ethernet{}", 4 * i)))
        .collect()
}

/// Addresses and connected prefixes, static routes hop by hop, and SIDs must be those of the lab, or left out.
fn compare(plan: &Plan, switch: usize, tables: &Tables, left_out: &str) {
    let name = plan.name_of(switch);
    let ports = ports(plan, switch);
    assert_eq!(tables["DEVICE_METADATA"]["localhost"]["hostname"], name);
    let mut connected = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for key in tables["INTERFACE"].keys() {
        let Some((port, prefix)) = key.split_once('|') else { continue };
        let (address, length) = prefix.split_once('/').unwrap();
        let address: IpAddr = address.parse().unwrap();
        addresses.insert((port.to_owned(), address));
        let prefix = Prefix::new(address, length.parse().unwrap()).unwrap();
        connected.insert((prefix.to_string(), None, port.to_owned()));
    }
    let ends = plan
        .ends_of(switch)
        .flat_map(|(_, end)| end.addresses.iter().map(|(a, _)| (ports[&end.interface].clone(), *a)));
    assert_eq!(addresses, ends.collect(), "{name}");
    let own = plan.loopback(switch).unwrap();
    assert!(tables["LOOPBACK_INTERFACE"].contains_key(&format!("Loopback0|{own}/128")), "{name}");
    for (cable, end) in plan.ends_of(switch) {
        let there = cable.ends.iter().find(|e| e.node != switch).unwrap();
        let row = &tables["DEVICE_NEIGHBOR"][&ports[&end.interface]];
        assert_eq!(row["name"], plan.name_of(there.node));
    }

    let mut found = connected;
    for (key, row) in tables.get("STATIC_ROUTE").into_iter().flatten() {
        let [hops, names] = ["nexthop", "ifname"].map(|field| row[field].as_str().unwrap().split(','));
        for (hop, port) in hops.zip(names) {
            let hop: IpAddr = hop.parse().unwrap();
            let via = Some(hop).filter(|hop| !hop.is_unspecified());
            found.insert((key.strip_prefix("default|").unwrap().to_owned(), via, port.to_owned()));
        }
    }
    for route in plan.routes(switch) {
        let missing = route.hops.iter().filter(|hop| {
            !found.contains(&(route.prefix.to_string(), hop.via, ports[&hop.interface].clone()))
        });
        let missing = missing.count();
        let told = left_out.contains(&format!("{name}: route {}:", route.prefix));
        assert_eq!(missing, if told { route.hops.len() } else { 0 }, "{name}: {route}");
    }

    let sids: BTreeMap<String, &str> = tables["SRV6_MY_SIDS"]
        .iter()
        .map(|(key, row)| (key.split_once('|').unwrap().1.to_owned(), row["action"].as_str().unwrap()))
        .collect();
    let mut wanted = BTreeMap::new();
    for sid in plan.local_sids(switch) {
        let behind_node = tables["SRV6_MY_LOCATORS"].values().any(|locator| {
            let node: IpAddr = locator["prefix"].as_str().unwrap().parse().unwrap();
            Prefix::new(node, 48).unwrap().contains(sid.prefix.address())
        });
        let action = match sid.action {
            SidAction::Shift { .. } => "uN",
            SidAction::Dt6 => "uDT46",
            SidAction::Dx4(_) => {
                assert_eq!(left_out.contains(&format!("{name}: SID {} ", sid.prefix)), behind_node);
                continue;
            }
        };
        if behind_node {
            wanted.insert(sid.prefix.to_string(), action);
        }
    }
    assert_eq!(sids, wanted, "{name}");
}

#[test]
fn a_switch_is_configured_as_the_lab_programs_it() {
    for fabric in ["4x4", "3x3", "2x4x4"] {
        let (plan, files) = (plan(fabric), exported(&["sonic", "--routing", "config-db"], &topology(fabric)));
        let switches = nodes(&plan, Role::Switch);
        assert_eq!(files.len(), switches.len());
        for (switch, node) in switches {
            compare(&plan, switch, &valid(&files[&format!("{}/config_db.json", node.name)]), "");
        }
    }
}

#[test]
fn what_sonic_has_no_place_for_is_refused_or_told() {
    let file = topology("2x2-dual-stack");
    let told = refused(&["sonic", "--routing", "config-db"], &file);
    assert!(told.contains("spine00: route 10.1.0.2/32: bgpcfgd takes no IPv6 next hop for IPv4"), "{told}");
    assert!(told.ends_with("--partial leaves it out\n"), "{told}");
    let of_frr = refused(&["sonic"], &file);
    assert!(!of_frr.contains("route") && of_frr.contains("leaf01: SID fc00:0:1201:e403::/64"), "{of_frr}");
    let output = crate::export(&["sonic", "--routing", "config-db", "--partial"], &file);
    let said = crate::text(&output.stderr);
    assert!(output.status.success() && said.starts_with("srv6ctl: left out:\n"), "{said}");

    let (plan, files) =
        (plan("2x2-dual-stack"), exported(&["sonic", "--routing", "config-db", "--partial"], &file));
    for (switch, node) in nodes(&plan, Role::Switch) {
        compare(&plan, switch, &valid(&files[&format!("{}/config_db.json", node.name)]), &said);
    }
}

#[test]
fn frr_s_own_file_says_the_same_with_sonic_s_ports() {
    let (plan, files) = (plan("4x4"), exported(&["sonic"], &topology("4x4")));
    for (switch, node) in nodes(&plan, Role::Switch) {
        let tables = valid(&files[&format!("{}/config_db.json", node.name)]);
        assert_eq!(tables["DEVICE_METADATA"]["localhost"]["docker_routing_config_mode"], "split-unified");
        assert!(!tables.contains_key("STATIC_ROUTE") && !tables.contains_key("SRV6_MY_SIDS"));
        let (ports, conf) = (ports(&plan, switch), &files[&format!("{}/frr.conf", node.name)]);
        let lines: BTreeSet<&str> = conf.lines().map(str::trim).collect();
        for route in plan.routes(switch) {
            for hop in &route.hops {
                let port = &ports[&hop.interface];
                match hop.via {
                    Some(via) => {
                        assert!(lines.contains(format!("ipv6 route {} {via} {port}", route.prefix).as_str()))
                    }
                    None => {
                        let length = route.prefix.length();
                        let mut interfaces = tables["INTERFACE"].keys();
                        let is_connected = |key: &String| {
                            key.starts_with(&format!("{port}|2001")) && key.ends_with(&format!("/{length}"))
                        };
                        assert!(interfaces.any(is_connected), "{route}");
                    }
                }
            }
        }
        let sids = lines.iter().filter(|line| line.starts_with("sid ")).count();
        let leaf = node.name.starts_with("leaf");
        assert_eq!(sids, if leaf { 2 } else { 1 }, "{conf}");
        assert!(!leaf || conf.contains("behavior uDT6 vrf default"), "{conf}");
    }
}

#[test]
fn an_mtu_is_set_where_somebody_asks_for_it() {
    let sonic = ["sonic", "--routing", "config-db"];
    let default = exported(&sonic, &topology("3x3"));
    assert!(default.values().all(|text| !text.contains("\"mtu\"")), "a switch keeps its own");
    for text in exported(&[&sonic[..], &["--mtu", "9100"]].concat(), &topology("3x3")).values() {
        assert!(valid(text)["PORT"].values().all(|row| row["mtu"] == "9100"));
    }
}
