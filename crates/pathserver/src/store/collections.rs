//! All collections of the database, checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use srv6_fabric::{Documents, Topology};

use super::graph::{Document, Graph};
use crate::{Options, ServerError};

/// Fields that paths are weighed by.
const WEIGHTS: [&str; 3] = ["latency", "percent_util_out", "load"];

/// Collections by name.
#[derive(Debug)]
pub(crate) struct Fabric {
    collections: BTreeMap<String, Contents>,
}

/// What a collection holds.
#[derive(Debug)]
pub(crate) enum Contents {
    /// Vertices, or anything else without ends.
    Documents(Vec<Arc<Document>>),
    /// Edges: a graph.
    Edges(Graph),
}

impl Contents {
    /// How many documents there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Documents(documents) => documents.len(),
            Self::Edges(graph) => graph.edges.len(),
        }
    }
}

impl Fabric {
    /// Checks documents and makes a graph of every edge collection.
    ///
    /// # Errors
    /// What [`Topology::new`] refuses, in any of the graphs, and negative weights. Unchecked, only edges
    /// without ends are refused.
    pub(crate) fn new(documents: &Documents, options: &Options) -> Result<Self, ServerError> {
        if !options.unchecked {
            check(documents, &options.graph)?;
        }
        let mut revision = 0;
        let mut vertices = BTreeMap::new();
        let mut collections = BTreeMap::new();
        for (name, collection) in documents.collections().iter().filter(|(_, c)| !c.is_edges()) {
            let mut list = Vec::new();
            for document in &collection.documents {
                revision += 1;
                let document = Arc::new(with_revision(document, revision));
                if let Some(Value::String(id)) = document.get("_id") {
                    vertices.insert(id.clone(), Arc::clone(&document));
                }
                list.push(document);
            }
            collections.insert(name.clone(), Contents::Documents(list));
        }
        for (name, collection) in documents.collections().iter().filter(|(_, c)| c.is_edges()) {
            let mut edges = Vec::new();
            for document in &collection.documents {
                revision += 1;
                edges.push(with_revision(document, revision));
            }
            collections.insert(name.clone(), Contents::Edges(Graph::new(edges, &vertices)?));
        }
        Ok(Self { collections })
    }

    /// All collections, sorted by name.
    pub(crate) fn collections(&self) -> &BTreeMap<String, Contents> {
        &self.collections
    }

    pub(crate) fn collection(&self, name: &str) -> Option<&Contents> {
        self.collections.get(name)
    }

    /// All edge collections, sorted by name.
    pub(crate) fn graphs(&self) -> impl Iterator<Item = (&str, &Graph)> {
        self.collections.iter().filter_map(|(name, contents)| match contents {
            Contents::Edges(graph) => Some((name.as_str(), graph)),
            Contents::Documents(_) => None,
        })
    }
}

fn check(documents: &Documents, graph: &str) -> Result<(), ServerError> {
    // The graph asked for must be there; others may, and are served too.
    Topology::new(documents, graph)?;
    for (name, collection) in documents.collections().iter().filter(|(_, c)| c.is_edges()) {
        if name != graph {
            Topology::new(documents, name)?;
        }
        for document in &collection.documents {
            for field in WEIGHTS {
                if let Some(found) = document.get(field).and_then(Value::as_f64).filter(|&w| w < 0.0) {
                    let document = document.get("_id").and_then(Value::as_str).unwrap_or_default().to_owned();
                    return Err(ServerError::Weight { document, field, found });
                }
            }
        }
    }
    Ok(())
}

/// Every document of a database has a revision; files mostly leave it out.
fn with_revision(document: &Document, number: u64) -> Document {
    let mut document = document.clone();
    document.entry("_rev").or_insert_with(|| revision(number));
    document
}

/// A revision's text; only its being different after each write means anything.
pub(super) fn revision(number: u64) -> Value {
    Value::String(format!("_s{number:07x}---"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGES: &str = r#"[{"_key":"a","_from":"hosts/h0","_to":"fabric_node/s0","latency":-1},
        {"_key":"b","_from":"fabric_node/s0","_to":"hosts/h1"}]"#;

    fn documents(edges: &str) -> Documents {
        let text = format!(
            r#"{{"hosts":[{{"_key":"h0","ipv6_address":"fd00::1"}}],"fabric_node":[{{"_key":"s0"}}],"fabric_graph":{edges}}}"#
        );
        Documents::parse([("t.json", text.as_str())], "fabric_graph", "hosts").unwrap()
    }

    #[test]
    fn refusals_name_document_and_field() {
        let refused =
            |edges: &str| Fabric::new(&documents(edges), &Options::default()).unwrap_err().to_string();
        assert!(refused(EDGES).contains("fabric_graph/b: _to hosts/h1 is no vertex"));
        let negative = r#"[{"_key":"a","_from":"hosts/h0","_to":"fabric_node/s0","latency":-1}]"#;
        assert_eq!(refused(negative), "fabric_graph/a: field latency: -1; want a number from 0 up, or none");
        let other = Options { graph: "nosuch".to_owned(), ..Options::default() };
        let good = r#"[{"_key":"a","_from":"hosts/h0","_to":"fabric_node/s0"}]"#;
        assert!(Fabric::new(&documents(good), &other).unwrap_err().to_string().contains("no edges"));
    }

    #[test]
    fn unchecked_documents_may_lead_nowhere() {
        let options = Options { unchecked: true, ..Options::default() };
        let fabric = Fabric::new(&documents(EDGES), &options).unwrap();
        let Some(Contents::Edges(graph)) = fabric.collection("fabric_graph") else { panic!("no graph") };
        let nowhere = graph.vertex("hosts/h1").unwrap();
        assert!(graph.vertices[nowhere].document.is_none());
        let ends =
            r#"[{"_key":"a","_from":"hosts/h0","_to":"fabric_node/s0"},{"_key":"b","_from":"hosts/h0"}]"#;
        let refused = Fabric::new(&documents(ends), &options).unwrap_err().to_string();
        assert_eq!(refused, "fabric_graph/b: field _to: missing; want a vertex id");
    }
}
