//! The background thread: everything that blocks.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use srv6_fabric::{Block, Family, Flow, Prefix};
use srv6_paths::{CacheLimits, Jalapeno, JalapenoConfig, PathSource, Paths, Query, TopologyFile};
use srv6_routes::{
    Dataplane, DryRun, Hold, Holders, Interface, LinuxRoutes, Route, RouteError, RouteKey, Target,
    collect_garbage, plan,
};

use crate::choice::{choose, encoding, names_of};
use crate::error::chain;
use crate::{Config, Slot, Source, Status, SteerError, Steered};

/// Longest wait for other processes of this host that change routes. Each of them needs under a millisecond.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// What the thread is told.
#[derive(Debug)]
pub(crate) enum Job {
    Acquire(Arc<Slot>),
    Release(Arc<Slot>),
    Settle(mpsc::Sender<()>),
}

/// A route of this process and how many connections need it.
#[derive(Debug)]
struct Owned {
    // Dropping it tells other processes that this one needs the route no longer.
    hold: Hold,
    references: usize,
    source: IpAddr,
    steered: Steered,
    /// As it was installed, or found installed by another process.
    route: Route,
    /// The block route that it depends on.
    block: Option<RouteKey>,
}

#[derive(Debug)]
pub(crate) struct Worker {
    config: Config,
    paths: Paths,
    dataplane: Box<dyn Dataplane>,
    routes: HashMap<RouteKey, Owned>,
    blocks: HashMap<RouteKey, (Hold, usize)>,
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
        let dataplane: Box<dyn Dataplane> =
            if config.dry_run { Box::new(DryRun::new()?) } else { Box::new(LinuxRoutes::new()?) };
        let paths = Paths::new(source, CacheLimits::default());
        Ok(Self { config, paths, dataplane, routes: HashMap::new(), blocks: HashMap::new() })
    }

    pub(crate) fn run(mut self, inbox: &mpsc::Receiver<Job>) {
        match collect_garbage(self.dataplane.as_mut(), LOCK_PATIENCE) {
            Ok(garbage) => {
                for route in garbage.removed {
                    log::info!("removed a route that nobody holds: {route}");
                }
                for (key, error) in garbage.failed {
                    log::debug!("left {}: {}", key.destination, chain(&error));
                }
            }
            Err(error) => log::debug!("routes of earlier processes were not looked at: {}", chain(&error)),
        }
        while let Ok(job) = inbox.recv() {
            match job {
                Job::Acquire(slot) => self.acquire(&slot),
                Job::Release(slot) => self.release(&slot),
                Job::Settle(done) => drop(done),
            }
        }
        for key in self.routes.keys().copied().collect::<Vec<_>>() {
            self.withdraw(key);
        }
    }

    fn acquire(&mut self, slot: &Arc<Slot>) {
        // Its release is behind this in the queue and will find nothing to give back.
        if slot.abandoned.load(Ordering::Relaxed) {
            return;
        }
        let answer = match self.steer(slot.flow, slot.since) {
            Ok(steered) => Status::Ready(Arc::new(steered)),
            Err(error) => Status::Failed(chain(&error).into()),
        };
        *slot.status.lock() = answer;
    }

    fn release(&mut self, slot: &Slot) {
        if !matches!(*slot.status.lock(), Status::Ready(_)) {
            return;
        }
        let key = self.key(slot.flow);
        let Some(owned) = self.routes.get_mut(&key) else { return };
        owned.references -= 1;
        if owned.references == 0 {
            self.withdraw(key);
        }
    }

    fn key(&self, flow: Flow) -> RouteKey {
        RouteKey { table: self.config.table, destination: Prefix::host(flow.dst) }
    }

    fn steer(&mut self, flow: Flow, since: Instant) -> Result<Steered, SteerError> {
        let key = self.key(flow);
        if let Some(owned) = self.routes.get_mut(&key) {
            if owned.source != flow.src {
                return Err(SteerError::SharedDestination { other: owned.source });
            }
            // A link that was down for a moment, or an operator, may have taken it away since.
            if self.dataplane.takes(flow, &key).is_err() {
                self.dataplane.set(&owned.route)?;
                self.dataplane.takes(flow, &key)?;
            }
            owned.references += 1;
            let origin = "the route in use".to_owned();
            return Ok(Steered {
                origin,
                took: since.elapsed(),
                asking: Duration::ZERO,
                ..owned.steered.clone()
            });
        }
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
        let interface = self.interface(flow.src)?;

        let asked = Instant::now();
        let query = Query { policy: self.config.policy, algo: self.config.algo };
        let answer = self.paths.candidates(flow, query, deadline)?;
        let asking = asked.elapsed();

        let choice = choose(&self.config, flow, &answer)?;
        let mut hops = choice.path.names(&answer.topology);
        let block = self.block_route(choice.segments.first(), flow, &interface)?;
        let route = Route {
            key,
            interface: interface.index,
            source: Some(flow.src),
            mtu: self.config.mtu.or_else(|| choice.path.mtu(&answer.topology)),
            target: Target::Encap { mode: self.config.encap, segments: choice.segments.clone() },
        };
        let (hold, installed) = match self.install(&route) {
            Ok(done) => done,
            Err(error) => {
                self.drop_block(block);
                return Err(error);
            }
        };
        if let Err(error) = self.dataplane.takes(flow, &key) {
            self.give_back(key, hold);
            self.drop_block(block);
            return Err(error.into());
        }
        let mut carrier = choice.segments.to_string();
        if let Target::Encap { segments, .. } = &installed.target
            && *segments != choice.segments
        {
            log::info!("{flow}: another process of this host already steers it, by {segments}");
            hops = names_of(&self.config, flow, &answer, segments).unwrap_or_else(|| vec!["?".to_owned()]);
            carrier = segments.to_string();
        }
        let steered =
            Steered { hops, carrier, origin: answer.origin.to_string(), took: since.elapsed(), asking };
        self.routes.insert(
            key,
            Owned {
                hold,
                references: 1,
                source: flow.src,
                steered: steered.clone(),
                route: installed,
                block,
            },
        );
        Ok(steered)
    }

    fn interface(&mut self, source: IpAddr) -> Result<Interface, RouteError> {
        // Asked in any case: the kernel's own word for a source that isn't there would be "invalid argument".
        let holder = self.dataplane.interface_of(source)?;
        match &self.config.interface {
            Some(name) => self.dataplane.interface_named(name),
            None => Ok(holder),
        }
    }

    /// Sees to it that outer packets have a way out, and installs it where `SRV6_GATEWAY` says how.
    fn block_route(
        &mut self,
        carrier: Ipv6Addr,
        flow: Flow,
        interface: &Interface,
    ) -> Result<Option<RouteKey>, SteerError> {
        let Some(gateway) = self.config.gateway else {
            match self.dataplane.reach(carrier)? {
                None => {
                    return Err(RouteError::UnreachableCarrier {
                        carrier,
                        interface: interface.name.clone(),
                    }
                    .into());
                }
                Some(reach) if reach.interface != interface.index => log::warn!(
                    "{flow}: carrier {carrier} leaves by another interface than {} (a route of /{}); set SRV6_GATEWAY \
                     if that is not meant",
                    interface.name,
                    reach.prefix_len
                ),
                Some(_) => {}
            }
            return Ok(None);
        };
        let block = Block::of(carrier, encoding(&self.config, flow).format);
        let destination = Prefix::new(block.address().into(), block.format().block_len())
            .unwrap_or_else(|_| Prefix::host(carrier.into()));
        let key = RouteKey { table: self.config.table, destination };
        if let Some((_, references)) = self.blocks.get_mut(&key) {
            *references += 1;
            return Ok(Some(key));
        }
        let route = Route {
            key,
            interface: interface.index,
            source: None,
            mtu: None,
            target: Target::Gateway(gateway),
        };
        let (hold, _) = self.install(&route)?;
        self.blocks.insert(key, (hold, 1));
        Ok(Some(key))
    }

    /// Takes a reference on a route and puts it in place, unless another process that holds it already did.
    fn install(&mut self, route: &Route) -> Result<(Hold, Route), SteerError> {
        let lock = Holders.lock(LOCK_PATIENCE)?;
        let present = self.dataplane.find(&route.key)?;
        if let Some(present) = &present
            && Holders.count(&lock)?.of(&route.key) > 0
        {
            if let (Some(theirs), Some(ours)) = (present.source, route.source)
                && theirs != ours
            {
                return Err(SteerError::SharedDestination { other: theirs });
            }
            // Two ranks of a host share one route: the first one's choice stands, or they would fight over it.
            let hold = Holders.hold(&lock, &route.key)?;
            return Ok((hold, present.clone()));
        }
        let hold = Holders.hold(&lock, &route.key)?;
        let wanted = BTreeMap::from([(route.key, route.clone())]);
        for change in plan(&wanted, present.as_ref()).set {
            self.dataplane.set(&change)?;
        }
        Ok((hold, route.clone()))
    }

    fn withdraw(&mut self, key: RouteKey) {
        if let Some(owned) = self.routes.remove(&key) {
            self.give_back(key, owned.hold);
            self.drop_block(owned.block);
        }
    }

    fn drop_block(&mut self, key: Option<RouteKey>) {
        let Some(key) = key else { return };
        let Some((_, references)) = self.blocks.get_mut(&key) else { return };
        *references -= 1;
        if *references == 0
            && let Some((hold, _)) = self.blocks.remove(&key)
        {
            self.give_back(key, hold);
        }
    }

    /// Gives a reference back; the last one of the host takes the route along.
    fn give_back(&mut self, key: RouteKey, hold: Hold) {
        let done = Holders.lock(LOCK_PATIENCE).and_then(|lock| {
            drop(hold);
            if Holders.count(&lock)?.of(&key) > 0 { Ok(()) } else { self.dataplane.remove(&key) }
        });
        if let Err(error) = done {
            log::warn!("the route to {} stays until srv6ctl gc: {}", key.destination, chain(&error));
        }
    }
}
