//! Who has registered which flow. Pure: no memory, no sockets.

use std::collections::HashMap;
use std::hash::Hash;

use super::{Pair, SLOTS};
use crate::slots::Slots;

/// Registrations by process and connection number. `P` tells processes apart for as long as they live.
#[derive(Debug)]
pub struct Registry<P> {
    slots: Slots<Pair>,
    processes: HashMap<P, HashMap<u32, Pair>>,
}

/// What a registration changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The slot given; none if all are taken.
    pub slot: Option<u32>,
    /// Whether it had no flow before.
    pub new: bool,
    /// The slot that became free.
    pub freed: Option<u32>,
}

impl<P: Copy + Eq + Hash> Registry<P> {
    /// Nobody's.
    pub fn new() -> Self {
        Self { slots: Slots::new(SLOTS), processes: HashMap::new() }
    }

    /// Gives a connection the slot of its flow.
    ///
    /// The same connection again has one reference, not two; with another flow, that one instead of the first.
    pub fn register(&mut self, process: P, connection: u32, pair: Pair) -> Outcome {
        let connections = self.processes.entry(process).or_default();
        if connections.get(&connection) == Some(&pair) {
            return Outcome { slot: self.slots.slot(&pair), new: false, freed: None };
        }
        let freed = connections.remove(&connection).and_then(|other| self.slots.release(&other));
        let given = self.slots.acquire(pair);
        if given.is_some() {
            connections.insert(connection, pair);
        }
        if connections.is_empty() {
            self.processes.remove(&process);
        }
        Outcome { slot: given.map(|given| given.slot), new: given.is_some_and(|given| given.new), freed }
    }

    /// Ends a connection's registration; the slot, if nobody else has it. Of an unknown one it changes nothing.
    pub fn deregister(&mut self, process: P, connection: u32) -> Option<u32> {
        let connections = self.processes.get_mut(&process)?;
        let pair = connections.remove(&connection)?;
        if connections.is_empty() {
            self.processes.remove(&process);
        }
        self.slots.release(&pair)
    }

    /// Ends all registrations of a process, and gives the slots that nobody else has.
    pub fn forget(&mut self, process: P) -> Vec<u32> {
        let connections = self.processes.remove(&process).unwrap_or_default();
        connections.values().filter_map(|pair| self.slots.release(pair)).collect()
    }

    /// Registrations of a process.
    pub fn count(&self, process: P) -> usize {
        self.processes.get(&process).map_or(0, HashMap::len)
    }

    /// Slot, flow and references of each slot in use.
    pub fn slots(&self) -> impl Iterator<Item = (u32, Pair, u32)> {
        self.slots.iter()
    }

    /// Whose slot it is.
    pub fn pair(&self, slot: u32) -> Option<Pair> {
        self.slots.key(slot).copied()
    }
}

impl<P: Copy + Eq + Hash> Default for Registry<P> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(n: u32) -> Pair {
        Pair { src: n, dst: 1000 + n }
    }

    fn given(slot: u32, new: bool) -> Outcome {
        Outcome { slot: Some(slot), new, freed: None }
    }

    #[test]
    fn equal_flows_share_a_slot_until_the_last_goes() {
        let mut registry = Registry::new();
        assert_eq!(registry.register('p', 1, pair(1)), given(0, true));
        assert_eq!(registry.register('q', 1, pair(1)), given(0, false));
        let back = Pair { src: 1001, dst: 1 };
        assert_eq!(registry.register('p', 2, back), given(1, true), "the other direction is another flow");
        assert_eq!((registry.deregister('p', 1), registry.deregister('p', 1)), (None, None));
        assert_eq!(registry.deregister('q', 1), Some(0));
        assert_eq!(registry.slots().collect::<Vec<_>>(), [(1, back, 1)]);
    }

    #[test]
    fn a_repeated_registration_counts_once() {
        let mut registry = Registry::new();
        registry.register('p', 1, pair(1));
        assert_eq!(registry.register('p', 1, pair(1)), given(0, false));
        assert_eq!(registry.register('p', 1, pair(2)), Outcome { slot: Some(0), new: true, freed: Some(0) });
        assert_eq!(registry.slots().collect::<Vec<_>>(), [(0, pair(2), 1)]);
        assert_eq!(registry.deregister('p', 1), Some(0));
    }

    #[test]
    fn what_a_process_had_goes_with_it() {
        let mut registry = Registry::new();
        for n in 0..5 {
            registry.register('p', n, pair(n));
        }
        registry.register('q', 0, pair(3));
        assert_eq!((registry.count('p'), registry.count('q')), (5, 1));
        let mut freed = registry.forget('p');
        freed.sort_unstable();
        assert_eq!(freed, [0, 1, 2, 4]);
        assert_eq!(registry.slots().collect::<Vec<_>>(), [(3, pair(3), 1)]);
    }

    #[test]
    fn slots_come_back() {
        let mut registry = Registry::new();
        for n in 0..3 * SLOTS {
            assert_eq!(registry.register('p', n, pair(n)), given(0, true));
            assert_eq!(registry.deregister('p', n), Some(0));
        }
        for n in 0..SLOTS {
            assert_eq!(registry.register('p', n, pair(n)).slot, Some(n));
        }
        let full = Outcome { slot: None, new: false, freed: None };
        assert_eq!(registry.register('p', 999, pair(999)), full);
        assert_eq!(registry.deregister('p', 999), None, "a refused one isn't remembered");
        registry.deregister('p', 17);
        assert_eq!(registry.register('p', 999, pair(999)), given(17, true));
    }
}
