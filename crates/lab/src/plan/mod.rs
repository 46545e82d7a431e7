//! What a lab will consist of: a pure function of topology and options.
//!
//! Nothing here touches the kernel, so another process that knows topology and options arrives at the same
//! names, addresses and commands as the one that built the lab.

mod addresses;
mod cables;
mod commands;
mod names;
mod routes;
mod sids;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use srv6_fabric::{Topology, Vertex, VertexIndex};

pub(crate) use commands::{lossless, lossy, lost_neighbours, shaping, whole_packets, wire_packets};
pub use routes::{Hop, Route};
pub use sids::{LocalSid, SidAction};

use crate::{Error, Mbps, Options};

/// Node that joins all hosts outside the fabric.
pub(crate) const MANAGEMENT: &str = "mgmt";

/// A lab on paper: what [`Lab::up`](crate::Lab::up) makes of a topology, for whoever makes the same elsewhere.
#[derive(Debug)]
pub struct Plan {
    /// Vertices in the topology's order, then the management network.
    pub nodes: Vec<NodePlan>,
    /// Links in a fixed order: between switches, to hosts, to the management network.
    pub cables: Vec<Cable>,
    routes: Vec<Vec<Route>>,
    local_sids: Vec<Vec<LocalSid>>,
}

/// One namespace.
#[derive(Debug)]
pub struct NodePlan {
    /// Unique name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// A host's address on the management network.
    pub management: Option<Ipv4Addr>,
    /// Vertex id, where it comes from the topology.
    pub id: Option<String>,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It sends and receives.
    Host,
    /// It forwards, and has SIDs.
    Switch,
    /// It joins all hosts outside the fabric.
    Management,
}

/// What a cable joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CableKind {
    /// Two switches.
    Fabric,
    /// A switch (first end) and a host.
    Host,
    /// The management network (first end) and a host.
    Management,
}

/// A veth pair.
#[derive(Debug)]
pub struct Cable {
    /// What it joins.
    pub kind: CableKind,
    /// Its two ends.
    pub ends: [End; 2],
    /// Bytes.
    pub mtu: u32,
    /// Rate of each direction when the lab comes up.
    pub rate: Option<Mbps>,
}

/// What a fault has made of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    On,
    /// Its neighbours are lost.
    Silent,
    /// It is switched off: the kernel takes no routes over it.
    Off,
}

/// One interface of a veth pair.
#[derive(Debug)]
pub struct End {
    /// Position of the node it belongs to.
    pub node: usize,
    /// Its name.
    pub interface: String,
    pub(crate) ifindex: u32,
    pub(crate) mac: [u8; 6],
    /// Addresses with prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Addresses that are reached at the other end.
    pub(crate) neighbours: Vec<IpAddr>,
}

impl Plan {
    /// Plans the lab of a topology.
    ///
    /// # Errors
    /// Topologies that a lab can't be made of: names, links, SIDs or MTUs that can't be, each named.
    pub fn new(topology: &Topology, options: &Options) -> Result<Self, Error> {
        let nodes = nodes(topology)?;
        let position: HashMap<VertexIndex, usize> =
            topology.vertices().enumerate().map(|(i, (v, _))| (v, i)).collect();
        let mut cables = cables::cables(topology, &nodes, &position, options)?;
        addresses::assign(topology, &nodes, &mut cables);
        let local_sids = sids::local_sids(topology)?;
        let routes = routes::routes(topology, &nodes, &cables);
        Ok(Self { nodes, cables, routes, local_sids })
    }

    /// Position of a node by name or vertex id.
    pub fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|n| n.name == name || n.id.as_deref() == Some(name))
    }

    /// `first-second` of a cable's nodes.
    pub(crate) fn link_name(&self, cable: &Cable) -> String {
        let [a, b] = cable.ends.each_ref().map(|end| self.name_of(end.node));
        format!("{a}-{b}")
    }

    /// Name of the node at a position.
    pub fn name_of(&self, node: usize) -> &str {
        self.nodes.get(node).map_or("", |n| &n.name)
    }

    /// Routes of the node at a position; a switch's local SIDs are not among them.
    pub fn routes(&self, node: usize) -> &[Route] {
        self.routes.get(node).map(Vec::as_slice).unwrap_or_default()
    }

    /// What the switch at a position does with packets to its SIDs, sorted by prefix; hosts have none.
    pub fn local_sids(&self, node: usize) -> &[LocalSid] {
        self.local_sids.get(node).map(Vec::as_slice).unwrap_or_default()
    }

    /// Address that the switch at a position answers ICMP errors from; its interfaces only have link-local ones.
    pub fn loopback(&self, node: usize) -> Option<Ipv6Addr> {
        self.nodes.get(node).filter(|n| n.role == Role::Switch)?;
        // A unique local prefix (RFC 4193) of the lab's own. A SID won't do: as a local address it would be
        // delivered instead of being processed as End.
        let base: Ipv6Addr = Ipv6Addr::new(0xfd53, 0x5236, 0x6c61, 0x6200, 0, 0, 0, 0);
        Some(Ipv6Addr::from_bits(base.to_bits() | (node as u128 + 1)))
    }

    /// A node's ends with the cables they belong to.
    pub fn ends_of(&self, node: usize) -> impl Iterator<Item = (&Cable, &End)> {
        self.cables
            .iter()
            .flat_map(|c| c.ends.iter().map(move |e| (c, e)))
            .filter(move |(_, end)| end.node == node)
    }
}

fn nodes(topology: &Topology) -> Result<Vec<NodePlan>, Error> {
    let hosts = topology.vertices().filter(|(_, v)| v.is_host()).count();
    let mut free = (10..=254u8).map(|last| Ipv4Addr::new(198, 18, 0, last));
    let mut by_name: HashMap<&str, &Vertex> = HashMap::new();
    let mut nodes = Vec::new();
    for (_, vertex) in topology.vertices() {
        if vertex.name == MANAGEMENT {
            return Err(Error::ReservedName { vertex: vertex.id.clone() });
        }
        if let Some(first) = by_name.insert(&vertex.name, vertex) {
            return Err(Error::DuplicateName {
                name: vertex.name.clone(),
                first: first.id.clone(),
                second: vertex.id.clone(),
            });
        }
        let management = match vertex.is_host() {
            true => Some(free.next().ok_or(Error::TooManyHosts { hosts })?),
            false => None,
        };
        nodes.push(NodePlan {
            name: vertex.name.clone(),
            role: if vertex.is_host() { Role::Host } else { Role::Switch },
            management,
            id: Some(vertex.id.clone()),
        });
    }
    nodes.push(NodePlan {
        name: MANAGEMENT.to_owned(),
        role: Role::Management,
        management: Some(Ipv4Addr::new(198, 18, 0, 1)),
        id: None,
    });
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use srv6_fabric::Documents;

    use super::*;

    pub(super) fn topology(text: &str) -> Topology {
        let documents = Documents::parse([("test", text)], "fabric_graph", "hosts").unwrap();
        Topology::new(&documents, "fabric_graph").unwrap()
    }

    pub(super) const DUAL_STACK: &str = include_str!("../../../../examples/fabrics/2x2-dual-stack.json");
    pub(super) const THREE: &str = include_str!("../../../../examples/fabrics/3x3.json");

    #[test]
    fn names_that_a_lab_cannot_have_are_refused() {
        let refused = |from: &str, to: &str| {
            let text = DUAL_STACK.replace(&format!("\"name\": {from:?}"), &format!("\"name\": {to:?}"));
            Plan::new(&topology(&text), &Options::default()).unwrap_err().to_string()
        };
        assert_eq!(
            refused("host01", "host00"),
            "hosts/host00 and hosts/host01 are both called \"host00\"; a lab needs a name per node"
        );
        assert!(refused("spine00", "mgmt").contains("_spine00 is called \"mgmt\""));
    }

    #[test]
    fn hosts_get_management_addresses_in_order() {
        let plan = Plan::new(&topology(THREE), &Options::default()).unwrap();
        let of = |name| plan.nodes[plan.node(name).unwrap()].management;
        assert_eq!(of("srv6-pytorch-0"), Some(Ipv4Addr::new(198, 18, 0, 10)));
        assert_eq!(of("hosts/srv6-pytorch-2"), Some(Ipv4Addr::new(198, 18, 0, 12)));
        assert_eq!(of("mgmt"), Some(Ipv4Addr::new(198, 18, 0, 1)));
        assert_eq!(of("leaf00"), None);
    }
}
