//! The kernel and VPP on one host: each steers the flows whose source address is on an interface of its.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use srv6_fabric::Flow;

use crate::vpp::{VppConfig, VppRoutes};
use crate::{
    Capabilities, Dataplane, Interface, LaneRules, LinuxRoutes, Plan, Reach, Route, RouteError, RouteKey,
    Selector, Watch,
};

/// The kernel's `main` table: `ROUTE_TABLE_ID` is VPP's where there is a VPP.
const MAIN: u32 = 254;

/// How long it counts where an address was found. Higher: VPP is asked less, which takes two requests per interface of its.
/// Lower: an address that has moved is followed sooner.
const FRESH: Duration = Duration::from_secs(5);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Vpp,
    Kernel,
}

/// Where an address was found.
#[derive(Debug, Clone, Copy)]
struct Found {
    side: Side,
    at: Instant,
    /// Which connection VPP was asked over: one that was restarted may have other addresses.
    connection: u64,
}

/// VPP for the flows from its interfaces, and the kernel for all others.
///
/// Where both have a source address (an interface of VPP's that is mirrored into the kernel), or where the interface given by name
/// is VPP's, it is VPP: packets come to it in any case. A VPP that can't be asked has the addresses that it had when it was
/// asked last, and lets nothing down that the kernel steers.
#[derive(Debug)]
pub struct ByInterface {
    vpp: VppRoutes,
    kernel: LinuxRoutes,
    /// `BACKEND_INTERFACE`.
    backend: Option<String>,
    sources: HashMap<IpAddr, Found>,
    /// Where routes were put, or found. They stay there until they are removed, wherever their addresses go.
    places: HashMap<RouteKey, Side>,
}

impl ByInterface {
    /// Connects to the kernel now, and to VPP when it is needed.
    ///
    /// # Errors
    /// No netlink socket.
    pub fn new(vpp: VppConfig, backend: Option<String>) -> Result<Self, RouteError> {
        let (vpp, kernel) = (VppRoutes::new(vpp), LinuxRoutes::new()?);
        Ok(Self { vpp, kernel, backend, sources: HashMap::new(), places: HashMap::new() })
    }

    /// Whether VPP steers flows from this source.
    ///
    /// # Errors
    /// [`RouteError::ForeignSource`] where neither has the address; VPP's own where it can't be asked and the kernel doesn't have
    /// it either.
    pub fn is_vpps(&mut self, source: IpAddr) -> Result<bool, RouteError> {
        self.side_of(source).map(|side| side == Side::Vpp)
    }

    fn side_of(&mut self, source: IpAddr) -> Result<Side, RouteError> {
        let known = self.sources.get(&source).copied();
        let is_fresh =
            |found: &Found| found.connection == self.vpp.connection() && found.at.elapsed() < FRESH;
        if let Some(found) = known.filter(is_fresh) {
            return Ok(found.side);
        }
        let (by_vpp, by_kernel) = match &self.backend {
            Some(name) => (self.vpp.interface_named(name), self.kernel.interface_named(name)),
            None => (self.vpp.interface_of(source), self.kernel.interface_of(source)),
        };
        let side = match (by_vpp, by_kernel) {
            (Ok(_), _) => Side::Vpp,
            // It may have the address as well, so this isn't kept: the next flow asks again.
            (Err(RouteError::Vpp(error)), by_kernel) => {
                let side =
                    known.map(|found| found.side).or_else(|| by_kernel.is_ok().then_some(Side::Kernel));
                return side.ok_or(RouteError::Vpp(error));
            }
            (Err(_), Ok(_)) => Side::Kernel,
            (Err(error), Err(_)) => return Err(error),
        };
        let connection = self.vpp.connection();
        self.sources.insert(source, Found { side, at: Instant::now(), connection });
        Ok(side)
    }

    fn side(&mut self, side: Side) -> &mut dyn Dataplane {
        match side {
            Side::Vpp => &mut self.vpp,
            Side::Kernel => &mut self.kernel,
        }
    }

    /// Where a route is to be put: where it was, or with its source.
    fn place_of(&mut self, route: &Route) -> Result<Side, RouteError> {
        match (self.places.get(&route.key), route.source) {
            (Some(side), _) => Ok(*side),
            (None, Some(source)) => self.side_of(source),
            (None, None) => Ok(Side::Kernel),
        }
    }

    fn interface_on_its_side(&mut self, address: IpAddr) -> Result<Interface, RouteError> {
        match self.side_of(address)? {
            Side::Kernel => self.kernel.interface_of(address),
            // By name it may be VPP's though the address is on this side of a tap.
            Side::Vpp => self.vpp.interface_of(address).or_else(|_| self.kernel.interface_of(address)),
        }
    }

    /// What VPP is to have and what the kernel, and what can't be told.
    fn divided(&mut self, routes: &[Route]) -> (Vec<Route>, Vec<Route>, Vec<(RouteKey, RouteError)>) {
        let (mut vpp, mut kernel, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for route in routes {
            match self.place_of(route) {
                Ok(side) => {
                    self.places.insert(route.key, side);
                    let part = if side == Side::Vpp { &mut vpp } else { &mut kernel };
                    part.push(route.clone());
                }
                Err(error) => failed.push((route.key, error)),
            }
        }
        (vpp, kernel, failed)
    }
}

impl Dataplane for ByInterface {
    fn capabilities(&mut self, source: IpAddr) -> Capabilities {
        match self.side_of(source) {
            Ok(Side::Kernel) => Capabilities { table: Some(MAIN), ..self.kernel.capabilities(source) },
            Ok(Side::Vpp) | Err(_) => self.vpp.capabilities(source),
        }
    }

    fn restarts(&self) -> bool {
        true
    }

    fn interface_named(&mut self, name: &str) -> Result<Interface, RouteError> {
        self.vpp.interface_named(name).or_else(|_| self.kernel.interface_named(name))
    }

    fn interface_of(&mut self, address: IpAddr) -> Result<Interface, RouteError> {
        match self.interface_on_its_side(address) {
            // It may have moved since it was looked for.
            Err(RouteError::ForeignSource { .. }) if self.sources.remove(&address).is_some() => {
                self.interface_on_its_side(address)
            }
            found => found,
        }
    }

    fn owned(&mut self) -> Result<Vec<Route>, RouteError> {
        let vpp = match self.vpp.owned() {
            // No reason to let the kernel's flows down. Those of VPP's count as gone, and setting them again tells why.
            Err(RouteError::Vpp(error)) => {
                log::debug!("what VPP has isn't known: {error}");
                Vec::new()
            }
            found => found?,
        };
        let kernel = self.kernel.owned()?;
        self.places.extend(vpp.iter().map(|route| (route.key, Side::Vpp)));
        self.places.extend(kernel.iter().map(|route| (route.key, Side::Kernel)));
        Ok(vpp.into_iter().chain(kernel).collect())
    }

    fn find(&mut self, key: &RouteKey) -> Result<Option<Route>, RouteError> {
        if let Some(side) = self.places.get(key) {
            return self.side(*side).find(key);
        }
        match self.vpp.find(key) {
            Ok(Some(route)) => {
                self.places.insert(*key, Side::Vpp);
                Ok(Some(route))
            }
            // A VPP that can't be asked is no reason not to find what the kernel has; setting in VPP tells.
            Ok(None) | Err(RouteError::Vpp(_)) => self.kernel.find(key),
            Err(error) => Err(error),
        }
    }

    fn set(&mut self, route: &Route) -> Result<(), RouteError> {
        let side = self.place_of(route)?;
        self.places.insert(route.key, side);
        self.side(side).set(route)
    }

    fn replace_all(&mut self, routes: &[Route]) -> Vec<(RouteKey, RouteError)> {
        let (vpp, kernel, mut failed) = self.divided(routes);
        failed.extend(self.vpp.replace_all(&vpp));
        failed.extend(self.kernel.replace_all(&kernel));
        failed
    }

    fn watch(&mut self) -> Result<Vec<Box<dyn Watch>>, RouteError> {
        let mut both = self.vpp.watch()?;
        both.extend(self.kernel.watch()?);
        Ok(both)
    }

    fn rest(&mut self) {
        self.vpp.rest();
    }

    fn remove(&mut self, key: &RouteKey) -> Result<(), RouteError> {
        match self.places.remove(key) {
            Some(side) => self.side(side).remove(key),
            None => {
                let kernel = self.kernel.remove(key);
                self.vpp.remove(key).and(kernel)
            }
        }
    }

    fn apply(&mut self, plan: &Plan) -> Vec<(RouteKey, RouteError)> {
        let (for_vpp, for_kernel, mut failed) = self.divided(&plan.set);
        let mut vpp = Plan { set: for_vpp, remove: Vec::new() };
        let mut kernel = Plan { set: for_kernel, remove: Vec::new() };
        for key in &plan.remove {
            // One that isn't known to be anywhere is looked for on both sides.
            let place = self.places.remove(key);
            if place != Some(Side::Kernel) {
                vpp.remove.push(*key);
            }
            if place != Some(Side::Vpp) {
                kernel.remove.push(*key);
            }
        }
        failed.extend(self.vpp.apply(&vpp));
        failed.extend(self.kernel.apply(&kernel));
        failed
    }

    fn as_kept(&self, route: &Route) -> Route {
        let by_source = || self.sources.get(&route.source?).map(|found| found.side);
        match self.places.get(&route.key).copied().or_else(by_source) {
            Some(Side::Vpp) => self.vpp.as_kept(route),
            Some(Side::Kernel) | None => self.kernel.as_kept(route),
        }
    }

    fn takes(&mut self, flow: Flow, key: &RouteKey) -> Result<(), RouteError> {
        let side = match self.places.get(key) {
            Some(side) => *side,
            None => self.side_of(flow.src)?,
        };
        self.side(side).takes(flow, key)
    }

    fn reach(&mut self, carrier: Ipv6Addr) -> Result<Option<Reach>, RouteError> {
        self.vpp.reach(carrier)
    }

    fn reach_from(&mut self, source: IpAddr, carrier: Ipv6Addr) -> Result<Option<Reach>, RouteError> {
        let side = self.side_of(source)?;
        self.side(side).reach_from(source, carrier)
    }

    fn carries(
        &mut self,
        carrier: Ipv6Addr,
        selector: Option<Selector>,
        key: &RouteKey,
    ) -> Result<bool, RouteError> {
        // Block routes and lanes are the kernel's alone.
        self.kernel.carries(carrier, selector, key)
    }

    fn lane_rules(&mut self) -> Option<&mut dyn LaneRules> {
        self.kernel.lane_rules()
    }
}
