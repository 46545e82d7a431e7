//! What has been written to the edges of a graph since it was loaded.

use serde_json::Value;

use super::collections::revision;
use super::graph::{Document, Graph};

/// State of each edge: its load, and when it was last written.
#[derive(Debug, Clone)]
pub(crate) struct Writes {
    edges: Vec<Written>,
    next: u64,
}

#[derive(Debug, Clone)]
struct Written {
    /// Loading counts as the first write, in document order.
    sequence: u64,
    /// None where the document has no such field; null stays null.
    load: Option<Value>,
}

impl Writes {
    /// The state right after loading.
    pub(crate) fn new(graph: &Graph) -> Self {
        let edges: Vec<Written> = (0..)
            .zip(&graph.edges)
            .map(|(sequence, edge)| Written { sequence, load: edge.document.get("load").cloned() })
            .collect();
        let next = (0..).zip(&graph.edges).last().map_or(0, |(last, _): (u64, _)| last + 1);
        Self { edges, next }
    }

    /// Order of last write: a smaller number was written earlier. The database lists edges, and looks at the edges
    /// of a vertex, in this order, so it decides ties between paths.
    pub(crate) fn sequence(&self, edge: usize) -> u64 {
        self.edges.get(edge).map_or(u64::MAX, |w| w.sequence)
    }

    /// The `load` field as it is now.
    pub(crate) fn load(&self, edge: usize) -> Option<&Value> {
        self.edges.get(edge)?.load.as_ref()
    }

    /// Writes the `load` field.
    pub(crate) fn set_load(&mut self, edge: usize, load: Value) {
        if let Some(written) = self.edges.get_mut(edge) {
            *written = Written { sequence: self.next, load: Some(load) };
            self.next += 1;
        }
    }

    /// All edges in order of last write.
    pub(crate) fn listing(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.edges.len()).collect();
        order.sort_by_key(|&e| self.sequence(e));
        order
    }

    /// An edge's document as it is now.
    pub(crate) fn document(&self, graph: &Graph, edge: usize) -> Option<Document> {
        let written = self.edges.get(edge)?;
        let mut document = graph.edges.get(edge)?.document.clone();
        if usize::try_from(written.sequence).is_ok_and(|s| s >= self.edges.len()) {
            if let Some(load) = &written.load {
                document.insert("load".to_owned(), load.clone());
            }
            // Far above the revisions given at loading, of all collections together.
            document.insert("_rev".to_owned(), revision((1 << 26) + written.sequence));
        }
        Some(document)
    }
}
