//! A rank of an experiment: a process inside a host that does what it is told, one order a line.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Stdin, Stdout, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::time::{ClockId, clock_gettime};
use srv6_netdrive::{
    Amount, Arrival, Driver, DriverOptions, Exchange, Load, LogLevel, LogSettings, NetSource, Ring,
    RingOptions, SlotMemory, Stock, Stream, Streams, StreamsOptions, Waiting, monotonic, start_log,
};

use super::order::{Answer, Flow, Memory, Order, Pattern, Until, Usage};

/// One rank of an experiment; started by the bench
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    #[arg(long, required_unless_present = "socket_of")]
    plugin: Option<PathBuf>,
    /// Use NCCL's own Socket, from this libnccl
    #[arg(long, conflicts_with = "plugin")]
    socket_of: Option<PathBuf>,
    #[arg(long)]
    rank: usize,
    #[arg(long)]
    world: usize,
    #[arg(long)]
    yielding: bool,
}

/// Serves the process that started it until that closes the pipe.
pub(crate) fn run(args: &WorkerArgs) -> anyhow::Result<()> {
    // A rank that waits for the network would not notice that nobody waits for it.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .context("asking to end with the bench")?;
    let subsystems = "INIT,ENV,NET".parse()?;
    start_log(&LogSettings { level: LogLevel::Info, subsystems, file: None })?;
    let line = Line(RefCell::new((BufReader::new(std::io::stdin()), std::io::stdout())));
    let result = Worker::start(args, &line).and_then(|mut worker| worker.serve());
    if let Err(error) = &result {
        line.say(&Answer::Failed(format!("{error:#}")))?;
    }
    result
}

/// The way to the bench's process.
struct Line(RefCell<(BufReader<Stdin>, Stdout)>);

impl Line {
    fn say(&self, answer: &Answer) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(answer)?;
        text.push('\n');
        let out = &mut self.0.borrow_mut().1;
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("answering the bench")
    }

    /// `None` at the end.
    fn hear(&self) -> anyhow::Result<Option<Order>> {
        let mut text = String::new();
        match self.0.borrow_mut().0.read_line(&mut text).context("reading an order")? {
            0 => Ok(None),
            _ => Ok(Some(serde_json::from_str(&text).context("reading an order")?)),
        }
    }
}

impl Exchange for Line {
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        self.say(&Answer::Gather(mine.to_vec()))?;
        match self.hear()? {
            Some(Order::Gathered(all)) => Ok(all),
            other => Err(anyhow!("got {other:?} instead of what the others said").into()),
        }
    }
}

struct Worker<'a> {
    line: &'a Line,
    rank: usize,
    world: usize,
    driver: Driver,
    connected: Connected,
    input: Vec<f32>,
    output: Vec<f32>,
}

enum Connected {
    No,
    Ring(Ring),
    Streams(Streams),
}

/// Longer than any connect takes that isn't lost.
const CONNECT: Duration = Duration::from_secs(20);

impl<'a> Worker<'a> {
    fn start(args: &WorkerArgs, line: &'a Line) -> anyhow::Result<Self> {
        let source = match (&args.plugin, &args.socket_of) {
            (Some(path), _) => NetSource::Plugin { path: path.clone(), version: None, nccl: None },
            (None, Some(libnccl)) => NetSource::Stock { libnccl: libnccl.clone(), stock: Stock::Socket },
            (None, None) => bail!("no net was named"),
        };
        let waiting = if args.yielding { Waiting::Yield } else { Waiting::Nap };
        let options = DriverOptions { connect_timeout: CONNECT, waiting, ..DriverOptions::default() };
        let driver = Driver::load(&source, &options).context("loading the net")?;
        line.say(&Answer::Ready { net: format!("{} {}", driver.name(), driver.version()) })?;
        let connected = Connected::No;
        let (rank, world) = (args.rank, args.world);
        Ok(Self { line, rank, world, driver, connected, input: Vec::new(), output: Vec::new() })
    }

    fn serve(&mut self) -> anyhow::Result<()> {
        while let Some(order) = self.line.hear()? {
            let answer = self.carry_out(order)?;
            self.line.say(&answer)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, order: Order) -> anyhow::Result<Answer> {
        match order {
            Order::Gathered(_) => bail!("nobody asked what the others said"),
            Order::Connect { pattern, slot_bytes, memory } => self.connect(pattern, slot_bytes, memory),
            Order::Prepare { bytes } => {
                let count = bytes / size_of::<f32>();
                self.output = vec![f32::NAN; count];
                self.input = (0..count).map(|index| value(self.rank, index)).collect();
                Ok(Answer::Prepared)
            }
            Order::Reduce { repeats, start_at, record } => self.reduce(repeats, start_at, record),
            Order::Send { bytes, until, start_at, check, record } => {
                let Connected::Streams(streams) = &mut self.connected else { bail!("there are no streams") };
                let amount = match until {
                    Until::Messages(count) => Amount::Messages(count),
                    Until::Time(time) => Amount::Time(time),
                };
                sleep_until(start_at);
                let before = cpu();
                let streams = streams.run(Load { bytes, amount, check, record }).context("sending")?;
                let (ended, cpu) = (monotonic(), cpu() - before);
                Ok(Answer::Sent { ended, flows: streams.into_iter().map(flow).collect(), cpu })
            }
            Order::Bounce { bytes, rounds } => {
                let Connected::Streams(streams) = &mut self.connected else { bail!("there are no streams") };
                let times = match self.rank {
                    0 => streams.ask(bytes, rounds).context("asking")?,
                    _ => streams.answer(bytes, rounds).map(|()| Vec::new()).context("answering")?,
                };
                let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                Ok(Answer::Bounced { rounds: times.into_iter().map(nanoseconds).collect() })
            }
            Order::Usage => Ok(Answer::Used(usage()?)),
            Order::Close => {
                match std::mem::replace(&mut self.connected, Connected::No) {
                    Connected::No => {}
                    Connected::Ring(ring) => ring.close().context("closing")?,
                    Connected::Streams(streams) => streams.close().context("closing")?,
                }
                Ok(Answer::Closed)
            }
        }
    }

    fn connect(&mut self, pattern: Pattern, slot_bytes: usize, memory: Memory) -> anyhow::Result<Answer> {
        let began = monotonic();
        let (rank, world, device) = (self.rank, self.world, 0);
        self.connected = match pattern {
            Pattern::Ring => {
                let options = RingOptions { rank, world, slot_bytes, device, ..RingOptions::default() };
                Connected::Ring(Ring::connect(&self.driver, &options, self.line).context("connecting")?)
            }
            Pattern::Streams(pairs) => {
                let memory = match memory {
                    Memory::Own => SlotMemory::Own,
                    Memory::OneBlock => SlotMemory::OneBlock,
                };
                let options = StreamsOptions { rank, world, pairs, slot_bytes, device, memory };
                Connected::Streams(Streams::connect(&self.driver, &options, self.line).context("connecting")?)
            }
        };
        Ok(Answer::Connected { nanoseconds: monotonic() - began })
    }

    fn reduce(&mut self, repeats: u32, start_at: u64, record: bool) -> anyhow::Result<Answer> {
        let Connected::Ring(ring) = &mut self.connected else { bail!("there is no ring") };
        if record {
            ring.record();
        }
        sleep_until(start_at);
        let before = cpu();
        ring.all_reduce(&self.input, &mut self.output, repeats).context("reducing")?;
        let (ended, cpu) = (monotonic(), cpu() - before);
        let arrivals = ring.take_arrivals().into_iter().map(pair).collect();
        // Written so that NaN is wrong.
        let right = |index| sum(self.world, index);
        let wrong = self.output.iter().enumerate().filter(|(index, got)| **got != right(*index)).count();
        let wrong = (wrong * size_of::<f32>()) as u64;
        Ok(Answer::Reduced { ended, wrong, arrivals, cpu })
    }
}

/// What a rank puts in an element: small whole numbers, so that every sum is exact whatever its order. Sums are told
/// apart by index, and each rank's part of a sum by the second term.
fn value(rank: usize, index: usize) -> f32 {
    let (base, step) = mixed(index);
    #[expect(clippy::cast_precision_loss, reason = "ranks are few")]
    let rank = rank as f32;
    base + rank * step
}

/// What an element is after the reduction.
fn sum(world: usize, index: usize) -> f32 {
    let (base, step) = mixed(index);
    #[expect(clippy::cast_precision_loss, reason = "ranks are few")]
    let (world, ranks) = (world as f32, (world * world.saturating_sub(1) / 2) as f32);
    world * base + ranks * step
}

fn mixed(index: usize) -> (f32, f32) {
    // Any mixing does in which neighbours differ: a message in a wrong place must show.
    let [base, step, ..] = (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    (f32::from(base), f32::from(step % 16))
}

fn flow(stream: Stream) -> Flow {
    let Stream { pair: position, arrivals, messages, bytes, wrong } = stream;
    Flow { pair: position, messages, bytes, wrong, arrivals: arrivals.into_iter().map(pair).collect() }
}

fn pair(arrival: Arrival) -> (u64, u64) {
    (arrival.at, arrival.bytes)
}

fn sleep_until(start_at: u64) {
    std::thread::sleep(Duration::from_nanos(start_at.saturating_sub(monotonic())));
}

/// Processor time of this process, user and system, in seconds.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, rest) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Duration::from_secs(seconds).as_secs_f64() + Duration::from_nanos(rest).as_secs_f64()
}

fn usage() -> anyhow::Result<Usage> {
    let text = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let number = |name: &str| -> anyhow::Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
        let word = line.split_whitespace().next().with_context(|| name.to_owned())?;
        word.parse().with_context(|| name.to_owned())
    };
    let descriptors = std::fs::read_dir("/proc/self/fd").context("reading /proc/self/fd")?.count();
    Ok(Usage {
        cpu: cpu(),
        resident: number("VmRSS:")? * 1024,
        threads: number("Threads:")?,
        descriptors: descriptors as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_and_a_missing_or_doubled_rank_shows() {
        let mut neighbours_differ = 0;
        let mut without_differ = 0;
        for index in 0..10_000 {
            let all: f32 = (0..8).map(|rank| value(rank, index)).sum();
            assert_eq!(all, sum(8, index));
            neighbours_differ += u32::from(sum(8, index) != sum(8, index + 1));
            without_differ += u32::from(all - value(3, index) + value(4, index) != all);
        }
        assert!(neighbours_differ > 9_900, "{neighbours_differ}");
        assert!(without_differ > 9_000, "{without_differ}");
    }

    #[test]
    fn a_process_knows_what_it_uses() {
        let usage = usage().unwrap();
        assert!(usage.cpu > 0.0 && usage.resident > 100_000, "{usage:?}");
        assert!(usage.threads >= 1 && usage.descriptors >= 3, "{usage:?}");
    }
}
