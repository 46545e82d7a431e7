//! The lab's link counters after real all-reduces through the plugin, against the simulation's loads.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use srv6_fabric::{Documents, Topology};
use srv6_lab::{Lab, Options};
use srv6_sim::{Fabric, Jobs, Names, Order, Pattern, Placement, Rule, Run, Workload, import};

use crate::example;

/// Directed links by the names of their ends.
type Links = BTreeMap<(String, String), f64>;

/// The 2×4×4 fabric: as a lab, and as the simulation reads it from the same file.
struct Scene {
    file: PathBuf,
    lab: Lab,
    fabric: Fabric,
    names: Names,
}

impl Scene {
    fn raise() -> Self {
        let file = example("2x4x4.json");
        let text = std::fs::read_to_string(&file).unwrap();
        let documents = Documents::parse([("2x4x4", text.as_str())], "fabric_graph", "hosts").unwrap();
        let topology = Topology::new(&documents, "fabric_graph").unwrap();
        let (clos, names) = import(&topology, 1.0).unwrap();
        let lab = Lab::up(&topology, &Options::default()).unwrap();
        Self { file, lab, fabric: Fabric::new(clos).unwrap(), names }
    }

    fn ring(&self, order: Order, seed: u64) -> Workload {
        let jobs = Jobs {
            count: 1,
            size: None,
            placement: Placement::Contiguous,
            order,
            pattern: Pattern::Ring,
            channels: 1,
        };
        Workload::new(self.fabric.clos(), jobs, seed).unwrap()
    }

    fn simulated(&self, workload: &Workload, rule: Rule, seed: u64) -> Links {
        let run = Run {
            fabric: &self.fabric,
            before: &self.fabric,
            workload,
            rule,
            paths: 1,
            candidates: usize::MAX,
            seed,
        };
        let (_, loads) = run.simulate();
        let name = |node| self.names.of(node);
        let link = |n| {
            let link = self.fabric.link(n);
            ((name(link.from), name(link.to)), f64::from(loads[n]))
        };
        (0..loads.len()).map(link).collect()
    }

    /// Runs the ring as a job of one process per host, and gives what each link carried in units of one flow's bytes.
    fn measured(&self, name: &str, workload: &Workload, settings: &[(&str, &str)]) -> Links {
        let hosts: Vec<String> = (0..workload.flows())
            .map(|n| self.names.of(srv6_sim::Node::Host(workload.flow(n).source)))
            .collect();
        let mut runs = (0..RUNS).map(|_| {
            let before = self.bytes();
            let undisturbed = all_reduce(&self.lab, name, &hosts, settings);
            let after = self.bytes();
            let carried = after.into_iter().map(|(link, n)| (link.clone(), n - before[&link]));
            undisturbed.then(|| carried.collect::<Links>())
        });
        let carried = runs.find_map(|carried| carried).expect("a run in which no path was suspected");
        // Every host sends one flow; what else its link carries are the acknowledgements of another.
        let mut sent: Vec<f64> =
            carried.iter().filter(|((from, _), _)| hosts.contains(from)).map(|(_, n)| *n).collect();
        sent.sort_by(f64::total_cmp);
        let flow = sent[sent.len() / 2];
        assert!(flow > 10e6, "a flow of {flow} bytes says nothing");
        carried.into_iter().map(|(link, bytes)| (link, bytes / flow)).collect()
    }

    fn bytes(&self) -> Links {
        let links = self.lab.links().unwrap();
        links.into_iter().map(|l| ((l.from, l.to), l.bytes as f64)).collect()
    }
}

/// A machine that is busy enough makes a rank believe that its path is dead, and then it moves to another one.
const RUNS: usize = 10;

/// One job at a time: two would wait for each other's processors.
static TURN: Mutex<()> = Mutex::new(());

/// For a job that takes a second where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs an all-reduce over hosts in the order of the ranks and waits for all of them. False if a rank has moved.
fn all_reduce(lab: &Lab, name: &str, hosts: &[String], settings: &[(&str, &str)]) -> bool {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sim-{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    let plugin = std::env::current_exe().unwrap().with_file_name("libnccl_net_srv6.so");
    assert!(plugin.exists(), "{} is not built", plugin.display());
    let master = lab.management_address(&hosts[0]).unwrap().to_string();
    let mut ranks: Vec<(Child, PathBuf)> = Vec::new();
    for (rank, host) in hosts.iter().enumerate() {
        let log = folder.join(format!("{rank}.err"));
        let mut command = lab.node(host).unwrap().command(env!("CARGO_BIN_EXE_srv6ctl"));
        command
            // Where the data went is what counts here; checking it takes longer than sending it.
            .args(["bench", "all-reduce", "-b", "2M", "-e", "2M", "-n", "2", "-w", "0", "-c", "0"])
            // One TCP connection per flow: ECMP hashes each, and the simulation one per channel.
            .args(["--channels", "1", "--plugin"])
            .arg(&plugin)
            .env("RANK", rank.to_string())
            .env("WORLD_SIZE", hosts.len().to_string())
            .env("MASTER_ADDR", &master)
            .env("MASTER_PORT", "29500")
            .env("NCCL_SOCKET_IFNAME", "=eth1")
            .env("NCCL_SOCKET_FAMILY", "AF_INET6")
            .env("NCCL_DEBUG", "INFO")
            .env("SRV6_TRANSPORT", "multipath")
            .env("SRV6_PATHS", "1")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap());
        ranks.push((command.spawn().unwrap(), log));
    }
    let deadline = Instant::now() + PATIENCE;
    let mut undisturbed = true;
    for (child, log) in &mut ranks {
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    let _ended = child.kill();
                    break child.wait().unwrap();
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let log = std::fs::read_to_string(log).unwrap();
        assert!(status.success(), "{name}: {status}\n{log}");
        undisturbed &= !log.contains(" is suspect: ") && !log.contains(" is down: ");
    }
    undisturbed
}

/// Steered by spread, every link of the fabric carries what the simulation says, for rings that use few and all links.
#[test]
fn spread_loads_the_labs_links_as_simulated() {
    let scene = Scene::raise();
    let file = scene.file.to_str().unwrap();
    let settings = [("SRV6_MODE", "local"), ("SRV6_STRICT", "1"), ("SRV6_TOPOLOGY", file)];
    let mut idle = Vec::new();
    for (name, order, seed) in
        [("rack", Order::Rack, 0), ("alternating", Order::Alternating, 0), ("drawn", Order::Random, 4)]
    {
        let ring = scene.ring(order, seed);
        let (simulated, measured) =
            (scene.simulated(&ring, Rule::Spread, 0), scene.measured(name, &ring, &settings));
        assert_eq!(simulated.len(), 32);
        for (link, load) in &simulated {
            let carried = measured[link];
            println!("{name} {} > {}: simulated {load:.2}, measured {carried:.3}", link.0, link.1);
            // Headers differ between the links before and after encapsulation, and acknowledgements go by hash.
            assert!((carried - load).abs() < 0.04 * load.max(1.0), "{name}: {link:?}: {carried} for {load}");
        }
        idle.push(simulated.values().filter(|&&load| load == 0.0).count());
    }
    // Of 16 links between switches: only two flows cross, all eight, some.
    assert_eq!(idle, [12, 0, 8]);
}

/// Unsteered, the kernel's own hashing gives worst links from the simulation's distribution.
#[test]
fn ecmp_in_the_lab_collides_within_the_simulated_distribution() {
    let scene = Scene::raise();
    let ring = scene.ring(Order::Alternating, 0);
    let switched = |links: &Links| {
        let between = |(from, to): &(String, String)| !from.starts_with("host") && !to.starts_with("host");
        let loads: Vec<f64> = links.iter().filter(|(link, _)| between(link)).map(|(_, &n)| n).collect();
        assert_eq!(loads.len(), 16);
        loads
    };
    let worst = |loads: &[f64]| loads.iter().copied().fold(0.0, f64::max);
    let simulated: Vec<f64> =
        (0..2000).map(|seed| worst(&switched(&scene.simulated(&ring, Rule::Ecmp, seed)))).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let spread = mean(&simulated.iter().map(|w| (w - mean(&simulated)).powi(2)).collect::<Vec<_>>()).sqrt();

    let runs = 8;
    let mut measured = Vec::new();
    for run in 0..runs {
        let loads = switched(&scene.measured(&format!("ecmp-{run}"), &ring, &[("SRV6_MODE", "off")]));
        for load in &loads {
            assert!((load - load.round()).abs() < 0.06 * load.max(1.0), "not whole flows: {loads:?}");
        }
        assert!((loads.iter().sum::<f64>() - 16.0).abs() < 0.8, "eight flows over two links each: {loads:?}");
        measured.push(worst(&loads).round());
    }
    println!("measured {measured:?}; simulated mean {:.2}, deviation {spread:.2}", mean(&simulated));
    assert!(measured.iter().all(|worst| simulated.contains(worst)), "{measured:?}");
    let tolerance = 4.0 * spread / f64::from(runs).sqrt();
    assert!(
        (mean(&measured) - mean(&simulated)).abs() < tolerance,
        "{measured:?} around {}",
        mean(&simulated)
    );
}
