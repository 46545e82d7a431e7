//! The k best paths in order of cost: `K_SHORTEST_PATHS`.

use std::collections::{BTreeMap, HashSet};

use super::{Route, View, lightest};

/// Up to `count` loop-free paths of non-decreasing weight, distinct by their edges.
///
/// Yen's algorithm: each path found is left at each of its vertices in turn, and the rest searched anew without
/// the edges that earlier paths took there. Of candidates with equal weight the one found first comes first, as in
/// the original.
pub(crate) fn ranked_paths(view: &View<'_>, source: usize, destination: usize, count: usize) -> Vec<Route> {
    let mut paths: Vec<Route> = Vec::new();
    let mut candidates = Candidates::default();
    if let Some((weight, route)) = lightest(view, source, destination) {
        candidates.add(weight, Candidate { route, left_at: 0 });
    }
    let mut view = view.clone();
    while paths.len() < count {
        let Some(candidate) = candidates.best() else { break };
        // Before the vertex where it left its parent this path is its parent, whose branches are candidates already.
        for at in candidate.left_at..candidate.route.edges.len() {
            if let Some((weight, route)) = branch(&mut view, &candidate.route, at, destination, &paths) {
                candidates.add(weight, Candidate { route, left_at: at });
            }
        }
        paths.push(candidate.route);
    }
    paths
}

/// The lightest path that goes with `path` up to vertex number `at` and leaves it, and all of `others`, there.
fn branch(
    view: &mut View<'_>,
    path: &Route,
    at: usize,
    destination: usize,
    others: &[Route],
) -> Option<(f64, Route)> {
    let (root, spur) = (&path.vertices[..at], path.vertices[at]);
    let root_edges = &path.edges[..at];
    let mut taken: Vec<usize> = others
        .iter()
        .filter(|other| other.edges.len() > at && other.edges[..at] == *root_edges)
        .map(|other| other.edges[at])
        .collect();
    taken.push(path.edges[at]);
    root.iter().for_each(|&v| view.close_vertex(v, true));
    // An edge may be closed for the whole query already, but then no path took it.
    taken.iter().for_each(|&e| view.close_edge(e, true));
    let found = lightest(view, spur, destination);
    root.iter().for_each(|&v| view.close_vertex(v, false));
    taken.iter().for_each(|&e| view.close_edge(e, false));
    let (weight, rest) = found?;
    let root_weight: f64 = root_edges.iter().map(|&e| view.weight(e)).sum();
    Some((
        root_weight + weight,
        Route { vertices: [root, &rest.vertices].concat(), edges: [root_edges, &rest.edges].concat() },
    ))
}

#[derive(Debug)]
struct Candidate {
    route: Route,
    left_at: usize,
}

/// Paths found and not yet given out, by weight and then by when they were found.
#[derive(Debug, Default)]
struct Candidates {
    waiting: BTreeMap<(Weight, u64), Candidate>,
    seen: HashSet<Vec<usize>>,
    found: u64,
}

impl Candidates {
    fn add(&mut self, weight: f64, candidate: Candidate) {
        if self.seen.insert(candidate.route.edges.clone()) {
            self.waiting.insert((Weight(weight), self.found), candidate);
            self.found += 1;
        }
    }

    fn best(&mut self) -> Option<Candidate> {
        self.waiting.pop_first().map(|(_, candidate)| candidate)
    }
}

#[derive(Debug, Clone, Copy)]
struct Weight(f64);

impl Ord for Weight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Weight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Weight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Weight {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{fabric4x4, graph, names};
    use super::super::{Direction, Metric, View};
    use super::*;

    #[test]
    fn valleys_come_after_the_equal_paths() {
        let snapshot = fabric4x4();
        let (graph, writes) = snapshot.graph("fabric_graph").unwrap();
        let (h0, h1) = (graph.vertex("hosts/host00").unwrap(), graph.vertex("hosts/host01").unwrap());
        let view = View::new(graph, writes, Direction::Outbound, Metric::Hops);
        let found: Vec<String> = ranked_paths(&view, h0, h1, 6)
            .iter()
            .map(|r| names(graph, &r.vertices[2..r.vertices.len() - 2]))
            .collect();
        assert_eq!(
            found,
            ["spine00", "spine01", "spine02", "spine03", "spine00 leaf02 spine01", "spine01 leaf02 spine00"]
        );
        assert_eq!(ranked_paths(&view, h0, h0, 4), [Route::standing(h0)]);
        assert!(ranked_paths(&view, h0, h1, 0).is_empty());
    }

    #[test]
    fn parallel_edges_are_different_paths() {
        let snapshot = graph(2, &[(0, 1), (0, 1), (1, 0)]);
        let (graph, writes) = snapshot.graph("fabric_graph").unwrap();
        let edges = |direction| {
            let view = View::new(graph, writes, direction, Metric::Hops);
            ranked_paths(&view, 0, 1, 9).into_iter().map(|r| r.edges[0]).collect::<Vec<_>>()
        };
        assert_eq!(edges(Direction::Outbound), [0, 1]);
        assert_eq!(edges(Direction::Any), [0, 1, 2]);
        assert_eq!(edges(Direction::Inbound), [2]);
    }

    /// Every loop-free path, by trying everything.
    fn all(
        edges: &[(usize, usize)],
        any: bool,
        at: usize,
        destination: usize,
        seen: &mut Vec<usize>,
        taken: &mut Vec<usize>,
        found: &mut Vec<Vec<usize>>,
    ) {
        if at == destination {
            found.push(taken.clone());
            return;
        }
        seen.push(at);
        for (edge, &(a, b)) in edges.iter().enumerate() {
            let to = if a == at {
                b
            } else if any && b == at {
                a
            } else {
                continue;
            };
            if !seen.contains(&to) {
                taken.push(edge);
                all(edges, any, to, destination, seen, taken, found);
                taken.pop();
            }
        }
        seen.pop();
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn exactly_all_paths_in_order(
            edges in prop::collection::vec((0usize..6, 0usize..6), 1..16),
            any: bool,
            count in 1usize..40,
        ) {
            let snapshot = graph(6, &edges);
            let (graph, writes) = snapshot.graph("fabric_graph").unwrap();
            let direction = if any { Direction::Any } else { Direction::Outbound };
            let view = View::new(graph, writes, direction, Metric::Hops);
            let mut want = Vec::new();
            all(&edges, any, 0, 5, &mut Vec::new(), &mut Vec::new(), &mut want);
            let got = ranked_paths(&view, 0, 5, count);

            let lengths: Vec<usize> = got.iter().map(|r| r.edges.len()).collect();
            let mut shortest: Vec<usize> = want.iter().map(Vec::len).collect();
            shortest.sort_unstable();
            shortest.truncate(count);
            prop_assert_eq!(lengths, shortest, "as long as the shortest ones there are, in order");
            let distinct: HashSet<Vec<usize>> = got.iter().map(|r| r.edges.clone()).collect();
            prop_assert_eq!(distinct.len(), got.len());
            prop_assert!(got.iter().all(|r| want.contains(&r.edges)), "each a real path");
        }
    }
}
