//! Two hosts and a cable: the transport beside iperf3 and beside its previous form, in alternation.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use srv6_lab::Pair;

use super::iperf::Iperf;
use super::{Bench, cell};
use crate::experiment::{Crew, MachineTime, Pattern, Settings, Until, statistics};
use crate::{progress, table};

/// All runs.
#[derive(Debug, Serialize)]
pub(super) struct Unshaped {
    iperf3_version: String,
    runs: Vec<Run>,
    /// Half of a round trip of 8 bytes, in microseconds.
    latencies: Vec<Latency>,
}

/// One contestant with one size in one round.
#[derive(Debug, Clone, Serialize)]
struct Run {
    contestant: &'static str,
    streams: u32,
    /// Bytes of a message; iperf3 writes a mebibyte at most.
    size: usize,
    gbit_s: f64,
    /// Processor seconds of both processes, user and system, for each gigabyte.
    cpu_s_per_gb: f64,
    /// Soft interrupts of the whole machine, for each gigabyte.
    softirq_s_per_gb: f64,
}

#[derive(Debug, Clone, Serialize)]
struct Latency {
    contestant: &'static str,
    streams: u32,
    p50_us: f64,
    p99_us: f64,
}

const SIZES: [usize; 7] = [4 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];
const QUICK_SIZES: [usize; 4] = [64 << 10, 1 << 20, 4 << 20, 16 << 20];
const STREAMS: [u32; 2] = [1, 4];
/// What the summary is about.
const HEADLINE: (usize, u32) = (4 << 20, 4);
const PATIENCE: Duration = Duration::from_secs(30);
const ROUND_TRIPS: usize = 4000;

/// A plugin with a number of subflows; its ranks stay for all rounds.
struct Contestant {
    name: &'static str,
    streams: u32,
    crew: Crew,
}

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Unshaped> {
    let pair = Pair::up().context("joining two hosts")?;
    let iperf = Iperf::start(&pair)?;
    let nodes: Vec<_> = pair.nodes().iter().collect();
    let plugins: Vec<(&'static str, &Path)> = [("multipath", Some(bench.plugin.as_path()))]
        .into_iter()
        .chain([("previous", bench.previous.as_deref())])
        .filter_map(|(name, plugin)| Some((name, plugin?)))
        .collect();
    let mut contestants = Vec::new();
    for (name, plugin) in plugins {
        for streams in STREAMS {
            let log = format!("unshaped-{name}-{streams}");
            let crew = Crew::start(&bench.scene, plugin, &log, &nodes, &Settings::unsteered(streams))?;
            contestants.push(Contestant { name, streams, crew });
        }
    }
    let sizes: &[usize] = if bench.quick { &QUICK_SIZES } else { &SIZES };
    let bar = progress::bar("two hosts and a cable", u64::from(bench.rounds) * sizes.len() as u64);
    let mut unshaped = Unshaped { iperf3_version: iperf.version()?, runs: Vec::new(), latencies: Vec::new() };
    for _ in 0..bench.rounds {
        for &size in sizes {
            for contestant in &mut contestants {
                unshaped.runs.push(contestant.run(size)?);
            }
            for streams in STREAMS {
                let before = MachineTime::now()?;
                let result = iperf.run(streams, size)?;
                let load = MachineTime::now()?.since(before);
                unshaped.runs.push(Run {
                    contestant: "iperf3",
                    streams,
                    size,
                    gbit_s: result.gbit_s,
                    cpu_s_per_gb: result.cpu_s_per_gb,
                    softirq_s_per_gb: load.softirq_s / result.gigabytes,
                });
            }
            bar.inc(1);
        }
        for contestant in &mut contestants {
            unshaped.latencies.push(contestant.latency()?);
        }
    }
    bar.finish_and_clear();
    Ok(unshaped)
}

impl Contestant {
    fn run(&mut self, size: usize) -> anyhow::Result<Run> {
        // As long as iperf3's shortest test.
        let time = Duration::from_secs(1);
        self.crew.connect(&Pattern::Streams(vec![(0, 1)]), size)?;
        // Every slot is used once before the clock runs: its first use makes the kernel find memory for it.
        self.crew.send(size, Until::Messages(16), true, false, PATIENCE)?;
        let before = MachineTime::now()?;
        let sent = self.crew.send(size, Until::Time(time), false, false, PATIENCE)?;
        let load = MachineTime::now()?.since(before);
        self.crew.close()?;
        let flow = sent.flows.first().context("nothing came")?;
        ensure!(flow.wrong == 0, "{} of {} bytes came out of order", flow.wrong, flow.bytes);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let gigabytes = flow.bytes as f64 / 1e9;
        Ok(Run {
            contestant: self.name,
            streams: self.streams,
            size,
            gbit_s: flow.rate(sent.began) * 8.0 / 1e9,
            cpu_s_per_gb: sent.cpu / gigabytes,
            softirq_s_per_gb: load.softirq_s / gigabytes,
        })
    }

    fn latency(&mut self) -> anyhow::Result<Latency> {
        self.crew.connect(&Pattern::Streams(vec![(0, 1), (1, 0)]), 4096)?;
        self.crew.bounce(8, ROUND_TRIPS / 10)?;
        let rounds = self.crew.bounce(8, ROUND_TRIPS)?;
        self.crew.close()?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let half: Vec<f64> = rounds.iter().map(|nanoseconds| *nanoseconds as f64 / 2e3).collect();
        Ok(Latency {
            contestant: self.name,
            streams: self.streams,
            p50_us: statistics::percentile(&half, 50).context("no rounds")?,
            p99_us: statistics::percentile(&half, 99).context("no rounds")?,
        })
    }
}

impl Unshaped {
    /// Throughput over iperf3's for the size and number of streams that the summary is about.
    pub(super) fn headline_ratio(&self) -> Option<f64> {
        let (size, streams) = HEADLINE;
        self.ratio("iperf3", size, streams)
    }

    /// Processor seconds for each gigabyte of the same.
    pub(super) fn headline_cpu(&self) -> Option<f64> {
        let (size, streams) = HEADLINE;
        self.median("multipath", size, streams, |run| run.cpu_s_per_gb)
    }

    /// The transport's throughput over that of another; medians of all rounds.
    fn ratio(&self, other: &str, size: usize, streams: u32) -> Option<f64> {
        let gbit_s = |run: &Run| run.gbit_s;
        Some(self.median("multipath", size, streams, gbit_s)? / self.median(other, size, streams, gbit_s)?)
    }

    fn median(&self, contestant: &str, size: usize, streams: u32, value: fn(&Run) -> f64) -> Option<f64> {
        let of = |run: &&Run| run.contestant == contestant && run.size == size && run.streams == streams;
        statistics::median(&self.runs.iter().filter(of).map(value).collect::<Vec<_>>())
    }
}

impl fmt::Display for Unshaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["multipath", "previous", "iperf3"];
        let headings = [
            "SIZE",
            "STREAMS",
            "MULTIPATH",
            "PREVIOUS",
            "IPERF3",
            "/PREVIOUS",
            "/IPERF3",
            "CPU S/GB",
            "PREVIOUS",
            "IPERF3",
            "SOFTIRQ S/GB",
            "PREVIOUS",
            "IPERF3",
        ];
        let mut shown = table::new(&headings);
        let mut sizes: Vec<usize> = self.runs.iter().map(|run| run.size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        for size in sizes {
            for streams in STREAMS {
                let of = |value: fn(&Run) -> f64| {
                    names.map(|name| cell(self.median(name, size, streams, value), 2))
                };
                let ratios = ["previous", "iperf3"].map(|other| cell(self.ratio(other, size, streams), 2));
                let row = [format!("{} KiB", size >> 10), streams.to_string()].into_iter();
                let row = row.chain(of(|run| run.gbit_s)).chain(ratios);
                shown.add_row(row.chain(of(|run| run.cpu_s_per_gb)).chain(of(|run| run.softirq_s_per_gb)));
            }
        }
        writeln!(f, "{shown}")?;
        writeln!(
            f,
            "Gbit/s, medians of all rounds; CPU: processes of both ends; soft interrupts are the machine's. {} writes 1 \
             MiB at most.",
            self.iperf3_version
        )?;
        let mut shown = table::new(&["8 BYTES", "STREAMS", "P50 (us)", "P99 (us)"]);
        for name in names {
            for streams in STREAMS {
                let of = |value: fn(&Latency) -> f64| -> Vec<f64> {
                    let mine = self.latencies.iter().filter(|l| l.contestant == name && l.streams == streams);
                    mine.map(value).collect()
                };
                let p50 = statistics::median(&of(|latency| latency.p50_us));
                if p50.is_some() {
                    let p99 = statistics::median(&of(|latency| latency.p99_us));
                    shown.add_row([name.to_owned(), streams.to_string(), cell(p50, 1), cell(p99, 1)]);
                }
            }
        }
        write!(f, "\n{shown}")
    }
}
