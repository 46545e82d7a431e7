//! The shipped example fabrics, and what is computed on them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helper functions fail as tests do"
)]

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use proptest::prelude::*;
use srv6_fabric::{
    Documents, Encoding, Family, Path, SidFormat, Topology, TopologyError, VertexIndex, disjoint,
    equal_cost_paths, header_segments, segments, spread,
};

fn fabric(name: &str) -> Topology {
    let path = format!("{}/../../examples/fabrics/{name}.json", env!("CARGO_MANIFEST_DIR"));
    parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn parse(text: &str) -> Result<Topology, TopologyError> {
    Topology::new(&Documents::parse([("test", text)], "fabric_graph", "hosts")?, "fabric_graph")
}

fn between(t: &Topology, a: &str, b: &str) -> Vec<Path> {
    equal_cost_paths(t, t.by_name(a).unwrap(), t.by_name(b).unwrap(), 64)
}

fn carriers(t: &Topology, a: &str, b: &str, encoding: &Encoding) -> Vec<String> {
    between(t, a, b).iter().map(|p| segments(t, p, encoding).unwrap().to_string()).collect()
}

#[test]
fn four_by_four_has_a_path_per_spine_and_the_labs_carriers() {
    let t = fabric("4x4");
    assert_eq!(t.vertices().count(), 12);
    assert_eq!(t.edges().len(), 40);
    let v6 = Encoding::of(Family::V6);
    assert_eq!(
        carriers(&t, "host00", "host01", &v6),
        [
            "fc00:0:1200:1000:1201:fe06::",
            "fc00:0:1200:1001:1201:fe06::",
            "fc00:0:1200:1002:1201:fe06::",
            "fc00:0:1200:1003:1201:fe06::",
        ]
    );
    assert_eq!(
        between(&t, "host00", "host03")[2].names(&t),
        ["host00", "leaf00", "spine02", "leaf03", "host03"]
    );
    let refused = segments(&t, &between(&t, "host00", "host01")[0], &Encoding::of(Family::V4));
    assert!(refused.unwrap_err().to_string().contains("leaf01 has no decapsulation SID for IPv4"));
    let asked = Encoding { function: Some(0xfe04), ..Encoding::of(Family::V4) };
    assert_eq!(carriers(&t, "host00", "host01", &asked)[0], "fc00:0:1200:1000:1201:fe04::");
}

#[test]
fn a_routing_header_names_the_switches_and_no_function() {
    for (name, from, to, want) in [
        ("4x4", "host00", "host01", "fc00:0:1200:1002:1201::"),
        ("3x3", "srv6-pytorch-0", "srv6-pytorch-1", "fcbb:0:1004:1002:1005::"),
    ] {
        let t = fabric(name);
        let packed = header_segments(&t, &between(&t, from, to)[2], &Encoding::of(Family::V6)).unwrap();
        assert_eq!(packed.to_string(), want);
    }
}

#[test]
fn several_paths_of_a_pair_go_over_different_spines() {
    let t = fabric("2x4x4");
    let paths = between(&t, "host00", "host07");
    assert_eq!(disjoint(&paths, 4, 2), [2, 3, 0, 1]);
    assert_eq!(disjoint(&between(&t, "host00", "host01"), 2, 0), [0, 0], "one leaf, one path");
}

#[test]
fn three_by_three_takes_the_function_from_the_host_sid() {
    let t = fabric("3x3");
    assert_eq!(t.edges().len(), 24);
    assert_eq!(
        carriers(&t, "srv6-pytorch-0", "srv6-pytorch-1", &Encoding::of(Family::V6))[1],
        "fcbb:0:1004:1001:1005:fe06::"
    );
}

#[test]
fn dual_stack_hosts_have_a_function_per_family() {
    let t = fabric("2x2-dual-stack");
    assert_eq!(
        carriers(&t, "host00", "host03", &Encoding::of(Family::V4)),
        ["fc00:0:1200:1000:1201:e403::", "fc00:0:1200:1001:1201:e403::"]
    );
    assert_eq!(
        carriers(&t, "host00", "host03", &Encoding::of(Family::V6))[0],
        "fc00:0:1200:1000:1201:fe06::"
    );
}

#[test]
fn hosts_are_found_by_value_then_by_longest_prefix() {
    let t = fabric("4x4");
    let name = |a: &str| t.host_of(a.parse::<IpAddr>().unwrap()).map(|v| t.vertex(v).name.clone());
    assert_eq!(name("2001:db8:1000::2").as_deref(), Some("host00"));
    assert_eq!(name("2001:db8:1003:0:ffff::9").as_deref(), Some("host03"));
    assert_eq!(name("2001:db8:1004::2"), None);
    let dual = fabric("2x2-dual-stack");
    let mapped = dual.host_of("::ffff:10.1.2.2".parse().unwrap()).unwrap();
    assert_eq!(dual.vertex(mapped).name, "host02");
}

/// Links between switches that the flows of a permutation use, each with its count.
fn load(t: &Topology, flows: &[(VertexIndex, VertexIndex)]) -> BTreeMap<(VertexIndex, VertexIndex), usize> {
    let mut load = BTreeMap::new();
    for &(a, b) in flows {
        let paths = equal_cost_paths(t, a, b, 64);
        let path = &paths[spread(t, a, b, &paths)];
        for pair in path.vertices.windows(2) {
            if !t.vertex(pair[0]).is_host() && !t.vertex(pair[1]).is_host() {
                *load.entry((pair[0], pair[1])).or_default() += 1;
            }
        }
    }
    load
}

#[test]
fn spread_never_puts_two_flows_of_a_permutation_on_one_link() {
    let t = fabric("2x4x4");
    let hosts: Vec<VertexIndex> = t.vertices().filter(|(_, v)| v.is_host()).map(|(i, _)| i).collect();
    // Every shift that takes each host of a leaf to the other leaf, both ways.
    for shift in 0..4 {
        let there = (0..4).map(|i| (hosts[i], hosts[4 + (i + shift) % 4]));
        let back = (0..4).map(|i| (hosts[4 + i], hosts[(i + shift) % 4]));
        let load = load(&t, &there.chain(back).collect::<Vec<_>>());
        assert_eq!(load.len(), 16, "each flow has its own two links");
        assert!(load.values().all(|&n| n == 1), "shift {shift}: {load:?}");
    }
}

#[test]
fn spread_uses_every_spine_from_one_leaf_to_all_others() {
    let t = fabric("4x4");
    let hosts: Vec<VertexIndex> = t.vertices().filter(|(_, v)| v.is_host()).map(|(i, _)| i).collect();
    for &from in &hosts {
        let spine = |to: VertexIndex| spread(&t, from, to, &equal_cost_paths(&t, from, to, 64));
        let spines: HashSet<usize> = hosts.iter().filter(|&&h| h != from).map(|&to| spine(to)).collect();
        assert_eq!(spines.len(), 3);
    }
    assert_eq!(spread(&t, hosts[0], hosts[1], &[]), 0);
}

#[test]
fn edges_may_limit_mtu() {
    let text = r#"{"hosts":[{"_key":"a","ipv6_address":"2001:db8::1"},{"_key":"b","ipv6_address":"2001:db8::2"}],
      "n":[{"_key":"s"}],
      "fabric_graph":[{"_key":"1","_from":"hosts/a","_to":"n/s","mtu":9000},{"_key":"2","_from":"n/s","_to":"hosts/b","mtu":1400}]}"#;
    let t = parse(text).unwrap();
    assert_eq!(between(&t, "a", "b")[0].mtu(&t), Some(1400));
    assert_eq!(between(&t, "b", "a"), []);
}

#[test]
fn wrong_documents_are_named() {
    let host = r#"{"_key":"a","ipv6_address":"2001:db8::1"}"#;
    let error = |hosts: &str, nodes: &str, edges: &str| {
        parse(&format!(r#"{{"hosts":[{hosts}],"n":[{nodes}],"fabric_graph":[{edges}]}}"#))
            .unwrap_err()
            .to_string()
    };
    let sid = |s: &str| format!(r#"{{"_key":"s","sids":[{{"srv6_sid":"{s}"}}]}}"#);
    assert!(
        error(r#"{"_key":"a","ipv6_address":"10.0.0.1"}"#, "", "").contains("hosts/a: field ipv6_address")
    );
    assert!(error(host, &sid("fc00:0:::"), "").contains(r#"n/s: field sids[0].srv6_sid: "fc00:0:::""#));
    assert!(error(host, r#"{"_key":"s","sids":7}"#, "").contains("n/s: field sids: a number"));
    assert!(error(host, r#"{"_key":"s"}"#, "").contains("no edges"));
    assert!(error("", r#"{"_key":"s"}"#, "").contains("no hosts"));
    assert!(error(host, "", "").contains("no switches"));
    let dangling = r#"{"_key":"e","_from":"hosts/a","_to":"n/t"}"#;
    assert!(error(host, r#"{"_key":"s"}"#, dangling).contains("fabric_graph/e: _to n/t is no vertex"));
    let twice = format!(r#"{host},{{"_key":"b","ipv6_address":"2001:db8:0::1"}}"#);
    assert!(error(&twice, r#"{"_key":"s"}"#, "").contains("hosts/a and hosts/b both have address"));
    let prefix = r#"{"_key":"a","ipv6_address":"2001:db8::1","prefix":"2001:db8::","prefix_len":129}"#;
    assert!(error(prefix, "", "").contains("prefix_len: 129"));
}

#[test]
fn sids_choose_by_algorithm_and_structure() {
    let sid = |s: &str, algo: u8| {
        format!(
            r#"{{"srv6_sid":"{s}","srv6_endpoint_behavior":{{"endpoint_behavior":48,"flag":0,"algo":{algo}}},
            "srv6_sid_structure":{{"locator_block_length":48,"locator_node_length":16,"function_length":0,"argument_length":64}}}}"#
        )
    };
    let text = format!(
        r#"{{"hosts":[{{"_key":"a","ipv6_address":"2001:db8::1"}},{{"_key":"b","ipv6_address":"2001:db8::2"}}],
        "n":[{{"_key":"s","sids":[{},{}]}}],
        "fabric_graph":[{{"_key":"1","_from":"hosts/a","_to":"n/s"}},{{"_key":"2","_from":"n/s","_to":"hosts/b"}}]}}"#,
        sid("2001:db8:f2:1::", 129),
        sid("2001:db8:f0:1::", 0)
    );
    let t = parse(&text).unwrap();
    let of = |algo| {
        let encoding = Encoding { algo, function: Some(0xfe06), ..Encoding::of(Family::V6) };
        segments(&t, &between(&t, "a", "b")[0], &encoding).map(|s| s.to_string())
    };
    assert_eq!(of(0).unwrap(), "2001:db8:f0:1:fe06::");
    assert_eq!(of(129).unwrap(), "2001:db8:f2:1:fe06::");
    assert_eq!(of(128).unwrap_err().to_string(), "n/s has no SID of algorithm 128");
    assert_eq!(SidFormat::F3216.capacity(), 6);
}

proptest! {
    /// On any random two-tier fabric every enumerated path is shortest, loop-free, over switches only, and
    /// its carrier names exactly its switches.
    #[test]
    fn paths_and_carriers_agree(leaves in 2usize..5, spines in 1usize..6, per_leaf in 1usize..3) {
        let t = clos(leaves, spines, per_leaf);
        for (a, v) in t.vertices() {
            for (b, w) in t.vertices() {
                if !v.is_host() || !w.is_host() || a == b { continue; }
                let paths = equal_cost_paths(&t, a, b, 64);
                let same_leaf = t.leaves_of(a) == t.leaves_of(b);
                prop_assert_eq!(paths.len(), if same_leaf { 1 } else { spines });
                prop_assert!(paths.windows(2).all(|p| p[0].vertices < p[1].vertices));
                for path in paths {
                    let distinct: HashSet<_> = path.vertices.iter().collect();
                    prop_assert_eq!(distinct.len(), path.vertices.len());
                    let inner = &path.vertices[1..path.vertices.len() - 1];
                    prop_assert!(inner.iter().all(|&v| !t.vertex(v).is_host()));
                    let made = segments(&t, &path, &Encoding::of(Family::V6)).unwrap();
                    let carrier = srv6_fabric::Carrier::unpack(made.first(), SidFormat::F3216).unwrap();
                    let want: Vec<u32> = inner
                        .iter()
                        .map(|&v| SidFormat::F3216.field(t.vertex(v).sids[0].address, 0))
                        .chain([0xfe06])
                        .collect();
                    prop_assert_eq!(carrier.usids(), want.as_slice());
                }
            }
        }
    }
}

fn clos(leaves: usize, spines: usize, per_leaf: usize) -> Topology {
    let mut hosts = Vec::new();
    let mut nodes = Vec::new();
    let mut edges = Vec::new();
    let mut link = |a: String, b: String| {
        for (from, to) in [(&a, &b), (&b, &a)] {
            let n = edges.len();
            edges.push(format!(r#"{{"_key":"e{n}","_from":"{from}","_to":"{to}"}}"#));
        }
    };
    for l in 0..leaves {
        nodes.push(format!(
            r#"{{"_key":"leaf{l}","sids":[{{"srv6_sid":"fc00:0:12{l:02x}::"}},
            {{"srv6_sid":"fc00:0:12{l:02x}:fe06::","srv6_endpoint_behavior":{{"endpoint_behavior":62}}}}]}}"#
        ));
        for s in 0..spines {
            link(format!("n/leaf{l}"), format!("n/spine{s}"));
        }
        for h in 0..per_leaf {
            let n = hosts.len() + 1;
            hosts.push(format!(r#"{{"_key":"h{l}-{h}","ipv6_address":"2001:db8::{n:x}"}}"#));
            link(format!("n/leaf{l}"), format!("hosts/h{l}-{h}"));
        }
    }
    for s in 0..spines {
        nodes.push(format!(r#"{{"_key":"spine{s}","sids":[{{"srv6_sid":"fc00:0:10{s:02x}::"}}]}}"#));
    }
    parse(&format!(
        r#"{{"hosts":[{}],"n":[{}],"fabric_graph":[{}]}}"#,
        hosts.join(","),
        nodes.join(","),
        edges.join(",")
    ))
    .unwrap()
}
