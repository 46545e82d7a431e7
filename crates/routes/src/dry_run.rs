//! `ROUTE_PLATFORM=none`: says what it would do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use srv6_fabric::Flow;

use crate::vpp::VppConfig;
use crate::vpp::words::{commands, removal};
use crate::{
    ByInterface, Capabilities, Dataplane, Interface, LaneRules, LinuxRoutes, Pinning, Reach, Route,
    RouteError, RouteKey, Rule, Selector,
};

/// Reads the kernel or VPP, remembers changes instead of making them, and logs each as the `ip` or `vppctl` command it is.
#[derive(Debug)]
pub struct DryRun {
    kernel: LinuxRoutes,
    /// Where there is a VPP: who steers what, and how.
    vpp: Option<(ByInterface, VppConfig)>,
    routes: BTreeMap<RouteKey, Route>,
    rules: BTreeSet<Rule>,
}

impl DryRun {
    /// Opens the kernel's routing tables for reading.
    ///
    /// # Errors
    /// No netlink socket.
    pub fn new() -> Result<Self, RouteError> {
        Ok(Self { kernel: LinuxRoutes::new()?, vpp: None, routes: BTreeMap::new(), rules: BTreeSet::new() })
    }

    /// For a host with a VPP, which is asked for its interfaces and tables, and for nothing else.
    ///
    /// # Errors
    /// No netlink socket.
    pub fn with_vpp(config: VppConfig, backend: Option<String>) -> Result<Self, RouteError> {
        let vpp = Some((ByInterface::new(config.clone(), backend)?, config));
        Ok(Self { vpp, ..Self::new()? })
    }

    /// The dataplane that would be programmed.
    fn reader(&mut self) -> &mut dyn Dataplane {
        match &mut self.vpp {
            Some((both, _)) => both,
            None => &mut self.kernel,
        }
    }

    /// Whether it would be VPP.
    fn is_vpps(&mut self, route: &Route) -> bool {
        match (&mut self.vpp, route.source) {
            (Some((both, _)), Some(source)) => both.is_vpps(source).unwrap_or(true),
            _ => false,
        }
    }
}

impl Dataplane for DryRun {
    fn capabilities(&mut self, source: IpAddr) -> Capabilities {
        Capabilities { name: "none", ..self.reader().capabilities(source) }
    }

    fn interface_named(&mut self, name: &str) -> Result<Interface, RouteError> {
        self.reader().interface_named(name)
    }

    fn interface_of(&mut self, address: IpAddr) -> Result<Interface, RouteError> {
        self.reader().interface_of(address)
    }

    fn owned(&mut self) -> Result<Vec<Route>, RouteError> {
        Ok(self.routes.values().cloned().collect())
    }

    fn find(&mut self, key: &RouteKey) -> Result<Option<Route>, RouteError> {
        Ok(self.routes.get(key).cloned())
    }

    fn set(&mut self, route: &Route) -> Result<(), RouteError> {
        if self.is_vpps(route) {
            let commands = self.vpp.as_ref().map(|(_, config)| commands(config, route));
            commands.into_iter().flatten().for_each(|command| log::info!("would run: {command}"));
        } else {
            let interface = self.kernel.interface_indexed(route.interface)?;
            log::info!("would run: {}", route.command(&interface.name));
        }
        self.routes.insert(route.key, route.clone());
        Ok(())
    }

    fn rest(&mut self) {
        self.reader().rest();
    }

    fn remove(&mut self, key: &RouteKey) -> Result<(), RouteError> {
        if let Some(route) = self.routes.remove(key) {
            let command = if self.is_vpps(&route) { removal(key) } else { key.command() };
            log::info!("would run: {command}");
        }
        Ok(())
    }

    fn takes(&mut self, _flow: Flow, _key: &RouteKey) -> Result<(), RouteError> {
        Ok(())
    }

    fn reach(&mut self, carrier: Ipv6Addr) -> Result<Option<Reach>, RouteError> {
        self.reader().reach(carrier)
    }

    fn reach_from(&mut self, source: IpAddr, carrier: Ipv6Addr) -> Result<Option<Reach>, RouteError> {
        self.reader().reach_from(source, carrier)
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
