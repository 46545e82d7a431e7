//! Which interface is joined to which.

use std::collections::{BTreeSet, HashMap};

use srv6_fabric::{Topology, VertexIndex};

use super::{Cable, CableKind, End, MANAGEMENT, NodePlan, Role, names};
use crate::{Error, Mbps, Options};

/// Data interface of a host whose document names none.
const HOST_INTERFACE: &str = "eth1";

/// Largest MTU of a veth, and the smallest that IPv6 allows (RFC 8200 section 5).
const MTU: std::ops::RangeInclusive<u32> = 1280..=65535;

/// One cable per pair of joined vertices, whatever number of edges joins them, and one per host to the
/// management network.
pub(super) fn cables(
    topology: &Topology,
    nodes: &[NodePlan],
    position: &HashMap<VertexIndex, usize>,
    options: &Options,
) -> Result<Vec<Cable>, Error> {
    let pairs: BTreeSet<(VertexIndex, VertexIndex)> = topology
        .edges()
        .iter()
        .filter(|e| e.from != e.to)
        .map(|e| (e.from.min(e.to), e.from.max(e.to)))
        .collect();

    let (mut fabric, mut host) = (Vec::new(), Vec::new());
    for &(a, b) in &pairs {
        match (topology.vertex(a).is_host(), topology.vertex(b).is_host()) {
            (false, false) => fabric.push((a, b, CableKind::Fabric)),
            (false, true) => host.push((a, b, CableKind::Host)),
            (true, false) => host.push((b, a, CableKind::Host)),
            (true, true) => {
                return Err(Error::HostToHost {
                    first: topology.vertex(a).id.clone(),
                    second: topology.vertex(b).id.clone(),
                });
            }
        }
    }

    let mut cables = Vec::new();
    let mut used: HashMap<VertexIndex, usize> = HashMap::new();
    for (first, second, kind) in fabric.into_iter().chain(host) {
        let link = format!("{}-{}", topology.vertex(first).name, topology.vertex(second).name);
        let interface = match kind {
            CableKind::Host => host_interface(topology, second, used.entry(second).or_default())?,
            CableKind::Fabric | CableKind::Management => names::towards(&topology.vertex(first).name),
        };
        let at = |vertex| position.get(&vertex).copied().unwrap_or(usize::MAX);
        cables.push(cable(
            cables.len(),
            kind,
            [(at(first), names::towards(&topology.vertex(second).name)), (at(second), interface)],
            mtu(topology, first, second, &link, options)?,
            rate(topology, first, second, &link, kind, options)?,
        ));
    }

    let management = nodes.iter().position(|n| n.name == MANAGEMENT).unwrap_or(usize::MAX);
    for (i, node) in nodes.iter().enumerate().filter(|(_, n)| n.role == Role::Host) {
        let ends = [(management, names::towards(&node.name)), (i, "mgmt0".to_owned())];
        cables.push(cable(cables.len(), CableKind::Management, ends, Options::MTU, None));
    }
    Ok(cables)
}

fn cable(number: usize, kind: CableKind, ends: [(usize, String); 2], mtu: u32, rate: Option<Mbps>) -> Cable {
    let number = u32::try_from(number).unwrap_or(u32::MAX >> 2);
    let [first, second] = ends;
    let end = |(node, interface): (usize, String), side: u8| End {
        node,
        interface,
        // Numbers of our own: where the kernel numbers the two ends of a veth alike, which it does with ends in
        // different namespaces, it reports their carrier up to a second late (net/core/link_watch.c).
        ifindex: 1000 + 2 * number + u32::from(side),
        // Locally administered (the 02), so that neighbours can be entered before anything was sent.
        mac: {
            let [_, b, c, d] = number.to_be_bytes();
            [0x02, 0x56, b, c, d, side]
        },
        addresses: Vec::new(),
        neighbours: Vec::new(),
    };
    Cable { kind, ends: [end(first, 0), end(second, 1)], mtu, rate }
}

fn host_interface(topology: &Topology, host: VertexIndex, used: &mut usize) -> Result<String, Error> {
    let vertex = topology.vertex(host);
    let first = vertex.interface.as_deref().unwrap_or(HOST_INTERFACE);
    let interface = names::numbered(first, *used);
    *used += 1;
    if !names::is_valid(&interface) {
        return Err(Error::InterfaceName { vertex: vertex.id.clone(), interface });
    }
    Ok(interface)
}

fn mtu(
    topology: &Topology,
    a: VertexIndex,
    b: VertexIndex,
    link: &str,
    options: &Options,
) -> Result<u32, Error> {
    // A veth has one MTU for both directions: the smaller of what the two edges say holds for either.
    let documented =
        [topology.edge(a, b), topology.edge(b, a)].into_iter().flatten().filter_map(|e| e.mtu).min();
    let mtu = documented.or(options.mtu).unwrap_or(Options::MTU);
    if MTU.contains(&mtu) { Ok(mtu) } else { Err(Error::Mtu { link: link.to_owned(), mtu }) }
}

fn rate(
    topology: &Topology,
    a: VertexIndex,
    b: VertexIndex,
    link: &str,
    kind: CableKind,
    options: &Options,
) -> Result<Option<Mbps>, Error> {
    let documented =
        [topology.edge(a, b), topology.edge(b, a)].into_iter().flatten().filter_map(|e| e.rate_mbps).min();
    match documented {
        Some(mbps) => Mbps::new(mbps)
            .map(Some)
            .map_err(|e| Error::Rate { link: link.to_owned(), reason: e.to_string() }),
        None if kind == CableKind::Fabric => Ok(options.rate_fabric),
        None => Ok(options.rate_host),
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::tests::{DUAL_STACK, THREE, topology};
    use crate::plan::{CableKind, Plan};
    use crate::{Mbps, Options};

    #[test]
    fn a_pair_of_edges_is_one_cable_named_after_its_ends() {
        let plan = Plan::new(&topology(THREE), &Options::default()).unwrap();
        let of = |kind| plan.cables.iter().filter(|c| c.kind == kind).collect::<Vec<_>>();
        assert_eq!(of(CableKind::Fabric).len(), 9, "3 leaves x 3 spines");
        assert_eq!(of(CableKind::Management).len(), 3);
        let hosts = of(CableKind::Host);
        assert_eq!(hosts.len(), 3);
        assert_eq!(plan.link_name(hosts[0]), "leaf00-srv6-pytorch-0");
        assert_eq!(hosts[0].ends[0].interface, "srv6-pytorch-0");
        assert_eq!(hosts[0].ends[1].interface, "net1", "the document's interface");
        for cable in &plan.cables {
            assert_ne!(cable.ends[0].ifindex, cable.ends[1].ifindex);
        }
    }

    #[test]
    fn documents_go_before_options_for_their_own_link() {
        let text =
            DUAL_STACK.replacen("\"latency\": 1,", "\"latency\": 1, \"mtu\": 1400, \"rate_mbps\": 50,", 1);
        assert_ne!(text, DUAL_STACK);
        let rate = Some(Mbps::new(100).unwrap());
        let options = Options { rate_fabric: rate, mtu: Some(9000), ..Options::default() };
        let plan = Plan::new(&topology(&text), &options).unwrap();
        let mut fabric: Vec<_> = plan
            .cables
            .iter()
            .filter(|c| c.kind == CableKind::Fabric)
            .map(|c| (c.mtu, c.rate.unwrap().get()))
            .collect();
        fabric.sort_unstable();
        assert_eq!(fabric, [(1400, 50), (9000, 100), (9000, 100), (9000, 100)]);
        let host = plan.cables.iter().find(|c| c.kind == CableKind::Host).unwrap();
        assert_eq!((host.mtu, host.rate), (9000, None));
    }

    #[test]
    fn links_that_cannot_be_are_refused() {
        let refused =
            |text: &str, options: &Options| Plan::new(&topology(text), options).unwrap_err().to_string();
        let small = Options { mtu: Some(1279), ..Options::default() };
        assert!(refused(THREE, &small).ends_with("MTU 1279: want 1280 to 65535"));
        let bad = THREE.replacen("\"net1\"", "\"eth one\"", 1);
        assert!(refused(&bad, &Options::default()).contains("interface \"eth one\""));
        let edge =
            "{\"_key\": \"x\", \"_from\": \"hosts/srv6-pytorch-0\", \"_to\": \"hosts/srv6-pytorch-1\"},";
        let joined = THREE.replacen("\"fabric_graph\": [", &format!("\"fabric_graph\": [{edge}"), 1);
        assert!(refused(&joined, &Options::default()).contains("are hosts joined without a switch"));
    }
}
