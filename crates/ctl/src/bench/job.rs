//! One rank of a benchmark: how it meets the others, connects to them, and ends.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use srv6_netdrive::{
    Abort, Buffers, Driver, DriverOptions, Exchange, Mesh, MeshOptions, NetSource, Operation, Ring,
    RingOptions, hostname, start_log,
};

use super::memory::{HostMemory, largest_size};
use super::ranks::Place;
use super::rendezvous::Rendezvous;
use super::report::RankLine;
use super::split::{self, Among, Group, Split};
use super::stall::StallGuard;
use super::watchdog::Watchdog;
use crate::config::Environment;

/// What a rank needs to know to take part.
#[derive(Debug)]
pub(super) struct JobOptions {
    pub(super) source: NetSource,
    /// `None`: by the rank's number on its host.
    pub(super) device: Option<usize>,
    pub(super) channels: usize,
    pub(super) shared_comms: bool,
    /// Every rank connected with every other, instead of in rings.
    pub(super) mesh: bool,
    /// How long to wait for all ranks to come and connect.
    pub(super) join: Duration,
    /// How long operations that are waited for together may take.
    pub(super) limit: Option<Duration>,
    /// How long nothing at all may move.
    pub(super) stall: Option<Duration>,
    /// Everything that must be the same on all ranks, in words.
    pub(super) agreed: String,
}

/// One rank, connected to those of its group.
pub(super) struct Job<'a> {
    pub(super) place: &'a Place,
    pub(super) group: Group,
    pub(super) ranks: Vec<RankLine>,
    pub(super) notes: Vec<String>,
    /// The largest size for which all ranks have memory.
    pub(super) largest_size: u64,
    links: Links,
    exchange: &'a dyn Exchange,
    watchdog: Option<Watchdog>,
    stall: Option<StallGuard>,
}

/// How the ranks of a group are connected.
#[derive(Debug)]
enum Links {
    Ring(Ring),
    Mesh(Mesh),
}

/// What ranks tell each other before they connect.
#[derive(Debug, Serialize, Deserialize)]
struct Introduction {
    host: String,
    pid: u32,
    agreed: String,
    split: String,
    memory: HostMemory,
    /// Rank 0's becomes the communicator's hash.
    seed: u64,
}

/// Meets the other ranks, connects, runs `body`, and leaves; if something fails here, the others learn why, and if it
/// fails because of another rank, the error says which.
///
/// # Errors
/// Whatever goes wrong on any rank.
pub(super) fn run<T>(
    environment: &Environment,
    options: &JobOptions,
    body: impl FnOnce(Job<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let place = Place::from_environment(environment)?;
    let split = Split::from_environment(environment)?;
    split::check(place.world, split)?;
    start_log(&environment.log_settings()?)?;
    let abort = Abort::default();
    let meeting = Rendezvous::join(&place, &abort, options.join).context("meeting the other ranks")?;
    let alone = Alone;
    let exchange: &dyn Exchange = match &meeting {
        Some(meeting) => meeting,
        None => &alone,
    };
    let result = connect(&place, split, options, &abort, exchange).and_then(body);
    match (result, meeting) {
        (Ok(result), meeting) => {
            if let Some(meeting) = meeting {
                meeting.leave();
            }
            Ok(result)
        }
        (Err(error), None) => Err(error),
        (Err(error), Some(meeting)) => {
            // A dead rank shows first as a broken connection, at its neighbours; then everybody is told its name.
            let deadline = Instant::now() + Duration::from_secs(2);
            while abort.reason().is_none() && Instant::now() < deadline && !error.is::<Final>() {
                std::thread::sleep(Duration::from_millis(10));
            }
            match abort.reason() {
                Some(reason) => {
                    let known = format!("{error:#}").contains(reason);
                    let error = if known { error } else { error.context(reason.to_owned()) };
                    // Waits until all others are told; rank 0's end before that would be what they name.
                    meeting.leave();
                    Err(error)
                }
                None => {
                    if !error.is::<Final>() {
                        meeting.fail(&format!("{error:#}"));
                    }
                    meeting.leave();
                    Err(error)
                }
            }
        }
    }
}

/// A result that all ranks know to be bad: there is nobody to tell.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Final(pub(super) String);

impl Job<'_> {
    /// Waits for all ranks and gives what each said.
    pub(super) fn gather<T: Serialize + for<'a> Deserialize<'a>>(&self, mine: &T) -> anyhow::Result<Vec<T>> {
        gather(self.exchange, mine)
    }

    /// Runs an operation so many times and gives when each was done; `what` names it should it not end.
    pub(super) fn operate(
        &mut self,
        what: &str,
        operation: &Operation,
        count: usize,
        buffers: Buffers<'_>,
        repeats: u32,
    ) -> anyhow::Result<Vec<Duration>> {
        let _watched = self.watchdog.as_ref().map(|watchdog| watchdog.watch(what.to_owned()));
        let _guarded = self.stall.as_ref().map(|stall| stall.guard(what.to_owned()));
        Ok(match &mut self.links {
            Links::Ring(ring) => ring.run(operation, count, buffers, repeats)?,
            Links::Mesh(mesh) => mesh.run(operation, count, buffers, repeats)?,
        })
    }

    /// Closes all connections.
    pub(super) fn close(self) -> anyhow::Result<()> {
        match self.links {
            Links::Ring(ring) => ring.close(),
            Links::Mesh(mesh) => mesh.close(),
        }
        .context("closing the connections")
    }
}

impl Links {
    fn connect(
        driver: &Driver,
        group: &Group,
        device: usize,
        options: &JobOptions,
        exchange: &dyn Exchange,
    ) -> Result<Self, srv6_netdrive::Error> {
        let (rank, world, channels) = (group.rank, group.world(), options.channels);
        let exchange = Among(exchange, group);
        if options.mesh {
            let mesh = MeshOptions { rank, world, channels, device, ..MeshOptions::default() };
            return Mesh::connect(driver, &mesh, &exchange).map(Self::Mesh);
        }
        let shared_comms = options.shared_comms;
        let ring = RingOptions { rank, world, channels, shared_comms, device, ..RingOptions::default() };
        Ring::connect(driver, &ring, &exchange).map(Self::Ring)
    }

    fn describe(&self) -> String {
        match self {
            Self::Ring(ring) => format!("{} connections to the next rank", ring.connections()),
            Self::Mesh(mesh) => format!("{} connections to the other ranks", mesh.connections()),
        }
    }
}

fn connect<'a>(
    place: &'a Place,
    split: Option<Split>,
    options: &JobOptions,
    abort: &Abort,
    exchange: &'a dyn Exchange,
) -> anyhow::Result<Job<'a>> {
    let introduction = Introduction {
        host: hostname(),
        pid: std::process::id(),
        agreed: options.agreed.clone(),
        split: format!("{split:?}"),
        memory: HostMemory::read()?,
        seed: seed(),
    };
    let introductions = gather(exchange, &introduction)?;
    let first = introductions.first().context("no ranks")?;
    for (rank, other) in introductions.iter().enumerate() {
        if other.agreed != first.agreed {
            bail!("rank {rank} was started with {}, rank 0 with {}", other.agreed, first.agreed);
        }
        if other.split != first.split {
            bail!("rank {rank} has NCCL_TESTS_SPLIT as {}, rank 0 as {}", other.split, first.split);
        }
    }

    let group = Group::of(place.rank, place.world, split);
    let driver = Driver::load(
        &options.source,
        &DriverOptions {
            comm_id: first.seed.wrapping_add(group.color),
            connect_timeout: options.join,
            abort: abort.clone(),
            ..DriverOptions::default()
        },
    )
    .context("loading the net")?;
    let watchdog = options.limit.map(|limit| Watchdog::start(abort, limit)).transpose()?;
    let stall = options.stall.map(|limit| StallGuard::start(abort, driver.pulse(), limit)).transpose()?;
    let devices = driver.devices();
    let device = options
        .device
        .unwrap_or_else(|| place.local_rank.unwrap_or(0).checked_rem(devices.len()).unwrap_or(0));
    let name = devices.get(device).map_or_else(|| "?".to_owned(), srv6_netdrive::Device::name);
    let mine = (group.color, device, format!("{} {} {name}", driver.name(), driver.version()));
    let began = Instant::now();
    let links = Links::connect(&driver, &group, device, options, exchange)
        .map_err(|error| explain(error, options))?;
    let connected = began.elapsed();
    let largest_size = largest_size(&introductions.iter().map(|one| one.memory.clone()).collect::<Vec<_>>());
    let ranks = introductions
        .into_iter()
        .zip(gather(exchange, &mine)?)
        .map(|(one, (group, device, info))| RankLine { group, pid: one.pid, host: one.host, device, info })
        .collect();
    let notes = vec![format!(
        "net {} {}: {} channels, {}, {} ms to connect",
        driver.name(),
        driver.version(),
        options.channels,
        links.describe(),
        connected.as_millis()
    )];
    Ok(Job { place, group, ranks, notes, largest_size, links, exchange, watchdog, stall })
}

/// Says what a transport of NCCL's own lacks where there is no GPU.
fn explain(error: srv6_netdrive::Error, options: &JobOptions) -> anyhow::Error {
    let stock = matches!(options.source, NetSource::Stock { .. });
    let lacks = stock && error.is_unhandled_cuda();
    let error = anyhow::Error::new(error).context("connecting the ranks");
    if !lacks {
        return error;
    }
    error.context(
        "NCCL's own transports ask CUDA which GPU they serve when they connect, and there is no CUDA driver here: run \
         --stock on a host with a GPU, or use --plugin",
    )
}

fn gather<T: Serialize + for<'a> Deserialize<'a>>(
    exchange: &dyn Exchange,
    mine: &T,
) -> anyhow::Result<Vec<T>> {
    let mine = serde_json::to_vec(mine).context("writing for the other ranks")?;
    let all = exchange.all_gather(&mine).map_err(|error| anyhow!(error))?;
    all.iter().map(|one| serde_json::from_slice(one).context("reading what another rank wrote")).collect()
}

/// Differs between jobs: the clock and the process.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// Nobody else.
#[derive(Debug)]
struct Alone;

impl Exchange for Alone {
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(vec![mine.to_vec()])
    }
}
