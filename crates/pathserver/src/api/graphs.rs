//! `/graphs`: which graphs there are.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::collections::summary;
use crate::http::{Failure, Parameters};
use crate::store::{Contents, Snapshot};

/// Collections whose names end like graphs'. A filter is read, as in `/collections`, and does nothing.
pub(super) fn list(snapshot: &Snapshot, mut parameters: Parameters) -> Result<Value, Failure> {
    parameters.boolean("filter_graphs");
    parameters.done()?;
    let list: Vec<Value> = snapshot
        .fabric
        .collections()
        .iter()
        .filter(|(name, _)| name.ends_with("_graph"))
        .map(|(name, contents)| summary(name, contents))
        .collect();
    let count = list.len();
    Ok(json!({ "collections": list, "total_count": count }))
}

/// One graph.
pub(super) fn one(snapshot: &Snapshot, name: &str) -> Result<Value, Failure> {
    let contents = graph_like(snapshot, name)?;
    let (kind, status) = (type_number(contents), LOADED);
    Ok(json!({ "name": name, "type": kind, "status": status, "count": contents.len() }))
}

/// One graph, with what its database knows of it.
pub(super) fn info(snapshot: &Snapshot, name: &str) -> Result<Value, Failure> {
    let contents = graph_like(snapshot, name)?;
    let vertex_collections = match contents {
        Contents::Edges(graph) => graph.vertex_collections(),
        Contents::Documents(_) => Vec::new(),
    };
    Ok(json!({
        "name": name,
        "properties": properties(name, contents),
        "statistics": {
            "indexes": { "count": if matches!(contents, Contents::Edges(_)) { 2 } else { 1 }, "size": 0 },
            "documents_size": 0,
            "cache_in_use": false,
            "cache_size": 0,
            "cache_usage": 0,
        },
        "vertex_collections": vertex_collections,
    }))
}

/// The properties that a database driver shows of a collection, as far as an embedded one has them.
pub(super) fn properties(name: &str, contents: &Contents) -> Value {
    json!({
        "name": name,
        "system": false,
        "type": type_number(contents),
        "status": LOADED,
        "status_string": "loaded",
        "cache": false,
        "sync": false,
        "key_options": { "key_generator": "traditional", "user_keys": true },
    })
}

/// The database's number for a collection that is ready for use.
const LOADED: u8 = 3;

/// The database's numbers for the two types of collections.
fn type_number(contents: &Contents) -> u8 {
    match contents {
        Contents::Documents(_) => 2,
        Contents::Edges(_) => 3,
    }
}

/// These two calls answer with the status that they mean.
fn graph_like<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Contents, Failure> {
    let contents = snapshot
        .fabric
        .collection(name)
        .ok_or_else(|| Failure::Plain(StatusCode::NOT_FOUND, format!("Graph collection {name} not found")))?;
    if !name.ends_with("_graph") {
        let detail = format!("Collection {name} is not a graph collection");
        return Err(Failure::Plain(StatusCode::BAD_REQUEST, detail));
    }
    Ok(contents)
}
