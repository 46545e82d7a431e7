//! Why a route isn't there, each with its remedy.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use srv6_fabric::{Flow, Prefix};

/// A dataplane's refusal.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The process may not change routes.
    #[error(
        "not allowed to {doing}: this needs CAP_NET_ADMIN in the process's network namespace; \
         give it to the container (capabilities.add: [NET_ADMIN]), or set SRV6_MODE=off"
    )]
    NotPermitted {
        /// The attempted change.
        doing: String,
    },
    /// A kernel built without SRv6 encapsulation.
    #[error(
        "the kernel refused {doing} as not supported: it lacks SRv6 encapsulation \
         (CONFIG_IPV6_SEG6_LWTUNNEL and CONFIG_LWTUNNEL, kernel 4.10 or later; encap.red needs 6.0, \
         SRV6_ENCAP=encap does without)"
    )]
    NoSeg6 {
        /// The attempted change.
        doing: String,
    },
    /// A kernel without rules.
    #[error(
        "the kernel refused {doing} as not supported: it lacks routing rules (CONFIG_IP_MULTIPLE_TABLES, \
         CONFIG_IPV6_MULTIPLE_TABLES)"
    )]
    NoRules {
        /// The attempted change.
        doing: String,
    },
    /// The outer packet would have nowhere to go.
    #[error(
        "no route to carrier {carrier}: packets would be lost; add one for the uSID block \
         (ip -6 route add BLOCK via GATEWAY dev {interface}) or set SRV6_GATEWAY"
    )]
    UnreachableCarrier {
        /// First segment.
        carrier: Ipv6Addr,
        /// Data interface.
        interface: String,
    },
    /// The gateway given isn't on the data interface.
    #[error("gateway {gateway} can't be reached through {interface}; check SRV6_GATEWAY")]
    UnreachableGateway {
        /// The gateway.
        gateway: IpAddr,
        /// Data interface.
        interface: String,
    },
    /// No such interface.
    #[error("no interface {name:?} in this network namespace; check BACKEND_INTERFACE")]
    UnknownInterface {
        /// Name, or index as text.
        name: String,
    },
    /// The interface is down.
    #[error(
        "interface {name} is down; set it up (ip link set {name} up) or name another in BACKEND_INTERFACE"
    )]
    InterfaceDown {
        /// Name.
        name: String,
    },
    /// The source address belongs to nobody here.
    #[error("{address} is no address of this network namespace, so nothing here can send from it")]
    ForeignSource {
        /// The address.
        address: IpAddr,
    },
    /// Somebody else's route is in our place.
    #[error(
        "{destination} table {table} metric {metric} holds a route of protocol {protocol}, which is not ours to replace; \
         remove it, or choose another ROUTE_TABLE_ID"
    )]
    Occupied {
        /// Destination prefix.
        destination: String,
        /// Table.
        table: u32,
        /// Metric.
        metric: u32,
        /// The other's protocol number.
        protocol: u8,
    },
    /// Packets take another route than ours.
    #[error(
        "packets of {flow} don't take the route to {destination} in table {table}: {taken}; remove that route, or, where \
         ROUTE_TABLE_ID is not main, add a rule that leads to the table (ip -6 rule add lookup {table})"
    )]
    Shadowed {
        /// The flow.
        flow: Flow,
        /// Our route's prefix.
        destination: Prefix,
        /// Our route's table.
        table: u32,
        /// What they take instead.
        taken: String,
    },
    /// Another process of this namespace holds the lock.
    #[error(
        "another process held the route lock of this network namespace for more than {} ms; \
         `ss -xp` shows which one has @srv6/lock",
        waited.as_millis()
    )]
    Locked {
        /// How long was waited.
        waited: Duration,
    },
    /// VPP's own refusals.
    #[error(transparent)]
    Vpp(#[from] crate::vpp::VppError),
    /// Anything else the kernel says.
    #[error("{doing}")]
    Kernel {
        /// The attempted call.
        doing: String,
        /// Its error.
        #[source]
        source: io::Error,
    },
}
