//! A collective from its flags to its exit status.

use std::io::{self, Write};

use anyhow::{Context, ensure};
use serde_json::json;

use super::collective::Test;
use super::flags::CollectiveArgs;
use super::job::{self, Final, JobOptions};
use super::measure::Bench;
use super::report::{self, Summary};
use super::{json, lab, now};
use crate::config::Environment;

/// Runs a test on this rank, or on all ranks of a lab.
///
/// # Errors
/// Whatever goes wrong on any rank, wrong data, and a bandwidth below `NCCL_TESTS_MIN_BW`.
pub(super) fn run(test: Test, args: &CollectiveArgs) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let flags = args.flags()?;
    let least_bw = least_bandwidth(&environment)?;
    if let Some(place) = args.lab.wanted() {
        return lab::run(&place, &environment);
    }
    ensure!(
        test != Test::AllToAll || !flags.shared_comms,
        "--shared-comms: alltoall has a connection of its own for each channel and peer"
    );
    let options = JobOptions {
        source: args.net.source()?,
        device: flags.device,
        channels: flags.channels,
        shared_comms: flags.shared_comms,
        mesh: test == Test::AllToAll,
        join: flags.join,
        limit: flags.limit,
        stall: flags.stall,
        agreed: flags.agreed(test.program()),
    };
    job::run(&environment, &options, |mut job| {
        let start_time = now();
        if environment.get("NCCL_TESTS_DEVICE").is_some() {
            job.notes
                .push("NCCL_TESTS_DEVICE names a GPU and is not used; --device names the net's".to_owned());
        }
        let first = job.place.rank == 0;
        let file = match flags.output_file.as_deref().filter(|_| first) {
            Some(path) => Some(json::create(path)?),
            None => None,
        };
        let out = first.then(|| io::stdout().lock());
        let mut bench = Bench { test, flags: flags.clone(), out, rows: Vec::new(), failed_checks: 0 };
        if let Some(out) = &mut bench.out {
            if let Some((path, _)) = &file {
                writeln!(out, "# Writing JSON output to {}", path.display())?;
            }
            report::header(out, test, &flags, &job.ranks, &job.notes)?;
        }
        if job.largest_size < flags.sizes.max {
            bench.flags.sizes = flags.sizes.up_to(job.largest_size);
        }
        if let Some(out) = &mut bench.out {
            if bench.flags.sizes != flags.sizes {
                report::reduced(out, bench.flags.sizes.max)?;
            }
            report::headings(out, &flags)?;
        }
        let result = bench.measure(&mut job);
        let summary = summary(&bench, least_bw, &result);
        if let Some(out) = &mut bench.out {
            report::footer(out, test, &summary)?;
        }
        if let Some((_, mut file)) = file {
            let run = json::Run {
                start_time,
                end_time: now(),
                arguments: std::env::args_os()
                    .map(|argument| argument.to_string_lossy().into_owned())
                    .collect(),
                environment: &environment,
                flags: &bench.flags,
                ranks: &job.ranks,
                rows: &bench.rows,
                summary: &summary,
                ours: json!({
                    "version": env!("CARGO_PKG_VERSION"),
                    "channels": options.channels,
                    "notes": job.notes,
                }),
            };
            json::write(&mut file, &run.document())?;
        }
        result?;
        job.close()?;
        if summary.failed_checks > 0 {
            let wrong: u64 = timings(&bench).filter_map(|timing| timing.wrong).sum();
            return Err(Final(format!("{wrong} elements are wrong")).into());
        }
        if summary.enough == Some(false) {
            let average = summary.average_bus_bw;
            let text = format!("the average bus bandwidth is {average} GB/s: NCCL_TESTS_MIN_BW wants more");
            return Err(Final(text).into());
        }
        Ok(())
    })
}

fn timings<W>(bench: &Bench<W>) -> impl Iterator<Item = &report::Timing> {
    bench.rows.iter().flat_map(|row| [&row.out_of_place, &row.in_place])
}

fn summary<W>(bench: &Bench<W>, least_bw: Option<f64>, result: &anyhow::Result<()>) -> Summary {
    let count = timings(bench).count().max(1);
    #[expect(clippy::cast_precision_loss, reason = "rows are few")]
    let average_bus_bw = timings(bench).map(|timing| timing.bus_bw).sum::<f64>() / count as f64;
    Summary {
        failed_checks: bench.failed_checks,
        average_bus_bw,
        enough: least_bw.map(|least| average_bus_bw >= 0.9 * least),
        error: result.as_ref().err().map(|error| format!("{error:#}")),
    }
}

/// `NCCL_TESTS_MIN_BW`: the average bus bandwidth in GB/s that is wanted.
fn least_bandwidth(environment: &Environment) -> anyhow::Result<Option<f64>> {
    const NAME: &str = "NCCL_TESTS_MIN_BW";
    let Some(text) = environment.get(NAME) else { return Ok(None) };
    let value: f64 = text.parse().ok().with_context(|| format!("{NAME} is {text:?}: wanted GB/s"))?;
    ensure!(value.is_finite() && value >= 0.0, "{NAME} is {text:?}: wanted GB/s");
    Ok(Some(value))
}
