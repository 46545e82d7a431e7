//! The background thread: everything that blocks.

mod connections;
mod flows;
mod lanes;
mod ledger;
mod moves;
mod watching;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use srv6_fabric::{Block, Family, Flow, Prefix, Segments, Topology};
use srv6_paths::{CacheLimits, Jalapeno, JalapenoConfig, PathError, PathSource, Paths, TopologyFile};
use srv6_routes::{
    ByInterface, Dataplane, DryRun, Interface, LinuxRoutes, Reach, Route, RouteError, RouteKey, Target,
    collect_garbage,
};

use crate::choice::encoding;
use crate::error::chain;
use crate::lanes::LanesClaim;
use crate::notice::Notice;
use crate::{Config, LanesStatus, Slot, Source, Status, SteerError};
use connections::Connections;
use flows::Flows;
use ledger::{LOCK_PATIENCE, Ledger};
use watching::Watching;

/// What the thread is told.
#[derive(Debug)]
pub(crate) enum Job {
    Acquire(Arc<Slot>),
    Release(Arc<Slot>),
    AcquireLanes(Arc<LanesClaim>),
    ReleaseLanes(Arc<LanesClaim>),
    /// The path that the transport saw dead, as the lane had it then.
    Avoid {
        claim: Arc<LanesClaim>,
        lane: usize,
        seen: Segments,
        hops: Vec<String>,
    },
    /// The path that the peer's lane has now.
    Follow {
        claim: Arc<LanesClaim>,
        lane: usize,
        path: Vec<String>,
    },
    Topology(Notice<Topology, PathError>),
    Settle(mpsc::Sender<()>),
    /// The dataplane has forgotten everything.
    Restore,
}

#[derive(Debug)]
pub(crate) struct Worker {
    config: Config,
    paths: Paths,
    dataplane: Box<dyn Dataplane>,
    ledger: Ledger,
    flows: Flows,
    connections: Connections,
}

impl Worker {
    pub(crate) fn new(config: Config) -> Result<Self, SteerError> {
        let source: Box<dyn PathSource> = match &config.source {
            Source::Api(endpoint) => Box::new(Jalapeno::new(JalapenoConfig {
                endpoint: endpoint.clone(),
                graph: config.graph.clone(),
                hosts: config.hosts.clone(),
                // Leaves time for the next request of the same flow: a path takes two.
                request_timeout: config.deadline.mul_f64(0.6),
            })?),
            Source::File(path) => {
                Box::new(TopologyFile::new(path.clone(), config.graph.clone(), config.hosts.clone()))
            }
        };
        let backend = config.interface.clone();
        let dataplane: Box<dyn Dataplane> = match (config.vpp.clone(), config.dry_run) {
            (None, false) => Box::new(LinuxRoutes::new()?),
            (None, true) => Box::new(DryRun::new()?),
            (Some(vpp), false) => Box::new(ByInterface::new(vpp, backend)?),
            (Some(vpp), true) => Box::new(DryRun::with_vpp(vpp, backend)?),
        };
        Ok(Self {
            config,
            paths: Paths::new(source, CacheLimits::default()),
            dataplane,
            ledger: Ledger::default(),
            flows: HashMap::new(),
            connections: Connections::default(),
        })
    }

    pub(crate) fn run(mut self, inbox: &mpsc::Receiver<Job>) {
        self.tidy();
        let watching = self.watch();
        let mut waiting = VecDeque::new();
        while let Some(job) = next(&mut waiting, inbox, watching.as_ref()) {
            match job {
                Job::Acquire(slot) => self.acquire(&slot),
                Job::Release(slot) => self.release(&slot),
                Job::AcquireLanes(claim) => self.acquire_lanes(&claim),
                Job::ReleaseLanes(claim) => self.release_lanes(&claim),
                Job::Avoid { claim, lane, seen, hops } => self.avoid(&claim, lane, &seen, &hops),
                Job::Follow { claim, lane, path } => self.follow(&claim, lane, &path),
                Job::Topology(notice) => {
                    notice.give(self.paths.topology(Instant::now() + self.config.deadline));
                }
                Job::Settle(done) => drop(done),
                Job::Restore => self.restore(watching.as_ref()),
            }
        }
        self.ledger.release_all(self.dataplane.as_mut());
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
        if slot.abandoned.load(Ordering::Relaxed) {
            return;
        }
        let answer = self.steer(slot.flow, slot.since).map(Arc::new);
        *slot.status.lock() = match &answer {
            Ok(steered) => Status::Ready(Arc::clone(steered)),
            Err(error) => Status::Failed(chain(error).into()),
        };
        let notice = slot.notice.lock().take();
        if let Some(notice) = notice {
            notice.give(answer);
        }
    }

    fn release(&mut self, slot: &Slot) {
        if matches!(*slot.status.lock(), Status::Ready(_)) {
            self.unsteer(slot.flow);
        }
    }

    fn acquire_lanes(&mut self, claim: &Arc<LanesClaim>) {
        if claim.abandoned.load(Ordering::Relaxed) {
            return;
        }
        let answer = match self.open_lanes(claim) {
            Ok(lanes) => LanesStatus::Ready(Arc::new(lanes)),
            Err(error) => LanesStatus::Failed(chain(&error).into()),
        };
        claim.publish(answer);
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
        let block = Block::of(carrier, encoding(&self.config, flow).format);
        let destination = Prefix::new(block.address().into(), block.format().block_len())
            .unwrap_or_else(|_| Prefix::host(carrier.into()));
        Route {
            key: RouteKey { table, destination },
            interface,
            source: None,
            mtu: None,
            target: Target::Gateway(gateway),
        }
    }
}

/// The next job; `None` once there won't be any more.
fn next(
    waiting: &mut VecDeque<Job>,
    inbox: &mpsc::Receiver<Job>,
    watching: Option<&Watching>,
) -> Option<Job> {
    if let Some(watching) = watching {
        return watching.next(waiting, inbox);
    }
    if waiting.is_empty() {
        waiting.push_back(inbox.recv().ok()?);
    }
    first(waiting, inbox)
}

/// The next of the jobs that there are by now, a lane to be moved before all others: data is waiting for it.
fn first(waiting: &mut VecDeque<Job>, inbox: &mpsc::Receiver<Job>) -> Option<Job> {
    waiting.extend(inbox.try_iter());
    let urgent = waiting.iter().position(|job| matches!(job, Job::Avoid { .. } | Job::Follow { .. }));
    waiting.remove(urgent.unwrap_or(0))
}
