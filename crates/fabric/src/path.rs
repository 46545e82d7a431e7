//! Paths over a topology.

use std::collections::{HashMap, VecDeque};

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

    /// The vertices between the hosts.
    pub(crate) fn switches(&self) -> &[VertexIndex] {
        match self.vertices.as_slice() {
            [_, switches @ .., _] => switches,
            _ => &[],
        }
    }

    fn edges<'a>(&'a self, topology: &'a Topology) -> impl Iterator<Item = &'a Edge> {
        self.vertices.windows(2).filter_map(|pair| match pair {
            [from, to] => topology.edge(*from, *to),
            _ => None,
        })
    }
}

/// All shortest paths by number of links, in the order of their vertices' ids; of more than `limit` so many that lie evenly
/// among all.
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
    let mut ways = Ways { topology, distance, destination, onward: HashMap::new() };
    let all = u128::from(ways.count(source));
    let picked = all.min(limit as u128);
    // What is computed fits: it is below the number of all paths.
    let number = |n: u128| u64::try_from(n * all / picked).unwrap_or(u64::MAX);
    (0..picked).map(|n| ways.path(source, number(n))).collect()
}

/// The shortest paths to one destination, counted and not listed.
struct Ways<'a> {
    topology: &'a Topology,
    distance: Vec<Option<usize>>,
    destination: VertexIndex,
    /// Next vertices by id, each with the number of paths from there.
    onward: HashMap<VertexIndex, Vec<(VertexIndex, u64)>>,
}

impl Ways<'_> {
    fn count(&mut self, from: VertexIndex) -> u64 {
        if from == self.destination {
            return 1;
        }
        if !self.onward.contains_key(&from) {
            let nearer = |v: &VertexIndex| {
                let at = |v: &VertexIndex| self.distance.get(v.0).copied().flatten();
                at(v).zip(at(&from)).is_some_and(|(there, here)| there + 1 == here)
            };
            let mut next: Vec<VertexIndex> =
                self.topology.outgoing(from).map(|e| e.to).filter(nearer).collect();
            next.sort_unstable();
            next.dedup();
            let counted = next.into_iter().map(|v| (v, self.count(v))).collect();
            self.onward.insert(from, counted);
        }
        let onward = self.onward.get(&from).into_iter().flatten();
        onward.fold(0, |sum: u64, (_, count)| sum.saturating_add(*count))
    }

    /// Path number `number` in the order of ids.
    fn path(&self, source: VertexIndex, mut number: u64) -> Path {
        let mut vertices = vec![source];
        let mut here = source;
        while let Some(&(next, _)) = self.onward.get(&here).and_then(|onward| {
            onward.iter().find(|(_, count)| {
                let is_here = number < *count;
                if !is_here {
                    number -= count;
                }
                is_here
            })
        }) {
            vertices.push(next);
            here = next;
        }
        Path { vertices }
    }
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
