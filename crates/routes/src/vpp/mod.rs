//! VPP as dataplane, over its binary API: segment routing policies, and prefixes steered into them.
//!
//! What is ours is told by binding SID: every policy whose binding SID lies in our range, and everything that is steered into
//! one. Processes that program the same VPP have to share the lock of a network namespace, as those that program the kernel
//! do; those that can't need ranges of their own.

mod catalog;
mod client;
mod dialect;
mod error;
mod inventory;
pub mod message;
mod model;
mod session;
mod watch;
mod wire;
pub(crate) mod words;

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use srv6_fabric::{Flow, Prefix, Segments};

pub use client::Client;
pub use error::{VppError, meaning};
pub use model::Policy;
pub use wire::{Malformed, Reader, Writer};

use self::inventory::look_up;
use self::message::{Lookup, MAX_SEGMENTS, SegmentList, WayKind};
use self::model::Known;
use self::session::{Failures, Session};
use self::watch::{Line, Stamp, VppWatch};
use crate::{
    Capabilities, Dataplane, EncapMode, Interface, LaneRules, Plan, Reach, Route, RouteError, RouteKey,
    Selector, Target, Watch,
};

/// Why VPP can't tie sockets to paths.
const NO_PINNING: &str = "it sees packets, but neither sockets nor their marks, so only distinct destination addresses take \
                          distinct paths";

/// For so many times as long as it was waited in vain VPP isn't asked again.
const PAUSE: u32 = 2;

/// Which VPP, and what is ours in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VppConfig {
    /// VPP's API socket (`socksvr { socket-name … }`).
    pub socket: PathBuf,
    /// Where the binding SIDs of our policies are. Nobody else uses this range; 16 bits or more are left to number policies.
    pub range: Prefix,
    /// Source address of outer packets. Unset: that of the flow, or for IPv4 one of the interface that has the flow's source.
    pub source: Option<Ipv6Addr>,
    /// How long VPP may take to answer. Higher: a busy VPP still counts. Lower: a dead one delays less.
    pub timeout: Duration,
}

impl Default for VppConfig {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/vpp/api.sock"),
            range: Prefix::new(IpAddr::V6(DEFAULT_RANGE), 64)
                .unwrap_or_else(|_| Prefix::host(DEFAULT_RANGE.into())),
            source: None,
            timeout: Duration::from_secs(2),
        }
    }
}

/// Locally assigned (RFC 4193), with "SRV6" in ASCII where a site's number would be.
const DEFAULT_RANGE: Ipv6Addr = Ipv6Addr::new(0xfd53, 0x5256, 0x36, 0, 0, 0, 0, 0);

impl VppConfig {
    fn first_bsid(&self) -> Ipv6Addr {
        match self.range.address() {
            IpAddr::V6(address) => address,
            IpAddr::V4(address) => address.to_ipv6_mapped(),
        }
    }
}

/// The segment routing of one VPP. Connects when it is needed, and again after VPP was restarted.
#[derive(Debug)]
pub struct VppRoutes {
    config: VppConfig,
    session: Option<Session>,
    /// How many connections there were.
    connections: u64,
    /// For whoever watches.
    line: Option<Arc<Line>>,
    pause: Option<Pause>,
}

/// VPP hangs: each call would wait for nothing, and whoever waits for the calls after it as well.
#[derive(Debug)]
struct Pause {
    until: Instant,
    /// Another socket is another VPP.
    socket: Option<Stamp>,
    error: VppError,
}

impl VppRoutes {
    /// Nothing is connected before the first call.
    pub fn new(config: VppConfig) -> Self {
        Self { config, session: None, connections: 0, line: None, pause: None }
    }

    /// Number of the connection that there is, or was last; 0 before the first.
    pub fn connection(&self) -> u64 {
        self.connections
    }

    /// Which VPP this is.
    ///
    /// # Errors
    /// No connection to be had.
    pub fn version(&mut self) -> Result<String, VppError> {
        self.with(|_, session| session.client.version())
    }

    /// How many policies of our range VPP has.
    ///
    /// # Errors
    /// No connection to be had.
    pub fn policies(&mut self) -> Result<usize, VppError> {
        self.with(|config, session| {
            session.look(config)?;
            Ok(session.state.policies.len())
        })
    }

    /// The policy that a key of ours is steered into, read anew, with its binding SID; `None` where there is none.
    ///
    /// # Errors
    /// No connection to be had.
    pub fn policy_of(&mut self, key: &RouteKey) -> Result<Option<(Ipv6Addr, Policy)>, VppError> {
        self.with(|config, session| {
            session.look(config)?;
            let bsid = session.state.steering.get(key);
            Ok(bsid.copied().zip(session.state.policy_of(key).cloned()))
        })
    }

    /// Steers a destination over several paths at once: VPP spreads flows over them by weight, and each flow stays on its one.
    ///
    /// [`Dataplane::owned`] gives such a route with the first of its paths.
    ///
    /// # Errors
    /// As for [`Dataplane::set`].
    pub fn set_weighted(&mut self, route: &Route, lists: &[SegmentList]) -> Result<(), RouteError> {
        let policy = self.with(|config, session| policy(config, session, route, lists))?;
        self.set_policy(route.key, policy)
    }

    fn set_policy(&mut self, key: RouteKey, policy: Policy) -> Result<(), RouteError> {
        let set = [(key, policy)];
        let mut failures = self.with(|config, session| {
            // Somebody may have changed what is there; where nothing is known to be there, nothing can be lost.
            let known =
                if session.state.steering.contains_key(&key) { Known::Fresh } else { Known::Remembered };
            session.carry_out(config, &set, &[], known)
        })?;
        failures.remove(&key).map_or(Ok(()), |error| Err(error.into()))
    }

    /// Calls with a connection: the one that there is, or a new one; once more with a new one where VPP has ended it. One that
    /// didn't answer is left in peace for a while.
    fn with<T>(
        &mut self,
        mut call: impl FnMut(&VppConfig, &mut Session) -> Result<T, VppError>,
    ) -> Result<T, VppError> {
        if let Some(Pause { until, socket, error }) = &self.pause
            && Instant::now() < *until
            && *socket == watch::stamp(&self.config.socket)
        {
            return Err(error.clone());
        }
        let done = self.with_connection(&mut call);
        self.pause = match &done {
            Err(error @ VppError::Silent { waited, .. }) => Some(Pause {
                until: Instant::now() + *waited * PAUSE,
                socket: watch::stamp(&self.config.socket),
                error: error.clone(),
            }),
            _ => None,
        };
        done
    }

    fn with_connection<T>(
        &mut self,
        call: &mut impl FnMut(&VppConfig, &mut Session) -> Result<T, VppError>,
    ) -> Result<T, VppError> {
        for attempt in 0.. {
            let session = match &mut self.session {
                Some(session) => session,
                None => {
                    let seen = watch::stamp(&self.config.socket);
                    let session = self.session.insert(Session::open(&self.config)?);
                    self.connections += 1;
                    if let Some(line) = &self.line {
                        line.connected(&session.client, seen);
                    }
                    session
                }
            };
            match call(&self.config, session) {
                Err(error) if error.ends_connection() => {
                    if let Some(line) = &self.line {
                        line.failed();
                    }
                    self.session = None;
                    if attempt > 0 || !matches!(error, VppError::Closed { .. }) {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
        // The loop ends by returning.
        Err(VppError::Closed { socket: self.config.socket.clone(), doing: "connecting" })
    }
}

impl Dataplane for VppRoutes {
    fn capabilities(&mut self, _source: IpAddr) -> Capabilities {
        Capabilities { name: "vpp", table: None, names_interface: false, no_pinning: Some(NO_PINNING) }
    }

    fn restarts(&self) -> bool {
        true
    }

    fn interface_named(&mut self, name: &str) -> Result<Interface, RouteError> {
        let found = self.with(|_, session| session.inventory.named(&mut session.client, name))?;
        found.ok_or_else(|| RouteError::UnknownInterface { name: name.to_owned() })
    }

    fn interface_of(&mut self, address: IpAddr) -> Result<Interface, RouteError> {
        let address = address.to_canonical();
        let found = self.with(|_, session| session.inventory.holding(&mut session.client, address))?;
        found.ok_or(RouteError::ForeignSource { address })
    }

    fn owned(&mut self) -> Result<Vec<Route>, RouteError> {
        Ok(self.with(|config, session| {
            session.look(config)?;
            Ok(session.state.steering.keys().filter_map(|key| route(session, key)).collect())
        })?)
    }

    fn find(&mut self, key: &RouteKey) -> Result<Option<Route>, RouteError> {
        Ok(self.with(|config, session| {
            // What isn't in the table isn't steered either, and that is one answer instead of a list.
            if session.client.offers::<Lookup>().is_ok()
                && look_up(&mut session.client, key.table, key.destination, true)?.is_none()
            {
                session.state.steered(*key, None);
                return Ok(None);
            }
            session.look(config)?;
            Ok(route(session, key))
        })?)
    }

    fn set(&mut self, route: &Route) -> Result<(), RouteError> {
        let policy = self.with(|config, session| single(config, session, route))?;
        self.set_policy(route.key, policy)
    }

    fn replace_all(&mut self, routes: &[Route]) -> Vec<(RouteKey, RouteError)> {
        // One look at VPP for all of them, and as many requests at once as it takes.
        self.apply(&Plan { set: routes.to_vec(), remove: Vec::new() })
    }

    fn watch(&mut self) -> Result<Vec<Box<dyn Watch>>, RouteError> {
        let line = Arc::new(Line::new(self.config.socket.clone())?);
        if let Some(session) = &self.session {
            line.connected(&session.client, watch::stamp(&self.config.socket));
        }
        let watch = VppWatch::new(&line);
        self.line = Some(line);
        Ok(vec![Box::new(watch)])
    }

    fn rest(&mut self) {
        if let Some(line) = &self.line {
            line.given_up();
        }
        self.session = None;
    }

    fn remove(&mut self, key: &RouteKey) -> Result<(), RouteError> {
        let mut failures = self.with(|config, session| {
            let ours = session.state.steering.get(key).copied();
            let known = if is_there(session, key, ours)? { Known::Remembered } else { Known::Fresh };
            session.carry_out(config, &[], &[*key], known)
        })?;
        failures.remove(key).map_or(Ok(()), |error| Err(error.into()))
    }

    fn apply(&mut self, plan: &Plan) -> Vec<(RouteKey, RouteError)> {
        let done = self.with(|config, session| {
            let mut failures = Failures::new();
            let mut set = Vec::with_capacity(plan.set.len());
            for route in &plan.set {
                match single(config, session, route) {
                    Ok(policy) => set.push((route.key, policy)),
                    Err(error) if error.ends_connection() => return Err(error),
                    Err(error) => {
                        failures.insert(route.key, error);
                    }
                }
            }
            failures.extend(session.carry_out(config, &set, &plan.remove, Known::Fresh)?);
            Ok(failures)
        });
        match done {
            Ok(failures) => failures.into_iter().map(|(key, error)| (key, error.into())).collect(),
            Err(error) => {
                let keys = plan.set.iter().map(|route| route.key).chain(plan.remove.iter().copied());
                keys.map(|key| (key, error.clone().into())).collect()
            }
        }
    }

    fn as_kept(&self, route: &Route) -> Route {
        match &route.target {
            Target::Encap { segments, .. } => kept(route.key, segments.clone()),
            Target::Gateway(_) => route.clone(),
        }
    }

    fn takes(&mut self, flow: Flow, key: &RouteKey) -> Result<(), RouteError> {
        let destination = key.destination;
        let shadowed = |taken| RouteError::Shadowed { flow, destination, table: key.table, taken };
        let taken = self.with(|_, session| {
            if session.client.offers::<Lookup>().is_err() {
                return Ok(None);
            }
            let found = look_up(&mut session.client, key.table, Prefix::host(flow.dst), false)?;
            Ok(match found {
                Some(entry) if entry.prefix == destination => {
                    let bsid = session.state.steering.get(key).map(|bsid| IpAddr::V6(*bsid));
                    let by = entry.ways.first().and_then(|way| way.next_hop);
                    (bsid.is_none() || by != bsid)
                        .then(|| format!("they take one of /{} not by us", destination.length()))
                }
                Some(entry) => Some(format!("they take one of /{}", entry.prefix.length())),
                None => Some("they take none at all".to_owned()),
            })
        })?;
        taken.map_or(Ok(()), |taken| Err(shadowed(taken)))
    }

    fn reach(&mut self, carrier: Ipv6Addr) -> Result<Option<Reach>, RouteError> {
        Ok(self.with(|_, session| {
            // The outer packet is looked up in the default table, where VPP sends what it encapsulated.
            let found = look_up(&mut session.client, 0, Prefix::host(carrier.into()), false)?;
            let Some(entry) = found else { return Ok(None) };
            let way = entry.ways.iter().find(|way| way.kind == WayKind::Normal);
            Ok(way.map(|way| Reach {
                interface: way.interface.unwrap_or(0),
                gateway: way.next_hop,
                prefix_len: entry.prefix.length(),
            }))
        })?)
    }

    fn reach_from(&mut self, _source: IpAddr, carrier: Ipv6Addr) -> Result<Option<Reach>, RouteError> {
        if self.with(|_, session| Ok(session.client.offers::<Lookup>().is_err()))? {
            // A VPP that can't be asked is believed to have been set up.
            return Ok(Some(Reach { interface: 0, gateway: None, prefix_len: 0 }));
        }
        match self.reach(carrier)? {
            Some(reach) => Ok(Some(reach)),
            None => Err(VppError::NoWayOut { carrier }.into()),
        }
    }

    fn carries(
        &mut self,
        _carrier: Ipv6Addr,
        _selector: Option<Selector>,
        _key: &RouteKey,
    ) -> Result<bool, RouteError> {
        // There are no block routes of ours in VPP.
        Ok(false)
    }

    fn lane_rules(&mut self) -> Option<&mut dyn LaneRules> {
        None
    }
}

/// A route as VPP gives it back.
fn kept(key: RouteKey, segments: Segments) -> Route {
    let target = Target::Encap { mode: EncapMode::Reduced, segments };
    Route { key, interface: 0, source: None, mtu: None, target }
}

/// Our route with this key, as the session knows it.
fn route(session: &Session, key: &RouteKey) -> Option<Route> {
    let first = session.state.policy_of(key)?.lists.first()?;
    Some(kept(*key, Segments::new(first.segments.clone()).ok()?))
}

/// Whether a key is steered as is remembered, by one look-up.
fn is_there(session: &mut Session, key: &RouteKey, bsid: Option<Ipv6Addr>) -> Result<bool, VppError> {
    if bsid.is_none() || session.client.offers::<Lookup>().is_err() {
        return Ok(false);
    }
    let found = look_up(&mut session.client, key.table, key.destination, true)?;
    let by = found.and_then(|entry| entry.ways.first()?.next_hop);
    Ok(by == bsid.map(IpAddr::V6))
}

/// The policy of a route that takes one path.
fn single(config: &VppConfig, session: &mut Session, route: &Route) -> Result<Policy, VppError> {
    match &route.target {
        Target::Encap { segments, .. } => policy(config, session, route, &[SegmentList::alone(segments)]),
        Target::Gateway(_) => Err(VppError::NoGateways { destination: route.key.destination }),
    }
}

/// The policy of a route over these lists.
fn policy(
    config: &VppConfig,
    session: &mut Session,
    route: &Route,
    lists: &[SegmentList],
) -> Result<Policy, VppError> {
    let destination = route.key.destination;
    if let Some(list) = lists.iter().find(|list| list.segments.len() > MAX_SEGMENTS) {
        return Err(VppError::TooManySegments { destination, count: list.segments.len() });
    }
    session.inventory.check_table(&mut session.client, route.key.table, destination.address().is_ipv6())?;
    let source = match (config.source, route.source) {
        (Some(source), _) | (None, Some(IpAddr::V6(source))) => Some(source),
        (None, Some(IpAddr::V4(_)) | None) => session.inventory.ipv6_of(route.interface),
    };
    let source = source.ok_or(VppError::NoEncapSource { destination })?;
    if !session.dialect.sources {
        session.share_source(source)?;
    }
    Ok(Policy::new(session.dialect.source(source), lists.to_vec()))
}
