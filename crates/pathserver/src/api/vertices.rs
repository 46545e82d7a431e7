//! `/graphs/{graph}/vertices`: who is in a graph.

use std::collections::HashSet;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::project::{document, without_nulls};
use super::query::sid_algorithm;
use crate::http::{Failure, Parameters};
use crate::store::{Document, Graph, Snapshot};

/// All documents of the collections that a graph's edges lead to.
pub(super) fn all(snapshot: &Snapshot, name: &str) -> Result<Value, Failure> {
    let collections = edges_of(snapshot, name)?.map(Graph::vertex_collections).unwrap_or_default();
    let mut total = 0;
    let mut by_collection = Map::new();
    for collection in &collections {
        let Some(documents) = snapshot.documents(collection) else { continue };
        total += documents.len();
        let list = documents
            .iter()
            .map(|d| json!({ "_id": d.get("_id"), "_key": d.get("_key"), "collection": collection }))
            .collect();
        by_collection.insert(collection.clone(), list);
    }
    Ok(json!({
        "collection": name,
        "vertex_collections": collections,
        "total_vertices": total,
        "vertices_by_collection": by_collection,
    }))
}

/// Keys of the vertices that edges lead to or from, sorted.
pub(super) fn keys(snapshot: &Snapshot, name: &str) -> Result<Value, Failure> {
    let mut keys: Vec<&str> = ends(edges_of(snapshot, name)?).map(|(_, key)| key).collect();
    keys.sort_unstable();
    // Vertices of two collections may share a key, and it counts once.
    keys.dedup();
    Ok(json!({ "collection": name, "vertex_count": keys.len(), "vertex_keys": keys }))
}

/// Ids and keys of the vertices that edges lead to or from, sorted by key.
pub(super) fn ids(snapshot: &Snapshot, name: &str) -> Result<Value, Failure> {
    let mut ids: Vec<(&str, &str)> = ends(edges_of(snapshot, name)?).collect();
    ids.sort_by_key(|&(_, key)| key);
    let vertices: Vec<Value> = ids.iter().map(|(id, key)| json!({ "_id": id, "_key": key })).collect();
    Ok(json!({ "collection": name, "vertex_count": vertices.len(), "vertices": vertices }))
}

/// Main fields of the vertices, per collection at most `limit`.
pub(super) fn summary(snapshot: &Snapshot, name: &str, mut parameters: Parameters) -> Result<Value, Failure> {
    let limit = parameters.integer("limit").unwrap_or(100);
    let wanted = parameters.text("vertex_collection");
    parameters.done()?;
    if snapshot.fabric.collection(name).is_none() {
        return Err(Failure::unknown_to_database(name));
    }
    let collections = edges_of(snapshot, name)?.map(Graph::vertex_collections).unwrap_or_default();
    let chosen = match wanted.as_ref().filter(|w| !w.is_empty()) {
        None => collections.clone(),
        Some(one) if collections.contains(one) => vec![one.clone()],
        Some(one) => {
            let names: Vec<String> = collections.iter().map(|c| format!("'{c}'")).collect();
            let detail = format!(
                "Vertex collection '{one}' not found in graph. Available collections: [{}]",
                names.join(", ")
            );
            return Err(Failure::Wrapped(StatusCode::BAD_REQUEST, detail));
        }
    };
    let limit = usize::try_from(limit).map_err(|_| {
        Failure::Database(
            "[HTTP 400][ERR 1504] AQL: number out of range: LIMIT value is not a valid number (while parsing)"
                .to_owned(),
        )
    })?;
    let mut vertices = Vec::new();
    for collection in &chosen {
        let documents = snapshot.documents(collection).unwrap_or_default();
        vertices.extend(documents.iter().take(limit).map(|d| summarized(collection, d)));
    }
    Ok(json!({
        "graph": name,
        "vertex_collections": collections,
        "filtered_collection": wanted,
        "total_vertices": vertices.len(),
        "vertices": vertices,
    }))
}

fn summarized(collection: &str, vertex: &Document) -> Value {
    let mut summary = Map::new();
    summary.insert("collection".to_owned(), collection.into());
    for field in ["_key", "_id", "name", "prefix", "sids", "protocol", "asn"] {
        let value = match (field, vertex.get(field)) {
            ("sids", Some(sids)) => sids
                .as_array()
                .map(|sids| {
                    sids.iter().map(|sid| sid.get("srv6_sid").cloned().unwrap_or(Value::Null)).collect()
                })
                .unwrap_or_else(|| Value::Array(Vec::new())),
            (_, value) => value.cloned().unwrap_or(Value::Null),
        };
        summary.insert(field.to_owned(), value);
    }
    without_nulls(summary)
}

/// Vertices with a SID of an algorithm, and those SIDs.
pub(super) fn by_algo(snapshot: &Snapshot, name: &str, mut parameters: Parameters) -> Result<Value, Failure> {
    let algo = parameters.integer("algo").unwrap_or(0);
    parameters.done()?;
    let graph = edges_of(snapshot, name)?;
    let mut total = 0;
    let mut by_collection: Map<String, Value> = Map::new();
    for (id, _) in ends(graph) {
        let vertex = graph.and_then(|g| document(g, g.vertex(id)?));
        let Some(vertex) = vertex else { continue };
        let Some(Value::Array(sids)) = vertex.get("sids") else { continue };
        let sids: Vec<Value> =
            sids.iter().filter(|sid| sid_algorithm(sid) == Some(algo)).map(flattened).collect();
        if sids.is_empty() {
            continue;
        }
        let collection = id.split('/').next().unwrap_or_default();
        let entry = json!({
            "_id": vertex.get("_id"),
            "_key": vertex.get("_key"),
            "collection": collection,
            "name": vertex.get("name"),
            "router_id": vertex.get("router_id"),
            "sids": sids,
        });
        if let Value::Array(list) = by_collection.entry(collection).or_insert_with(|| json!([])) {
            list.push(entry);
            total += 1;
        }
    }
    let collections: Vec<&String> = by_collection.keys().collect();
    Ok(json!({
        "graph_collection": name,
        "algo": algo,
        "total_vertices": total,
        "vertex_collections": collections,
        "vertices_by_collection": by_collection,
    }))
}

/// A SID with the fields of its behavior beside it.
fn flattened(sid: &Value) -> Value {
    let behavior = |field: &str| sid.get("srv6_endpoint_behavior").and_then(|b| b.get(field));
    json!({
        "srv6_sid": sid.get("srv6_sid"),
        "algo": behavior("algo"),
        "endpoint_behavior": behavior("endpoint_behavior"),
        "flag": behavior("flag"),
    })
}

/// The graph of a name; none for a collection without edges, which these calls take for an empty one.
fn edges_of<'a>(snapshot: &'a Snapshot, name: &str) -> Result<Option<&'a Graph>, Failure> {
    if snapshot.fabric.collection(name).is_none() {
        return Err(Failure::no_collection(name));
    }
    Ok(snapshot.graph(name).map(|(graph, _)| graph))
}

/// Ids and keys of the vertices that edges lead to or from, in the order of their first mention.
fn ends(graph: Option<&Graph>) -> impl Iterator<Item = (&str, &str)> {
    let mut seen = HashSet::new();
    graph
        .into_iter()
        .flat_map(|g| g.edges.iter().flat_map(move |edge| [(g, edge.from), (g, edge.to)]))
        .filter(move |&(_, vertex)| seen.insert(vertex))
        .map(|(g, vertex)| {
            let id = g.id(vertex);
            (id, id.split_once('/').map_or(id, |(_, key)| key))
        })
}
