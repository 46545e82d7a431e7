//! One rank of a benchmark: how it meets the others, connects to them, and ends.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use srv6_netdrive::{
    Abort, Driver, DriverOptions, Exchange, LogSettings, NetSource, Ring, RingOptions, hostname, start_log,
};

use super::ranks::Place;
use super::rendezvous::Rendezvous;
use super::report::RankLine;
use super::watchdog::Watchdog;
use crate::config::Environment;

/// What a rank needs to know to take part.
#[derive(Debug)]
pub(super) struct JobOptions {
    pub(super) source: NetSource,
    pub(super) device: usize,
    pub(super) channels: usize,
    pub(super) shared_comms: bool,
    /// How long each wait for the others may take.
    pub(super) patience: Duration,
    /// Everything that must be the same on all ranks, in words.
    pub(super) agreed: String,
}

/// One rank, connected to its neighbours.
pub(super) struct Job<'a> {
    pub(super) place: &'a Place,
    pub(super) ranks: Vec<RankLine>,
    pub(super) notes: Vec<String>,
    pub(super) ring: Ring,
    exchange: &'a dyn Exchange,
    watchdog: Watchdog,
}

/// What ranks tell each other before they connect.
#[derive(Debug, Serialize, Deserialize)]
struct Introduction {
    host: String,
    pid: u32,
    agreed: String,
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
    start_log(&log_settings(environment)?)?;
    let abort = Abort::default();
    let meeting = Rendezvous::join(&place, &abort, options.patience).context("meeting the other ranks")?;
    let alone = Alone;
    let exchange: &dyn Exchange = match &meeting {
        Some(meeting) => meeting,
        None => &alone,
    };
    let result = connect(&place, options, &abort, exchange).and_then(body);
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

    /// Runs something on the ring that may not take longer than the patience.
    pub(super) fn watched<T>(
        &mut self,
        what: String,
        body: impl FnOnce(&mut Ring) -> Result<T, srv6_netdrive::Error>,
    ) -> anyhow::Result<T> {
        let _watched = self.watchdog.watch(what);
        Ok(body(&mut self.ring)?)
    }
}

fn connect<'a>(
    place: &'a Place,
    options: &JobOptions,
    abort: &Abort,
    exchange: &'a dyn Exchange,
) -> anyhow::Result<Job<'a>> {
    let introduction = Introduction {
        host: hostname(),
        pid: std::process::id(),
        agreed: options.agreed.clone(),
        seed: seed(),
    };
    let introductions = gather(exchange, &introduction)?;
    let first = introductions.first().context("no ranks")?;
    if let Some((rank, other)) = introductions.iter().enumerate().find(|(_, one)| one.agreed != first.agreed)
    {
        bail!("rank {rank} was started with {}, rank 0 with {}", other.agreed, first.agreed);
    }

    let watchdog = Watchdog::start(abort, options.patience)?;
    let driver = Driver::load(
        &options.source,
        &DriverOptions {
            comm_id: first.seed,
            connect_timeout: options.patience,
            abort: abort.clone(),
            ..DriverOptions::default()
        },
    )
    .context("loading the net")?;
    let ring_options = RingOptions {
        rank: place.rank,
        world: place.world,
        channels: options.channels,
        shared_comms: options.shared_comms,
        device: options.device,
        ..RingOptions::default()
    };
    let device = driver.devices().get(options.device);
    let info = format!(
        "{} {} {}",
        driver.name(),
        driver.version(),
        device.map_or_else(|| "?".to_owned(), srv6_netdrive::Device::name)
    );
    let began = Instant::now();
    let ring = Ring::connect(&driver, &ring_options, exchange).context("connecting the ring")?;
    let connected = began.elapsed();
    let infos = gather(exchange, &info)?;
    let ranks = introductions
        .into_iter()
        .zip(infos)
        .map(|(one, info)| RankLine { pid: one.pid, host: one.host, device: options.device, info })
        .collect();
    let notes = vec![format!(
        "net {} {}: {} channels, {} connections to the next rank, {} ms to connect",
        driver.name(),
        driver.version(),
        options.channels,
        ring.connections(),
        connected.as_millis()
    )];
    Ok(Job { place, ranks, notes, ring, exchange, watchdog })
}

fn gather<T: Serialize + for<'a> Deserialize<'a>>(
    exchange: &dyn Exchange,
    mine: &T,
) -> anyhow::Result<Vec<T>> {
    let mine = serde_json::to_vec(mine).context("writing for the other ranks")?;
    let all = exchange.all_gather(&mine).map_err(|error| anyhow!(error))?;
    all.iter().map(|one| serde_json::from_slice(one).context("reading what another rank wrote")).collect()
}

/// What NCCL's own variables ask for.
fn log_settings(environment: &Environment) -> anyhow::Result<LogSettings> {
    fn parse<T: std::str::FromStr<Err = srv6_netdrive::SettingsError> + Default>(
        environment: &Environment,
        name: &'static str,
    ) -> anyhow::Result<T> {
        environment.get(name).map_or(Ok(T::default()), |text| text.parse().context(name))
    }
    Ok(LogSettings {
        level: parse(environment, "NCCL_DEBUG")?,
        subsystems: parse(environment, "NCCL_DEBUG_SUBSYS")?,
        file: environment.get("NCCL_DEBUG_FILE").map(str::to_owned),
    })
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
