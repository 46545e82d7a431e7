//! A route as we want it.

use std::fmt;
use std::net::IpAddr;

use srv6_fabric::{Prefix, Segments};

use crate::{METRIC, PROTOCOL};

/// What identifies a route in the kernel, beside our own metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteKey {
    /// Table id; 254 is `main`.
    pub table: u32,
    /// Destination prefix.
    pub destination: Prefix,
}

/// How the kernel encapsulates (kernel `seg6_iptunnel.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EncapMode {
    /// `encap.red`: the first segment is only in the destination address; one carrier needs no SRH at all.
    #[default]
    Reduced,
    /// `encap`: always with an SRH of all segments.
    Full,
}

impl EncapMode {
    /// `ip`'s name of the mode.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reduced => "encap.red",
            Self::Full => "encap",
        }
    }
}

/// Where the packets of a route go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Into an SRv6 tunnel.
    Encap {
        /// With or without the first segment in the header.
        mode: EncapMode,
        /// Carriers in travel order.
        segments: Segments,
    },
    /// To a router: the route for the uSID block.
    Gateway(IpAddr),
}

/// One route of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// Table and destination.
    pub key: RouteKey,
    /// Index of the interface it names. The outer packet of a tunnel is looked up again, so for
    /// [`Target::Encap`] this decides the source address only, not the way out.
    pub interface: u32,
    /// Preferred source address: stock transports don't bind theirs.
    pub source: Option<IpAddr>,
    /// MTU of the fabric in bytes. The kernel subtracts the tunnel's headroom itself; without this a smaller
    /// MTU inside the fabric stalls encapsulated TCP for good, since its ICMP errors never reach the socket.
    pub mtu: Option<u32>,
    /// Where packets go.
    pub target: Target,
}

impl Route {
    /// The `ip` command that installs this route, with the interface called `interface`.
    pub fn command(&self, interface: &str) -> String {
        format!("ip {}route replace {}", family_flag(self.key.destination), self.description(interface))
    }

    fn description(&self, interface: &str) -> String {
        let target = match &self.target {
            Target::Encap { mode, segments } => {
                format!("encap seg6 mode {} segs {segments} dev {interface}", mode.name())
            }
            Target::Gateway(gateway) => format!("via {gateway} dev {interface}"),
        };
        let source = self.source.map(|s| format!(" src {s}")).unwrap_or_default();
        let mtu = self.mtu.map(|m| format!(" mtu {m}")).unwrap_or_default();
        let RouteKey { table, destination } = self.key;
        format!("{destination} {target} proto {PROTOCOL} metric {METRIC} table {table}{source}{mtu}")
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description(&format!("if{}", self.interface)))
    }
}

impl RouteKey {
    /// The `ip` command that removes this route.
    pub fn command(&self) -> String {
        let Self { table, destination } = self;
        format!(
            "ip {}route del {destination} proto {PROTOCOL} metric {METRIC} table {table}",
            family_flag(*destination)
        )
    }
}

fn family_flag(destination: Prefix) -> &'static str {
    if destination.address().is_ipv6() { "-6 " } else { "" }
}
