//! The documents being served: unchanging collections, and what `/load` has written over them.
//!
//! Readers take a [`Snapshot`] (three reference counts under a read lock) and work on it without any lock, so
//! neither a slow reader nor a writer ever holds up another reader. Writers take turns.

mod collections;
mod graph;
mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

pub(crate) use collections::{Contents, Fabric};
pub(crate) use graph::{Document, Graph};
pub(crate) use writes::Writes;

/// Everything one request sees.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// Collections as they were given.
    pub(crate) fabric: Arc<Fabric>,
    /// Writes per graph, by its name.
    pub(crate) writes: Arc<BTreeMap<String, Arc<Writes>>>,
    /// Grows with every change.
    pub(crate) version: u64,
}

impl Snapshot {
    /// A fabric on which nothing has been written.
    pub(crate) fn fresh(fabric: Fabric) -> Self {
        let writes =
            fabric.graphs().map(|(name, graph)| (name.to_owned(), Arc::new(Writes::new(graph)))).collect();
        Self { fabric: Arc::new(fabric), writes: Arc::new(writes), version: 0 }
    }

    /// A graph and its writes.
    pub(crate) fn graph(&self, name: &str) -> Option<(&Graph, &Writes)> {
        match (self.fabric.collection(name), self.writes.get(name)) {
            (Some(Contents::Edges(graph)), Some(writes)) => Some((graph, writes)),
            _ => None,
        }
    }

    /// Documents of a collection in the order in which the database would list them: by last write.
    pub(crate) fn documents(&self, name: &str) -> Option<Vec<Document>> {
        Some(match self.fabric.collection(name)? {
            Contents::Documents(documents) => documents.iter().map(|d| Document::clone(d)).collect(),
            Contents::Edges(graph) => match self.writes.get(name) {
                Some(writes) => {
                    writes.listing().into_iter().filter_map(|e| writes.document(graph, e)).collect()
                }
                None => Vec::new(),
            },
        })
    }

    /// The writes of a graph, to be changed.
    pub(crate) fn writes_mut(&mut self, name: &str) -> Option<&mut Writes> {
        self.version += 1;
        Arc::make_mut(&mut self.writes).get_mut(name).map(Arc::make_mut)
    }

    /// Takes back all writes of all graphs; answers how many edges there are.
    pub(crate) fn reset(&mut self) -> usize {
        let fresh: BTreeMap<String, Arc<Writes>> = self
            .fabric
            .graphs()
            .map(|(name, graph)| (name.to_owned(), Arc::new(Writes::new(graph))))
            .collect();
        let edges = self.fabric.graphs().map(|(_, graph)| graph.edges.len()).sum();
        self.writes = Arc::new(fresh);
        self.version += 1;
        edges
    }

    /// Puts other collections in place of these.
    pub(crate) fn replace(&mut self, fabric: Fabric) {
        let version = self.version + 1;
        *self = Self::fresh(fabric);
        self.version = version;
    }
}

/// The current snapshot.
#[derive(Debug)]
pub(crate) struct Store {
    current: RwLock<Snapshot>,
    writing: Mutex<()>,
}

impl Store {
    pub(crate) fn new(fabric: Fabric) -> Self {
        Self { current: RwLock::new(Snapshot::fresh(fabric)), writing: Mutex::new(()) }
    }

    /// What there is now.
    pub(crate) fn read(&self) -> Snapshot {
        self.current.read().clone()
    }

    /// Changes a copy and then puts it in place. Changes are made one after the other, since each must see the
    /// one before (a path by load must know the loads of all earlier answers).
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        let _turn = self.writing.lock();
        let mut next = self.read();
        let answer = change(&mut next);
        *self.current.write() = next;
        answer
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use srv6_fabric::Documents;

    use super::*;
    use crate::Options;

    fn store() -> Store {
        let text = include_str!("../../../../examples/fabrics/4x4.json");
        let documents = Documents::parse([("4x4", text)], "fabric_graph", "hosts").unwrap();
        Store::new(Fabric::new(&documents, &Options::default()).unwrap())
    }

    #[test]
    fn readers_keep_what_they_started_with() {
        let store = store();
        let before = store.read();
        store.change(|s| s.writes_mut("fabric_graph").unwrap().set_load(0, json!(10)));
        let after = store.read();
        assert!(after.version > before.version);
        assert_eq!(before.documents("fabric_graph").unwrap()[0]["load"], 0);
        let listed = after.documents("fabric_graph").unwrap();
        let moved = listed.last().unwrap();
        assert_eq!(moved["_key"], "10.0.0.200_leaf00_10.0.0.0_spine00", "a written edge is listed last");
        assert_eq!(moved["load"], 10);
        assert_ne!(moved["_rev"], before.documents("fabric_graph").unwrap()[0]["_rev"]);
        assert_eq!(store.change(Snapshot::reset), 40);
        assert_eq!(store.read().documents("fabric_graph"), before.documents("fabric_graph"));
    }
}
