//! `srv6ctl sim`: link loads of fabrics that no lab holds, policies side by side.

mod fabric;
mod report;

use std::time::Instant;

use anyhow::{Context, bail};
use clap::ValueEnum;
use srv6_sim::{Fabric, Fault, Jobs, Order, Outcome, Pattern, Placement, Policy, Rule, Run, Workload};

use self::fabric::{Chosen, FabricArgs};
use self::report::{Report, Row};
use crate::progress;

/// Simulates link loads of large fabrics, policies side by side
///
/// Nothing is sent: every flow gets its paths, each link's bytes are counted, and the most loaded link bounds the time.
/// A load of 1 is a link that is exactly full while every host sends at its line rate, a slowdown of 2 twice the time
/// that the hosts' own ports need. docs/SIMULATION.md says what is modelled and what isn't.
#[derive(Debug, clap::Args)]
pub(crate) struct SimArgs {
    #[command(flatten)]
    fabric: FabricArgs,
    #[command(flatten)]
    work: WorkArgs,
    /// Policies to compare, as POLICY or POLICY:PATHS: ecmp, spread, tiers, turns, load, random, all
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "ecmp,spread,tiers,turns,load,random:8,all"
    )]
    policy: Vec<Policy>,
    /// Paths of each connection where the policy doesn't say; for ecmp, sockets or queue pairs [default: planes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    paths: Option<u16>,
    /// Most equal paths that the path source hands out for spread to choose from [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    candidates: Option<u32>,
    /// What is dead: a node (spine3, p2/leaf7, host5), a link (leaf2-spine3), or drawn ones (links:1%, ports:10,
    /// leaves:1, spines:2, cores:5%); may be given several times
    #[arg(long, value_name = "WHAT")]
    fail: Vec<String>,
    /// Seed of all that is hashed or drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Runs with seeds of their own; the one with the median worst link is shown
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    trials: u32,
    /// Add the load of every link of each policy's median run to the JSON
    #[arg(long, requires = "json")]
    links: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Workload")]
struct WorkArgs {
    /// What every job does
    #[arg(long, value_enum, default_value_t = Kind::Ring)]
    workload: Kind,
    /// Connections per pair, each with its share of the bytes
    #[arg(long, value_name = "N", default_value_t = 8)]
    channels: usize,
    /// How a job's ranks follow each other over its hosts: leaf by leaf, each on another leaf (and pod), or drawn
    #[arg(long, value_enum, default_value_t = RankOrder::Alternating)]
    order: RankOrder,
    /// Ranks of a group of an all-to-all [default: 64, or the whole job where that is smaller]
    #[arg(long, value_name = "N")]
    group: Option<usize>,
    /// How much further the receiver of a shift is [default: half of the job]
    #[arg(long, value_name = "N")]
    shift: Option<usize>,
    /// Jobs of one size, all at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Ranks of each job [default: as many as fit]
    #[arg(long, value_name = "N")]
    job_size: Option<usize>,
    /// Which hosts a job gets: neighbours, or drawn ones
    #[arg(long, value_enum, default_value_t = Placed::Contiguous)]
    placement: Placed,
    /// Size of the collective per rank, in MiB, for times in ms
    #[arg(long, value_name = "MIB", default_value_t = 1024.0)]
    size: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Each rank sends to the next: all-reduce by rings
    Ring,
    /// NCCL's double binary trees, up and down
    Tree,
    /// Each rank sends to all others of its group
    AllToAll,
    /// Each rank sends to a drawn one
    Permutation,
    /// Each rank sends to the one so many further
    Shift,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RankOrder {
    Rack,
    Alternating,
    Random,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Placed {
    Contiguous,
    Random,
}

pub(crate) fn run(args: &SimArgs) -> anyhow::Result<()> {
    let began = Instant::now();
    let chosen = args.fabric.choose()?;
    let jobs = args.work.jobs(chosen.clos.hosts());
    if !args.work.size.is_finite() || args.work.size <= 0.0 {
        bail!("--size {}: want more than 0 MiB", args.work.size);
    }
    let whole = Fabric::new(chosen.clos)?;
    if args.links && whole.links() > MOST_SHOWN {
        bail!("--links: the fabric has {} directed links; want at most {MOST_SHOWN}", whole.links());
    }
    let faults: Vec<Fault> = args
        .fail
        .iter()
        .map(|text| Fault::parse(text, &chosen.clos, &chosen.names))
        .collect::<Result<_, _>>()
        .context("--fail")?;
    let input = Input { args, chosen: &chosen, whole: &whole, jobs, faults };
    // Said before the first run, and not after a minute of work.
    Workload::new(&chosen.clos, jobs, args.seed)?;

    let steps = args.policy.iter().map(|policy| u64::from(input.trials(*policy))).sum();
    let bar = progress::bar("simulating", steps);
    let rows =
        args.policy.iter().map(|&policy| input.row(policy, || bar.inc(1))).collect::<Result<Vec<_>, _>>();
    bar.finish_and_clear();
    let report = Report::new(&input, rows?, began.elapsed())?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report.json())?);
    } else {
        print!("{report}");
    }
    Ok(())
}

/// Most directed links whose loads are listed.
const MOST_SHOWN: usize = 200_000;

/// What all policies have in common.
struct Input<'a> {
    args: &'a SimArgs,
    chosen: &'a Chosen,
    whole: &'a Fabric,
    jobs: Jobs,
    faults: Vec<Fault>,
}

impl Input<'_> {
    /// Paths of each connection.
    fn paths(&self, policy: Policy) -> usize {
        let default = self.args.paths.map_or(self.chosen.clos.planes, usize::from);
        policy.paths.unwrap_or(default)
    }

    /// Runs that can differ: one where nothing is hashed or drawn.
    fn trials(&self, policy: Policy) -> u32 {
        let drawn = matches!(policy.rule, Rule::Ecmp | Rule::Random)
            || self.jobs.placement == Placement::Random
            || self.jobs.order == Order::Random
            || self.jobs.pattern == Pattern::Permutation
            || self.faults.iter().any(|fault| matches!(fault, Fault::Random(..)));
        if drawn { self.args.trials } else { 1 }
    }

    fn row(&self, policy: Policy, step: impl Fn()) -> anyhow::Result<Row> {
        let began = Instant::now();
        let mut runs: Vec<(Outcome, Vec<f32>)> = Vec::new();
        for trial in 0..self.trials(policy) {
            let seed = self.args.seed.wrapping_add(u64::from(trial));
            let workload = Workload::new(&self.chosen.clos, self.jobs, seed)?;
            let fabric = Fault::apply(&self.faults, self.whole, seed);
            let run = Run {
                fabric: &fabric,
                before: self.whole,
                workload: &workload,
                rule: policy.rule,
                paths: self.paths(policy),
                candidates: self
                    .args
                    .candidates
                    .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX)),
                seed,
            };
            let (outcome, loads) = run.simulate();
            runs.push((outcome, if self.args.links { loads } else { Vec::new() }));
            step();
        }
        runs.sort_by(|a, b| a.0.worst.total_cmp(&b.0.worst));
        let worst = runs.iter().map(|(outcome, _)| outcome.worst).collect();
        let (outcome, loads) = runs.swap_remove((runs.len() - 1) / 2);
        Ok(Row {
            policy,
            paths: self.paths(policy),
            worst,
            outcome,
            loads,
            seconds: began.elapsed().as_secs_f64(),
        })
    }
}

impl WorkArgs {
    fn jobs(&self, hosts: usize) -> Jobs {
        let size = self.job_size.unwrap_or(hosts / self.jobs.max(1));
        Jobs {
            count: self.jobs,
            size: self.job_size,
            placement: match self.placement {
                Placed::Contiguous => Placement::Contiguous,
                Placed::Random => Placement::Random,
            },
            order: match self.order {
                RankOrder::Rack => Order::Rack,
                RankOrder::Alternating => Order::Alternating,
                RankOrder::Random => Order::Random,
            },
            pattern: match self.workload {
                Kind::Ring => Pattern::Ring,
                Kind::Tree => Pattern::Tree,
                Kind::AllToAll => Pattern::AllToAll { group: self.group.unwrap_or(size.min(64)) },
                Kind::Permutation => Pattern::Permutation,
                Kind::Shift => Pattern::Shift(self.shift.unwrap_or(size / 2)),
            },
            channels: self.channels,
        }
    }
}
