//! Fewest edges between two vertices: `SHORTEST_PATH` without a weight.

use super::{Route, Trace, View};

/// A path of fewest edges, or none.
///
/// Two-sided breadth first: each round widens the side with the smaller frontier, the destination's when they are
/// equal, and the first vertex that the other side knows wins.
pub(crate) fn fewest_hops(view: &View<'_>, source: usize, destination: usize) -> Option<Route> {
    if !view.is_open(source) || !view.is_open(destination) {
        return None;
    }
    if source == destination {
        return Some(Route::standing(source));
    }
    let mut forward = Side::new(view, source, false);
    let mut backward = Side::new(view, destination, true);
    while !forward.frontier.is_empty() && !backward.frontier.is_empty() {
        let met = if forward.frontier.len() < backward.frontier.len() {
            forward.widen(view, &backward)
        } else {
            backward.widen(view, &forward)
        };
        if let Some(meeting) = met {
            return Some(Route::joined(meeting, &forward.trace, &backward.trace));
        }
    }
    None
}

struct Side {
    backward: bool,
    frontier: Vec<usize>,
    known: Vec<bool>,
    trace: Trace,
}

impl Side {
    fn new(view: &View<'_>, start: usize, backward: bool) -> Self {
        let size = view.graph.vertices.len();
        let mut known = vec![false; size];
        known[start] = true;
        Self { backward, frontier: vec![start], known, trace: vec![None; size] }
    }

    /// One round; answers the vertex where the sides meet.
    fn widen(&mut self, view: &View<'_>, other: &Self) -> Option<usize> {
        let mut next = Vec::new();
        for from in std::mem::take(&mut self.frontier) {
            for (edge, to) in view.steps(from, self.backward) {
                if self.known[to] {
                    continue;
                }
                self.known[to] = true;
                self.trace[to] = Some((from, edge));
                if other.known[to] {
                    return Some(to);
                }
                next.push(to);
            }
        }
        self.frontier = next;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{fabric4x4, graph, names};
    use super::super::{Direction, Metric, View};
    use super::*;

    #[test]
    fn the_first_loaded_spine_wins() {
        let snapshot = fabric4x4();
        let (graph, writes) = snapshot.graph("fabric_graph").unwrap();
        let (h0, h1) = (graph.vertex("hosts/host00").unwrap(), graph.vertex("hosts/host01").unwrap());
        let view = View::new(graph, writes, Direction::Outbound, Metric::Hops);
        let route = fewest_hops(&view, h0, h1).unwrap();
        assert_eq!(names(graph, &route.vertices), "host00 leaf00 spine00 leaf01 host01");
        assert_eq!(route.edges.len(), 4);
        assert_eq!(fewest_hops(&view, h0, h0), Some(Route::standing(h0)));
    }

    #[test]
    fn directions_and_dead_ends() {
        let snapshot = graph(4, &[(0, 1), (1, 2)]);
        let (graph, writes) = snapshot.graph("fabric_graph").unwrap();
        let between = |direction, a, b| {
            let view = View::new(graph, writes, direction, Metric::Hops);
            fewest_hops(&view, a, b).map(|r| names(graph, &r.vertices))
        };
        assert_eq!(between(Direction::Outbound, 0, 2).as_deref(), Some("v0 v1 v2"));
        assert_eq!(between(Direction::Outbound, 2, 0), None);
        assert_eq!(between(Direction::Inbound, 2, 0).as_deref(), Some("v2 v1 v0"));
        assert_eq!(between(Direction::Any, 2, 0).as_deref(), Some("v2 v1 v0"));
        assert_eq!(between(Direction::Any, 0, 3), None);
    }
}
