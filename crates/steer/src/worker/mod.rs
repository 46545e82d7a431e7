//! The background thread: everything that blocks.

mod connections;
mod flows;
mod keeping;
mod lanes;
mod ledger;
mod moves;
mod queue;
mod reporting;
mod reroute;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use srv6_fabric::{Block, Family, Flow, Prefix, Topology, chain};
use srv6_paths::{Answer, CacheLimits, PathError, PathSource, Paths};
use srv6_routes::{
    ByInterface, Dataplane, DryRun, Interface, LinuxRoutes, Reach, Route, RouteError, RouteKey, Target,
    Watch, collect_garbage,
};

use crate::choice::encoding;
use crate::lanes::LanesClaim;
use crate::report::{Moved, Moves};
use crate::resolver::{Question, Resolver};
use crate::{Config, Denials, LISTENING, LanesStatus, Serving, Slot, Status, SteerError, Steered};
use connections::Connections;
use flows::Flows;
use keeping::Keeping;
use ledger::{LOCK_PATIENCE, Ledger};
use queue::Queue;
pub(crate) use queue::{Asked, Job, Jobs};

#[derive(Debug)]
pub(crate) struct Worker {
    config: Config,
    /// For other processes: what is found at the start may be theirs.
    serves: bool,
    resolver: Resolver,
    /// As it was when paths were last asked for, or it was read anew.
    topology: Option<Arc<Topology>>,
    dataplane: Box<dyn Dataplane>,
    watching: Vec<Watching>,
    ledger: Ledger,
    keeping: Keeping,
    flows: Flows,
    connections: Connections,
    denials: Denials,
    /// Of all flows and lanes, those that are gone included.
    moves: Moves,
    /// Refreshes that wait for the fabric, the oldest first.
    refreshes: VecDeque<(Instant, mpsc::Sender<Moved>)>,
}

/// Ends the thread that listens to the dataplane, when dropped.
struct Watching(Box<dyn Fn() + Send>);

impl Drop for Watching {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watching")
    }
}

impl Worker {
    /// For this process, or for others by `serving`. Its helpers' jobs come by `jobs`.
    pub(crate) fn new(
        config: Config,
        serving: Option<Serving>,
        jobs: &mpsc::Sender<Job>,
    ) -> Result<Self, SteerError> {
        let serves = serving.is_some();
        let (source, limits): (Box<dyn PathSource>, CacheLimits) = match serving {
            Some(Serving { source, limits }) => (source, limits),
            None => (config.open_source()?, CacheLimits::default()),
        };
        let backend = config.interface.clone();
        let mut dataplane: Box<dyn Dataplane> = match (config.vpp.clone(), config.dry_run) {
            (None, false) => Box::new(LinuxRoutes::new()?),
            (None, true) => Box::new(DryRun::new()?),
            (Some(vpp), false) => Box::new(ByInterface::new(vpp, backend)?),
            (Some(vpp), true) => Box::new(DryRun::with_vpp(vpp, backend)?),
        };
        let watching = watch(dataplane.as_mut(), jobs)?;
        Ok(Self {
            config,
            serves,
            resolver: Resolver::start(Paths::new(source, limits), jobs.clone())?,
            topology: None,
            dataplane,
            watching,
            ledger: Ledger::default(),
            keeping: Keeping::new(),
            flows: HashMap::new(),
            connections: Connections::default(),
            denials: Denials::default(),
            moves: Moves::new(),
            refreshes: VecDeque::new(),
        })
    }

    pub(crate) fn run(mut self, inbox: &mpsc::Receiver<Job>) {
        if !self.serves {
            self.tidy();
        }
        let mut queue = Queue::default();
        loop {
            match queue.next(inbox, self.keeping.left()) {
                Some(Job::End) => break,
                Some(Job::Release(slot)) => {
                    let mut slots = queue.releases();
                    slots.push(slot);
                    // One that isn't steered has nothing to give back.
                    slots.retain(|slot| matches!(slot.status(), Status::Ready(_)));
                    self.unsteer(&slots);
                }
                Some(job) => self.work(job),
                None => {}
            }
            if self.keeping.left().is_zero() {
                self.look();
            }
        }
        self.watching.clear();
        // Those who are served go on without this process; the next one takes over what it finds.
        if self.serves {
            self.ledger.leave_all();
        } else {
            self.ledger.release_all(self.dataplane.as_mut());
        }
    }

    fn work(&mut self, job: Job) {
        match job {
            Job::Acquire(slot) => self.acquire(&slot),
            Job::AcquireLanes(claim) => self.acquire_lanes(&claim),
            Job::ReleaseLanes(claim) => self.release_lanes(&claim),
            Job::Avoid { claim, lane, seen, hops } => self.avoid(&claim, lane, &seen, &hops),
            Job::Follow { claim, lane, path } => self.follow(&claim, lane, &path),
            Job::Answered { asked, answer, took } => self.answered(asked, *answer, took),
            Job::Changed(changes) => self.changed(&changes),
            Job::Tidy => self.tidy(),
            Job::Topology(notice) => {
                self.resolver
                    .ask(Question::Known { notice, deadline: Instant::now() + self.config.deadline });
            }
            Job::Refresh { since, done } => {
                self.refreshes.push_back((since, done));
                self.resolver.ask(Question::Topology { since, deadline: since + self.config.deadline });
            }
            // Those who asked may have gone, here and below.
            Job::Refreshed(topology) => {
                if let Some((since, done)) = self.refreshes.pop_front() {
                    let _gone = done.send(self.refreshed(topology, since));
                }
            }
            Job::Deny { denials, since, done } => {
                let _gone = done.send(self.deny(denials, since));
            }
            Job::Stranded { denials, done } => {
                let _gone = done.send(self.would_strand(&denials));
            }
            Job::Report(done) => {
                let _gone = done.send(self.report());
            }
            Job::PathsInUse(done) => {
                let _gone = done.send(self.paths_in_use());
            }
            Job::Settle(done) => self.resolver.ask(Question::Settle(done)),
            Job::Settled(done) => {
                // As a rule the process is about to end.
                self.dataplane.rest();
                drop(done);
            }
            // Done where the queue is at hand.
            // Who steers here marks its sockets itself.
            Job::Mark { .. } | Job::Release(_) | Job::End => {}
        }
    }

    /// Removes what processes before this one left. One without the permission leaves it to the next.
    fn tidy(&mut self) {
        match collect_garbage(self.dataplane.as_mut(), LOCK_PATIENCE) {
            Ok(garbage) => {
                for route in garbage.removed {
                    log::info!("removed a route that nobody holds: {route}");
                }
                for rule in garbage.removed_rules {
                    log::info!("removed a rule that nobody holds: {rule}");
                }
                for (key, error) in garbage.failed {
                    log::debug!("left {}: {}", key.destination, chain(&error));
                }
                for (rule, error) in garbage.failed_rules {
                    log::debug!("left rule {rule}: {}", chain(&error));
                }
            }
            Err(error) => log::debug!("routes of earlier processes were not looked at: {}", chain(&error)),
        }
    }

    fn acquire(&mut self, slot: &Arc<Slot>) {
        // Its release is behind this in the queue and will find nothing to give back.
        if slot.is_abandoned() {
            return;
        }
        let answer = self.steer(slot);
        publish(slot, answer);
    }

    fn acquire_lanes(&mut self, claim: &Arc<LanesClaim>) {
        if claim.is_abandoned() {
            return;
        }
        if let Err(error) = self.ask_lanes(claim) {
            claim.publish(LanesStatus::Failed(chain(&error).into()));
        }
    }

    /// Goes on with a connection whose paths were asked for.
    fn answered(&mut self, asked: Asked, answer: Result<Answer, PathError>, asking: Duration) {
        if asked.is_abandoned() {
            return;
        }
        if let Ok(answer) = &answer {
            self.topology = Some(Arc::clone(&answer.topology));
        }
        match asked {
            Asked::Flow(slot, interface) => {
                // Another connection of the flow may have asked at the same time.
                let steered = match (self.join(&slot), answer) {
                    (Ok(None), Ok(answer)) => self.place(&slot, &interface, &answer, asking).map(Some),
                    (Ok(None), Err(error)) => Err(error.into()),
                    (joined, _) => joined,
                };
                publish(&slot, steered);
            }
            Asked::Lanes(claim, interface) => {
                let opened = answer.map_err(SteerError::from);
                let opened = opened.and_then(|answer| self.open_lanes(&claim, &interface, &answer, asking));
                claim.publish(match opened {
                    Ok(lanes) => LanesStatus::Ready(Arc::new(lanes)),
                    Err(error) => LanesStatus::Failed(chain(&error).into()),
                });
            }
        }
    }

    /// What has to be so for any flow: one family, and still time.
    fn check(&self, flow: Flow, since: Instant) -> Result<Instant, SteerError> {
        if Family::of(flow.src) != Family::of(flow.dst) {
            return Err(SteerError::MixedFamilies {
                source_family: Family::of(flow.src),
                destination_family: Family::of(flow.dst),
            });
        }
        let deadline = since + self.config.deadline;
        if Instant::now() >= deadline {
            return Err(SteerError::Late { waited: since.elapsed() });
        }
        Ok(deadline)
    }

    fn interface(&mut self, source: IpAddr) -> Result<Interface, RouteError> {
        // Asked in any case: the kernel's own word for a source that isn't there would be "invalid argument".
        let holder = self.dataplane.interface_of(source)?;
        match &self.config.interface {
            Some(name) => self.dataplane.interface_named(name),
            None => Ok(holder),
        }
    }

    /// Where the outer packets to a carrier go now.
    fn way_out(&mut self, carrier: Ipv6Addr, flow: Flow, interface: &Interface) -> Result<Reach, SteerError> {
        let Some(reach) = self.dataplane.reach_from(flow.src, carrier)? else {
            return Err(RouteError::UnreachableCarrier { carrier, interface: interface.name.clone() }.into());
        };
        let named = self.dataplane.capabilities(flow.src).names_interface;
        if named && reach.interface != interface.index {
            log::warn!(
                "{flow}: carrier {carrier} leaves by another interface than {} (a route of /{}); set SRV6_GATEWAY if that is \
                 not meant",
                interface.name,
                reach.prefix_len
            );
        }
        Ok(reach)
    }

    /// The route for a carrier's block where `SRV6_GATEWAY` asks for one; without it, sees to it that there is a way out.
    fn block_route(
        &mut self,
        carrier: Ipv6Addr,
        flow: Flow,
        interface: &Interface,
    ) -> Result<Option<Route>, SteerError> {
        match self.config.gateway {
            Some(gateway) => {
                Ok(Some(self.block_through(gateway, self.config.table, carrier, flow, interface.index)))
            }
            None => self.way_out(carrier, flow, interface).map(|_| None),
        }
    }

    fn block_through(
        &self,
        gateway: IpAddr,
        table: u32,
        carrier: Ipv6Addr,
        flow: Flow,
        interface: u32,
    ) -> Route {
        Route {
            key: RouteKey { table, destination: self.block_of(carrier, flow) },
            interface,
            source: None,
            mtu: None,
            target: Target::Gateway(gateway),
        }
    }

    fn block_of(&self, carrier: Ipv6Addr, flow: Flow) -> Prefix {
        let block = Block::of(carrier, encoding(&self.config, flow).format);
        Prefix::new(block.address().into(), block.format().block_len())
            .unwrap_or_else(|_| Prefix::host(carrier.into()))
    }
}

/// Tells a connection how it went; nothing if that isn't known yet.
fn publish(slot: &Slot, steered: Result<Option<Steered>, SteerError>) {
    match steered {
        Ok(Some(steered)) => {
            let steered = Arc::new(steered);
            slot.publish(Status::Ready(Arc::clone(&steered)));
            slot.notify(Ok(steered));
        }
        Ok(None) => {}
        Err(error) => {
            slot.publish(Status::Failed(chain(&error).into()));
            slot.notify(Err(error));
        }
    }
}

/// Listens to what the dataplane tells, on threads of their own.
fn watch(dataplane: &mut dyn Dataplane, jobs: &mpsc::Sender<Job>) -> Result<Vec<Watching>, SteerError> {
    dataplane.watch()?.into_iter().map(|watch| listen(watch, jobs.clone())).collect()
}

fn listen(mut watch: Box<dyn Watch>, jobs: mpsc::Sender<Job>) -> Result<Watching, SteerError> {
    let watching = Watching(watch.stopper());
    std::thread::Builder::new()
        .name(LISTENING.to_owned())
        .spawn(move || {
            loop {
                match watch.wait() {
                    Ok(Some(changes)) => {
                        if jobs.send(Job::Changed(changes)).is_err() {
                            break;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        log::warn!("changes of routes are only seen every so often: {}", chain(&error));
                        break;
                    }
                }
            }
        })
        .map_err(|source| SteerError::Thread { source })?;
    Ok(watching)
}
