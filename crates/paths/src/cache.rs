//! Remembers answers, so that N connects of a pair cost one question and a dead API costs one wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use srv6_fabric::{Flow, Topology, VertexIndex};

use crate::{Answer, Candidates, Origin, PathError, PathSource, Query};

/// How long answers are good.
#[derive(Debug, Clone, Copy)]
pub struct CacheLimits {
    /// An answer younger than this is given again without asking. Longer: fewer questions; shorter: changes
    /// of the fabric are seen earlier by new connects.
    pub fresh: Duration,
    /// After the API as a whole failed, other flows get the same answer for this long instead of each
    /// waiting for its own deadline.
    pub failed: Duration,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { fresh: Duration::from_secs(30), failed: Duration::from_secs(2) }
    }
}

#[derive(Debug)]
struct Known<T> {
    value: T,
    since: Instant,
}

/// A path source with a memory.
#[derive(Debug)]
pub struct Paths {
    source: Box<dyn PathSource>,
    limits: CacheLimits,
    topology: Option<Known<Arc<Topology>>>,
    pairs: HashMap<(VertexIndex, VertexIndex, Query), Known<Candidates>>,
    failure: Option<Known<PathError>>,
}

impl Paths {
    /// Puts a cache before a source.
    pub fn new(source: Box<dyn PathSource>, limits: CacheLimits) -> Self {
        Self { source, limits, topology: None, pairs: HashMap::new(), failure: None }
    }

    /// The paths of a flow, from memory or from the source. When the source fails, an old answer is better
    /// than none, however old.
    ///
    /// # Errors
    /// Why there is no path; the deadline is kept.
    pub fn candidates(&mut self, flow: Flow, query: Query, deadline: Instant) -> Result<Answer, PathError> {
        let (topology, since) = self.known_topology(deadline)?;
        let (source, destination) = match self.ends(&topology, flow) {
            // The host may be newer than what we remember.
            Err(PathError::UnknownHost { .. })
                if since.elapsed() > Duration::ZERO && self.forget_if_old() =>
            {
                let (topology, _) = self.known_topology(deadline)?;
                let ends = self.ends(&topology, flow)?;
                return self.between(topology, ends, query, deadline);
            }
            ends => ends?,
        };
        match self.between(topology, (source, destination), query, deadline) {
            // So may a switch that the answer names.
            Err(PathError::BadPath { .. }) if self.forget_if_old() => {
                let (topology, _) = self.known_topology(deadline)?;
                let ends = self.ends(&topology, flow)?;
                self.between(topology, ends, query, deadline)
            }
            answer => answer,
        }
    }

    /// The whole fabric, from memory or from the source; an old one is better than none here too.
    ///
    /// # Errors
    /// Why it isn't to be had; the deadline is kept.
    pub fn topology(&mut self, deadline: Instant) -> Result<Arc<Topology>, PathError> {
        self.known_topology(deadline).map(|(topology, _)| topology)
    }

    /// The fabric as it was read at `since` or later, reading it now if it must be. An older one doesn't do.
    ///
    /// # Errors
    /// Why it isn't to be had; the deadline is kept, and what is remembered stays.
    pub fn topology_since(&mut self, since: Instant, deadline: Instant) -> Result<Arc<Topology>, PathError> {
        if let Some(known) = &self.topology
            && known.since >= since
        {
            return Ok(Arc::clone(&known.value));
        }
        match self.recent_failure() {
            Some(error) => Err(error),
            None => self.read(deadline).map(|(topology, _)| topology),
        }
    }

    /// The fabric as last read, reading it if it never was or is no longer fresh.
    fn known_topology(&mut self, deadline: Instant) -> Result<(Arc<Topology>, Instant), PathError> {
        if let Some(known) = &self.topology
            && known.since.elapsed() < self.limits.fresh
        {
            return Ok((Arc::clone(&known.value), known.since));
        }
        if let Some(error) = self.recent_failure() {
            return match &self.topology {
                Some(known) => Ok((Arc::clone(&known.value), known.since)),
                None => Err(error),
            };
        }
        match (self.read(deadline), &self.topology) {
            (Err(error), Some(known)) => {
                log::warn!(
                    "topology could not be read again, using the one of {:.0} s ago: {error}",
                    known.since.elapsed().as_secs_f64()
                );
                Ok((Arc::clone(&known.value), known.since))
            }
            (result, _) => result,
        }
    }

    fn read(&mut self, deadline: Instant) -> Result<(Arc<Topology>, Instant), PathError> {
        let topology = self.source.topology(deadline).inspect_err(|error| self.remember_failure(error))?;
        let since = Instant::now();
        // Positions of the old topology mean nothing in one with other vertices, and its paths may be gone in one with other
        // links.
        if !self.topology.as_ref().is_some_and(|old| same_graph(&old.value, &topology)) {
            self.pairs.clear();
        }
        self.topology = Some(Known { value: Arc::clone(&topology), since });
        self.failure = None;
        Ok((topology, since))
    }

    fn ends(&self, topology: &Topology, flow: Flow) -> Result<(VertexIndex, VertexIndex), PathError> {
        let host = |address| {
            topology
                .host_of(address)
                .ok_or_else(|| PathError::UnknownHost { address, graph: self.source.graph().to_owned() })
        };
        let (source, destination) = (host(flow.src)?, host(flow.dst)?);
        if source == destination {
            return Err(PathError::SameHost {
                source_address: flow.src,
                destination_address: flow.dst,
                host: topology.vertex(source).id.clone(),
            });
        }
        Ok((source, destination))
    }

    fn between(
        &mut self,
        topology: Arc<Topology>,
        (source, destination): (VertexIndex, VertexIndex),
        query: Query,
        deadline: Instant,
    ) -> Result<Answer, PathError> {
        let key = (source, destination, query);
        let answer = |candidates, origin| Answer {
            topology: Arc::clone(&topology),
            source,
            destination,
            candidates,
            origin,
        };
        let known = self.pairs.get(&key);
        let old = known.map(|k| answer(k.value.clone(), Origin::Cache { age: k.since.elapsed() }));
        if known.is_some_and(|k| k.since.elapsed() < self.limits.fresh)
            && let Some(answer) = old
        {
            return Ok(answer);
        }
        if let Some(error) = self.recent_failure() {
            return old.ok_or(error);
        }
        match self.source.candidates(&topology, source, destination, query, deadline) {
            Ok(candidates) => {
                self.failure = None;
                self.pairs.insert(key, Known { value: candidates.clone(), since: Instant::now() });
                Ok(answer(candidates, self.source.origin()))
            }
            // That there is no path is an answer too, and a newer one.
            Err(error @ PathError::NoPath { .. }) => {
                self.pairs.remove(&key);
                Err(error)
            }
            Err(error) => {
                self.remember_failure(&error);
                match old {
                    Some(old) => {
                        log::warn!(
                            "path could not be asked for again, using the one from the {}: {error}",
                            old.origin
                        );
                        Ok(old)
                    }
                    None => Err(error),
                }
            }
        }
    }

    /// Forgets a topology that a newer host may be missing from. Not more often than once a second, or
    /// connects to a host that doesn't exist would each read the whole fabric.
    fn forget_if_old(&mut self) -> bool {
        let old = self.topology.as_ref().is_some_and(|k| k.since.elapsed() >= Duration::from_secs(1));
        if old && let Some(known) = &mut self.topology {
            known.since = known.since.checked_sub(self.limits.fresh).unwrap_or(known.since);
        }
        old
    }

    fn recent_failure(&self) -> Option<PathError> {
        self.failure.as_ref().filter(|f| f.since.elapsed() < self.limits.failed).map(|f| f.value.clone())
    }

    fn remember_failure(&mut self, error: &PathError) {
        if let PathError::Api(api) = error
            && api.concerns_all()
        {
            self.failure = Some(Known { value: error.clone(), since: Instant::now() });
        }
    }
}

fn same_graph(a: &Topology, b: &Topology) -> bool {
    a.vertices().map(|(_, v)| &v.id).eq(b.vertices().map(|(_, v)| &v.id))
        && a.edges().iter().map(|e| (e.from, e.to)).eq(b.edges().iter().map(|e| (e.from, e.to)))
}
