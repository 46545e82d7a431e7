//! The flags of nccl-tests 2.19: those that mean something on host memory do what they do there, the others are
//! accepted at the value at which they do nothing, and refused with the reason otherwise.

mod foreign;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;

use super::lab::LabArgs;
use super::plugin::NetArgs;
use super::sizes::{Sizes, parse_size};
use super::tables::{Operations, Root, Types};
use foreign::Foreign;

const LAUNCHING: &str = "\
Start one process per rank: with torchrun-style variables (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), mpirun or srun; \
or give --lab. Rank 0 prints. What the plugin logs goes to standard error as NCCL_DEBUG says. docs/BENCHMARKING.md says \
how to read the numbers.";

/// What every collective takes
#[derive(Debug, clap::Args)]
#[command(infer_long_args = true, after_help = LAUNCHING)]
pub(super) struct CollectiveArgs {
    #[command(flatten)]
    pub(super) net: NetArgs,
    #[command(flatten)]
    pub(super) lab: LabArgs,
    /// First size in bytes, with K, M or G
    #[arg(short = 'b', long, value_name = "SIZE", allow_hyphen_values = true, default_value = "32M", value_parser = |text: &str| size(text, "minbytes"))]
    minbytes: u64,
    /// Last size in bytes
    #[arg(short = 'e', long, value_name = "SIZE", allow_hyphen_values = true, default_value = "32M", value_parser = |text: &str| size(text, "maxbytes"))]
    maxbytes: u64,
    /// Bytes between sizes
    #[arg(short = 'i', long, value_name = "SIZE", allow_hyphen_values = true, default_value = "1M", value_parser = |text: &str| size(text, "stepBytes"))]
    stepbytes: u64,
    /// Factor between sizes; 1: use --stepbytes
    #[arg(short = 'f', long, value_name = "N", default_value_t = 1)]
    stepfactor: u64,
    /// Timed iterations of each size
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    iters: u32,
    /// Operations per iteration
    #[arg(short = 'm', long = "agg_iters", alias = "agg-iters", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    agg_iters: u32,
    /// Operations of each size to warm up
    #[arg(short = 'w', long = "warmup_iters", alias = "warmup-iters", value_name = "N", default_value_t = 1)]
    warmup_iters: u32,
    /// How often each table is made; 0: for ever
    #[arg(short = 'N', long = "run_cycles", alias = "run-cycles", value_name = "N", default_value_t = 1)]
    run_cycles: u32,
    /// Operations whose data is checked; 0: none
    // `--ch` was no ambiguous abbreviation before there were --channels.
    #[arg(short = 'c', long, alias = "ch", value_name = "N", default_value_t = 1)]
    check: u32,
    /// Reduction: sum, prod, min, max, avg, mulsum, or all
    #[arg(short = 'o', long, value_name = "OP", default_value = "sum")]
    op: Operations,
    /// Type: int8, uint8, int32, uint32, int64, uint64, half, float, double, bfloat16, or all
    #[arg(short = 'd', long, value_name = "TYPE", default_value = "float")]
    datatype: Types,
    /// Root of broadcast and reduce; -1 or all: each rank in turn
    #[arg(short = 'r', long, value_name = "RANK", default_value = "0", allow_hyphen_values = true)]
    root: Root,
    /// Time that counts: 0 rank 0's, 1 the mean, 2 the shortest, 3 the longest of all ranks
    #[arg(short = 'a', long, value_name = "0-3", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=3))]
    average: u8,
    /// Seconds after which operations that are waited for together are an error; 0: never
    #[arg(short = 'T', long, value_name = "S", default_value_t = 0)]
    timeout: u64,
    /// 1: show when each row was done
    #[arg(short = 'S', long = "report_timestamps", alias = "report-timestamps", value_name = "0|1", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    report_timestamps: u8,
    /// 1: show how the times of single iterations spread
    #[arg(short = 'I', long = "per_iter_timing", alias = "per-iter-timing", value_name = "0|1", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    per_iter_timing: u8,
    /// Leading iterations that -I's columns leave out
    #[arg(
        short = 'K',
        long = "per_iter_skip",
        alias = "per-iter-skip",
        value_name = "N",
        default_value_t = 0
    )]
    per_iter_skip: u32,
    /// Write the results to this .json file as well; one that exists is kept, and a number added to the name
    #[arg(short = 'J', long = "output_file", aliases = ["output-file", "json"], value_name = "FILE")]
    output_file: Option<PathBuf>,
    /// Connections to each peer, among which the data is split
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    channels: u8,
    /// Let channels share connections as far as the net groups receives (not for alltoall)
    #[arg(long)]
    shared_comms: bool,
    /// The net's device [default: the rank's number on its host, as the launcher says, modulo the devices]
    #[arg(long, value_name = "N")]
    device: Option<usize>,
    /// Seconds to wait for all ranks to come and connect
    #[arg(long, value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    join_timeout: u64,
    /// Seconds in which nothing at all moves after which the job ends; 0: never
    #[arg(long, value_name = "S", default_value_t = 120)]
    stall_timeout: u64,
    #[command(flatten)]
    foreign: Foreign,
}

/// The flags, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) sizes: Sizes,
    pub(super) iters: u32,
    pub(super) agg_iters: u32,
    pub(super) warmup_iters: u32,
    pub(super) cycles: u32,
    pub(super) check: u32,
    pub(super) operations: Operations,
    pub(super) types: Types,
    pub(super) root: Root,
    pub(super) average: Average,
    pub(super) timestamps: bool,
    pub(super) per_iteration: bool,
    pub(super) skip: u32,
    pub(super) output_file: Option<PathBuf>,
    pub(super) channels: usize,
    pub(super) shared_comms: bool,
    pub(super) device: Option<usize>,
    /// Of operations that are waited for together.
    pub(super) limit: Option<Duration>,
    /// Of waiting for all ranks to come.
    pub(super) join: Duration,
    pub(super) stall: Option<Duration>,
}

/// Whose time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Average {
    RankZero,
    Mean,
    Min,
    Max,
}

impl Average {
    /// Of the ranks' times; 0 if there are none.
    pub(super) fn of(self, times: &[f64]) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "ranks are few")]
        let count = times.len().max(1) as f64;
        match self {
            Self::RankZero => times.first().copied().unwrap_or(0.0),
            Self::Mean => times.iter().sum::<f64>() / count,
            Self::Min => times.iter().copied().reduce(f64::min).unwrap_or(0.0),
            Self::Max => times.iter().copied().reduce(f64::max).unwrap_or(0.0),
        }
    }
}

impl CollectiveArgs {
    /// The flags, if they make sense together.
    ///
    /// # Errors
    /// If one of nccl-tests' asks for what host memory hasn't got, or values contradict each other.
    pub(super) fn flags(&self) -> anyhow::Result<Flags> {
        self.foreign.refuse()?;
        if let Some(file) = &self.output_file {
            let json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
            ensure!(json, "-J {}: wanted a file whose name ends in .json", file.display());
        }
        ensure!(
            self.per_iter_skip == 0 || self.per_iter_timing == 1,
            "-K {} says what -I leaves out: give -I 1 as well",
            self.per_iter_skip
        );
        ensure!(
            self.per_iter_skip < self.iters,
            "-K {} of {} iterations: wanted fewer, something must be left",
            self.per_iter_skip,
            self.iters
        );
        ensure!(
            self.iters.checked_mul(self.agg_iters).is_some(),
            "-n {} times -m {}: wanted less than 2^32",
            self.iters,
            self.agg_iters
        );
        let sizes =
            Sizes { min: self.minbytes, max: self.maxbytes, step: self.stepbytes, factor: self.stepfactor };
        let seconds = |seconds| (seconds > 0).then(|| Duration::from_secs(seconds));
        Ok(Flags {
            sizes: sizes.check()?,
            iters: self.iters,
            agg_iters: self.agg_iters,
            warmup_iters: self.warmup_iters,
            cycles: self.run_cycles,
            check: self.check,
            operations: self.op,
            types: self.datatype,
            root: self.root,
            average: match self.average {
                0 => Average::RankZero,
                2 => Average::Min,
                3 => Average::Max,
                _ => Average::Mean,
            },
            timestamps: self.report_timestamps == 1,
            per_iteration: self.per_iter_timing == 1,
            skip: self.per_iter_skip,
            output_file: self.output_file.clone(),
            channels: self.channels.into(),
            shared_comms: self.shared_comms,
            device: self.device,
            limit: seconds(self.timeout),
            join: Duration::from_secs(self.join_timeout),
            stall: seconds(self.stall_timeout),
        })
    }
}

impl Flags {
    /// What must be the same on all ranks, as it is typed.
    pub(super) fn agreed(&self, name: &str) -> String {
        let Self { sizes, .. } = self;
        let mut text = format!(
            "{name} -b {} -e {} -i {} -f {} -n {} -m {} -w {} -N {} -c {} -o {} -d {} -r {} -I {} --channels {}",
            sizes.min,
            sizes.max,
            sizes.step,
            sizes.factor,
            self.iters,
            self.agg_iters,
            self.warmup_iters,
            self.cycles,
            self.check,
            self.operations,
            self.types,
            self.root,
            u8::from(self.per_iteration),
            self.channels,
        );
        if self.shared_comms {
            text.push_str(" --shared-comms");
        }
        text
    }
}

fn size(text: &str, name: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| format!("invalid size specified for '{name}': {error}"))
}

#[cfg(test)]
pub(super) mod tests;
