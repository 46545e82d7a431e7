//! Two hosts and a cable: the transport beside iperf3, its previous form and NCCL's Socket, in alternation.

mod tables;

use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use srv6_lab::Pair;

use super::Bench;
use super::iperf::Iperf;
use crate::experiment::{Crew, MachineTime, Memory, Net, Pattern, Settings, Until, statistics};
use crate::progress;

/// All runs.
#[derive(Debug, Serialize)]
pub(super) struct Unshaped {
    iperf3_version: String,
    congestion_control: String,
    runs: Vec<Run>,
    /// Half of a round trip of 8 bytes, in microseconds.
    latencies: Vec<Latency>,
}

/// Who sends, and over what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Sender {
    Multipath { streams: u32 },
    Previous { streams: u32 },
    Iperf3 { streams: u32 },
    Socket { threads: u32, sockets_per_thread: u32 },
}

/// One sender with one size in one round.
#[derive(Debug, Clone, Serialize)]
struct Run {
    round: u32,
    /// Those that take turns are compared within one; iperf3 has one a round.
    turn: u32,
    sender: Sender,
    /// iperf3 sends one block, and reads into one.
    memory: Memory,
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
    sender: Sender,
    p50_us: f64,
    p99_us: f64,
}

const SIZES: [usize; 7] = [4 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];
const QUICK_SIZES: [usize; 4] = [64 << 10, 1 << 20, 4 << 20, 16 << 20];
const STREAMS: [u32; 2] = [1, 4];
/// Memory of the runs that are compared with each other.
const WITH_IPERF3: Memory = Memory::OneBlock;
const WITH_NETS: Memory = Memory::Own;
/// Helper threads of NCCL's Socket, and sockets of each: which is best depends on size and machine.
const SOCKET_SETTINGS: [(u32, u32); 7] = [(1, 1), (2, 1), (4, 1), (1, 4), (2, 2), (4, 2), (2, 8)];
/// What the summary is about.
const HEADLINE: (usize, u32) = (4 << 20, 4);
/// Short, and taken in turns, so that those that are compared find the machine in one state.
const TURN: Duration = Duration::from_millis(150);
const TURNS: u32 = 4;
/// Before and after iperf3's shortest test, which takes a second and is ahead by another.
const ASIDE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(30);
const ROUND_TRIPS: usize = 4000;

/// Ranks that load a net; they stay for all rounds.
struct Contestant {
    sender: Sender,
    crew: Crew,
}

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Unshaped> {
    let pair = Pair::up(&bench.congestion).context("joining two hosts")?;
    let iperf = Iperf::start(&pair)?;
    let mut contestants = contestants(bench, &pair)?;
    let sizes: &[usize] = if bench.quick { &QUICK_SIZES } else { &SIZES };
    let bar = progress::bar("two hosts and a cable", u64::from(bench.rounds) * sizes.len() as u64);
    let (mut runs, mut latencies) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        for &size in sizes {
            for contestant in &mut contestants {
                if let Sender::Multipath { streams } = contestant.sender {
                    contestant.connect(size, WITH_IPERF3)?;
                    runs.push(contestant.run(round, 0, size, WITH_IPERF3, ASIDE)?);
                    runs.push(over_iperf(&iperf, round, size, streams)?);
                    runs.push(contestant.run(round, 1, size, WITH_IPERF3, ASIDE)?);
                    contestant.crew.close()?;
                }
            }
            for contestant in &mut contestants {
                contestant.connect(size, WITH_NETS)?;
            }
            for turn in 0..TURNS {
                for contestant in &mut contestants {
                    runs.push(contestant.run(round, turn, size, WITH_NETS, TURN)?);
                }
            }
            for contestant in &mut contestants {
                contestant.crew.close()?;
            }
            bar.inc(1);
        }
        for contestant in &mut contestants {
            latencies.push(contestant.latency()?);
        }
    }
    bar.finish_and_clear();
    let (iperf3_version, congestion_control) = (iperf.version()?, bench.congestion.clone());
    Ok(Unshaped { iperf3_version, congestion_control, runs, latencies })
}

/// Starts the ranks of all that are loaded as nets.
fn contestants(bench: &Bench, pair: &Pair) -> anyhow::Result<Vec<Contestant>> {
    let nodes: Vec<_> = pair.nodes().iter().collect();
    let start = |net, sender, log: String, settings: Settings| -> anyhow::Result<Contestant> {
        let crew = Crew::start(&bench.scene, net, &log, &nodes, &settings.yielding())?;
        Ok(Contestant { sender, crew })
    };
    let mut contestants = Vec::new();
    for streams in STREAMS {
        let settings = Settings::unsteered(streams);
        let (net, sender) = (Net::Plugin(&bench.plugin), Sender::Multipath { streams });
        contestants.push(start(net, sender, format!("unshaped-multipath-{streams}"), settings.clone())?);
        if let Some(plugin) = &bench.previous {
            let (net, sender) = (Net::Plugin(plugin), Sender::Previous { streams });
            contestants.push(start(net, sender, format!("unshaped-previous-{streams}"), settings)?);
        }
    }
    for (threads, sockets_per_thread) in SOCKET_SETTINGS {
        if let Some(libnccl) = &bench.nccl {
            let sender = Sender::Socket { threads, sockets_per_thread };
            let settings = Settings::socket(threads, sockets_per_thread);
            let log = format!("unshaped-socket-{threads}-{sockets_per_thread}");
            contestants.push(start(Net::Socket(libnccl), sender, log, settings)?);
        }
    }
    Ok(contestants)
}

fn over_iperf(iperf: &Iperf<'_>, round: u32, size: usize, streams: u32) -> anyhow::Result<Run> {
    let before = MachineTime::now()?;
    let result = iperf.run(streams, size)?;
    let load = MachineTime::now()?.since(before);
    Ok(Run {
        round,
        turn: 0,
        sender: Sender::Iperf3 { streams },
        memory: WITH_IPERF3,
        size,
        gbit_s: result.gbit_s,
        cpu_s_per_gb: result.cpu_s_per_gb,
        softirq_s_per_gb: load.softirq_s / result.gigabytes,
    })
}

impl Contestant {
    fn connect(&mut self, size: usize, memory: Memory) -> anyhow::Result<()> {
        self.crew.connect_over(memory, &Pattern::Streams(vec![(0, 1)]), size)?;
        // Every slot is used once before the clock runs: its first use makes the kernel find memory for it.
        self.crew.send(size, Until::Messages(16), memory == Memory::Own, false, PATIENCE).map(drop)
    }

    fn run(
        &mut self,
        round: u32,
        turn: u32,
        size: usize,
        memory: Memory,
        time: Duration,
    ) -> anyhow::Result<Run> {
        let before = MachineTime::now()?;
        let sent = self.crew.send(size, Until::Time(time), false, false, PATIENCE)?;
        let load = MachineTime::now()?.since(before);
        let flow = sent.flows.first().context("nothing came")?;
        ensure!(flow.wrong == 0, "{} of {} bytes came out of order", flow.wrong, flow.bytes);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let gigabytes = flow.bytes as f64 / 1e9;
        Ok(Run {
            round,
            turn,
            sender: self.sender,
            memory,
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
            sender: self.sender,
            p50_us: statistics::percentile(&half, 50).context("no rounds")?,
            p99_us: statistics::percentile(&half, 99).context("no rounds")?,
        })
    }
}

impl Unshaped {
    /// Throughput over iperf3's for the size and number of streams that the summary is about, both out of one block.
    pub(super) fn headline_ratio(&self) -> Option<f64> {
        let (size, streams) = HEADLINE;
        let [ours, iperf3] = [Sender::Multipath { streams }, Sender::Iperf3 { streams }];
        self.ratio(size, (ours, WITH_IPERF3), (iperf3, WITH_IPERF3))
    }

    /// Processor seconds for each gigabyte of the same.
    pub(super) fn headline_cpu(&self) -> Option<f64> {
        let (size, streams) = HEADLINE;
        self.median(size, (Sender::Multipath { streams }, WITH_IPERF3), |run| run.cpu_s_per_gb)
    }

    /// Throughput over that of another in the same turn, or in the same round if it has no such turn; the median of all.
    fn ratio(&self, size: usize, side: (Sender, Memory), other: (Sender, Memory)) -> Option<f64> {
        let within = |run: &Run| {
            let beside = || self.of(size, other).filter(|beside| beside.round == run.round);
            let other = beside().find(|beside| beside.turn == run.turn).or_else(|| beside().next())?;
            Some(run.gbit_s / other.gbit_s)
        };
        statistics::median(&self.of(size, side).filter_map(within).collect::<Vec<_>>())
    }

    fn median(&self, size: usize, side: (Sender, Memory), value: fn(&Run) -> f64) -> Option<f64> {
        statistics::median(&self.of(size, side).map(value).collect::<Vec<_>>())
    }

    fn of(&self, size: usize, side: (Sender, Memory)) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.size == size && (run.sender, run.memory) == side)
    }
}
