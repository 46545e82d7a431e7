//! `/graphs/{graph}/topology`: the whole graph in one answer.

use serde_json::{Map, Value, json};

use super::edges::{both_ends, edges_of};
use super::project::without_nulls;
use crate::http::{Failure, Links, Parameters};
use crate::store::{Document, Snapshot};

/// Edges and the vertices they lead to, in full or with their main fields.
pub(super) fn topology(
    snapshot: &Snapshot,
    name: &str,
    links: Links,
    mut parameters: Parameters,
) -> Result<Value, Failure> {
    let in_full = parameters.boolean("include_all_fields").unwrap_or(true);
    parameters.done()?;
    let mut edges = edges_of(snapshot, name)?;
    if links == Links::BetweenNodes {
        edges.retain(|edge| ends(edge).all(|id| id.contains("node")));
    }
    let mut vertices = Map::new();
    let graph = snapshot.graph(name).map(|(graph, _)| graph);
    for id in edges.iter().flat_map(ends) {
        if vertices.contains_key(id) {
            continue;
        }
        let vertex = graph.and_then(|g| g.vertices.get(g.vertex(id)?)?.document.as_deref());
        let shown = match vertex {
            None => continue,
            Some(vertex) if in_full => Some(Value::Object(vertex.clone())),
            Some(vertex) => brief(id, vertex),
        };
        if let Some(shown) = shown {
            vertices.insert(id.to_owned(), shown);
        }
    }
    let total_edges = edges.len();
    let edges: Vec<Value> = if in_full {
        edges.into_iter().map(Value::Object).collect()
    } else {
        edges.iter().map(both_ends).collect()
    };
    let total_vertices = vertices.len();
    Ok(json!({
        "edges": edges,
        "vertices": vertices,
        "total_edges": total_edges,
        "total_vertices": total_vertices,
        "include_all_fields": in_full,
    }))
}

fn ends(edge: &Document) -> impl Iterator<Item = &str> {
    ["_from", "_to"].into_iter().filter_map(|end| edge.get(end)?.as_str())
}

/// Main fields of a vertex. One whose `sids` is no list is left out, as the original fails on it.
fn brief(id: &str, vertex: &Document) -> Option<Value> {
    let sids = match vertex.get("sids") {
        None => Vec::new(),
        Some(Value::Array(sids)) => sids.iter().filter_map(|sid| sid.get("srv6_sid")).cloned().collect(),
        Some(_) => return None,
    };
    let field = |name: &str| vertex.get(name).cloned().unwrap_or(Value::Null);
    let mut shown = Map::new();
    shown.insert("collection".to_owned(), id.split('/').next().unwrap_or_default().into());
    for name in ["name", "prefix", "protocol"] {
        shown.insert(name.to_owned(), field(name));
    }
    shown.insert("sids".to_owned(), sids.into());
    shown.insert("asn".to_owned(), field("asn"));
    Some(without_nulls(shown))
}
