//! A graph as one query sees it: which way along its edges, by which weight, without which parts.

use serde_json::Value;

use crate::store::{Graph, Writes};

/// Which way a query follows edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Outbound,
    Inbound,
    Any,
}

impl Direction {
    /// Reads a direction as the query language does: in any case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "outbound" => Some(Self::Outbound),
            "inbound" => Some(Self::Inbound),
            "any" => Some(Self::Any),
            _ => None,
        }
    }
}

/// What an edge costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    Hops,
    Latency,
    Utilization,
    Load,
}

/// One query's graph.
#[derive(Debug, Clone)]
pub(crate) struct View<'a> {
    pub(crate) graph: &'a Graph,
    writes: &'a Writes,
    direction: Direction,
    metric: Metric,
    closed_vertices: Vec<bool>,
    closed_edges: Vec<bool>,
}

impl<'a> View<'a> {
    pub(crate) fn new(graph: &'a Graph, writes: &'a Writes, direction: Direction, metric: Metric) -> Self {
        Self {
            graph,
            writes,
            direction,
            metric,
            closed_vertices: vec![false; graph.vertices.len()],
            closed_edges: vec![false; graph.edges.len()],
        }
    }

    /// Opens or closes a vertex.
    pub(super) fn close_vertex(&mut self, vertex: usize, closed: bool) {
        self.closed_vertices[vertex] = closed;
    }

    /// Opens or closes an edge.
    pub(super) fn close_edge(&mut self, edge: usize, closed: bool) {
        self.closed_edges[edge] = closed;
    }

    /// Leaves out every vertex that `stays` refuses, and every edge that `passes` refuses.
    pub(crate) fn keep(&mut self, stays: impl Fn(usize) -> bool, passes: impl Fn(usize) -> bool) {
        for (vertex, closed) in self.closed_vertices.iter_mut().enumerate() {
            *closed |= !stays(vertex);
        }
        for (edge, closed) in self.closed_edges.iter_mut().enumerate() {
            *closed |= !passes(edge);
        }
    }

    /// Whether a vertex may be on a path.
    pub(super) fn is_open(&self, vertex: usize) -> bool {
        !self.closed_vertices[vertex]
    }

    /// Edges to follow from a vertex, with the vertex each leads to, in order of last write. `backward` walks
    /// against the query's direction, from the destination.
    pub(super) fn steps(&self, from: usize, backward: bool) -> Vec<(usize, usize)> {
        let (leaving, entering) = match (self.direction, backward) {
            (Direction::Outbound, false) | (Direction::Inbound, true) => (true, false),
            (Direction::Inbound, false) | (Direction::Outbound, true) => (false, true),
            (Direction::Any, _) => (true, true),
        };
        let mut steps = Vec::new();
        for (wanted, edges) in [(leaving, &self.graph.leaving[from]), (entering, &self.graph.entering[from])]
        {
            if !wanted {
                continue;
            }
            let start = steps.len();
            for &edge in edges.iter().filter(|&&e| !self.closed_edges[e]) {
                let ends = &self.graph.edges[edge];
                let to = if ends.from == from { ends.to } else { ends.from };
                if !self.closed_vertices[to] {
                    steps.push((edge, to));
                }
            }
            steps[start..].sort_by_key(|&(edge, _)| self.writes.sequence(edge));
        }
        steps
    }

    /// What an edge costs: 1 where the field is missing, null, no number or below 0. A cost of 0 is a real one.
    pub(super) fn weight(&self, edge: usize) -> f64 {
        let document = &self.graph.edges[edge].document;
        let value = match self.metric {
            Metric::Hops => None,
            Metric::Latency => document.get("latency"),
            Metric::Utilization => document.get("percent_util_out"),
            Metric::Load => self.writes.load(edge),
        };
        value.and_then(Value::as_f64).filter(|&w| w >= 0.0).unwrap_or(1.0)
    }
}
