//! `srv6ctl bench all-reduce`: nccl-tests' `all_reduce_perf` over host memory.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use super::job::{self, Final, Job, JobOptions};
use super::plugin::NetArgs;
use super::report::{self, Row, Summary, Timing};
use super::sizes::{Sizes, parse_size};
use super::{data, json};
use crate::config::Environment;

/// Ring all-reduce of floats in host memory over any NCCL net plugin; prints as nccl-tests' all_reduce_perf
///
/// Start one process per rank: with torchrun-style variables (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), mpirun or
/// srun. Rank 0 prints. What the plugin logs goes to standard error as NCCL_DEBUG says.
#[derive(Debug, clap::Args)]
#[command(infer_long_args = true)]
pub(super) struct AllReduceArgs {
    #[command(flatten)]
    net: NetArgs,
    /// First size in bytes, with K, M or G
    #[arg(short = 'b', long, value_name = "SIZE", default_value = "32M", value_parser = size)]
    minbytes: u64,
    /// Last size in bytes
    #[arg(short = 'e', long, value_name = "SIZE", default_value = "32M", value_parser = size)]
    maxbytes: u64,
    /// Bytes between sizes
    #[arg(short = 'i', long, value_name = "SIZE", default_value = "1M", value_parser = size)]
    stepbytes: u64,
    /// Factor between sizes; 1: use --stepbytes
    #[arg(short = 'f', long, value_name = "N", default_value_t = 1)]
    stepfactor: u64,
    /// Timed runs of each size
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    iters: u32,
    /// Runs of each size to warm up
    #[arg(short = 'w', long, value_name = "N", default_value_t = 1)]
    warmup_iters: u32,
    /// Runs whose data is checked; 0: none
    #[arg(short = 'c', long, value_name = "N", default_value_t = 1)]
    check: u32,
    /// All-reduces per run
    #[arg(short = 'm', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    agg_iters: u32,
    /// How often the whole table is made; 0: for ever
    #[arg(short = 'N', long, value_name = "N", default_value_t = 1)]
    run_cycles: u32,
    /// Write the results in nccl-tests' JSON schema as well
    #[arg(short = 'J', long = "json", value_name = "FILE")]
    json: Option<PathBuf>,
    /// Seconds after which a wait for other ranks is an error
    #[arg(short = 'T', long, value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Rings in parallel, each with a connection of its own between two ranks
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    channels: u8,
    /// Let channels share connections as far as the net groups receives
    #[arg(long)]
    shared_comms: bool,
    /// The net's device
    #[arg(long, value_name = "N", default_value_t = 0)]
    device: usize,
    /// As in nccl-tests; one device per process is all there is
    #[arg(short = 'g', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=1))]
    ngpus: u8,
    /// As in nccl-tests; one rank per process is all there is
    #[arg(short = 't', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=1))]
    nthreads: u8,
}

/// The flags that shape the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) sizes: Sizes,
    pub(super) iters: u32,
    pub(super) warmup_iters: u32,
    pub(super) agg_iters: u32,
    pub(super) check: u32,
    pub(super) cycles: u32,
}

pub(super) fn run(args: &AllReduceArgs) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let flags = Flags {
        sizes: Sizes {
            min: args.minbytes,
            max: args.maxbytes,
            step: args.stepbytes,
            factor: args.stepfactor,
        }
        .check()?,
        iters: args.iters,
        warmup_iters: args.warmup_iters,
        agg_iters: args.agg_iters,
        check: args.check,
        cycles: args.run_cycles,
    };
    let least_bw = least_bandwidth(&environment)?;
    let options = JobOptions {
        source: args.net.source()?,
        device: args.device,
        channels: args.channels.into(),
        shared_comms: args.shared_comms,
        patience: Duration::from_secs(args.timeout),
        agreed: format!(
            "-b {} -e {} -i {} -f {} -n {} -w {} -c {} -m {} -N {} --channels {}{}",
            args.minbytes,
            args.maxbytes,
            args.stepbytes,
            args.stepfactor,
            args.iters,
            args.warmup_iters,
            args.check,
            args.agg_iters,
            args.run_cycles,
            args.channels,
            if args.shared_comms { " --shared-comms" } else { "" }
        ),
    };
    job::run(&environment, &options, |mut job| {
        let start_time = now();
        let notes = job.notes.clone();
        let mut bench = Bench { first: job.place.rank == 0, flags, out: io::stdout(), rows: Vec::new() };
        let file = match args.json.as_deref().filter(|_| bench.first) {
            Some(path) => Some(json::create(path)?),
            None => None,
        };
        if bench.first {
            if let Some((path, _)) = &file {
                writeln!(bench.out, "# Writing JSON output to {}", path.display())?;
            }
            report::header(&mut bench.out, &flags, &job.ranks, &notes)?;
        }
        let result = bench.measure(&mut job);
        let summary = bench.summary(least_bw, &result);
        if bench.first {
            report::footer(&mut bench.out, &summary)?;
        }
        if let Some((_, mut file)) = file {
            let run = json::Run {
                start_time,
                end_time: now(),
                arguments: std::env::args_os()
                    .map(|argument| argument.to_string_lossy().into_owned())
                    .collect(),
                environment: &environment,
                flags: &flags,
                ranks: &job.ranks,
                rows: &bench.rows,
                summary: &summary,
                ours: json!({
                    "version": env!("CARGO_PKG_VERSION"),
                    "channels": options.channels,
                    "notes": notes,
                }),
            };
            json::write(&mut file, &run.document())?;
        }
        result?;
        job.ring.close().context("closing the ring")?;
        if summary.wrong > 0 {
            return Err(Final(format!("{} elements are wrong", summary.wrong)).into());
        }
        if summary.enough == Some(false) {
            let average = summary.average_bus_bw;
            let text = format!("the average bus bandwidth is {average} GB/s: NCCL_TESTS_MIN_BW wants more");
            return Err(Final(text).into());
        }
        Ok(())
    })
}

/// The measurement on one rank.
struct Bench {
    /// Whether this is the rank that prints.
    first: bool,
    flags: Flags,
    out: io::Stdout,
    rows: Vec<Row>,
}

/// Bytes of an element.
const ELEMENT: u64 = size_of::<f32>() as u64;

impl Bench {
    fn measure(&mut self, job: &mut Job<'_>) -> anyhow::Result<()> {
        let most = usize::try_from(self.flags.sizes.max / ELEMENT).context("sizes")?;
        let (mut input, mut output) = (vec![0.0; most], vec![0.0; most]);
        data::fill(&mut input, job.place.rank, 0);
        self.all_together(job)?;
        for count in self.flags.sizes.warm_up(ELEMENT) {
            let (input, output) = parts(&mut input, &mut output, count)?;
            let runs = self.flags.warmup_iters;
            job.watched(format!("warming up with {} bytes", count * ELEMENT), |ring| {
                ring.all_reduce(input, output, runs)
            })?;
        }
        let mut cycle = 0;
        while self.flags.cycles == 0 || cycle < self.flags.cycles {
            cycle += 1;
            for count in self.flags.sizes.elements(ELEMENT) {
                let (input, output) = parts(&mut input, &mut output, count)?;
                let row = Row {
                    size: count * ELEMENT,
                    count,
                    out_of_place: self.timing(job, input, output, false)?,
                    in_place: self.timing(job, input, output, true)?,
                };
                if self.first {
                    report::row(&mut self.out, &row)?;
                }
                self.rows.push(row);
            }
        }
        Ok(())
    }

    /// Times one size one way, then checks its data in runs of their own.
    fn timing(
        &self,
        job: &mut Job<'_>,
        input: &mut [f32],
        output: &mut [f32],
        in_place: bool,
    ) -> anyhow::Result<Timing> {
        let (rank, world) = (job.place.rank, job.place.world);
        let size = input.len() as u64 * ELEMENT;
        let what = || format!("the all-reduce of {size} bytes");
        let Flags { iters, agg_iters, check, .. } = self.flags;
        // Each repetition in place sums sums; from zeros they stay finite.
        output.fill(0.0);
        self.all_together(job)?;
        let began = Instant::now();
        let repeats = iters.saturating_mul(agg_iters);
        job.watched(what(), |ring| match in_place {
            true => ring.all_reduce_in_place(output, repeats),
            false => ring.all_reduce(input, output, repeats),
        })?;
        let mine = began.elapsed().as_secs_f64() / f64::from(repeats);
        let all = job.gather(&mine)?;
        #[expect(clippy::cast_precision_loss, reason = "ranks are few")]
        let seconds = all.iter().sum::<f64>() / all.len() as f64;

        let mut wrong = 0;
        for pass in 1..=check {
            let ours: &mut [f32] = if in_place { output } else { input };
            data::fill(ours, rank, pass);
            if !in_place {
                output.fill(f32::NAN);
            }
            job.watched(what(), |ring| match in_place {
                true => ring.all_reduce_in_place(output, 1),
                false => ring.all_reduce(input, output, 1),
            })?;
            wrong += data::wrong(output, world, pass);
        }
        let wrong = (check > 0).then_some(job.gather(&wrong)?.into_iter().sum());
        Ok(Timing::all_reduce(size, world, seconds, wrong))
    }

    /// Waits for all ranks.
    fn all_together(&self, job: &Job<'_>) -> anyhow::Result<()> {
        job.gather(&()).map(drop)
    }

    fn summary(&self, least_bw: Option<f64>, result: &anyhow::Result<()>) -> Summary {
        let timings = || self.rows.iter().flat_map(|row| [row.out_of_place, row.in_place]);
        let count = timings().count().max(1);
        #[expect(clippy::cast_precision_loss, reason = "rows are few")]
        let average_bus_bw = timings().map(|timing| timing.bus_bw).sum::<f64>() / count as f64;
        Summary {
            wrong: timings().filter_map(|timing| timing.wrong).sum(),
            average_bus_bw,
            enough: least_bw.map(|least| average_bus_bw >= 0.9 * least),
            error: result.as_ref().err().map(|error| format!("{error:#}")),
        }
    }
}

/// The first `count` elements of both.
fn parts<'a>(
    input: &'a mut [f32],
    output: &'a mut [f32],
    count: u64,
) -> anyhow::Result<(&'a mut [f32], &'a mut [f32])> {
    let count = usize::try_from(count).context("sizes")?;
    input.get_mut(..count).zip(output.get_mut(..count)).context("a size above the last one")
}

/// `NCCL_TESTS_MIN_BW`: the average bus bandwidth in GB/s that is wanted.
fn least_bandwidth(environment: &Environment) -> anyhow::Result<Option<f64>> {
    const NAME: &str = "NCCL_TESTS_MIN_BW";
    let Some(text) = environment.get(NAME) else { return Ok(None) };
    let value: f64 = text.parse().ok().with_context(|| format!("{NAME} is {text:?}: wanted GB/s"))?;
    ensure!(value.is_finite() && value >= 0.0, "{NAME} is {text:?}: wanted GB/s");
    Ok(Some(value))
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| error.to_string())
}

fn now() -> String {
    jiff::Timestamp::now().round(jiff::Unit::Second).map_or_else(|_| String::new(), |time| time.to_string())
}
