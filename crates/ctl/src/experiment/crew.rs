//! The ranks of an experiment, seen from the bench's process.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use srv6_lab::Node;
use srv6_netdrive::monotonic;

use super::Scene;
use super::order::{Answer, Flow, Memory, Order, Pattern, Until, Usage};
use crate::config::Environment;

/// The net that the ranks of a crew load.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Net<'a> {
    /// A plugin.
    Plugin(&'a Path),
    /// NCCL's own Socket from this libnccl. Its connect needs a CUDA driver.
    Socket(&'a Path),
}

/// How the ranks of a crew and the net in them are set.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    environment: Vec<(String, String)>,
    yielding: bool,
}

/// Names of the plugin's settings that don't begin with `SRV6_`.
const OTHER_NAMES: [&str; 6] = [
    "JALAPENO_API_ENDPOINT",
    "TOPOLOGY_COLLECTION",
    "BACKEND_INTERFACE",
    "ROUTE_PLATFORM",
    "ROUTE_TABLE_ID",
    "DEST_FUNCTION",
];

impl Settings {
    /// NCCL's own Socket with this many helper threads per connection, and sockets per thread.
    pub(crate) fn socket(threads: u32, sockets: u32) -> Self {
        Self::of(vec![
            ("NCCL_SOCKET_NTHREADS".into(), threads.to_string()),
            ("NCCL_NSOCKS_PERTHREAD".into(), sockets.to_string()),
        ])
    }

    fn of(environment: Vec<(String, String)>) -> Self {
        Self { environment, yielding: false }
    }

    /// The ranks poll without sleeping, as NCCL's threads do: for as many as there are cores at most.
    pub(crate) fn yielding(self) -> Self {
        Self { yielding: true, ..self }
    }

    /// Plain routing, with this many subflows per connection.
    pub(crate) fn unsteered(paths: u32) -> Self {
        Self::of(vec![("SRV6_MODE".into(), "off".into()), ("SRV6_PATHS".into(), paths.to_string())])
    }

    /// Steered by a topology file, with this many subflows per connection; what can't be steered is an error.
    pub(crate) fn steered(topology: &Path, paths: u32) -> Self {
        let path = topology.to_string_lossy().into_owned();
        Self::of(vec![
            ("SRV6_MODE".into(), "local".into()),
            ("SRV6_STRICT".into(), "1".into()),
            ("SRV6_TOPOLOGY".into(), path),
            ("SRV6_PATHS".into(), paths.to_string()),
        ])
    }

    /// Steered by the least loaded path of a path server, one subflow per connection.
    pub(crate) fn by_load(endpoint: &str) -> Self {
        Self::of(vec![
            ("SRV6_MODE".into(), "local".into()),
            ("SRV6_STRICT".into(), "1".into()),
            ("JALAPENO_API_ENDPOINT".into(), endpoint.to_owned()),
            ("SRV6_POLICY".into(), "load".into()),
            ("SRV6_PATHS".into(), "1".into()),
        ])
    }
}

/// Processes of one experiment. Those still running are killed on drop.
#[derive(Debug)]
pub(crate) struct Crew {
    name: String,
    workers: Vec<Worker>,
    said: Receiver<(usize, String)>,
}

#[derive(Debug)]
struct Worker {
    host: String,
    child: Child,
    orders: ChildStdin,
    log: PathBuf,
}

/// A ring all-reduce.
#[derive(Debug, Clone)]
pub(crate) struct Reduced {
    /// When it began, in nanoseconds of CLOCK_MONOTONIC.
    pub(crate) began: u64,
    /// From the beginning to the end of the last rank.
    pub(crate) seconds: f64,
    /// Bytes of all ranks' results that are not the sum.
    pub(crate) wrong: u64,
    /// When messages came, and their bytes, on all ranks together and in order.
    pub(crate) arrivals: Vec<(u64, u64)>,
}

/// What streams carried.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// When it began, in nanoseconds of CLOCK_MONOTONIC.
    pub(crate) began: u64,
    /// From the beginning to the end of the last rank.
    pub(crate) seconds: f64,
    /// By position in the pattern.
    pub(crate) flows: Vec<Flow>,
    /// Processor time of all ranks' processes, in seconds.
    pub(crate) cpu: f64,
}

/// How long an answer may take that needs no network, or little of it.
const PATIENCE: Duration = Duration::from_secs(40);

/// From an order to its beginning: longer than it takes to reach all ranks.
const LEAD: Duration = Duration::from_millis(30);

impl Crew {
    /// Starts one rank in each of these nodes and waits until all have loaded the net.
    pub(crate) fn start(
        scene: &Scene,
        net: Net<'_>,
        name: &str,
        nodes: &[&Node],
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let environment = Environment::of_process();
        let foreign = |name: &str| {
            name.starts_with("SRV6_") || name.starts_with("NCCL_") || OTHER_NAMES.contains(&name)
        };
        let (say, said) = channel();
        let mut crew = Self { name: name.to_owned(), workers: Vec::new(), said };
        for (rank, node) in nodes.iter().enumerate() {
            let log = scene.folder.join(format!("{name}.{rank}.log"));
            let stderr = File::create(&log).with_context(|| format!("making {}", log.display()))?;
            let program = scene.program.to_str().context("this program's path is not text")?;
            let mut command = node.command(program);
            // What the user has exported for a job of his own must not meet the experiment's settings.
            for (name, _) in environment.iter().filter(|(name, _)| foreign(name)) {
                command.env_remove(name);
            }
            let (option, file) = match net {
                Net::Plugin(file) => ("--plugin", file),
                Net::Socket(file) => ("--socket-of", file),
            };
            command.args(["bench", "worker", option]).arg(file);
            command.args(["--rank", &rank.to_string(), "--world", &nodes.len().to_string()]);
            if settings.yielding {
                command.arg("--yielding");
            }
            command
                .env("NCCL_SOCKET_IFNAME", "=eth1")
                .env("NCCL_SOCKET_FAMILY", "AF_INET6")
                .env("SRV6_TRANSPORT", "multipath")
                .envs(settings.environment.iter().map(|(name, value)| (name, value)))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(stderr);
            let mut child =
                command.spawn().with_context(|| format!("starting rank {rank} in {}", node.name()))?;
            let orders = child.stdin.take().context("a rank without an input")?;
            let answers = child.stdout.take().context("a rank without an output")?;
            crew.workers.push(Worker { host: node.name().to_owned(), child, orders, log });
            let say = say.clone();
            std::thread::Builder::new()
                .name(format!("rank {rank}"))
                .spawn(move || pass_on(rank, BufReader::new(answers), &say))
                .context("starting a thread")?;
        }
        for answer in crew.hear(PATIENCE)? {
            if !matches!(answer, Answer::Ready { .. }) {
                bail!("{name}: a rank said {answer:?} before anything was ordered");
            }
        }
        Ok(crew)
    }

    /// Connects all ranks; gives how long the slowest took.
    pub(crate) fn connect(&mut self, pattern: &Pattern, slot_bytes: usize) -> anyhow::Result<Duration> {
        self.connect_over(Memory::Own, pattern, slot_bytes)
    }

    /// The same, with the messages of streams in memory of this kind.
    pub(crate) fn connect_over(
        &mut self,
        memory: Memory,
        pattern: &Pattern,
        slot_bytes: usize,
    ) -> anyhow::Result<Duration> {
        let answers = self.ask(&Order::Connect { pattern: pattern.clone(), slot_bytes, memory })?;
        let times = answers.into_iter().map(|answer| match answer {
            Answer::Connected { nanoseconds } => Some(Duration::from_nanos(nanoseconds)),
            _ => None,
        });
        let times = times.collect::<Option<Vec<_>>>().context("a rank did something else than connect")?;
        Ok(times.into_iter().max().unwrap_or_default())
    }

    /// Makes data of so many bytes to reduce.
    pub(crate) fn prepare(&mut self, bytes: usize) -> anyhow::Result<()> {
        self.ask(&Order::Prepare { bytes }).map(drop)
    }

    /// Reduces what was prepared.
    pub(crate) fn reduce(&mut self, repeats: u32, patience: Duration) -> anyhow::Result<Reduced> {
        let began = self.begin_reduce(repeats, false)?;
        self.end_reduce(began, patience)
    }

    /// Lets all ranks begin to reduce what was prepared and returns, so that something may happen meanwhile. Gives when
    /// they begin, in nanoseconds of CLOCK_MONOTONIC.
    pub(crate) fn begin_reduce(&mut self, repeats: u32, record: bool) -> anyhow::Result<u64> {
        let start_at = soon();
        self.tell(&Order::Reduce { repeats, start_at, record })?;
        Ok(start_at)
    }

    /// Waits for the end of what began.
    pub(crate) fn end_reduce(&mut self, began: u64, patience: Duration) -> anyhow::Result<Reduced> {
        let mut reduced = Reduced { began, seconds: 0.0, wrong: 0, arrivals: Vec::new() };
        for answer in self.hear(patience)? {
            let Answer::Reduced { ended, wrong, arrivals, .. } = answer else {
                bail!("{}: a rank did something else than reduce", self.name)
            };
            reduced.seconds = reduced.seconds.max(seconds(began, ended));
            reduced.wrong += wrong;
            reduced.arrivals.extend(arrivals);
        }
        reduced.arrivals.sort_unstable();
        Ok(reduced)
    }

    /// Sends over all streams.
    pub(crate) fn send(
        &mut self,
        bytes: usize,
        until: Until,
        check: bool,
        record: bool,
        patience: Duration,
    ) -> anyhow::Result<Sent> {
        let start_at = soon();
        self.tell(&Order::Send { bytes, until, start_at, check, record })?;
        let mut sent = Sent { began: start_at, seconds: 0.0, flows: Vec::new(), cpu: 0.0 };
        for answer in self.hear(patience)? {
            let Answer::Sent { ended, flows, cpu } = answer else {
                bail!("{}: a rank did something else than send", self.name)
            };
            sent.seconds = sent.seconds.max(seconds(start_at, ended));
            sent.flows.extend(flows);
            sent.cpu += cpu;
        }
        sent.flows.sort_by_key(|flow| flow.pair);
        Ok(sent)
    }

    /// Sends a message there and back; gives the nanoseconds of each round.
    pub(crate) fn bounce(&mut self, bytes: usize, rounds: usize) -> anyhow::Result<Vec<u64>> {
        match self.ask(&Order::Bounce { bytes, rounds })?.into_iter().next() {
            Some(Answer::Bounced { rounds }) => Ok(rounds),
            other => bail!("{}: rank 0 said {other:?}", self.name),
        }
    }

    /// What each rank has used so far.
    pub(crate) fn usage(&mut self) -> anyhow::Result<Vec<Usage>> {
        let answers = self.ask(&Order::Usage)?.into_iter();
        let used = answers.map(|answer| match answer {
            Answer::Used(usage) => Some(usage),
            _ => None,
        });
        used.collect::<Option<Vec<_>>>().context("a rank didn't say what it uses")
    }

    /// Closes all connections.
    pub(crate) fn close(&mut self) -> anyhow::Result<()> {
        self.ask(&Order::Close).map(drop)
    }

    fn ask(&mut self, order: &Order) -> anyhow::Result<Vec<Answer>> {
        self.tell(order)?;
        self.hear(PATIENCE)
    }

    fn tell(&mut self, order: &Order) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(order)?;
        text.push('\n');
        for (rank, worker) in self.workers.iter_mut().enumerate() {
            let told = worker.orders.write_all(text.as_bytes());
            told.with_context(|| format!("{}: telling rank {rank} in {}", self.name, worker.host))?;
        }
        Ok(())
    }

    /// One answer of each rank, by rank; what ranks want to give each other is passed on meanwhile.
    fn hear(&mut self, patience: Duration) -> anyhow::Result<Vec<Answer>> {
        let deadline = Instant::now() + patience;
        loop {
            let mut answers: Vec<Option<Answer>> = self.workers.iter().map(|_| None).collect();
            while let Some(missing) = answers.iter().position(Option::is_none) {
                let (rank, text) =
                    match self.said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                        Ok(said) => said,
                        Err(RecvTimeoutError::Timeout) => {
                            bail!("{}: no answer after {patience:?}; {}", self.name, self.last_words(missing))
                        }
                        Err(RecvTimeoutError::Disconnected) => bail!("{}: all ranks have ended", self.name),
                    };
                if text.is_empty() {
                    bail!("{}: a rank ended; {}", self.name, self.last_words(rank));
                }
                let answer = serde_json::from_str(&text)
                    .with_context(|| format!("{}: reading what rank {rank} said", self.name))?;
                if let Answer::Failed(reason) = answer {
                    bail!("{}: rank {rank}: {reason}; {}", self.name, self.last_words(rank));
                }
                if let Some(entry) = answers.get_mut(rank) {
                    *entry = Some(answer);
                }
            }
            let answers: Vec<Answer> = answers.into_iter().flatten().collect();
            let given: Vec<Vec<u8>> = answers
                .iter()
                .filter_map(|answer| match answer {
                    Answer::Gather(bytes) => Some(bytes.clone()),
                    _ => None,
                })
                .collect();
            if given.len() < answers.len() {
                return Ok(answers);
            }
            self.tell(&Order::Gathered(given))?;
        }
    }

    /// The end of a rank's log.
    fn last_words(&self, rank: usize) -> String {
        let Some(worker) = self.workers.get(rank) else { return String::new() };
        let log = std::fs::read_to_string(&worker.log).unwrap_or_default();
        let mut tail: Vec<&str> = log.lines().rev().filter(|line| !line.is_empty()).take(6).collect();
        tail.reverse();
        format!("last lines of rank {rank} in {}:\n{}", worker.host, tail.join("\n"))
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            // An error means that it has ended, which is what is wanted.
            let _ended = worker.child.kill();
            let _status = worker.child.wait();
        }
    }
}

/// Hands on what a rank says, line by line; an empty line means that it has ended.
fn pass_on(rank: usize, answers: impl BufRead, say: &Sender<(usize, String)>) {
    for line in answers.lines().map_while(Result::ok) {
        if say.send((rank, line)).is_err() {
            return;
        }
    }
    // If nobody listens any more, nobody wants to know.
    let _ = say.send((rank, String::new()));
}

fn soon() -> u64 {
    monotonic() + u64::try_from(LEAD.as_nanos()).unwrap_or(0)
}

fn seconds(began: u64, ended: u64) -> f64 {
    Duration::from_nanos(ended.saturating_sub(began)).as_secs_f64()
}
