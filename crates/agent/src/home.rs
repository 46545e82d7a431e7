//! Where the path source is asked from: the agent's own network namespace, whoever's flow the question is about.

use std::sync::Arc;
use std::time::Instant;

use srv6_fabric::{Topology, VertexIndex, chain};
use srv6_paths::{ApiError, Candidates, Origin, PathError, PathSource, Query};

use crate::Namespace;

/// A source that is asked from a namespace. The threads that steer a pod are in the pod's, and a pod need not reach the path
/// API; it may even have something else at that address.
#[derive(Debug)]
pub(crate) struct AskedFrom {
    pub(crate) namespace: Namespace,
    pub(crate) source: Box<dyn PathSource>,
}

impl AskedFrom {
    fn ask<T: Send>(
        &mut self,
        question: impl FnOnce(&mut dyn PathSource) -> Result<T, PathError> + Send,
    ) -> Result<T, PathError> {
        let source = self.source.as_mut();
        self.namespace.inside(|| question(source)).unwrap_or_else(|error| {
            let endpoint = "of this host".to_owned();
            Err(ApiError::Unreachable { endpoint, reason: chain(&error) }.into())
        })
    }
}

impl PathSource for AskedFrom {
    fn graph(&self) -> &str {
        self.source.graph()
    }

    fn origin(&self) -> Origin {
        self.source.origin()
    }

    fn topology(&mut self, deadline: Instant) -> Result<Arc<Topology>, PathError> {
        self.ask(|asked| asked.topology(deadline))
    }

    fn candidates(
        &mut self,
        topology: &Topology,
        source: VertexIndex,
        destination: VertexIndex,
        query: Query,
        deadline: Instant,
    ) -> Result<Candidates, PathError> {
        self.ask(|asked| asked.candidates(topology, source, destination, query, deadline))
    }
}
