//! What the original doesn't have: taking back loads, and serving another fabric without a restart.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use srv6_fabric::Documents;

use super::Service;
use crate::ServerError;
use crate::http::{Failure, Reply};
use crate::store::{Contents, Fabric};

/// Longest topology taken, in bytes: about half a million edges.
pub(crate) const MAX_TOPOLOGY: usize = 128 << 20;

/// Puts all loads back to what the documents say, and with them the order in which ties are broken.
pub(crate) fn reset_load(service: &Service) -> Reply {
    let edges = service.store.change(crate::store::Snapshot::reset);
    Reply::ok(json!({ "edges": edges }))
}

/// Serves these documents from now on, in place of all others; or, if anything is wrong with them, goes on as before.
pub(crate) fn replace_topology(service: &Service, body: &[u8]) -> Result<Reply, Failure> {
    let refused = |text: String| Failure::Plain(StatusCode::UNPROCESSABLE_ENTITY, text);
    let text = std::str::from_utf8(body).map_err(|e| refused(format!("body: not UTF-8: {e}")))?;
    let options = &service.options;
    let documents = Documents::parse([("body", text)], &options.graph, &options.hosts)
        .map_err(|e| refused(e.to_string()))?;
    let counts = replace(service, &documents).map_err(|e| refused(e.to_string()))?;
    Ok(Reply::ok(json!({ "collections": counts })))
}

/// Checks documents and puts them in place; answers how many each collection has.
pub(crate) fn replace(service: &Service, documents: &Documents) -> Result<Map<String, Value>, ServerError> {
    let fabric = Fabric::new(documents, &service.options)?;
    let counts =
        fabric.collections().iter().map(|(name, c)| (name.clone(), Contents::len(c).into())).collect();
    service.store.change(|snapshot| snapshot.replace(fabric));
    Ok(counts)
}
