//! What all path calls ask for: two ends, a direction, an algorithm.

use axum::http::StatusCode;
use serde_json::Value;

use super::project::document;
use crate::http::{Failure, Parameters};
use crate::search::{Direction, View};
use crate::store::{Graph, Snapshot, Writes};

/// Most paths in one answer. A larger limit is a valid one, but gets no more: the original would
/// go on until its database gave up.
pub(super) const MAX_PATHS: usize = 1000;

/// Two ends as they were given.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) source: String,
    pub(super) destination: String,
}

impl Ends {
    pub(super) fn read(parameters: &mut Parameters) -> Self {
        Self { source: parameters.required("source"), destination: parameters.required("destination") }
    }

    /// Positions of both ends; none where one of them is no vertex.
    ///
    /// # Errors
    /// An id in a collection that doesn't exist.
    pub(super) fn find(&self, snapshot: &Snapshot, graph: &Graph) -> Result<Option<(usize, usize)>, Failure> {
        let ends = [&self.source, &self.destination];
        for id in ends {
            match id.split_once('/') {
                Some((collection, key))
                    if !collection.is_empty() && !key.is_empty() && !key.contains('/') =>
                {
                    if snapshot.fabric.collection(collection).is_none() {
                        return Err(Failure::unknown_to_database(collection));
                    }
                }
                _ => return Ok(None),
            }
        }
        Ok(graph.vertex(&self.source).zip(graph.vertex(&self.destination)))
    }

    /// The original pastes these texts into a query between quotes, where one of their own ends it early.
    /// Here they are only ever compared; the answer is the one that its database gives.
    pub(super) fn check_pasted(&self) -> Result<(), Failure> {
        match [&self.source, &self.destination].into_iter().find(|id| id.contains(['\'', '\\'])) {
            Some(id) => Err(Failure::syntax(id)),
            None => Ok(()),
        }
    }
}

/// The direction as it was given, and the algorithm.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) direction: String,
    pub(super) algo: i64,
}

impl Manner {
    pub(super) fn read(parameters: &mut Parameters) -> Self {
        Self {
            direction: parameters.text("direction").unwrap_or_else(|| "outbound".to_owned()),
            algo: parameters.integer("algo").unwrap_or(0),
        }
    }

    /// # Errors
    /// Not a direction, in the calls that check it.
    pub(super) fn checked_direction(&self) -> Result<Direction, Failure> {
        Direction::parse(&self.direction).ok_or_else(|| {
            let detail = "Direction must be 'outbound', 'inbound', or 'any'";
            Failure::Wrapped(StatusCode::BAD_REQUEST, detail.to_owned())
        })
    }

    /// # Errors
    /// Not a direction, in the calls that leave it to the database to find out.
    pub(super) fn pasted_direction(&self) -> Result<Direction, Failure> {
        Direction::parse(&self.direction).ok_or_else(|| Failure::syntax(&self.direction.to_uppercase()))
    }
}

/// The graph that a path call names.
///
/// # Errors
/// No such collection, or one without edges.
pub(super) fn graph<'a>(snapshot: &'a Snapshot, name: &str) -> Result<(&'a Graph, &'a Writes), Failure> {
    if snapshot.fabric.collection(name).is_none() {
        return Err(Failure::no_collection(name));
    }
    snapshot.graph(name).ok_or_else(|| {
        Failure::Database(format!(
            "[HTTP 400][ERR 1218] AQL: collection type invalid: {name} (while executing)"
        ))
    })
}

/// A count of paths from a `limit`.
///
/// # Errors
/// Below 0, which the query language can't parse.
pub(super) fn count(limit: i64) -> Result<usize, Failure> {
    if limit < 0 {
        return Err(Failure::syntax("-"));
    }
    Ok(usize::try_from(limit).unwrap_or(MAX_PATHS).min(MAX_PATHS))
}

/// Leaves out the routers that don't take part in an algorithm. Only vertices with `igp_node` in their id count
/// as routers; 0 is everybody's algorithm.
pub(super) fn keep_algorithm(view: &mut View<'_>, algo: i64) {
    if algo == 0 {
        return;
    }
    let graph = view.graph;
    view.keep(|v| !graph.id(v).contains("igp_node") || has_algorithm(document(graph, v), algo), |_| true);
}

fn has_algorithm(document: Option<&serde_json::Map<String, Value>>, algo: i64) -> bool {
    let Some(Value::Array(sids)) = document.and_then(|d| d.get("sids")) else { return false };
    sids.iter().any(|sid| sid_algorithm(sid) == Some(algo))
}

/// Algorithm of an entry of `sids`.
pub(super) fn sid_algorithm(sid: &Value) -> Option<i64> {
    sid.get("srv6_endpoint_behavior")?.get("algo")?.as_i64()
}
