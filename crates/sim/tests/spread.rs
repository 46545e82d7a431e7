//! The simulation's paths and its spread against those that are enumerated on a topology's documents.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's helper functions fail as tests do"
)]

use proptest::prelude::*;
use srv6_fabric::{Documents, Topology, VertexIndex, equal_cost_paths, spread};
use srv6_sim::{
    Clos, Fabric, Fault, Jobs, Link, Names, Node, Order, Path, Pattern, Placement, Rule, Run, Workload,
    import,
};

/// Ids that sort plane by plane, and in a plane as positions do.
fn id(node: Node) -> String {
    match node {
        Node::Host(n) => format!("hosts/h{n:05}"),
        Node::Leaf(p, n) => format!("n/leaf-{p:02}-{n:05}"),
        Node::Spine(p, n) => format!("n/spine-{p:02}-{n:05}"),
        Node::Core(p, n) => format!("n/core-{p:02}-{n:05}"),
    }
}

/// The topology of a fabric's live links.
fn topology(fabric: &Fabric) -> Topology {
    let mut vertices: Vec<Node> = Vec::new();
    let mut edges = Vec::new();
    for n in 0..fabric.links() {
        let Link { from, to } = fabric.link(n);
        vertices.extend([from, to]);
        if fabric.is_alive(n) {
            edges.push(format!(r#"{{"_key":"e{n}","_from":"{}","_to":"{}"}}"#, id(from), id(to)));
        }
    }
    vertices.sort_unstable();
    vertices.dedup();
    let documents = |hosts: bool| {
        let chosen = vertices.iter().filter(|v| matches!(v, Node::Host(_)) == hosts).enumerate();
        let document = |(n, node): (usize, &Node)| {
            let id = id(*node);
            let key = id.split_once('/').unwrap().1;
            let address =
                if hosts { format!(r#","ipv6_address":"2001:db8::{:x}""#, n + 1) } else { String::new() };
            format!(r#"{{"_key":"{key}"{address}}}"#)
        };
        chosen.map(document).collect::<Vec<_>>().join(",")
    };
    let text = format!(
        r#"{{"hosts":[{}],"n":[{}],"fabric_graph":[{}]}}"#,
        documents(true),
        documents(false),
        edges.join(",")
    );
    let documents = Documents::parse([("test", text.as_str())], "fabric_graph", "hosts").unwrap();
    Topology::new(&documents, "fabric_graph").unwrap()
}

fn nodes_along(fabric: &Fabric, from: usize, to: usize, path: Path) -> Vec<String> {
    let links = fabric.links_of(from, to, path);
    std::iter::once(id(Node::Host(from))).chain(links.iter().map(|&l| id(fabric.link(l).to))).collect()
}

fn shapes() -> impl Strategy<Value = Clos> {
    let two = (1usize..4, Just(1), 1usize..5, 1usize..5, Just(0), 1usize..4);
    let three = (1usize..3, 1usize..4, 1usize..4, 1usize..4, 1usize..4, 1usize..3);
    prop_oneof![two, three].prop_map(|(planes, pods, leaves, spines, cores, hosts_per_leaf)| Clos {
        planes,
        pods,
        leaves,
        spines,
        cores,
        hosts_per_leaf,
        host_rate: 1.0,
        fabric_rate: 1.0,
    })
}

/// Both ways of counting agree for every pair of hosts, on whole and on broken fabrics.
fn agree(fabric: &Fabric) {
    let topology = topology(fabric);
    let vertices: Vec<VertexIndex> =
        (0..fabric.clos().hosts()).map(|h| topology.by_id(&id(Node::Host(h))).unwrap()).collect();
    for (from, &source) in vertices.iter().enumerate() {
        for (to, &destination) in vertices.iter().enumerate().filter(|(to, _)| *to != from) {
            let found = equal_cost_paths(&topology, source, destination, 4096);
            let listed: Vec<Vec<String>> = found
                .iter()
                .map(|path| path.vertices.iter().map(|&v| topology.vertex(v).id.clone()).collect())
                .collect();
            let count = fabric.paths(from, to);
            let ours: Vec<Vec<String>> = (0..count)
                .map(|n| nodes_along(fabric, from, to, fabric.path(from, to, n).unwrap()))
                .collect();
            assert_eq!(fabric.path(from, to, count), None);
            // Where no path goes up once and down once, a topology still has those that do so twice.
            if count == 0 {
                let valley =
                    |path: &Vec<String>| path.iter().filter(|id| id.starts_with("n/leaf")).count() > 2;
                assert!(listed.iter().all(valley), "{listed:?}");
                continue;
            }
            assert_eq!(ours, listed);
            let index = spread(&topology, source, destination, &found);
            assert_eq!(spread_of(fabric, from, to), listed[index], "host{from} -> host{to}");
            let clos = fabric.clos();
            if clos.cores == 0 && fabric.dead_links() == 0 {
                let leaves = from / clos.hosts_per_leaf + to / clos.hosts_per_leaf;
                assert_eq!(index, (from % clos.hosts_per_leaf + leaves) % count, "one path over each spine");
            }
            let limit = 1 + count / 2;
            let some = equal_cost_paths(&topology, source, destination, limit);
            let evenly: Vec<_> = (0..limit.min(count)).map(|n| found[n * count / limit].clone()).collect();
            assert_eq!(some, evenly, "of {count} paths");
        }
    }
}

/// The path that the simulation's spread gives the flow between two hosts.
fn spread_of(fabric: &Fabric, from: usize, to: usize) -> Vec<String> {
    let hosts = fabric.clos().hosts();
    let jobs = Jobs {
        count: 1,
        size: None,
        placement: Placement::Contiguous,
        order: Order::Rack,
        pattern: Pattern::Shift((to + hosts - from) % hosts),
        channels: 1,
    };
    let workload = Workload::new(fabric.clos(), jobs, 0).unwrap();
    let flow = (0..workload.flows()).find(|&n| workload.flow(n).source == from).unwrap();
    let run = Run {
        fabric,
        before: fabric,
        workload: &workload,
        rule: Rule::Spread,
        paths: 1,
        candidates: usize::MAX,
        seed: 0,
    };
    let chosen = run.paths_of(flow);
    assert_eq!(chosen.len(), 1);
    nodes_along(fabric, from, to, chosen[0])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn paths_and_spread_are_the_topologys(clos in shapes()) {
        agree(&Fabric::new(clos).unwrap());
    }

    #[test]
    fn paths_and_spread_are_the_topologys_where_parts_are_dead(
        clos in shapes(),
        faults in prop::collection::vec(prop::sample::select(vec!["links", "ports", "spines", "leaves"]), 1..4),
        seed in any::<u64>(),
    ) {
        let fabric = Fabric::new(clos).unwrap();
        let faults: Vec<Fault> = faults
            .iter()
            .map(|kind| Fault::parse(&format!("{kind}:1"), &clos, &Names::Generated).unwrap())
            .collect();
        let broken = Fault::apply(&faults, &fabric, seed);
        // A topology without any link is refused before there is a path to look for.
        prop_assume!(broken.dead_links() < broken.links());
        agree(&broken);
    }

    #[test]
    fn a_topology_is_recognised(clos in shapes()) {
        let fabric = Fabric::new(clos).unwrap();
        let (read, names) = import(&topology(&fabric), 1.0).unwrap();
        prop_assert_eq!(read, clos);
        let core = Node::Spine(clos.planes - 1, clos.pods * clos.spines - 1);
        prop_assert_eq!(names.of(core), id(core).split_once('/').unwrap().1.to_owned());
    }
}
