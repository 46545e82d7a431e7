//! What flows of all namespaces keep off: drained by a person, or assumed bad by the probes of one of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use srv6_steer::{Awaited, Denials, Moved, Place};

use crate::{Host, NamespaceId};

/// The one list, and those who go by it.
#[derive(Debug, Default)]
pub struct Denied {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    drained: BTreeSet<Place>,
    bad: HashMap<NamespaceId, BTreeSet<Place>>,
    hosts: HashMap<NamespaceId, Weak<Host>>,
}

impl State {
    fn denials(&self) -> Denials {
        let bad = self.bad.values().flatten().cloned().collect();
        Denials { drained: self.drained.clone(), bad }
    }

    /// Tells every namespace, while the list can't change: the last word has to be the newest.
    fn tell(&self) -> Vec<(Arc<Host>, Awaited<Moved>)> {
        let denials = self.denials();
        self.hosts
            .values()
            .filter_map(Weak::upgrade)
            .map(|host| {
                let moving = host.steer().deny(denials.clone());
                (host, moving)
            })
            .collect()
    }
}

impl Denied {
    /// All of it.
    pub fn denials(&self) -> Denials {
        self.state.lock().denials()
    }

    /// Drains exactly these places, and gives what comes of it in each namespace.
    pub(crate) fn set_drained(&self, drained: BTreeSet<Place>) -> Vec<(Arc<Host>, Awaited<Moved>)> {
        let mut state = self.state.lock();
        state.drained = drained;
        state.tell()
    }

    /// Assumes exactly these places bad, as far as this namespace can tell.
    pub(crate) fn set_bad(&self, namespace: NamespaceId, bad: BTreeSet<Place>) {
        let mut state = self.state.lock();
        let before = state.denials();
        match bad.is_empty() {
            true => state.bad.remove(&namespace),
            false => state.bad.insert(namespace, bad),
        };
        if state.denials() != before {
            drop(state.tell());
        }
    }

    /// Lets a namespace go by it from now on.
    pub(crate) fn enter(&self, host: &Arc<Host>) {
        let mut state = self.state.lock();
        let gone = |weak: &Weak<Host>| weak.strong_count() == 0;
        let ended: Vec<NamespaceId> =
            state.hosts.iter().filter(|(_, host)| gone(host)).map(|(id, _)| *id).collect();
        for id in ended {
            state.hosts.remove(&id);
        }
        state.hosts.insert(host.id(), Arc::downgrade(host));
        drop(host.steer().deny(state.denials()));
    }
}
