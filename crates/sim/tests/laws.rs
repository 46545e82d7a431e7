//! What holds for every fabric and policy, and small cases that can be checked on paper.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's helper functions fail as tests do"
)]

use std::collections::HashSet;

use proptest::prelude::*;
use srv6_sim::{
    Clos, Fabric, Fault, Jobs, Names, Node, Order, Outcome, Pattern, Placement, Policy, Rule, Run, Workload,
    preset,
};

const RULES: [Rule; 7] =
    [Rule::Ecmp, Rule::Spread, Rule::Tiers, Rule::Turns, Rule::Load, Rule::Random, Rule::All];

fn jobs(pattern: Pattern, order: Order, channels: usize) -> Jobs {
    Jobs { count: 1, size: None, placement: Placement::Contiguous, order, pattern, channels }
}

fn run<'a>(fabric: &'a Fabric, workload: &'a Workload, rule: Rule, paths: usize) -> Run<'a> {
    Run { fabric, before: fabric, workload, rule, paths, candidates: usize::MAX, seed: 3 }
}

fn simulate(name: &str, jobs: Jobs, rule: Rule, paths: usize) -> (Outcome, Vec<f32>) {
    let fabric = Fabric::new(preset(name).unwrap()).unwrap();
    let workload = Workload::new(fabric.clos(), jobs, 1).unwrap();
    run(&fabric, &workload, rule, paths).simulate()
}

fn broken(fabric: &Fabric, faults: &[&str]) -> Fabric {
    let parse = |text: &&str| Fault::parse(text, fabric.clos(), &Names::Generated).unwrap();
    Fault::apply(&faults.iter().map(parse).collect::<Vec<_>>(), fabric, 9)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-4 * b.abs().max(1.0)
}

fn shapes() -> impl Strategy<Value = Clos> {
    let two = (1usize..4, Just(1), 2usize..5, 1usize..5, Just(0), 1usize..4);
    let three = (1usize..3, 2usize..4, 1usize..4, 1usize..4, 1usize..4, 1usize..3);
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

fn patterns() -> impl Strategy<Value = Pattern> {
    prop_oneof![Just(Pattern::Ring), Just(Pattern::Tree), Just(Pattern::Permutation), Just(Pattern::Shift(1))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// What hosts send arrives, and every link on the way is counted once: the sum over all links is flows times hops.
    /// No dead link carries anything.
    #[test]
    fn bytes_are_conserved(
        clos in shapes(),
        pattern in patterns(),
        order in prop::sample::select(vec![Order::Rack, Order::Alternating, Order::Random]),
        rule in prop::sample::select(RULES.to_vec()),
        paths in 1usize..9,
        channels in 1usize..4,
        dead in prop::sample::select(vec!["links:0", "links:1", "ports:1", "spines:1"]),
    ) {
        let whole = Fabric::new(clos).unwrap();
        let fabric = broken(&whole, &[dead]);
        let workload = Workload::new(&clos, jobs(pattern, order, channels), 5).unwrap();
        let run = Run { before: &whole, ..run(&fabric, &workload, rule, paths) };
        let (outcome, loads) = run.simulate();

        // What one flow adds to a link: here the same on all links.
        let unit = clos.planes as f64 / workload.heaviest() as f64;
        let mut hops = 0.0;
        let mut cut_off = 0;
        let mut sent = vec![0.0; clos.hosts()];
        let mut received = vec![0.0; clos.hosts()];
        for n in 0..workload.flows() {
            let flow = workload.flow(n);
            let Some(path) = fabric.path(flow.source, flow.destination, 0) else {
                cut_off += 1;
                continue;
            };
            hops += fabric.links_of(flow.source, flow.destination, path).len() as f64 * unit;
            sent[flow.source] += unit;
            received[flow.destination] += unit;
        }
        prop_assert_eq!(outcome.cut_off, cut_off);
        prop_assert!(close(loads.iter().map(|&l| f64::from(l)).sum(), hops));
        let (mut from, mut to) = (vec![0.0; clos.hosts()], vec![0.0; clos.hosts()]);
        for (n, &load) in loads.iter().enumerate() {
            prop_assert!(load == 0.0 || fabric.is_alive(n));
            let link = fabric.link(n);
            if let Node::Host(host) = link.from { from[host] += f64::from(load); }
            if let Node::Host(host) = link.to { to[host] += f64::from(load); }
        }
        for host in 0..clos.hosts() {
            prop_assert!(close(from[host], sent[host]) && close(to[host], received[host]));
        }
        prop_assert!(outcome.flows.max <= outcome.worst + 1e-6);
        prop_assert!(close(outcome.worst, loads.iter().copied().fold(0.0, f32::max).into()));
    }

    /// Explicit paths are distinct, live, and as many as wanted where there are so many; planes get equal numbers.
    #[test]
    fn explicit_paths_are_valid(
        clos in shapes(),
        rule in prop::sample::select(vec![Rule::Spread, Rule::Tiers, Rule::Turns, Rule::Load, Rule::Random]),
        paths in 1usize..9,
        dead in prop::sample::select(vec!["links:0", "links:2", "ports:1"]),
    ) {
        let whole = Fabric::new(clos).unwrap();
        prop_assume!(dead != "links:2" || whole.links() > 2 * clos.planes * clos.hosts() + 2);
        let fabric = broken(&whole, &[dead]);
        let workload = Workload::new(&clos, jobs(Pattern::Permutation, Order::Rack, 1), 5).unwrap();
        let run = run(&fabric, &workload, rule, paths);
        for n in 0..workload.flows() {
            let flow = workload.flow(n);
            let there = fabric.paths(flow.source, flow.destination);
            let chosen = run.paths_of(n);
            prop_assert_eq!(chosen.is_empty(), there == 0);
            // The least loaded path may be one that the pair has already.
            if rule != Rule::Load {
                let distinct: HashSet<_> = chosen.iter().collect();
                prop_assert_eq!(distinct.len(), chosen.len());
            }
            if matches!(rule, Rule::Spread | Rule::Load) {
                let want = if rule == Rule::Load && there > 0 { paths } else { paths.min(there) };
                prop_assert_eq!(chosen.len(), want);
            }
            for &path in &chosen {
                for link in fabric.links_of(flow.source, flow.destination, path) {
                    prop_assert!(fabric.is_alive(link));
                }
            }
            if rule == Rule::Random && dead == "links:0" {
                let of = |plane| chosen.iter().filter(|p| p.plane == plane).count();
                let counts: Vec<usize> = (0..clos.planes).map(of).collect();
                prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
            }
        }
    }

    /// On a fabric with as many uplinks as hosts, a shift by whole leaves never makes two flows meet.
    #[test]
    fn spread_and_tiers_do_not_block_shifts(leaves in 2usize..9, size in 1usize..9, by in 1usize..9, planes in 1usize..4) {
        let clos = Clos {
            planes: 1, pods: 1, leaves, spines: size, cores: 0, hosts_per_leaf: size, host_rate: 1.0, fabric_rate: 1.0,
        };
        let by = 1 + by % (leaves - 1);
        let shift = jobs(Pattern::Shift(by * size), Order::Rack, 2);
        let worst = |clos: Clos, rule, paths| {
            let fabric = Fabric::new(clos).unwrap();
            let workload = Workload::new(&clos, shift, 1).unwrap();
            run(&fabric, &workload, rule, paths).simulate().0.worst
        };
        prop_assert_eq!(worst(clos, Rule::Spread, 1), 1.0);
        prop_assert_eq!(worst(clos, Rule::Tiers, 1), 1.0);
        let planar = Clos { planes, ..clos };
        prop_assert!(close(worst(planar, Rule::Spread, planes), 1.0));
        prop_assert!(close(worst(planar, Rule::Tiers, planes), 1.0));
        prop_assert!(close(worst(planar, Rule::All, 1), 1.0));
    }
}

#[test]
fn two_by_four_by_four_on_paper() {
    let ring = jobs(Pattern::Ring, Order::Alternating, 1);
    // Eight flows, each alone on its two links between leaves and spines: all 16 are full.
    let (spread, loads) = simulate("2x4x4", ring, Rule::Spread, 1);
    assert_eq!((spread.worst, spread.jain_links, spread.jain_flows), (1.0, 1.0, 1.0));
    assert!(loads.iter().all(|&load| load == 1.0));
    assert_eq!(spread.fair.map(|fair| (fair.slowest, fair.mean_rate)), Some((1.0, 1.0)));
    // Leaf by leaf only two flows leave their leaf.
    let (rack, loads) = simulate("2x4x4", jobs(Pattern::Ring, Order::Rack, 1), Rule::Spread, 1);
    assert_eq!((rack.worst, loads[16..].iter().filter(|&&load| load > 0.0).count()), (1.0, 4));
    // All-to-all: of each host's seven flows four cross, 4 x 4 per leaf over four spines.
    let exchange = jobs(Pattern::AllToAll { group: 8 }, Order::Rack, 1);
    let (all, loads) = simulate("2x4x4", exchange, Rule::All, 1);
    assert!(loads[16..].iter().all(|&load| close(load.into(), 4.0 / 7.0)));
    assert!(close(all.worst, 1.0));
    assert_eq!(all.worst_link.unwrap().kind(), "host-leaf");
}

#[test]
fn a_single_path_fills_one_plane_of_eight() {
    let ring = jobs(Pattern::Ring, Order::Alternating, 8);
    let (one, _) = simulate("planes-1024", ring, Rule::Spread, 1);
    assert_eq!((one.worst, one.worst_link.unwrap().is_host()), (8.0, true));
    let (eight, _) = simulate("planes-1024", ring, Rule::Spread, 8);
    assert_eq!(eight.worst, 1.0);
}

#[test]
fn nothing_piles_up_in_three_tiers() {
    for order in [Order::Alternating, Order::Rack] {
        for rule in [Rule::Spread, Rule::Tiers] {
            let ring = jobs(Pattern::Ring, order, 1);
            assert_eq!(simulate("fat-tree-1024", ring, rule, 1).0.worst, 1.0, "{rule:?}, {order:?}");
        }
    }
}

#[test]
fn a_dead_spine_costs_what_it_carried() {
    let whole = Fabric::new(preset("2x4x4").unwrap()).unwrap();
    let fabric = broken(&whole, &["spine2"]);
    let workload = Workload::new(whole.clos(), jobs(Pattern::Ring, Order::Alternating, 1), 1).unwrap();
    let outcome = |rule| Run { before: &whole, ..run(&fabric, &workload, rule, 1) }.simulate().0;
    // Four flows over three spines each way.
    let spread = outcome(Rule::Spread);
    assert_eq!((spread.worst, spread.hit, spread.cut_off), (2.0, 0.25, 0));
    assert!(spread.moved > 0.0, "counting over three instead of four moves others too");
    let tiers = outcome(Rule::Tiers);
    assert_eq!((tiers.worst, tiers.hit, tiers.moved), (2.0, 0.25, 0.0));
    let all = outcome(Rule::All);
    assert!(close(all.worst, 4.0 / 3.0) && close(all.hit, 0.25));
    // Two of eight flows end or begin at a dead host, and its job never ends.
    let fabric = broken(&whole, &["host3"]);
    let cut = Run { before: &whole, ..run(&fabric, &workload, Rule::Load, 1) }.simulate().0;
    assert_eq!((cut.cut_off, cut.jobs.max), (2, 0.0));
}

#[test]
fn oversubscription_shows() {
    let clos = Clos { spines: 8, ..preset("clos-256").unwrap() };
    let fabric = Fabric::new(clos).unwrap();
    let ring = Workload::new(&clos, jobs(Pattern::Ring, Order::Alternating, 1), 1).unwrap();
    assert!(close(run(&fabric, &ring, Rule::All, 1).simulate().0.worst, 2.0));
    let fast = Fabric::new(Clos { fabric_rate: 800.0, ..clos }).unwrap();
    assert!(close(run(&fast, &ring, Rule::All, 1).simulate().0.worst, 1.0));
}

#[test]
fn the_same_seed_gives_the_same_result() {
    let fabric = Fabric::new(preset("clos-256").unwrap()).unwrap();
    let simulate = |rule, seed| {
        let two = Jobs { count: 2, placement: Placement::Random, ..jobs(Pattern::Ring, Order::Random, 2) };
        let workload = Workload::new(fabric.clos(), two, seed).unwrap();
        Run { seed, ..run(&fabric, &workload, rule, 4) }.simulate()
    };
    for rule in RULES {
        assert_eq!(simulate(rule, 1), simulate(rule, 1), "{rule:?}");
        assert_ne!(simulate(rule, 1).1, simulate(rule, 2).1, "{rule:?}");
    }
}

/// Candidates lie evenly among the paths, so that few of them leave spines idle and no plane.
#[test]
fn few_candidates_reach_every_plane() {
    let fabric = Fabric::new(preset("planes-1024").unwrap()).unwrap();
    let workload = Workload::new(fabric.clos(), jobs(Pattern::Ring, Order::Alternating, 1), 1).unwrap();
    let (outcome, _) = Run { candidates: 256, ..run(&fabric, &workload, Rule::Spread, 8) }.simulate();
    let on_port = outcome.worst_link.unwrap().is_host();
    assert_eq!((outcome.worst, on_port), (3.0, false), "256 candidates are every other spine of 8 planes");
    assert_eq!("spread".parse::<Policy>().unwrap().paths, None);
}

/// ECMP's worst link of 2x4x4, from all 4^8 ways in which eight flows can choose their spine.
#[test]
fn ecmp_collides_as_often_as_chance_says() {
    let fabric = Fabric::new(preset("2x4x4").unwrap()).unwrap();
    let workload = Workload::new(fabric.clos(), jobs(Pattern::Ring, Order::Alternating, 1), 1).unwrap();
    let mut found = [0u32; 5];
    for seed in 0..4000 {
        let (outcome, _) = Run { seed, ..run(&fabric, &workload, Rule::Ecmp, 1) }.simulate();
        let worst = (1..=4u8).find(|&n| outcome.worst == f64::from(n)).unwrap();
        found[usize::from(worst)] += 1;
    }
    // Per direction four flows fall on four spines; both directions are independent.
    let mut ways = [0u32; 5];
    for choice in 0..256u32 {
        let mut spines = [0; 4];
        (0..4).for_each(|flow| spines[(choice >> (2 * flow)) as usize & 3] += 1);
        ways[*spines.iter().max().unwrap()] += 1;
    }
    let below = |n: usize| f64::from(ways[..=n].iter().sum::<u32>()) / 256.0;
    for (worst, &count) in found.iter().enumerate().skip(1) {
        let expected = below(worst).powi(2) - below(worst - 1).powi(2);
        let seen = f64::from(count) / 4000.0;
        assert!((seen - expected).abs() < 0.03, "worst {worst}: {seen} where {expected} is expected");
    }
}
