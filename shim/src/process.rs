//! What one process steers. A child of fork starts anew.
//!
//! A route stays until its process ends. To give it back with its last connection would mean to follow every descriptor
//! through `close`, `dup`, `fork` and `SCM_RIGHTS`, and to take the path from under a connection wherever one is missed;
//! a route that stays too long costs a line in a table and one descriptor. For a program that talks to very many hosts
//! there is a limit, beyond which connections go unsteered.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use nix::sys::signal::{SigSet, SigmaskHow};
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};
use srv6_fabric::{Flow, chain};
use srv6_routes::PerProcess;
use srv6_settings::Mode;
use srv6_steer::{AgentSession, Attachment, Hold, Source, Status, Steer, may_change_routes};

use crate::address::Address;
use crate::bell::{Bell, Rang};
use crate::config::Config;
use crate::hosts::{self, Look};
use crate::lifetime;
use crate::outcome::{Failure, Kind, Outcome};

static PROCESS: PerProcess<Process> = PerProcess::new();

/// How long the exit of the process waits for routes to be withdrawn. It takes under a millisecond, unless the steering
/// thread waits for the path API at that moment.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Where the hosts aren't known, the path API isn't asked for them more often than this.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// How many different messages are written, each once.
const MOST_MESSAGES: usize = 256;

/// The state of one process.
#[derive(Debug, Default)]
pub(crate) struct Process {
    steer: OnceLock<Steer>,
    /// Held while steering is started.
    starting: Mutex<()>,
    /// When the topology file that was read last had been changed; held while one is read.
    read: Mutex<Option<SystemTime>>,
    holds: Mutex<HashMap<Address, Hold>>,
    /// Set while the source of paths doesn't answer in time: then nobody waits for it any more.
    doubtful: AtomicBool,
    /// When the path API was last asked for the hosts, by the clock of [`hosts::now`].
    asked: AtomicU64,
    told: Mutex<HashSet<String>>,
}

/// That of this very process.
pub(crate) fn current() -> &'static Process {
    PROCESS.get()
}

/// The process exits: what it still holds is given back.
///
/// Never waits for a lock for long: exit may have been called by a thread that is inside one of our functions.
pub(crate) fn leave() {
    let process = current();
    let Some(steer) = process.steer.get() else { return };
    let holds = process.holds.try_lock_for(LAST_WAIT).map(|mut holds| std::mem::take(&mut *holds));
    let routes = holds.iter().flatten().any(|(_, hold)| matches!(hold.status(), Status::Ready(_)));
    drop(holds);
    // Without routes, nobody has to wait for a thread that may be waiting for the path API.
    if routes {
        steer.settle(LAST_WAIT);
    }
}

impl Process {
    /// The steering of this process, started if it isn't yet.
    ///
    /// # Errors
    /// Why this process steers nothing.
    pub(crate) fn steer(&self, config: &Config) -> Result<&Steer, Failure> {
        if let Some(steer) = self.steer.get() {
            return Ok(steer);
        }
        let _one_at_a_time = self.starting.lock();
        match self.steer.get() {
            Some(steer) => Ok(steer),
            None => start(config).map(|steer| self.steer.get_or_init(|| steer)),
        }
    }

    /// Whether a destination is steered; asks the source of paths where that isn't known, for at most `patience`.
    ///
    /// # Errors
    /// Why nothing is.
    pub(crate) fn look(
        &'static self,
        config: &Config,
        destination: Address,
        patience: Duration,
    ) -> Result<Look, Failure> {
        let known = hosts::look(destination);
        if matches!(known, Look::Host | Look::Other) {
            return Ok(known);
        }
        match config.steering.as_ref().map(|steering| &steering.source) {
            Some(Source::File(_)) => self.read_file(config, destination),
            Some(Source::Api(_)) if config.mode != Mode::Agent => {
                self.ask_for_hosts(self.steer(config)?, known, destination, patience)
            }
            _ => {
                self.steer(config)?;
                let reason = "nothing says which addresses are hosts of the fabric: set SRV6_SHIM_PREFIXES or SRV6_TOPOLOGY";
                Err(Failure { kind: Kind::Settings, reason: reason.to_owned() })
            }
        }
    }

    /// Asks for a path, waits for it for at most `patience`, and keeps it for this process.
    ///
    /// `sure`: whether the destination is known to be a host. If it turns out to be none, nothing is said.
    pub(crate) fn request(
        &'static self,
        steer: &Steer,
        flow: Flow,
        patience: Duration,
        sure: bool,
    ) -> Outcome {
        let destination = Address::from(flow.dst);
        if !self.has_room(destination) {
            let reason = "this process has as many routes as a quarter of its limit of open files allows";
            self.tell(format!("connection {flow} and others go unsteered: {reason}"));
            return Outcome::Failed(Failure { kind: Kind::Other, reason: reason.to_owned() });
        }
        // Without a bell nobody waits.
        let (bell, ringer) = match (!patience.is_zero()).then(|| Bell::new(patience)) {
            Some(Ok((bell, ringer))) => (Some(bell), Some(ringer)),
            Some(Err(error)) => {
                self.tell(format!("connects don't wait for their routes: timerfd: {error}"));
                (None, None)
            }
            None => (None, None),
        };
        let failure = Arc::new(OnceLock::new());
        let noted = Arc::clone(&failure);
        let hold = steer.request_then(flow, move |answer| {
            let ringer = ringer;
            match answer {
                Ok(steered) => {
                    self.doubtful.store(false, Ordering::Relaxed);
                    log::info!("connection {flow}: {steered}");
                }
                Err(error) => {
                    let failure = Failure::from(&error);
                    self.doubtful.store(failure.kind == Kind::Source, Ordering::Relaxed);
                    if sure {
                        self.tell(format!("connection {flow} goes unsteered: {failure}"));
                    }
                    let _ = noted.set(failure);
                }
            }
            drop(ringer);
        });
        let rang = bell.map(|bell| bell.wait());
        let outcome = match (hold.status(), rang) {
            (Status::Ready(_), _) => Outcome::Steered,
            (Status::Failed(reason), _) => {
                let other = || Failure { kind: Kind::Other, reason: reason.to_string() };
                return Outcome::Failed(failure.get().cloned().unwrap_or_else(other));
            }
            (Status::Pending, Some(Rang::Interrupted)) => Outcome::Interrupted,
            (Status::Pending, _) => Outcome::Late,
        };
        if matches!(outcome, Outcome::Late) && rang.is_some() {
            self.doubtful.store(true, Ordering::Relaxed);
        }
        // The one before, if any, goes after this one is asked for: the route stays.
        let before = self.holds.lock().insert(destination, hold);
        drop(before);
        outcome
    }

    /// How far a request for this destination is that was made earlier.
    pub(crate) fn earlier(&self, destination: Address) -> Option<Status> {
        self.holds.lock().get(&destination).map(Hold::status)
    }

    /// Whether the source of paths has been too slow of late to be waited for.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Relaxed)
    }

    /// Writes a warning, unless it was written before.
    pub(crate) fn tell(&self, message: String) {
        let mut told = self.told.lock();
        if told.len() < MOST_MESSAGES && !told.contains(&message) {
            log::warn!("{message}");
            told.insert(message);
        }
    }

    fn has_room(&self, destination: Address) -> bool {
        let most = getrlimit(Resource::Nofile)
            .current
            .map_or(usize::MAX, |limit| usize::try_from(limit / 4).unwrap_or(usize::MAX));
        let mut holds = self.holds.lock();
        if holds.len() >= most {
            holds.retain(|_, hold| !matches!(hold.status(), Status::Failed(_)));
        }
        holds.len() < most || holds.contains_key(&destination)
    }

    fn read_file(&self, config: &Config, destination: Address) -> Result<Look, Failure> {
        let Some(steering) = &config.steering else { return Ok(Look::Other) };
        let Source::File(path) = &steering.source else { return Ok(Look::Other) };
        let mut read = self.read.lock();
        // Somebody else may have been faster.
        let known = hosts::look(destination);
        if matches!(known, Look::Unknown | Look::OtherOnce) && hosts::is_my_turn() {
            let changed = srv6_paths::topology_changed(path);
            if known == Look::OtherOnce && changed.is_some() && changed == *read {
                return Ok(Look::Other);
            }
            *read = changed;
            match srv6_paths::read_topology(path, &steering.graph, &steering.hosts) {
                Ok((_, topology)) => hosts::learn(Some(&topology)),
                Err(error) => {
                    self.tell(format!("connections go unsteered: {}", chain(&error)));
                    hosts::learn(None);
                }
            }
        }
        Ok(hosts::look(destination))
    }

    fn ask_for_hosts(
        &'static self,
        steer: &Steer,
        known: Look,
        destination: Address,
        patience: Duration,
    ) -> Result<Look, Failure> {
        let again = known == Look::OtherOnce;
        if again {
            // What was known goes on to count meanwhile.
            if hosts::is_my_turn() {
                steer.topology_then(move |answer| self.learn(answer));
            }
            return Ok(Look::Other);
        }
        let (last, now) = (self.asked.load(Ordering::Relaxed), hosts::now());
        let lately = last != 0 && u128::from(now.saturating_sub(last)) < ASK_AGAIN.as_millis();
        if self.is_doubtful() && lately {
            return Ok(Look::Unknown);
        }
        self.asked.store(now, Ordering::Relaxed);
        let wait = if self.is_doubtful() { Duration::ZERO } else { patience };
        let (bell, ringer) = Bell::new(wait).ok().unzip();
        steer.topology_then(move |answer| {
            self.learn(answer);
            drop(ringer);
        });
        if let Some(bell) = bell.filter(|_| !wait.is_zero())
            && bell.wait() == Rang::Yes
            && hosts::look(destination) == Look::Unknown
        {
            self.doubtful.store(true, Ordering::Relaxed);
        }
        Ok(hosts::look(destination))
    }

    fn learn(&self, answer: Result<Arc<srv6_fabric::Topology>, srv6_paths::PathError>) {
        match answer {
            Ok(topology) => {
                self.doubtful.store(false, Ordering::Relaxed);
                hosts::learn(Some(&topology));
            }
            Err(error) => {
                self.doubtful.store(true, Ordering::Relaxed);
                self.tell(format!("connections go unsteered: {}", chain(&error)));
            }
        }
    }
}

/// Whether it is known without a question which addresses are hosts.
fn knows_hosts(config: &Config) -> bool {
    let source = config.steering.as_ref().map(|steering| &steering.source);
    !config.prefixes.is_empty() || matches!(source, Some(Source::File(_)))
}

/// Longest wait for the agent's answer to whether it is there.
const AGENT_PATIENCE: Duration = Duration::from_millis(500);

/// Starts steering in this process, if it may, or by the agent.
fn start(config: &Config) -> Result<Steer, Failure> {
    let refused = |kind, reason: &str| Err(Failure { kind, reason: reason.to_owned() });
    let asking = Attachment { deadline: AGENT_PATIENCE, ..config.agent.clone() };
    let by_agent = match config.mode {
        Mode::Off => return refused(Kind::Settings, "SRV6_MODE=off"),
        Mode::Agent => true,
        // An agent says which path a host has, and not who is one.
        Mode::Auto => knows_hosts(config) && AgentSession::open(&asking).is_ok(),
        Mode::Local => false,
    };
    let steering = match &config.steering {
        // Who may program VPP is told by its socket, flow by flow.
        Some(steering) if steering.dry_run || steering.vpp.is_some() || may_change_routes() => Some(steering),
        _ if by_agent => None,
        None => {
            return refused(
                Kind::Settings,
                "no agent answers, and there is no source of paths: start srv6d on the host, set JALAPENO_API_ENDPOINT or \
                 SRV6_TOPOLOGY, or SRV6_MODE=off to say that this is wanted",
            );
        }
        Some(_) => {
            return refused(
                Kind::Permission,
                "no agent answers, and this process may not install routes: start srv6d on the host, give the process \
                 CAP_NET_ADMIN (in a container, capabilities.add: [NET_ADMIN]), or set SRV6_MODE=off",
            );
        }
    };
    lifetime::register();
    // A signal that the program blocks, or takes in a thread of its choice, must not arrive in ours.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let started = match steering.filter(|_| !by_agent) {
        Some(steering) => Steer::start(steering.clone()),
        None => Steer::attach(config.agent.clone()),
    };
    if let Ok(mask) = mask {
        // It was this thread's own a moment ago.
        let _ = mask.thread_set_mask();
    }
    started.map_err(|error| Failure::from(&error))
}
