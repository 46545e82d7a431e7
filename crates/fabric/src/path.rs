//! Paths over a topology.

use std::collections::VecDeque;

use crate::{Edge, Topology, VertexIndex};

/// Vertices from source host to destination host, both included.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    /// In travel order, at least two.
    pub vertices: Vec<VertexIndex>,
}

impl Path {
    /// Names of the vertices in travel order, for people.
    pub fn names(&self, topology: &Topology) -> Vec<String> {
        self.vertices.iter().map(|&v| topology.vertex(v).name.clone()).collect()
    }

    /// Smallest MTU that a link on the way is documented to have, in bytes.
    pub fn mtu(&self, topology: &Topology) -> Option<u32> {
        self.edges(topology).filter_map(|e| e.mtu).min()
    }

    /// Sum of the links' latencies, in the documents' own unit.
    pub fn latency(&self, topology: &Topology) -> f64 {
        self.edges(topology).map(|e| e.latency).sum()
    }

    /// Sum of the links' utilizations, in percent.
    pub fn utilization(&self, topology: &Topology) -> f64 {
        self.edges(topology).map(|e| e.utilization).sum()
    }

    fn edges<'a>(&'a self, topology: &'a Topology) -> impl Iterator<Item = &'a Edge> {
        self.vertices.windows(2).filter_map(|pair| match pair {
            [from, to] => topology.edge(*from, *to),
            _ => None,
        })
    }
}

/// All shortest paths by number of links, in the order of their vertices' ids, at most `limit` of them.
///
/// Hosts are ends, never transit. Empty where there is no way, or where source and destination are the same.
pub fn equal_cost_paths(
    topology: &Topology,
    source: VertexIndex,
    destination: VertexIndex,
    limit: usize,
) -> Vec<Path> {
    if source == destination {
        return Vec::new();
    }
    let distance = distances_to(topology, destination);
    let mut found = Vec::new();
    let mut stack = vec![vec![source]];
    // Depth first with neighbours pushed in reverse, so that paths come out sorted and no more than
    // `limit` are ever built.
    while let Some(path) = stack.pop() {
        if found.len() == limit {
            break;
        }
        let Some(&last) = path.last() else { continue };
        if last == destination {
            found.push(Path { vertices: path });
            continue;
        }
        let Some(here) = distance.get(last.0).copied().flatten() else { continue };
        let mut next: Vec<VertexIndex> = topology
            .outgoing(last)
            .map(|e| e.to)
            .filter(|v| distance.get(v.0).copied().flatten().is_some_and(|d| d + 1 == here))
            .collect();
        next.sort_unstable();
        next.dedup();
        for v in next.into_iter().rev() {
            let mut longer = path.clone();
            longer.push(v);
            stack.push(longer);
        }
    }
    found
}

/// Links to `destination` from every vertex that can reach it without passing through a host.
fn distances_to(topology: &Topology, destination: VertexIndex) -> Vec<Option<usize>> {
    let count = topology.vertices().count();
    let mut incoming: Vec<Vec<VertexIndex>> = vec![Vec::new(); count];
    for edge in topology.edges() {
        if let Some(list) = incoming.get_mut(edge.to.0) {
            list.push(edge.from);
        }
    }
    let mut distance = vec![None; count];
    let mut queue = VecDeque::from([(destination, 0usize)]);
    while let Some((vertex, d)) = queue.pop_front() {
        let Some(slot) = distance.get_mut(vertex.0) else { continue };
        if slot.is_some() {
            continue;
        }
        *slot = Some(d);
        if topology.vertex(vertex).is_host() && vertex != destination {
            continue;
        }
        queue.extend(incoming.get(vertex.0).into_iter().flatten().map(|&v| (v, d + 1)));
    }
    distance
}
