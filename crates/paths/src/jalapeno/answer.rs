//! Reads paths out of the API's answers and believes nothing that the topology doesn't bear out.

use std::net::Ipv6Addr;

use serde_json::Value;
use srv6_fabric::{Encoding, Family, Path, Topology, VertexIndex, segments};

use crate::PathError;

/// The paths of a `best-paths` answer: at least one.
pub(super) fn several_paths(
    topology: &Topology,
    ends: (VertexIndex, VertexIndex),
    body: &Value,
) -> Result<Vec<Path>, PathError> {
    let paths = body.get("paths").and_then(Value::as_array).ok_or_else(|| bad("no array \"paths\""))?;
    let found: Vec<Path> = paths.iter().map(|p| one_path(topology, ends, p)).collect::<Result<_, _>>()?;
    if found.is_empty() { Err(bad("\"found\" is true but \"paths\" is empty")) } else { Ok(found) }
}

/// The path of a `shortest_path*` answer, or of one entry of `best-paths`.
pub(super) fn one_path(
    topology: &Topology,
    ends: (VertexIndex, VertexIndex),
    body: &Value,
) -> Result<Path, PathError> {
    let entries = body.get("path").and_then(Value::as_array).ok_or_else(|| bad("no array \"path\""))?;
    let mut vertices = Vec::with_capacity(entries.len());
    for (i, entry) in entries.iter().enumerate() {
        let id = entry
            .get("vertex")
            .and_then(|v| v.get("_id"))
            .and_then(Value::as_str)
            .ok_or_else(|| bad(format!("path[{i}] has no vertex id")))?;
        let vertex = topology
            .by_id(id)
            .ok_or_else(|| bad(format!("path[{i}] is {id}, which the topology does not have")))?;
        if vertices.contains(&vertex) {
            return Err(bad(format!("the path passes {id} twice")));
        }
        vertices.push(vertex);
    }
    check(topology, ends, &vertices)?;
    let path = Path { vertices };
    compare(topology, &path, body);
    Ok(path)
}

/// The path must lead from one end to the other, over links that exist, with no host in between.
fn check(
    topology: &Topology,
    ends: (VertexIndex, VertexIndex),
    vertices: &[VertexIndex],
) -> Result<(), PathError> {
    if (vertices.first(), vertices.last()) != (Some(&ends.0), Some(&ends.1)) {
        return Err(bad(format!(
            "the path does not lead from {} to {}",
            topology.vertex(ends.0).id,
            topology.vertex(ends.1).id
        )));
    }
    for pair in vertices.windows(2) {
        if let [from, to] = pair
            && topology.edge(*from, *to).is_none()
        {
            return Err(bad(format!(
                "the path uses a link {} > {} that the topology does not have",
                topology.vertex(*from).id,
                topology.vertex(*to).id
            )));
        }
    }
    let inner = vertices.get(1..vertices.len().saturating_sub(1)).unwrap_or_default();
    match inner.iter().find(|&&v| topology.vertex(v).is_host()) {
        Some(&host) => Err(bad(format!("the path leads through host {}", topology.vertex(host).id))),
        None => Ok(()),
    }
}

/// Logs where the server's own carrier differs from the one rebuilt from SIDs. Three generations of the
/// server write it in three ways, none with the decapsulation function, some not even as an address.
fn compare(topology: &Topology, path: &Path, body: &Value) {
    let Some(theirs) = body.get("srv6_data").and_then(|d| d.get("srv6_usid")).and_then(Value::as_str) else {
        return;
    };
    let Ok(ours) = segments(topology, path, &Encoding::of(Family::V6)) else { return };
    let ours = ours.first();
    match theirs.parse::<Ipv6Addr>() {
        // Bits of theirs are a beginning of ours: the function is all that is missing.
        Ok(theirs) if theirs.to_bits() & !ours.to_bits() == 0 => {}
        Ok(theirs) => log::info!("carrier rebuilt from SIDs is {ours}; the path API says {theirs}"),
        Err(_) => log::info!("carrier rebuilt from SIDs is {ours}; the path API says {theirs:?}, no address"),
    }
}

fn bad(reason: impl Into<String>) -> PathError {
    PathError::BadPath { reason: reason.into() }
}
