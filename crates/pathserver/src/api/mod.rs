//! The calls, one file per kind.

mod additions;
mod collections;
mod edges;
mod graphs;
mod load;
mod many;
mod numbers;
mod paths;
mod project;
mod query;
mod topology;
mod vertices;

use axum::http::StatusCode;
use serde_json::{Value, json};

pub(crate) use additions::{MAX_TOPOLOGY, replace, replace_topology, reset_load};

use crate::Options;
use crate::http::{Call, Failure, GraphCall, Parameters, Reply};
use crate::search::Metric;
use crate::store::Store;

/// What every call works on.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) options: Options,
    /// Makes entity tags of this server different from those of another run.
    pub(crate) started: u128,
}

impl Service {
    /// Answers a call that the original has too.
    pub(crate) fn answer(&self, call: &Call, parameters: Parameters) -> Result<Reply, Failure> {
        let body = match call {
            Call::Health => self.health(),
            Call::Instances => self
                .store
                .read()
                .fabric
                .graphs()
                .map(|(name, _)| Value::from(name))
                .collect::<Vec<_>>()
                .into(),
            Call::Collections => collections::list(&self.store.read(), parameters)?,
            Call::Collection(name) => collections::contents(&self.store.read(), name, parameters)?,
            Call::CollectionKeys(name) => collections::keys(&self.store.read(), name)?,
            Call::CollectionInfo(name) => collections::info(&self.store.read(), name)?,
            Call::Graphs => graphs::list(&self.store.read(), parameters)?,
            Call::Graph(name) => graphs::one(&self.store.read(), name)?,
            Call::Topology(name, links) => {
                let snapshot = self.store.read();
                let body = topology::topology(&snapshot, name, *links, parameters)?;
                let tag = Some(format!("\"{:x}-{:x}\"", self.started, snapshot.version));
                return Ok(Reply { status: StatusCode::OK, body, tag });
            }
            Call::Within(name, call) => self.within(name, *call, parameters)?,
        };
        Ok(Reply::ok(body))
    }

    fn within(&self, name: &str, call: GraphCall, parameters: Parameters) -> Result<Value, Failure> {
        let (store, options) = (&self.store, &self.options);
        match call {
            GraphCall::Info => graphs::info(&store.read(), name),
            GraphCall::Vertices => vertices::all(&store.read(), name),
            GraphCall::VertexKeys => vertices::keys(&store.read(), name),
            GraphCall::VertexIds => vertices::ids(&store.read(), name),
            GraphCall::VertexSummary => vertices::summary(&store.read(), name, parameters),
            GraphCall::VerticesByAlgo => vertices::by_algo(&store.read(), name, parameters),
            GraphCall::Edges => edges::ends(&store.read(), name),
            GraphCall::EdgeDetail => edges::detail(&store.read(), name, parameters),
            GraphCall::ShortestPath => paths::best(store, name, Metric::Hops, options, parameters),
            GraphCall::Latency => paths::best(store, name, Metric::Latency, options, parameters),
            GraphCall::Utilization => paths::best(store, name, Metric::Utilization, options, parameters),
            GraphCall::Load => paths::best(store, name, Metric::Load, options, parameters),
            GraphCall::Sovereignty => many::sovereignty(&store.read(), name, options, parameters),
            GraphCall::BestPaths => many::best_paths(&store.read(), name, options, parameters),
            GraphCall::NextBestPath => many::next_best_path(&store.read(), name, options, parameters),
        }
    }

    /// The original says "healthy" without looking at its database, and where that is. This server's documents are
    /// in it and were checked before they were served, so here it is true.
    fn health(&self) -> Value {
        json!({
            "status": "healthy",
            "database_server": concat!("embedded srv6-pathserver ", env!("CARGO_PKG_VERSION")),
            "database_name": self.options.graph,
        })
    }
}
