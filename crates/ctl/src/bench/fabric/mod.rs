//! `srv6ctl bench fabric`: ECMP, steered and multipath routing compared in a shaped, non-blocking fabric.

mod html;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use srv6_lab::Lab;
use srv6_paths::read_topology;
use srv6_pathserver::{Options as ServerOptions, Running, Server};

use super::multipath;
use crate::experiment::{Comparison, Effort, Routing, Scene, Shaped, loss_based};

/// Compares ECMP with steered and multipath routing in a fabric whose links are the limit
///
/// The fabric has as many uplinks as hosts on each leaf, so that every flow could have a path of its own. Runs a ring
/// all-reduce, a permutation and an all-to-all over one rank in each host, many times over ECMP, where every trial has
/// other ports. Any user may where user namespaces are allowed. Let nothing else run meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct FabricArgs {
    /// The plugin [default: libnccl-net-srv6.so beside this program]
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// The fabric: a topology file with as many hosts on one leaf as on the other
    #[arg(long, value_name = "FILE", default_value = "examples/fabrics/2x4x4.json")]
    topology: PathBuf,
    /// Rate of each link, in Mbit/s
    #[arg(long, value_name = "MBPS", default_value_t = 200)]
    rate: u32,
    /// TCP's congestion control of all hosts [default: cubic, or reno where net.ipv4.tcp_allowed_congestion_control doesn't
    /// name cubic]
    #[arg(long, value_name = "NAME")]
    congestion: Option<String>,
    /// ECMP trials of each workload; a third as many of each steered one [default: 30, quick: 6]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    trials: Option<u32>,
    /// How long a trial takes without collisions, in seconds [default: 2, quick: 1.3]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=10))]
    seconds: Option<u32>,
    /// Fewer and shorter trials: about a minute and a half
    #[arg(long)]
    quick: bool,
    /// Write results as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report that needs no other file: tables and plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Everything that was measured; the keys are explained in docs/BENCHMARKING.md.
#[derive(Debug, Serialize)]
struct Report {
    topology: String,
    hosts: usize,
    comparison: Comparison,
    /// Mbit/s of payload for each host during a ring all-reduce, by routing, each [`TRACE_STEP`].
    throughput: BTreeMap<&'static str, Vec<f64>>,
    trace_step_s: f64,
}

/// Port of the path server in the management network.
const PORT: u16 = 8000;

const TRACE_STEP: Duration = Duration::from_millis(20);

/// Must be called before any thread is started: an ordinary user gets a user namespace here.
pub(super) fn run(args: &FabricArgs) -> anyhow::Result<()> {
    srv6_lab::enter_user_namespace().context("making a user namespace for the lab")?;
    let plugin = multipath::plugin(args.plugin.as_deref())?;
    let scene = Scene::new("fabric")?;
    let report = measure(args, &plugin, &scene);
    let report = report.with_context(|| format!("logs of all ranks are in {}", scene.folder.display()))?;
    println!("{}", report.comparison);
    if let Some(file) = &args.html {
        let page = html::page(&report).context("drawing the report")?;
        std::fs::write(file, page).with_context(|| format!("writing {}", file.display()))?;
    }
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&report.document())?;
        std::fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    scene.clear()
}

fn measure(args: &FabricArgs, plugin: &Path, scene: &Scene) -> anyhow::Result<Report> {
    let congestion = args.congestion.clone().map_or_else(loss_based, Ok)?;
    let shaped = Shaped::up(&args.topology, args.rate, &congestion)?;
    let server = path_server(&shaped.lab, &args.topology).context("starting the path server")?;
    let routings = [Routing::Ecmp, Routing::Spread, Routing::Load(server.url()), Routing::Multipath];
    let effort = Effort::of_trials(args.seconds, args.quick, args.rate);
    let trials = args.trials.unwrap_or(if args.quick { 6 } else { 30 });
    let comparison = Comparison::measure(scene, plugin, &shaped, &routings, trials, &effort)?;
    let mut throughput = BTreeMap::new();
    for routing in &routings {
        let mut crew = shaped.crew(scene, plugin, &format!("trace-{}", routing.name()), routing)?;
        throughput.insert(routing.name(), shaped.trace(&mut crew, &effort, TRACE_STEP)?);
    }
    Ok(Report {
        topology: args.topology.display().to_string(),
        hosts: shaped.world(),
        comparison,
        throughput,
        trace_step_s: TRACE_STEP.as_secs_f64(),
    })
}

fn path_server(lab: &Lab, file: &Path) -> anyhow::Result<Running> {
    let (documents, _) = read_topology(file, "fabric_graph", "hosts")?;
    let address = lab.management_address(lab.management().name())?;
    let start = move || Server::bind((address, PORT).into(), &documents, ServerOptions::default())?.spawn();
    Ok(lab.management().run(start)?)
}

impl Report {
    /// What `--json` writes: the rows of the table, then every trial.
    fn document(&self) -> serde_json::Value {
        let Comparison { rate_mbps, congestion_control, wire_mbps, trials, .. } = &self.comparison;
        serde_json::json!({
            "topology": self.topology,
            "hosts": self.hosts,
            "rate_mbps": rate_mbps,
            "congestion_control": congestion_control,
            "wire_mbps": wire_mbps,
            "least_idle": self.comparison.least_idle(),
            "rows": self.comparison.rows(),
            "throughput_mbps": self.throughput,
            "throughput_step_s": self.trace_step_s,
            "trials": trials,
        })
    }
}
