//! Walks of an exact number of edges: a graph traversal with one depth.

use super::{Route, View};

/// Up to `count` walks of exactly `depth` edges, in breadth-first order. No edge twice; vertices may repeat.
///
/// Walks of one length leave a breadth-first search in the order in which a depth-first one, taking edges in the
/// same order, comes upon them; and that one need not hold all of them at once.
pub(crate) fn walks(
    view: &View<'_>,
    source: usize,
    destination: usize,
    depth: usize,
    count: usize,
) -> Vec<Route> {
    let mut search = Search {
        view,
        reaches: layers(view, destination, depth),
        at: Route::standing(source),
        depth,
        count,
        found: Vec::new(),
    };
    if search.reaches[depth][source] {
        search.go_on();
    }
    search.found
}

/// Per number of edges still to go: the vertices from which exactly so many lead to the destination. Without it
/// the search would visit every walk there is.
fn layers(view: &View<'_>, destination: usize, depth: usize) -> Vec<Vec<bool>> {
    let size = view.graph.vertices.len();
    let mut layer = vec![false; size];
    layer[destination] = view.is_open(destination);
    let mut layers = vec![layer];
    for remaining in 0..depth {
        let mut next = vec![false; size];
        for vertex in (0..size).filter(|&v| layers[remaining][v]) {
            for (_, before) in view.steps(vertex, true) {
                next[before] = true;
            }
        }
        layers.push(next);
    }
    layers
}

struct Search<'a> {
    view: &'a View<'a>,
    reaches: Vec<Vec<bool>>,
    at: Route,
    depth: usize,
    count: usize,
    found: Vec<Route>,
}

impl Search<'_> {
    fn go_on(&mut self) {
        if self.found.len() >= self.count {
            return;
        }
        let remaining = self.depth - self.at.edges.len();
        if remaining == 0 {
            self.found.push(self.at.clone());
            return;
        }
        let Some(&here) = self.at.vertices.last() else { return };
        for (edge, to) in self.view.steps(here, false) {
            if self.reaches[remaining - 1][to] && !self.at.edges.contains(&edge) {
                self.at.edges.push(edge);
                self.at.vertices.push(to);
                self.go_on();
                self.at.edges.pop();
                self.at.vertices.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{fabric4x4, graph, names};
    use super::super::{Direction, Metric, View};
    use super::*;

    #[test]
    fn a_clos_has_all_spines_at_four_edges_and_nothing_at_five() {
        let snapshot = fabric4x4();
        let (graph, writes) = snapshot.graph("fabric_graph").unwrap();
        let (h0, h1) = (graph.vertex("hosts/host00").unwrap(), graph.vertex("hosts/host01").unwrap());
        let view = View::new(graph, writes, Direction::Outbound, Metric::Hops);
        let spines: Vec<String> =
            walks(&view, h0, h1, 4, 9).iter().map(|r| names(graph, &r.vertices[2..3])).collect();
        assert_eq!(spines, ["spine00", "spine01", "spine02", "spine03"]);
        assert_eq!(walks(&view, h0, h1, 4, 2).len(), 2);
        assert!(walks(&view, h0, h1, 5, 9).is_empty());
        assert!(walks(&view, h0, h1, 4, 0).is_empty());
    }

    #[test]
    fn vertices_may_repeat_but_not_edges() {
        let snapshot = graph(3, &[(0, 1), (1, 0), (0, 1), (1, 2)]);
        let (graph, writes) = snapshot.graph("fabric_graph").unwrap();
        let view = View::new(graph, writes, Direction::Outbound, Metric::Hops);
        let edges: Vec<Vec<usize>> = walks(&view, 0, 2, 4, 9).into_iter().map(|r| r.edges).collect();
        assert_eq!(edges, [[0, 1, 2, 3], [2, 1, 0, 3]]);
    }
}
