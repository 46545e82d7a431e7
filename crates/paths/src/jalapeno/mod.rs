//! Client of the Jalapeno API (cisco-open/jalapeno `api/v1`), read-only but for `/load`'s own accounting.

mod answer;
mod http;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use srv6_fabric::{Documents, Path, Policy, Topology, VertexIndex, equal_cost_paths};

use self::answer::{one_path, several_paths};
use self::http::Http;
use crate::source::MAX_PATHS;
use crate::{ApiError, Candidates, Origin, PathError, PathSource, Query};

/// Which API and which of its collections.
#[derive(Debug, Clone)]
pub struct JalapenoConfig {
    /// Base address, with or without `/api/v1`.
    pub endpoint: String,
    /// Edge collection that is searched.
    pub graph: String,
    /// Collection that hosts without a collection name belong to.
    pub hosts: String,
    /// Longest wait for one request; the caller's deadline may end it earlier. Longer: a slow database
    /// still answers; shorter: a hung one holds up the flows behind it for less time.
    pub request_timeout: Duration,
}

/// Most paths that are asked for in one request. Of more, the fabric's own are taken, since an API that cuts its list
/// gives each host another part of it.
const MOST_ASKED: usize = 1000;

/// A Jalapeno API as path source.
#[derive(Debug)]
pub struct Jalapeno {
    http: Http,
    graph: String,
    hosts: String,
}

impl Jalapeno {
    /// Checks the address; nothing is asked yet.
    ///
    /// # Errors
    /// [`ApiError::Endpoint`].
    pub fn new(config: JalapenoConfig) -> Result<Self, ApiError> {
        let http = Http::new(&config.endpoint, config.request_timeout)?;
        Ok(Self { http, graph: config.graph, hosts: config.hosts })
    }

    /// A request below `/graphs/{graph}`. The real API answers an unknown graph with an empty status 500, so
    /// that one is confirmed before it is blamed on anything.
    fn ask_graph(
        &mut self,
        route: &str,
        query: &[(&str, &str)],
        deadline: Instant,
    ) -> Result<Value, ApiError> {
        let request = format!("/graphs/{}{route}", self.graph);
        match self.http.get(&request, query, deadline) {
            Err(error @ ApiError::Status { status: 404 | 500, .. }) => {
                let known = self.graphs(deadline)?;
                if known.contains(&self.graph) {
                    Err(error)
                } else {
                    Err(ApiError::UnknownGraph { graph: self.graph.clone(), known })
                }
            }
            other => other,
        }
    }

    fn graphs(&mut self, deadline: Instant) -> Result<Vec<String>, ApiError> {
        let body = self.http.get("/instances", &[], deadline)?;
        serde_json::from_value(body)
            .map_err(|e| ApiError::Garbage { request: "/instances".to_owned(), reason: e.to_string() })
    }

    fn ask_path(
        &mut self,
        topology: &Topology,
        ends: (VertexIndex, VertexIndex),
        route: &str,
        extra: &[(&str, &str)],
        deadline: Instant,
    ) -> Result<Value, PathError> {
        let (from, to) = (&topology.vertex(ends.0).id, &topology.vertex(ends.1).id);
        let mut query = vec![("source", vertex_id(from)?), ("destination", vertex_id(to)?)];
        query.extend_from_slice(extra);
        let body = self.ask_graph(route, &query, deadline)?;
        match body.get("found") {
            Some(Value::Bool(true)) => Ok(body),
            Some(Value::Bool(false)) => Err(PathError::NoPath { from: from.clone(), to: to.clone() }),
            _ => {
                Err(ApiError::Garbage { request: route.to_owned(), reason: "no field \"found\"".to_owned() }
                    .into())
            }
        }
    }

    /// The equal-cost paths, sorted by vertex ids.
    fn best_paths(
        &mut self,
        topology: &Topology,
        ends: (VertexIndex, VertexIndex),
        algo: u8,
        deadline: Instant,
    ) -> Result<Vec<Path>, PathError> {
        // With fewer than there are, which ones come back would depend on the database's tie-breaking, and
        // hosts would no longer agree on who takes which.
        let known = equal_cost_paths(topology, ends.0, ends.1, MAX_PATHS);
        if known.len() > MOST_ASKED && algo == 0 {
            return Ok(known);
        }
        let (limit, algo) = (known.len().max(4).to_string(), algo.to_string());
        let extra = [("limit", limit.as_str()), ("algo", algo.as_str())];
        let body = self.ask_path(topology, ends, "/shortest_path/best-paths", &extra, deadline)?;
        let mut paths = several_paths(topology, ends, &body)?;
        let shortest = paths.iter().map(|p| p.vertices.len()).min().unwrap_or(0);
        paths.retain(|p| p.vertices.len() == shortest);
        paths.sort_by(|a, b| a.vertices.cmp(&b.vertices));
        paths.dedup();
        Ok(paths)
    }

    fn chosen(
        &mut self,
        topology: &Topology,
        ends: (VertexIndex, VertexIndex),
        route: &str,
        algo: u8,
        deadline: Instant,
    ) -> Result<Path, PathError> {
        let algo = algo.to_string();
        let body = self.ask_path(topology, ends, route, &[("algo", algo.as_str())], deadline)?;
        one_path(topology, ends, &body)
    }
}

impl PathSource for Jalapeno {
    fn graph(&self) -> &str {
        &self.graph
    }

    fn origin(&self) -> Origin {
        Origin::Jalapeno
    }

    fn topology(&mut self, deadline: Instant) -> Result<Arc<Topology>, PathError> {
        let body = self.ask_graph("/topology", &[("include_all_fields", "true")], deadline)?;
        let unusable = |reason: String| ApiError::Garbage {
            request: format!("/graphs/{}/topology", self.graph),
            reason,
        };
        let text = body.to_string();
        let documents = Documents::parse([("answer", text.as_str())], &self.graph, &self.hosts)
            .map_err(|e| unusable(e.to_string()))?;
        let (topology, faults) =
            Topology::tolerant(&documents, &self.graph).map_err(|e| unusable(e.to_string()))?;
        for fault in faults {
            log::warn!("left out of the topology: {fault}");
        }
        Ok(Arc::new(topology))
    }

    fn candidates(
        &mut self,
        topology: &Topology,
        source: VertexIndex,
        destination: VertexIndex,
        query: Query,
        deadline: Instant,
    ) -> Result<Candidates, PathError> {
        let ends = (source, destination);
        let route = match query.policy {
            Policy::Spread | Policy::Hops => {
                let paths = self.best_paths(topology, ends, query.algo, deadline)?;
                return Ok(Candidates { paths, chosen: false });
            }
            Policy::Load => "/shortest_path/load",
            Policy::Latency => "/shortest_path/latency",
            Policy::Utilization => "/shortest_path/utilization",
        };
        let path = self.chosen(topology, ends, route, query.algo, deadline)?;
        // Weights can make a detour look cheap, with other hosts' leaves as transit: `/load` answered so
        // with one link down. A valley through the fabric is never worth it.
        let shortest = equal_cost_paths(topology, source, destination, 1);
        let hops = shortest.first().map_or(usize::MAX, |p| p.vertices.len());
        if path.vertices.len() > hops {
            log::warn!(
                "policy {}: {} is a detour of {} links where {} would do; spreading over the shortest instead",
                query.policy,
                path.names(topology).join(" > "),
                path.vertices.len() - 1,
                hops - 1
            );
            let paths = self.best_paths(topology, ends, query.algo, deadline)?;
            return Ok(Candidates { paths, chosen: false });
        }
        Ok(Candidates { paths: vec![path], chosen: true })
    }
}

/// Ids are pasted into the server's queries as they are, so only ArangoDB's own alphabet may pass.
fn vertex_id(id: &str) -> Result<&str, ApiError> {
    let fine = id.split_once('/').is_some_and(|(collection, key)| {
        !collection.is_empty()
            && collection.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !key.is_empty()
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-:.@()+,=;$!*%".contains(&b))
    });
    if fine { Ok(id) } else { Err(ApiError::Id { id: id.to_owned() }) }
}
