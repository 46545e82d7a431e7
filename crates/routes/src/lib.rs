//! Where a path goes: SRv6 routes in the kernel, and who holds them.
//!
//! The upper half decides: a [`Route`] says what is wanted, [`plan`] compares it with what is there. The lower
//! half programs: a [`Dataplane`] reads, replaces and removes routes that carry our protocol number, and
//! no others. Several routes to one destination lie in the tables of [`Slot`]s, and [`Rule`]s lead a socket to its
//! slot by a mark or a port. [`Holders`] counts references across processes, so that N ranks share a route and a killed
//! one leaks nothing.
#![forbid(unsafe_code)]

mod by_interface;
mod capabilities;
mod dry_run;
mod error;
mod garbage;
mod holders;
mod lane_rules;
mod linux;
mod per_process;
mod pinning;
mod plan;
mod processes;
mod route;
mod rule;
mod slot;
pub mod vpp;
mod watch;

use std::net::{IpAddr, Ipv6Addr};

use srv6_fabric::Flow;

pub use by_interface::ByInterface;
pub use capabilities::Capabilities;
pub use dry_run::DryRun;
pub use error::RouteError;
pub use garbage::{Garbage, collect_garbage};
pub use holders::{
    Hold, HoldCounts, Holders, HoldersLock, after_fork_in_child, after_fork_in_parent, before_fork,
};
pub use lane_rules::{LaneRules, Selector};
pub use linux::LinuxRoutes;
pub use per_process::PerProcess;
pub use pinning::{Ability, Missing, PinningReport, pinning};
pub use plan::{Plan, plan};
pub use processes::HoldProcesses;
pub use route::{EncapMode, Route, RouteKey, Target};
pub use rule::{Match, RULE_PRIORITY_BASE, RULE_PRIORITY_END, Rule, RuleKey};
pub use slot::{LANE_PORT_BASE, LANE_PORTS, LANE_TABLE_BASE, Pinning, SLOTS, Slot};
pub use watch::{Change, Watch};

/// Protocol number of every route that is ours (`rtm_protocol`): used neither by the kernel (`linux/rtnetlink.h`) and iproute2's
/// `rt_protos` nor by FRR, whose zebra removes routes of its own numbers, 186 to 198, when it starts (`zebra/rt_netlink.h`).
pub const PROTOCOL: u8 = 83;

/// Metric of every route that is ours. The kernel replaces a route of the same table, prefix and metric,
/// so a metric of our own keeps an operator's route to the same prefix from being overwritten.
pub const METRIC: u32 = 77;

/// A network interface of the namespace that the dataplane programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name, such as `eth1`.
    pub name: String,
    /// Its index.
    pub index: u32,
}

/// What the outer packet of a carrier would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Index of the interface that it would leave by.
    pub interface: u32,
    /// The router that it would go to; `None` where the route has none.
    pub gateway: Option<IpAddr>,
    /// Prefix length of the route that it would take; 0 is the default route.
    pub prefix_len: u8,
}

/// What steering needs of a dataplane. Blocking calls, for a thread of ours.
pub trait Dataplane: Send + std::fmt::Debug {
    /// What the dataplane that steers flows from this source does otherwise than another.
    fn capabilities(&mut self, source: IpAddr) -> Capabilities;

    /// Whether it may forget everything of ours while we go on. It then has to be watched, and given all of it again.
    fn restarts(&self) -> bool {
        false
    }

    /// The interface with this name.
    ///
    /// # Errors
    /// [`RouteError::UnknownInterface`], or the dataplane's own failure.
    fn interface_named(&mut self, name: &str) -> Result<Interface, RouteError>;

    /// The interface that holds this address.
    ///
    /// # Errors
    /// [`RouteError::ForeignSource`], or the dataplane's own failure.
    fn interface_of(&mut self, address: IpAddr) -> Result<Interface, RouteError>;

    /// All routes that are ours.
    ///
    /// # Errors
    /// The dataplane's own failure.
    fn owned(&mut self) -> Result<Vec<Route>, RouteError>;

    /// Our route with this key.
    ///
    /// # Errors
    /// The dataplane's own failure.
    fn find(&mut self, key: &RouteKey) -> Result<Option<Route>, RouteError>;

    /// Puts a route in place, atomically where one with the same key was.
    ///
    /// # Errors
    /// Why it isn't there; nothing is half done.
    fn set(&mut self, route: &Route) -> Result<(), RouteError>;

    /// As [`Self::set`], for a key under which there was a route of ours a moment ago: one request where `set` has to look first.
    ///
    /// # Errors
    /// As [`Self::set`].
    fn replace(&mut self, route: &Route) -> Result<(), RouteError> {
        self.set(route)
    }

    /// As [`Self::replace`], for many at once, and gives what could not be done. One failure doesn't stop the rest.
    fn replace_all(&mut self, routes: &[Route]) -> Vec<(RouteKey, RouteError)> {
        let failed = |route: &Route| self.replace(route).err().map(|error| (route.key, error));
        routes.iter().filter_map(failed).collect()
    }

    /// Notifications of changes from now on, each to be waited for on a thread of its own; none where the dataplane has none.
    ///
    /// # Errors
    /// The dataplane's own failure.
    fn watch(&mut self) -> Result<Vec<Box<dyn Watch>>, RouteError> {
        Ok(Vec::new())
    }

    /// Gives up, until the next call, what connects this process with the dataplane: it may be at its end, and VPP wants to be told.
    fn rest(&mut self) {}

    /// Removes our route with this key. Nothing to remove is success.
    ///
    /// # Errors
    /// Why it is still there.
    fn remove(&mut self, key: &RouteKey) -> Result<(), RouteError>;

    /// Carries out a plan, and gives what could not be done. One failure doesn't stop the rest.
    fn apply(&mut self, plan: &Plan) -> Vec<(RouteKey, RouteError)> {
        let mut failed = Vec::new();
        for route in &plan.set {
            failed.extend(self.set(route).err().map(|error| (route.key, error)));
        }
        for key in &plan.remove {
            failed.extend(self.remove(key).err().map(|error| (*key, error)));
        }
        failed
    }

    /// The route as [`Self::owned`] gives it back once it is set: without what this dataplane can't keep.
    fn as_kept(&self, route: &Route) -> Route {
        route.clone()
    }

    /// Whether packets of a flow really take our route with this key.
    ///
    /// # Errors
    /// [`RouteError::Shadowed`], or the dataplane's own failure.
    fn takes(&mut self, flow: Flow, key: &RouteKey) -> Result<(), RouteError>;

    /// Where the outer packet to a carrier would go; `None` where it would be lost.
    ///
    /// # Errors
    /// The dataplane's own failure.
    fn reach(&mut self, carrier: Ipv6Addr) -> Result<Option<Reach>, RouteError>;

    /// As [`Self::reach`], for the outer packets of flows from this source.
    ///
    /// # Errors
    /// The dataplane's own failure.
    fn reach_from(&mut self, _source: IpAddr, carrier: Ipv6Addr) -> Result<Option<Reach>, RouteError> {
        self.reach(carrier)
    }

    /// Whether the outer packet to a carrier takes our route with this key; with a selector that of such a socket.
    ///
    /// # Errors
    /// The dataplane's own failure.
    fn carries(
        &mut self,
        carrier: Ipv6Addr,
        selector: Option<Selector>,
        key: &RouteKey,
    ) -> Result<bool, RouteError>;

    /// Rules that tell connections of one flow apart; `None` where the dataplane can't (one that sees packets but no
    /// sockets and their marks).
    fn lane_rules(&mut self) -> Option<&mut dyn LaneRules>;
}
