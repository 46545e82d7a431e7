//! Documents cut down to the fields that a call shows.

use serde_json::{Map, Value};

use crate::search::Route;
use crate::store::{Document, Graph, Writes};

/// Vertex fields of most path calls.
pub(super) const VERTEX: &[&str] = &["_id", "_key", "router_id", "prefix", "name", "sids"];
/// Vertex fields of `/shortest_path/load`.
pub(super) const VERTEX_WITH_ADDRESSES: &[&str] =
    &["_id", "_key", "router_id", "ipv4_address", "ipv6_address", "prefix", "prefix_len", "name", "sids"];
/// Vertex fields of the calls that answer several paths.
pub(super) const VERTEX_BRIEF: &[&str] = &["_id", "_key", "name", "sids"];
/// Edge fields of the path calls.
pub(super) const EDGE: &[&str] = &["_id", "_key", "_from", "_to", "latency", "percent_util_out", "load"];
/// Edge fields of `/shortest_path/next-best-path`.
pub(super) const EDGE_WITH_COUNTRIES: &[&str] =
    &["_id", "_key", "_from", "_to", "latency", "percent_util_out", "country_codes", "load"];

/// The named fields, null where there is none.
pub(super) fn fields(document: Option<&Document>, names: &[&str]) -> Value {
    let value = |name: &&str| document.and_then(|d| d.get(*name)).cloned().unwrap_or(Value::Null);
    Value::Object(names.iter().map(|name| ((*name).to_owned(), value(name))).collect())
}

/// An object without its nulls.
pub(super) fn without_nulls(object: Map<String, Value>) -> Value {
    Value::Object(object.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

/// The document of a vertex; none where an edge leads nowhere.
pub(super) fn document(graph: &Graph, vertex: usize) -> Option<&Document> {
    graph.vertices.get(vertex)?.document.as_deref()
}

/// The whole document of a vertex, or null.
pub(super) fn whole(graph: &Graph, vertex: Option<&usize>) -> Value {
    vertex.and_then(|&v| document(graph, v)).map_or(Value::Null, |d| Value::Object(d.clone()))
}

/// Which edge stands beside a vertex in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// The edge that leads to it: the first has none.
    Before,
    /// The edge that leads on from it: the last has none.
    After,
}

/// A path's entries, each a vertex and an edge.
pub(super) fn entries(
    (graph, writes): (&Graph, &Writes),
    route: &Route,
    (vertex_fields, edge_fields): (&[&str], &[&str]),
    beside: Beside,
) -> Vec<Value> {
    let edge = |position: Option<usize>| -> Value {
        let edge = position.and_then(|p| route.edges.get(p));
        edge.map_or(Value::Null, |&e| fields(writes.document(graph, e).as_ref(), edge_fields))
    };
    route
        .vertices
        .iter()
        .enumerate()
        .map(|(position, &vertex)| {
            let edge = match beside {
                Beside::Before => edge(position.checked_sub(1)),
                Beside::After => edge(Some(position)),
            };
            let mut entry = Map::new();
            entry.insert("vertex".to_owned(), fields(document(graph, vertex), vertex_fields));
            entry.insert("edge".to_owned(), edge);
            Value::Object(entry)
        })
        .collect()
}
