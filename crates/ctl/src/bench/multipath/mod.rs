//! `srv6ctl bench multipath`: the multipath transport measured, one file per experiment.

mod failure;
mod failures;
mod figures;
mod iperf;
mod many;
mod summary;
mod unequal;
mod unshaped;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;

use crate::experiment::{Comparison, Effort, Routing, Scene, Shaped, loss_based};
use summary::Summary;

/// Measures the multipath transport: speed, use of a fabric, what failures cost
///
/// Everything runs on this machine, in network namespaces; any user may where user namespaces are allowed. Let nothing
/// else run meanwhile. The last line is a JSON object with the headline of each experiment, null where it wasn't run.
#[derive(Debug, clap::Args)]
pub(crate) struct MultipathArgs {
    /// The plugin [default: libnccl-net-srv6.so beside this program]
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// An earlier plugin to compare speeds with
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// A libnccl whose own Socket is to be compared with; its connect needs a CUDA driver
    #[arg(long, value_name = "FILE")]
    nccl: Option<PathBuf>,
    /// TCP's congestion control of all hosts [default: cubic, or reno where net.ipv4.tcp_allowed_congestion_control doesn't
    /// name cubic]
    #[arg(long, value_name = "NAME")]
    congestion: Option<String>,
    /// Folder of the example fabrics
    #[arg(long, value_name = "FOLDER", default_value = "examples/fabrics")]
    fabrics: PathBuf,
    /// Experiments to run, separated by commas [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    only: Vec<Experiment>,
    /// Fewer and shorter runs: all experiments in less than ten minutes
    #[arg(long)]
    quick: bool,
    /// Rate of each link of the shaped fabric, in Mbit/s
    #[arg(long, value_name = "MBPS", default_value_t = 200)]
    rate: u32,
    /// Rounds of the comparisons of two hosts and of unequal paths [default: 7, quick: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// ECMP trials of each workload [default: 30, quick: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    trials: Option<u32>,
    /// How long a trial of the shaped fabric takes without collisions, in seconds [default: 2, quick: 1.3]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=10))]
    seconds: Option<u32>,
    /// Runs of each failure [default: 20, quick: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
    /// Write everything that was measured
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write plots (SVG) with their data beside them (JSON)
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Experiment {
    /// Two hosts and a cable: throughput, processor time and latency beside iperf3
    Unshaped,
    /// A fabric whose links are the limit: ECMP, steered, multipath
    Shaped,
    /// One of four paths at a quarter of the rate
    Unequal,
    /// A spine dies, a link flaps, a path loses packets, in the middle of an all-reduce
    Failures,
    /// 64 connections in one process: memory, threads, idle processor time
    Many,
}

/// What all experiments run with.
#[derive(Debug)]
struct Bench {
    scene: Scene,
    plugin: PathBuf,
    previous: Option<PathBuf>,
    nccl: Option<PathBuf>,
    congestion: String,
    /// The non-blocking fabric: 2 leaves, 4 spines, 4 hosts on each leaf.
    fabric: PathBuf,
    rate: u32,
    rounds: u32,
    trials: u32,
    seconds: Option<u32>,
    runs: u32,
    quick: bool,
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
struct Results {
    unshaped: Option<unshaped::Unshaped>,
    shaped: Option<Comparison>,
    unequal: Option<unequal::Unequal>,
    failures: Option<failures::Failures>,
    many: Option<many::Many>,
}

/// Must be called before any thread is started: an ordinary user gets a user namespace here.
pub(super) fn run(args: &MultipathArgs) -> anyhow::Result<()> {
    srv6_lab::enter_user_namespace().context("making a user namespace for the lab")?;
    let or =
        |given: Option<u32>, full: u32, quick: u32| given.unwrap_or(if args.quick { quick } else { full });
    let bench = Bench {
        plugin: plugin(args.plugin.as_deref())?,
        previous: args.previous.as_deref().map(|file| plugin(Some(file))).transpose()?,
        nccl: args.nccl.as_deref().map(libnccl).transpose()?,
        congestion: args.congestion.clone().map_or_else(loss_based, Ok)?,
        fabric: args.fabrics.join("2x4x4.json"),
        rate: args.rate,
        rounds: or(args.rounds, 7, 3),
        trials: or(args.trials, 30, 8),
        seconds: args.seconds,
        runs: or(args.runs, 20, 5),
        quick: args.quick,
        scene: Scene::new("multipath")?,
    };
    let results = bench.measure(&args.only);
    let results =
        results.with_context(|| format!("logs of all ranks are in {}", bench.scene.folder.display()))?;
    if let Some(folder) = &args.plots {
        figures::draw(folder, &results).with_context(|| format!("drawing into {}", folder.display()))?;
    }
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&results)?;
        std::fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    bench.scene.clear()?;
    println!("{}", serde_json::to_string(&Summary::of(&results))?);
    Ok(())
}

impl Bench {
    fn measure(&self, only: &[Experiment]) -> anyhow::Result<Results> {
        let wanted = |experiment| only.is_empty() || only.contains(&experiment);
        let mut results = Results::default();
        if wanted(Experiment::Unshaped) {
            heading("two hosts and a cable, no shaping: throughput, processor time, latency");
            let unshaped = unshaped::measure(self).context("the unshaped comparison")?;
            println!("{unshaped}");
            results.unshaped = Some(unshaped);
        }
        if wanted(Experiment::Shaped) {
            heading(&format!("2 leaves, 4 spines, 4 hosts on each leaf, every link at {} Mbit/s", self.rate));
            let shaped = self.compare().context("the shaped comparison")?;
            println!("{shaped}");
            results.shaped = Some(shaped);
        }
        if wanted(Experiment::Unequal) {
            heading("one of four paths at a quarter of the rate");
            let unequal = unequal::measure(self).context("the unequal paths")?;
            println!("{unequal}");
            results.unequal = Some(unequal);
        }
        if wanted(Experiment::Failures) {
            heading("failures in the middle of a ring all-reduce over 8 ranks");
            let failures = failures::measure(self).context("the failures")?;
            println!("{failures}");
            results.failures = Some(failures);
        }
        if wanted(Experiment::Many) {
            heading("64 connections of four subflows in one process");
            let many = many::measure(self).context("many connections")?;
            println!("{many}");
            results.many = Some(many);
        }
        Ok(results)
    }

    fn compare(&self) -> anyhow::Result<Comparison> {
        let shaped = Shaped::up(&self.fabric, self.rate, &self.congestion)?;
        let routings = [Routing::Ecmp, Routing::Spread, Routing::Multipath];
        let effort = Effort::of_trials(self.seconds, self.quick, self.rate);
        Comparison::measure(&self.scene, &self.plugin, &shaped, &routings, self.trials, &effort)
    }
}

/// The plugin to load: the one given, or the one beside this program under either of its names.
pub(super) fn plugin(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let file = match given {
        Some(file) => file.to_owned(),
        None => {
            let program = std::env::current_exe().context("finding this program")?;
            let names =
                ["libnccl-net-srv6.so", "libnccl_net_srv6.so"].map(|name| program.with_file_name(name));
            let [wanted, _] = names.clone();
            names.into_iter().find(|file| file.exists()).unwrap_or(wanted)
        }
    };
    if !file.exists() {
        bail!("no plugin at {}; build it (cargo build --release) or name it with --plugin", file.display());
    }
    file.canonicalize().with_context(|| format!("finding {}", file.display()))
}

/// The libnccl that was named, by its full path.
fn libnccl(file: &Path) -> anyhow::Result<PathBuf> {
    file.canonicalize().with_context(|| format!("--nccl {}: a libnccl.so.2 is wanted", file.display()))
}

fn heading(text: &str) {
    println!("\n-- {text}");
}

/// A number of at most this many decimals, or a dash for none.
fn cell(value: Option<f64>, decimals: usize) -> String {
    value
        .filter(|value| value.is_finite())
        .map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}
