//! One path source for several askers: each question is asked once per period, whoever asks.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use srv6_fabric::{Topology, VertexIndex};

use crate::{ApiError, Candidates, Origin, PathError, PathSource, Query};

/// A handle on a source that others have handles on, too. Cheap to clone; askers wait for each other while one asks.
#[derive(Clone)]
pub struct SharedSource {
    shared: Arc<Shared>,
}

struct Shared {
    graph: String,
    origin: Origin,
    period: Duration,
    /// Held while the source is asked.
    source: Mutex<Box<dyn PathSource>>,
    /// Held for moments only: who has an answer here waits for nobody.
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    topology: Option<(Arc<Topology>, Instant)>,
    /// Of that topology.
    pairs: HashMap<(VertexIndex, VertexIndex, Query), (Candidates, Instant)>,
    topologies_read: u64,
}

impl SharedSource {
    /// Shares a source. An answer younger than `period` is given again without asking.
    pub fn new(source: Box<dyn PathSource>, period: Duration) -> Self {
        let (graph, origin) = (source.graph().to_owned(), source.origin());
        Self {
            shared: Arc::new(Shared {
                graph,
                origin,
                period,
                source: Mutex::new(source),
                memory: Mutex::default(),
            }),
        }
    }

    /// The fabric as last read, without asking.
    pub fn known(&self) -> Option<Arc<Topology>> {
        self.shared.memory.lock().topology.as_ref().map(|(topology, _)| Arc::clone(topology))
    }

    /// How often the source was asked for the whole fabric, with success.
    pub fn topologies_read(&self) -> u64 {
        self.shared.memory.lock().topologies_read
    }
}

impl Shared {
    /// Waits for who is asking now.
    fn source(
        &self,
        deadline: Instant,
    ) -> Result<parking_lot::MutexGuard<'_, Box<dyn PathSource>>, PathError> {
        let started = Instant::now();
        self.source.try_lock_until(deadline).ok_or_else(|| {
            ApiError::TimedOut { endpoint: "of this host".to_owned(), waited: started.elapsed() }.into()
        })
    }

    fn fresh_topology(&self) -> Option<Arc<Topology>> {
        let memory = self.memory.lock();
        let (topology, since) = memory.topology.as_ref()?;
        (since.elapsed() < self.period).then(|| Arc::clone(topology))
    }

    fn fresh_pair(&self, topology: &Topology, key: &(VertexIndex, VertexIndex, Query)) -> Option<Candidates> {
        let memory = self.memory.lock();
        // Positions in another topology mean something else.
        memory.topology.as_ref().filter(|(known, _)| std::ptr::eq(Arc::as_ptr(known), topology))?;
        let (candidates, since) = memory.pairs.get(key)?;
        (since.elapsed() < self.period).then(|| candidates.clone())
    }
}

impl PathSource for SharedSource {
    fn graph(&self) -> &str {
        &self.shared.graph
    }

    fn origin(&self) -> Origin {
        self.shared.origin
    }

    fn topology(&mut self, deadline: Instant) -> Result<Arc<Topology>, PathError> {
        if let Some(topology) = self.shared.fresh_topology() {
            return Ok(topology);
        }
        let mut source = self.shared.source(deadline)?;
        // Whoever was asking may have got what this one wants.
        if let Some(topology) = self.shared.fresh_topology() {
            return Ok(topology);
        }
        let read = source.topology(deadline)?;
        let mut memory = self.shared.memory.lock();
        memory.topologies_read += 1;
        memory.pairs.clear();
        memory.topology = Some((Arc::clone(&read), Instant::now()));
        Ok(read)
    }

    fn candidates(
        &mut self,
        topology: &Topology,
        source: VertexIndex,
        destination: VertexIndex,
        query: Query,
        deadline: Instant,
    ) -> Result<Candidates, PathError> {
        let key = (source, destination, query);
        if let Some(known) = self.shared.fresh_pair(topology, &key) {
            return Ok(known);
        }
        let mut asked = self.shared.source(deadline)?;
        if let Some(known) = self.shared.fresh_pair(topology, &key) {
            return Ok(known);
        }
        let candidates = asked.candidates(topology, source, destination, query, deadline)?;
        let mut memory = self.shared.memory.lock();
        if memory.topology.as_ref().is_some_and(|(known, _)| std::ptr::eq(Arc::as_ptr(known), topology)) {
            memory.pairs.insert(key, (candidates.clone(), Instant::now()));
        }
        Ok(candidates)
    }
}

impl fmt::Debug for SharedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSource").field("graph", &self.shared.graph).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use srv6_fabric::{Documents, Policy};

    use super::*;

    /// Counts what it is asked, and takes its time.
    #[derive(Debug)]
    struct Slow {
        topologies: Arc<Mutex<usize>>,
        pairs: Arc<Mutex<usize>>,
    }

    fn topology() -> Topology {
        let text = include_str!("../../../examples/fabrics/4x4.json");
        let documents = Documents::parse([("4x4.json", text)], "fabric_graph", "hosts").unwrap();
        Topology::new(&documents, "fabric_graph").unwrap()
    }

    impl PathSource for Slow {
        fn graph(&self) -> &str {
            "fabric_graph"
        }

        fn origin(&self) -> Origin {
            Origin::Jalapeno
        }

        fn topology(&mut self, _deadline: Instant) -> Result<Arc<Topology>, PathError> {
            std::thread::sleep(Duration::from_millis(20));
            *self.topologies.lock() += 1;
            Ok(Arc::new(topology()))
        }

        fn candidates(
            &mut self,
            topology: &Topology,
            source: VertexIndex,
            destination: VertexIndex,
            _query: Query,
            _deadline: Instant,
        ) -> Result<Candidates, PathError> {
            *self.pairs.lock() += 1;
            let paths = srv6_fabric::equal_cost_paths(topology, source, destination, 8);
            Ok(Candidates { paths, chosen: false })
        }
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn many_askers_are_one_question() {
        let (topologies, pairs) = (Arc::<Mutex<usize>>::default(), Arc::<Mutex<usize>>::default());
        let slow = Slow { topologies: Arc::clone(&topologies), pairs: Arc::clone(&pairs) };
        let source = SharedSource::new(Box::new(slow), Duration::from_secs(600));
        assert!(source.known().is_none());
        let askers: Vec<_> = (0..8)
            .map(|_| {
                let mut source = source.clone();
                std::thread::spawn(move || {
                    let topology = source.topology(later()).unwrap();
                    let hosts: Vec<_> = ["2001:db8:1000::2", "2001:db8:1001::2"]
                        .map(|a| topology.host_of(a.parse().unwrap()))
                        .into_iter()
                        .collect::<Option<_>>()
                        .unwrap();
                    let query = Query { policy: Policy::Spread, algo: 0 };
                    source.candidates(&topology, hosts[0], hosts[1], query, later()).unwrap()
                })
            })
            .collect();
        let answers: Vec<Candidates> = askers.into_iter().map(|asker| asker.join().unwrap()).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0] && !answer.paths.is_empty()));
        assert_eq!((*topologies.lock(), *pairs.lock(), source.topologies_read()), (1, 1, 1));
    }

    #[test]
    fn what_is_old_is_asked_again_and_a_busy_source_not_waited_for_too_long() {
        let (topologies, pairs) = (Arc::<Mutex<usize>>::default(), Arc::<Mutex<usize>>::default());
        let slow = Slow { topologies: Arc::clone(&topologies), pairs };
        let mut source = SharedSource::new(Box::new(slow), Duration::ZERO);
        source.topology(later()).unwrap();
        source.topology(later()).unwrap();
        assert_eq!(*topologies.lock(), 2);
        let shared = Arc::clone(&source.shared);
        let busy = shared.source.lock();
        let error = source.topology(Instant::now() + Duration::from_millis(5)).unwrap_err();
        assert!(matches!(error, PathError::Api(ApiError::TimedOut { .. })), "{error}");
        drop(busy);
        source.topology(later()).unwrap();
    }
}
