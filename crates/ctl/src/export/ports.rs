//! What a platform calls the interfaces of its switches.
//!
//! The lab names a switch's interface after the neighbour (`spine00`, `host01`). A SONiC switch has front-panel ports
//! with fixed names, so its links take them in the plan's order: links to switches first, then those to hosts.

use srv6_lab::{CableKind, End, Plan, Role};

/// A platform's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ports {
    /// As in the lab.
    Linux,
    /// Ethernet0, Ethernet4, …: ports of four lanes, as docker-sonic-vs and most switches number them.
    Sonic,
}

impl Ports {
    /// An interface of a switch by the lab's name, as the switch's own configuration calls it.
    pub(super) fn name(self, plan: &Plan, switch: usize, interface: &str) -> String {
        match self {
            Self::Linux => interface.to_owned(),
            Self::Sonic => format!("Ethernet{}", 4 * position(plan, switch, interface)),
        }
    }

    /// The same as containerlab calls it: docker-sonic-vs makes Ethernet0 of eth1, Ethernet4 of eth2 and so on.
    pub(super) fn endpoint(self, plan: &Plan, end: &End) -> String {
        let is_switch = plan.nodes.get(end.node).is_some_and(|n| n.role == Role::Switch);
        match self {
            Self::Sonic if is_switch => format!("eth{}", position(plan, end.node, &end.interface) + 1),
            Self::Linux | Self::Sonic => end.interface.clone(),
        }
    }

    /// The interface that carries a switch's own address.
    pub(super) fn loopback(self) -> &'static str {
        match self {
            Self::Linux => "lo",
            Self::Sonic => "Loopback0",
        }
    }
}

/// Which of the switch's data interfaces this is, from 0.
fn position(plan: &Plan, switch: usize, interface: &str) -> usize {
    plan.ends_of(switch)
        .filter(|(cable, _)| cable.kind != CableKind::Management)
        .position(|(_, end)| end.interface == interface)
        .unwrap_or_default()
}
