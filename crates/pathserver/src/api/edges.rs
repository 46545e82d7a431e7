//! `/graphs/{graph}/edges`: who is linked with whom.

use serde_json::{Map, Value, json};

use super::project::without_nulls;
use crate::http::{Failure, Parameters};
use crate::store::{Document, Snapshot};

/// Both ends of every edge.
pub(super) fn ends(snapshot: &Snapshot, name: &str) -> Result<Value, Failure> {
    let edges: Vec<Value> = edges_of(snapshot, name)?.iter().map(both_ends).collect();
    Ok(json!({ "collection": name, "edge_count": edges.len(), "edges": edges }))
}

/// Edges with those of their fields that the original knows; it never shows `latency`.
pub(super) fn detail(snapshot: &Snapshot, name: &str, mut parameters: Parameters) -> Result<Value, Failure> {
    let limit = parameters.integer("limit");
    parameters.done()?;
    let edges = edges_of(snapshot, name)?;
    // Python's `edges[:limit]`: 0 counts as not given, and below 0 that many are left out at the end.
    let shown = match limit.unwrap_or(0) {
        0 => edges.len(),
        limit if limit > 0 => usize::try_from(limit).unwrap_or(usize::MAX).min(edges.len()),
        limit => edges.len().saturating_sub(usize::try_from(limit.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let list: Vec<Value> = edges.iter().take(shown).map(detailed).collect();
    Ok(json!({ "collection": name, "edge_count": edges.len(), "returned_edges": list.len(), "edges": list }))
}

/// The two ends of an edge.
pub(super) fn both_ends(edge: &Document) -> Value {
    json!({ "_from": edge.get("_from"), "_to": edge.get("_to") })
}

/// Edges of a collection; none of one that has no edges.
pub(super) fn edges_of(snapshot: &Snapshot, name: &str) -> Result<Vec<Document>, Failure> {
    let documents = snapshot.documents(name).ok_or_else(|| Failure::no_collection(name))?;
    Ok(documents.into_iter().filter(|d| d.contains_key("_from") && d.contains_key("_to")).collect())
}

fn detailed(edge: &Document) -> Value {
    // Left: the name shown. Right: the field it comes from.
    const METRICS: [(&str, &str); 6] = [
        ("unidir_delay", "unidir_link_delay"),
        ("percent_util_out", "percent_util_out"),
        ("percent_util_in", "percent_util_in"),
        ("bandwidth", "max_link_bandwidth"),
        ("reservable_bandwidth", "max_reservable_link_bandwidth"),
        ("load", "load"),
    ];
    const TIMES: [(&str, &str); 3] =
        [("first_seen", "first_seen_at"), ("last_seen", "last_seen_at"), ("updated", "updated_at")];
    let field = |name: &str| edge.get(name).cloned().unwrap_or(Value::Null);
    let renamed = |names: &[(&str, &str)]| -> Map<String, Value> {
        names.iter().map(|(shown, stored)| ((*shown).to_owned(), field(stored))).collect()
    };
    let mut detail = Map::new();
    for name in ["_key", "_from", "_to", "name", "prefix", "protocol"] {
        detail.insert(name.to_owned(), field(name));
    }
    detail.insert("sids".to_owned(), edge.get("sids").cloned().unwrap_or_else(|| json!([])));
    detail.insert("country_codes".to_owned(), field("country_codes"));
    detail.insert("metrics".to_owned(), without_nulls(renamed(&METRICS)));
    detail.insert("timestamps".to_owned(), without_nulls(renamed(&TIMES)));
    without_nulls(detail)
}
