//! Path searches over a graph as ArangoDB answers them, ties included.
//!
//! Its documentation leaves ties open; its sources decide them by which side of a two-sided search meets first and
//! by the order in which edges were last written. Following that, answers rotate over equal paths as `/load`
//! writes, as the original's do.
#![expect(clippy::indexing_slicing, reason = "vertices and edges are positions that the same graph gave")]

mod hops;
mod ranked;
mod view;
mod walks;
mod weighted;

pub(crate) use hops::fewest_hops;
pub(crate) use ranked::ranked_paths;
pub(crate) use view::{Direction, Metric, View};
pub(crate) use walks::walks;
pub(crate) use weighted::lightest;

/// A way through a graph: positions of vertices in travel order, and of the edges between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) vertices: Vec<usize>,
    pub(crate) edges: Vec<usize>,
}

impl Route {
    /// The way from a vertex to itself.
    pub(crate) fn standing(vertex: usize) -> Self {
        Self { vertices: vec![vertex], edges: Vec::new() }
    }

    /// Joins what the two sides of a search know about the vertex where they met. A trace holds, per vertex, the
    /// vertex and edge it was reached by, and for the side's own start itself.
    fn joined(meeting: usize, forward: &Trace, backward: &Trace) -> Self {
        let (mut vertices, mut edges) = (vec![meeting], Vec::new());
        let mut at = meeting;
        while let Some((previous, edge)) = forward[at] {
            vertices.push(previous);
            edges.push(edge);
            at = previous;
        }
        vertices.reverse();
        edges.reverse();
        at = meeting;
        while let Some((next, edge)) = backward[at] {
            vertices.push(next);
            edges.push(edge);
            at = next;
        }
        Self { vertices, edges }
    }
}

/// Vertex and edge that each vertex was reached by; none for the start and for the unreached.
type Trace = Vec<Option<(usize, usize)>>;

#[cfg(test)]
pub(crate) mod fixture {
    use srv6_fabric::Documents;

    use crate::Options;
    use crate::store::{Fabric, Graph, Snapshot};

    /// The shipped 4×4 fabric.
    pub(crate) fn fabric4x4() -> Snapshot {
        snapshot(include_str!("../../../../examples/fabrics/4x4.json"))
    }

    /// Vertices v0…, and one edge per pair, in this order.
    pub(crate) fn graph(vertices: usize, edges: &[(usize, usize)]) -> Snapshot {
        let nodes: Vec<String> = (0..vertices).map(|v| format!(r#"{{"_key":"v{v}"}}"#)).collect();
        let edges: Vec<String> = edges
            .iter()
            .enumerate()
            .map(|(i, (a, b))| format!(r#"{{"_key":"e{i}","_from":"node/v{a}","_to":"node/v{b}"}}"#))
            .collect();
        snapshot(&format!(r#"{{"node":[{}],"fabric_graph":[{}]}}"#, nodes.join(","), edges.join(",")))
    }

    fn snapshot(text: &str) -> Snapshot {
        let documents = Documents::parse([("fixture", text)], "fabric_graph", "hosts").unwrap();
        let options = Options { unchecked: true, ..Options::default() };
        Snapshot::fresh(Fabric::new(&documents, &options).unwrap())
    }

    /// Names of a route's vertices without their collection.
    pub(crate) fn names(graph: &Graph, vertices: &[usize]) -> String {
        let names: Vec<&str> =
            vertices.iter().map(|&v| graph.id(v).rsplit(['/', '_']).next().unwrap()).collect();
        names.join(" ")
    }
}
