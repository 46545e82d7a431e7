//! Smallest sum of weights between two vertices: `SHORTEST_PATH` with a weight attribute.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::{Route, Trace, View};

/// A path of smallest weight, or none, and its weight.
///
/// Two-sided Dijkstra: the sides settle one vertex each in turn, the source's first; equal weights are settled in
/// the order in which they were found. The search is over when a vertex is settled on both sides: by then no
/// unseen way can be lighter than the lightest one known. (Stopping already when one side settles the other's
/// start, as ArangoDB up to 3.11 does, goes wrong where edges weigh 0: its BTS-1636. Not followed.)
pub(crate) fn lightest(view: &View<'_>, source: usize, destination: usize) -> Option<(f64, Route)> {
    if !view.is_open(source) || !view.is_open(destination) {
        return None;
    }
    if source == destination {
        return Some((0.0, Route::standing(source)));
    }
    let mut forward = Side::new(view, source, false);
    let mut backward = Side::new(view, destination, true);
    let mut best: Option<(f64, usize)> = None;
    // A side that has nothing left has settled all it can reach, so everything there is to know is in `best`.
    while let Turn::Settled = forward.settle(view, &backward, &mut best) {
        let Turn::Settled = backward.settle(view, &forward, &mut best) else { break };
    }
    best.map(|(weight, meeting)| (weight, Route::joined(meeting, &forward.trace, &backward.trace)))
}

enum Turn {
    /// One vertex more is settled.
    Settled,
    /// The answer is known.
    Done,
}

struct Side {
    backward: bool,
    queue: BinaryHeap<Reverse<Entry>>,
    found: u64,
    weight: Vec<f64>,
    settled: Vec<bool>,
    trace: Trace,
}

impl Side {
    fn new(view: &View<'_>, start: usize, backward: bool) -> Self {
        let size = view.graph.vertices.len();
        let mut weight = vec![f64::INFINITY; size];
        weight[start] = 0.0;
        Self {
            backward,
            queue: BinaryHeap::from([Reverse(Entry { weight: 0.0, found: 0, vertex: start })]),
            found: 1,
            weight,
            settled: vec![false; size],
            trace: vec![None; size],
        }
    }

    fn settle(&mut self, view: &View<'_>, other: &Self, best: &mut Option<(f64, usize)>) -> Turn {
        let vertex = loop {
            let Some(Reverse(entry)) = self.queue.pop() else { return Turn::Done };
            // An entry is stale once its vertex was reached by a lighter way.
            if !self.settled[entry.vertex] {
                break entry.vertex;
            }
        };
        for (edge, to) in view.steps(vertex, self.backward) {
            let weight = self.weight[vertex] + view.weight(edge);
            if !self.settled[to] && weight < self.weight[to] {
                self.weight[to] = weight;
                self.trace[to] = Some((vertex, edge));
                self.queue.push(Reverse(Entry { weight, found: self.found, vertex: to }));
                self.found += 1;
            }
        }
        self.settled[vertex] = true;
        let total = self.weight[vertex] + other.weight[vertex];
        if total.is_infinite() {
            return Turn::Settled;
        }
        // Of equal ways the first one seen stays.
        if best.is_none_or(|(weight, _)| total < weight) {
            *best = Some((total, vertex));
        }
        if other.settled[vertex] { Turn::Done } else { Turn::Settled }
    }
}

/// A vertex to settle: lightest first, and of equal ones the one found first.
#[derive(Debug, Clone, Copy)]
struct Entry {
    weight: f64,
    found: u64,
    vertex: usize,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.weight.total_cmp(&other.weight).then(self.found.cmp(&other.found))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::fixture::{fabric4x4, graph, names};
    use super::super::{Direction, Metric, View};
    use super::*;

    #[test]
    fn load_rotates_over_the_spines() {
        let mut snapshot = fabric4x4();
        let mut chosen = Vec::new();
        for _ in 0..6 {
            let (graph, writes) = snapshot.graph("fabric_graph").unwrap();
            let (h0, h1) = (graph.vertex("hosts/host00").unwrap(), graph.vertex("hosts/host01").unwrap());
            let view = View::new(graph, writes, Direction::Outbound, Metric::Load);
            let (_, route) = lightest(&view, h0, h1).unwrap();
            chosen.push(names(graph, &route.vertices[2..3]));
            let loads: Vec<(usize, i64)> = route
                .edges
                .iter()
                .map(|&e| (e, writes.load(e).and_then(|l| l.as_i64()).unwrap_or(0) + 10))
                .collect();
            let writes = snapshot.writes_mut("fabric_graph").unwrap();
            loads.into_iter().for_each(|(edge, load)| writes.set_load(edge, json!(load)));
        }
        assert_eq!(chosen, ["spine00", "spine01", "spine02", "spine03", "spine00", "spine01"]);
    }

    /// Bellman-Ford: as many rounds as vertices, no queue, no order.
    fn smallest(
        edges: &[(usize, usize)],
        loads: &[u8],
        source: usize,
        destination: usize,
        size: usize,
    ) -> f64 {
        let mut distance = vec![f64::INFINITY; size];
        distance[source] = 0.0;
        for _ in 0..size {
            for (&(a, b), &load) in edges.iter().zip(loads) {
                distance[b] = distance[b].min(distance[a] + f64::from(load));
            }
        }
        distance[destination]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Weights of 0 included, which stop the original's search too early.
        #[test]
        fn no_path_is_lighter(
            edges in prop::collection::vec((0usize..7, 0usize..7), 1..24),
            loads in prop::collection::vec(0u8..4, 24),
            ends in (0usize..7, 0usize..7),
        ) {
            let mut snapshot = graph(7, &edges);
            for (edge, &load) in loads.iter().take(edges.len()).enumerate() {
                snapshot.writes_mut("fabric_graph").unwrap().set_load(edge, json!(load));
            }
            let (graph, writes) = snapshot.graph("fabric_graph").unwrap();
            let view = View::new(graph, writes, Direction::Outbound, Metric::Load);
            let want = smallest(&edges, &loads, ends.0, ends.1, 7);
            match lightest(&view, ends.0, ends.1) {
                None => prop_assert!(want.is_infinite()),
                Some((weight, route)) => {
                    prop_assert_eq!(weight, want);
                    let sum: f64 = route.edges.iter().map(|&e| f64::from(loads[e])).sum();
                    prop_assert_eq!(sum, want);
                    for (hop, &edge) in route.vertices.windows(2).zip(&route.edges) {
                        prop_assert_eq!((hop[0], hop[1]), edges[edge]);
                    }
                }
            }
        }
    }
}
