//! frr.conf read back: the same addresses, routes and SIDs as a lab's switch.

use std::collections::{BTreeMap, BTreeSet};

use srv6_lab::{LocalSid, Plan, Role, SidAction};

use crate::{FABRICS, changed, exported, nodes, plan, refused, topology};

/// What a switch's frr.conf and sr0.batch say, in the words of `ip`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    addresses: BTreeSet<String>,
    hops: BTreeSet<String>,
    sids: BTreeSet<String>,
}

fn said(conf: &str, batch: &str) -> Said {
    let mut said = Said::default();
    let (mut interface, mut locators) = ("", BTreeMap::new());
    let mut locator = "";
    for line in conf.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["interface", name] => interface = name,
            ["ip" | "ipv6", "address", address] => {
                said.addresses.insert(format!("{address} {interface}"));
            }
            ["ip" | "ipv6", "route", prefix, hop @ ..] => {
                said.hops.insert(format!("{prefix} {}", hop.join(" ")));
            }
            ["locator", name] => locator = name,
            ["prefix", prefix, "block-len", block, "node-len", node, "func-bits", _] => {
                locators.insert(locator, (*prefix, *block, *node));
            }
            ["sid", sid, "locator", name, "behavior", "uN"] => {
                let (prefix, block, node) = locators[name];
                assert_eq!(*sid, prefix, "a uN is its locator");
                let action = format!("End flavors next-csid lblen {block} nflen {node}");
                said.sids.insert(format!("{sid} encap seg6local action {action}"));
            }
            ["sid", sid, "locator", name, "behavior", "uDT6", "vrf", "default"] => {
                assert!(locators.contains_key(name), "{line}");
                said.sids.insert(format!("{sid} encap seg6local action End.DT6 table 254"));
            }
            ["frr", "defaults", "datacenter"]
            | ["hostname", _]
            | ["!" | "exit" | "segment-routing" | "srv6" | "locators" | "static-sids"]
            | ["behavior", "usid"] => {}
            _ => panic!("{line:?} is no line of FRR's that this test knows"),
        }
    }
    let made =
        ["link add name sr0 type veth peer name sr0-peer", "link set dev sr0 up", "link set dev sr0-peer up"];
    let lines: Vec<&str> = batch.lines().collect();
    assert_eq!(lines[..3], made);
    for line in &lines[3..] {
        let sid = line.strip_prefix("route replace ").and_then(|l| l.strip_suffix(" dev sr0 proto static"));
        assert!(said.sids.insert(sid.unwrap().to_owned()), "{line} twice");
    }
    said
}

/// The same of a lab's switch.
fn of_lab(plan: &Plan, switch: usize) -> Said {
    let own = plan.loopback(switch).map(|address| format!("{address}/128 lo"));
    let addresses = plan
        .ends_of(switch)
        .flat_map(|(_, end)| end.addresses.iter().map(|(a, l)| format!("{a}/{l} {}", end.interface)));
    let hops = plan.routes(switch).iter().flat_map(|route| {
        route.hops.iter().map(|hop| match hop.via {
            Some(via) => format!("{} {via} {}", route.prefix, hop.interface),
            None => format!("{} {}", route.prefix, hop.interface),
        })
    });
    Said {
        addresses: own.into_iter().chain(addresses).collect(),
        hops: hops.collect(),
        sids: plan.local_sids(switch).iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_switch_is_configured_as_the_lab_programs_it() {
    for fabric in FABRICS {
        let (plan, files) = (plan(fabric), exported(&["frr"], &topology(fabric)));
        let switches = nodes(&plan, Role::Switch);
        assert_eq!(files.len(), 4 * switches.len(), "{fabric}: {:?}", files.keys());
        for (switch, node) in switches {
            let name = &node.name;
            let found = said(&files[&format!("{name}/frr.conf")], &files[&format!("{name}/sr0.batch")]);
            assert_eq!(found, of_lab(&plan, switch), "{fabric}: {name}");
            assert!(!found.hops.is_empty() && !found.sids.is_empty());

            let settings: BTreeSet<String> = Role::Switch
                .settings()
                .iter()
                .map(|(file, value)| format!("{} = {value}", file.replace('/', ".")))
                .collect();
            let lines = files[&format!("{name}/sysctl.conf")].lines().map(str::to_owned).collect();
            assert_eq!(settings, lines);
            assert!(files[&format!("{name}/daemons")].starts_with("zebra=yes\nmgmtd=yes\nstaticd=yes\n"));
        }
    }
}

#[test]
fn what_frr_has_no_words_for_is_left_to_the_kernel() {
    let (plan, files) = (plan("2x2-dual-stack"), exported(&["frr"], &topology("2x2-dual-stack")));
    let mut of_kernel = 0;
    for (switch, node) in nodes(&plan, Role::Switch) {
        let batch = &files[&format!("{}/sr0.batch", node.name)];
        let conf = &files[&format!("{}/frr.conf", node.name)];
        for sid @ LocalSid { prefix, action } in plan.local_sids(switch) {
            let kernel = matches!(action, SidAction::Dx4(_));
            of_kernel += usize::from(kernel);
            assert_eq!(batch.contains(&sid.to_string()), kernel, "{batch}");
            assert_eq!(conf.contains(&format!("sid {prefix} ")), !kernel, "{conf}");
        }
    }
    assert_eq!(of_kernel, 8, "four IPv4 hosts, each behind the node's uSID and behind the block");
}

#[test]
fn blocks_beyond_frr_are_refused_by_name() {
    let file = changed(
        "3x3",
        "{\"srv6_sid\": \"fcbb:0:1000::\",",
        "{\"srv6_sid\": \"fcbb:0:0:0:0:1000::\", \"srv6_sid_structure\": {\"locator_block_length\": 80, \
         \"locator_node_length\": 16},",
    );
    let error = refused(&["frr"], &file);
    assert!(
        error.contains("spine00: locator fcbb::1000:0:0/96: its block has 80 bits; FRR takes 16 to 64"),
        "{error}"
    );
    std::fs::remove_file(file).unwrap();
}
