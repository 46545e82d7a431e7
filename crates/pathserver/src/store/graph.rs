//! One edge collection as a graph over the documents of all others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};
use srv6_fabric::TopologyError;

/// A JSON object of a collection.
pub(crate) type Document = Map<String, Value>;

/// A vertex: a document, or the end of an edge that leads nowhere.
#[derive(Debug)]
pub(crate) struct Vertex {
    /// `collection/key`.
    pub(crate) id: String,
    /// None where an edge names a document that isn't there.
    pub(crate) document: Option<Arc<Document>>,
}

/// One direction of a link.
#[derive(Debug)]
pub(crate) struct Edge {
    /// Position of the vertex it starts at.
    pub(crate) from: usize,
    /// Position of the vertex it ends at.
    pub(crate) to: usize,
    /// As it was given; its load is in [`Writes`](super::Writes).
    pub(crate) document: Document,
}

/// Vertices and edges; positions in both lists are how paths name them.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) vertices: Vec<Vertex>,
    pub(crate) edges: Vec<Edge>,
    /// Edges that leave a vertex, by its position.
    pub(crate) leaving: Vec<Vec<usize>>,
    /// Edges that enter a vertex, by its position.
    pub(crate) entering: Vec<Vec<usize>>,
    by_id: HashMap<String, usize>,
}

impl Graph {
    /// # Errors
    /// An edge without `_from` or `_to`.
    pub(super) fn new(
        documents: Vec<Document>,
        by_id: &BTreeMap<String, Arc<Document>>,
    ) -> Result<Self, TopologyError> {
        let vertices =
            by_id.iter().map(|(id, d)| Vertex { id: id.clone(), document: Some(Arc::clone(d)) }).collect();
        let positions = by_id.keys().enumerate().map(|(i, id)| (id.clone(), i)).collect();
        let none = vec![Vec::new(); by_id.len()];
        let mut graph =
            Self { vertices, edges: Vec::new(), leaving: none.clone(), entering: none, by_id: positions };
        for document in documents {
            let from = graph.end(&document, "_from")?;
            let to = graph.end(&document, "_to")?;
            let position = graph.edges.len();
            if let Some(edges) = graph.leaving.get_mut(from) {
                edges.push(position);
            }
            if let Some(edges) = graph.entering.get_mut(to) {
                edges.push(position);
            }
            graph.edges.push(Edge { from, to, document });
        }
        Ok(graph)
    }

    /// Position of a vertex id.
    pub(crate) fn vertex(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The id of a vertex at a position of this graph; empty for any other.
    pub(crate) fn id(&self, vertex: usize) -> &str {
        self.vertices.get(vertex).map(|v| v.id.as_str()).unwrap_or_default()
    }

    /// Collections that edges lead to or from, in the order of their first mention.
    pub(crate) fn vertex_collections(&self) -> Vec<String> {
        let mut seen: Vec<String> = Vec::new();
        for edge in &self.edges {
            for end in [edge.from, edge.to] {
                let name = self.id(end).split('/').next().unwrap_or_default();
                if !seen.iter().any(|s| s == name) {
                    seen.push(name.to_owned());
                }
            }
        }
        seen
    }

    fn end(&mut self, document: &Document, field: &'static str) -> Result<usize, TopologyError> {
        let Some(id) = document.get(field).and_then(Value::as_str) else {
            return Err(TopologyError::Field {
                document: document.get("_id").and_then(Value::as_str).unwrap_or_default().to_owned(),
                field: field.to_owned(),
                found: document.get(field).map_or_else(|| "missing".to_owned(), Value::to_string),
                want: "a vertex id",
            });
        };
        if let Some(&known) = self.by_id.get(id) {
            return Ok(known);
        }
        let position = self.vertices.len();
        self.vertices.push(Vertex { id: id.to_owned(), document: None });
        self.leaving.push(Vec::new());
        self.entering.push(Vec::new());
        self.by_id.insert(id.to_owned(), position);
        Ok(position)
    }
}
