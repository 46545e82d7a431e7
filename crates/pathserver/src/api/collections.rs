//! `/collections`: the documents as they are stored.

use serde_json::{Value, json};

use super::graphs::properties;
use crate::http::{Failure, Parameters};
use crate::store::{Contents, Snapshot};

/// Collections that the original takes for graphs, whatever else is one.
const KNOWN_GRAPHS: [&str; 4] = ["ipv4_graph", "ipv6_graph", "igpv4_graph", "igpv6_graph"];

/// All collections, or only those whose names end like graphs', or only the others.
pub(super) fn list(snapshot: &Snapshot, mut parameters: Parameters) -> Result<Value, Failure> {
    let filter = parameters.boolean("filter_graphs");
    parameters.done()?;
    let list: Vec<Value> = snapshot
        .fabric
        .collections()
        .iter()
        .filter(|(name, _)| filter.is_none_or(|graphs| name.ends_with("_graph") == graphs))
        .map(|(name, contents)| summary(name, contents))
        .collect();
    let applied = match filter {
        None => "all",
        Some(true) => "graphs",
        Some(false) => "non_graphs",
    };
    let count = list.len();
    Ok(json!({ "collections": list, "total_count": count, "filter_applied": applied }))
}

/// Name, type and size of a collection.
pub(super) fn summary(name: &str, contents: &Contents) -> Value {
    let kind = match contents {
        Contents::Edges(_) => "edge",
        Contents::Documents(_) => "document",
    };
    json!({ "name": name, "type": kind, "status": "loaded", "count": contents.len() })
}

/// The documents of a collection: all, the first few, or the one with a key.
///
/// `skip` makes a query that the original's database can't parse, and 0 counts as not given, for `limit` too.
pub(super) fn contents(
    snapshot: &Snapshot,
    name: &str,
    mut parameters: Parameters,
) -> Result<Value, Failure> {
    let limit = parameters.integer("limit").filter(|&l| l != 0);
    let skip = parameters.integer("skip").filter(|&s| s != 0);
    let key = parameters.text("filter_key").filter(|k| !k.is_empty());
    parameters.done()?;
    let mut documents = snapshot.documents(name).ok_or_else(|| Failure::no_collection(name))?;
    if skip.is_some() {
        return Err(Failure::syntax("identifier near SKIP"));
    }
    let limit = match limit {
        Some(limit) => usize::try_from(limit).map_err(|_| Failure::syntax("-"))?,
        None => usize::MAX,
    };
    if let Some(key) = key {
        documents.retain(|d| d.get("_key").and_then(Value::as_str) == Some(&key));
    }
    documents.truncate(limit);
    if !KNOWN_GRAPHS.contains(&name) {
        let count = documents.len();
        return Ok(json!({ "collection": name, "type": "collection", "count": count, "data": documents }));
    }
    let mut vertices = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    let ends = documents.iter().flat_map(|d| [d.get("_from"), d.get("_to")]);
    for collection in ends.filter_map(|end| end?.as_str()?.split('/').next()) {
        if !seen.contains(&collection) {
            seen.push(collection);
            vertices.extend(snapshot.documents(collection).unwrap_or_default());
        }
    }
    Ok(json!({
        "collection": name,
        "type": "graph",
        "edge_count": documents.len(),
        "vertex_count": vertices.len(),
        "edges": documents,
        "vertices": vertices,
    }))
}

/// The keys of a collection.
pub(super) fn keys(snapshot: &Snapshot, name: &str) -> Result<Value, Failure> {
    let documents = snapshot.documents(name).ok_or_else(|| Failure::no_collection(name))?;
    let keys: Vec<Value> = documents.into_iter().filter_map(|mut d| d.remove("_key")).collect();
    Ok(json!({ "collection": name, "key_count": keys.len(), "keys": keys }))
}

/// What is known about a collection.
pub(super) fn info(snapshot: &Snapshot, name: &str) -> Result<Value, Failure> {
    let contents = snapshot.fabric.collection(name).ok_or_else(|| Failure::no_collection(name))?;
    Ok(json!({ "name": name, "count": contents.len(), "properties": properties(name, contents) }))
}
