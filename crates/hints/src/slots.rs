//! Which key has which slot. Slots are counted from 0; a new key takes the lowest free one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

/// Slots with references: a key keeps its slot until the last one is given back.
#[derive(Debug)]
pub(crate) struct Slots<K> {
    size: u32,
    taken: HashMap<K, Taken>,
    keys: BTreeMap<u32, K>,
    /// Below `fresh`, and not taken.
    free: BTreeSet<u32>,
    /// The lowest slot that was never taken.
    fresh: u32,
}

#[derive(Debug, Clone, Copy)]
struct Taken {
    slot: u32,
    references: u32,
}

/// What taking a reference came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) slot: u32,
    /// The key had none before.
    pub(crate) new: bool,
}

impl<K: Copy + Eq + Hash> Slots<K> {
    /// So many free slots.
    pub(crate) fn new(size: u32) -> Self {
        Self { size, taken: HashMap::new(), keys: BTreeMap::new(), free: BTreeSet::new(), fresh: 0 }
    }

    /// Takes one more reference to the key's slot, or a slot; `None` if all are taken.
    pub(crate) fn acquire(&mut self, key: K) -> Option<Given> {
        if let Some(taken) = self.taken.get_mut(&key) {
            taken.references += 1;
            return Some(Given { slot: taken.slot, new: false });
        }
        let slot = match self.free.pop_first() {
            Some(slot) => slot,
            None if self.fresh < self.size => {
                self.fresh += 1;
                self.fresh - 1
            }
            None => return None,
        };
        self.taken.insert(key, Taken { slot, references: 1 });
        self.keys.insert(slot, key);
        Some(Given { slot, new: true })
    }

    /// Takes this slot for a key without a reference; no effect if either is taken.
    pub(crate) fn reserve(&mut self, slot: u32, key: K) -> bool {
        if slot >= self.size || self.keys.contains_key(&slot) || self.taken.contains_key(&key) {
            return false;
        }
        self.free.extend(self.fresh..slot);
        self.fresh = self.fresh.max(slot + 1);
        self.free.remove(&slot);
        self.taken.insert(key, Taken { slot, references: 0 });
        self.keys.insert(slot, key);
        true
    }

    /// Gives one reference back; the slot, if it was the last.
    pub(crate) fn release(&mut self, key: &K) -> Option<u32> {
        let taken = self.taken.get_mut(key)?;
        taken.references = taken.references.saturating_sub(1);
        if taken.references > 0 {
            return None;
        }
        let slot = taken.slot;
        self.taken.remove(key);
        self.keys.remove(&slot);
        self.free.insert(slot);
        Some(slot)
    }

    /// Frees the slots without a reference, and names them.
    pub(crate) fn release_unreferenced(&mut self) -> Vec<u32> {
        let idle: Vec<K> =
            self.taken.iter().filter(|(_, taken)| taken.references == 0).map(|(key, _)| *key).collect();
        idle.iter().filter_map(|key| self.release(key)).collect()
    }

    /// The key's slot.
    pub(crate) fn slot(&self, key: &K) -> Option<u32> {
        self.taken.get(key).map(|taken| taken.slot)
    }

    /// Whose slot it is.
    pub(crate) fn key(&self, slot: u32) -> Option<&K> {
        self.keys.get(&slot)
    }

    /// Slot, key and references of all that are taken, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, K, u32)> {
        let references = |key| self.taken.get(key).map_or(0, |taken| taken.references);
        self.keys.iter().map(move |(slot, key)| (*slot, *key, references(key)))
    }

    /// One more than the highest slot in use.
    pub(crate) fn used(&self) -> u32 {
        self.keys.last_key_value().map_or(0, |(slot, _)| slot + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn freed_slots_come_back_lowest_first() {
        let mut slots = Slots::new(3);
        for (key, slot) in [('a', 0), ('b', 1), ('c', 2)] {
            assert_eq!(slots.acquire(key), Some(Given { slot, new: true }));
        }
        assert_eq!(slots.acquire('d'), None);
        assert_eq!((slots.release(&'b'), slots.release(&'a'), slots.release(&'a')), (Some(1), Some(0), None));
        assert_eq!(slots.used(), 3);
        assert_eq!(slots.acquire('d'), Some(Given { slot: 0, new: true }));
        assert_eq!(slots.release(&'c'), Some(2));
        assert_eq!(slots.used(), 1);
    }

    #[test]
    fn a_reserved_slot_waits_for_its_key() {
        let mut slots = Slots::new(4);
        assert!(
            slots.reserve(2, 'a')
                && !slots.reserve(2, 'b')
                && !slots.reserve(3, 'a')
                && !slots.reserve(4, 'b')
        );
        assert!(slots.reserve(1, 'b'));
        assert_eq!(slots.acquire('a'), Some(Given { slot: 2, new: false }));
        assert_eq!(slots.release_unreferenced(), [1]);
        assert_eq!(slots.acquire('c'), Some(Given { slot: 0, new: true }));
        assert_eq!(slots.release(&'a'), Some(2));
    }

    proptest! {
        #[test]
        fn no_two_keys_share_a_slot_and_none_is_lost(steps in prop::collection::vec((any::<bool>(), 0_u8..12), 1..200)) {
            let mut slots = Slots::new(8);
            let mut model: HashMap<u8, u32> = HashMap::new();
            for (take, key) in steps {
                if take {
                    let full = model.len() == 8 && !model.contains_key(&key);
                    prop_assert_eq!(slots.acquire(key).is_none(), full);
                    if !full { *model.entry(key).or_default() += 1; }
                } else {
                    let last = model.get(&key) == Some(&1);
                    prop_assert_eq!(slots.release(&key).is_some(), last);
                    match model.get_mut(&key) {
                        Some(1) => { model.remove(&key); }
                        Some(count) => *count -= 1,
                        None => {}
                    }
                }
                let all: Vec<_> = slots.iter().collect();
                let distinct: BTreeSet<_> = all.iter().map(|(slot, ..)| *slot).collect();
                prop_assert_eq!(distinct.len(), model.len());
                prop_assert!(all.iter().all(|(slot, key, references)| *slot < 8 && model.get(key) == Some(references)));
            }
        }
    }
}
