//! `ROUTE_PLATFORM=none`: says what it would do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use srv6_fabric::Flow;

use crate::{
    Capabilities, Dataplane, Interface, LaneRules, LinuxRoutes, Pinning, Reach, Route, RouteError, RouteKey,
    Rule, Selector,
};

/// Reads the kernel, remembers changes instead of making them, and logs each as the `ip` command it is.
#[derive(Debug)]
pub struct DryRun {
    kernel: LinuxRoutes,
    routes: BTreeMap<RouteKey, Route>,
    rules: BTreeSet<Rule>,
}

impl DryRun {
    /// Opens the kernel's routing tables for reading.
    ///
    /// # Errors
    /// No netlink socket.
    pub fn new() -> Result<Self, RouteError> {
        Ok(Self { kernel: LinuxRoutes::new()?, routes: BTreeMap::new(), rules: BTreeSet::new() })
    }
}

impl Dataplane for DryRun {
    fn capabilities(&mut self, source: IpAddr) -> Capabilities {
        Capabilities { name: "none", ..self.kernel.capabilities(source) }
    }

    fn interface_named(&mut self, name: &str) -> Result<Interface, RouteError> {
        self.kernel.interface_named(name)
    }

    fn interface_of(&mut self, address: IpAddr) -> Result<Interface, RouteError> {
        self.kernel.interface_of(address)
    }

    fn owned(&mut self) -> Result<Vec<Route>, RouteError> {
        Ok(self.routes.values().cloned().collect())
    }

    fn find(&mut self, key: &RouteKey) -> Result<Option<Route>, RouteError> {
        Ok(self.routes.get(key).cloned())
    }

    fn set(&mut self, route: &Route) -> Result<(), RouteError> {
        let interface = self.kernel.interface_indexed(route.interface)?;
        log::info!("would run: {}", route.command(&interface.name));
        self.routes.insert(route.key, route.clone());
        Ok(())
    }

    fn remove(&mut self, key: &RouteKey) -> Result<(), RouteError> {
        if self.routes.remove(key).is_some() {
            log::info!("would run: {}", key.command());
        }
        Ok(())
    }

    fn takes(&mut self, _flow: Flow, _key: &RouteKey) -> Result<(), RouteError> {
        Ok(())
    }

    fn reach(&mut self, carrier: Ipv6Addr) -> Result<Option<Reach>, RouteError> {
        self.kernel.reach(carrier)
    }

    fn carries(
        &mut self,
        _carrier: Ipv6Addr,
        _selector: Option<Selector>,
        _key: &RouteKey,
    ) -> Result<bool, RouteError> {
        Ok(true)
    }

    fn lane_rules(&mut self) -> Option<&mut dyn LaneRules> {
        Some(self)
    }
}

impl LaneRules for DryRun {
    fn pinnings(&self) -> &[Pinning] {
        self.kernel.pinnings()
    }

    fn owned_rules(&mut self) -> Result<Vec<Rule>, RouteError> {
        Ok(self.rules.iter().copied().collect())
    }

    fn set_rule(&mut self, rule: &Rule) -> Result<(), RouteError> {
        if self.rules.insert(*rule) {
            log::info!("would run: {}", rule.command());
        }
        Ok(())
    }

    fn remove_rule(&mut self, rule: &Rule) -> Result<(), RouteError> {
        if self.rules.remove(rule) {
            log::info!("would run: {}", rule.removal());
        }
        Ok(())
    }

    fn takes_by(&mut self, _flow: Flow, _selector: Selector, _key: &RouteKey) -> Result<(), RouteError> {
        Ok(())
    }
}
