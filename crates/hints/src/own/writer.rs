//! The side that gives hints: one process per host.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::layout::{
    Content, GENERATION_AT, HEADER_WORDS, HEARTBEAT_AT, HINTS_VERSION, MAGIC, MOST_SLOTS, PLACEMENT_AT,
    SLOT_WORDS, SLOTS_AT, UNIT_AT, USED_AT, Unit, VERSION_AT, WRITER_AT, bytes, encode,
};
use super::{Entry, HintsView, Key, Weights, since_boot};
use crate::HintsError;
use crate::publish::Claim;
use crate::region::{Identity, Region};
use crate::slots::Slots;

/// The host's hints, as their only writer. The file stays when this is dropped, without heartbeat: the next writer
/// takes over what it says.
#[derive(Debug)]
pub struct Hints {
    // Unmapped before the claim is given up.
    region: Region,
    identity: Identity,
    slots: Slots<Key>,
    weights: Vec<Weights>,
    claim: Claim,
}

impl Hints {
    /// Makes the file with so many slots, in place of one that an earlier writer left. That one's flows keep their
    /// slots and weights, where the file is large enough, until [`Self::forget_unclaimed`].
    ///
    /// # Errors
    /// Another writer lives, the directory isn't safe, or the number of slots is none that a file can have.
    pub fn create(path: &Path, size: u32) -> Result<Self, HintsError> {
        if !(1..=MOST_SLOTS).contains(&size) {
            return Err(HintsError::Slots { slots: size, most: MOST_SLOTS });
        }
        let claim = Claim::take(path)?;
        // Another format, or none, has nothing to take over.
        let before = HintsView::open(path).map(|view| view.entries()).unwrap_or_default();
        let mut slots = Slots::new(size);
        let mut weights = vec![Weights::default(); size as usize];
        let kept: Vec<Entry> =
            before.into_iter().filter(|entry| slots.reserve(entry.slot, entry.key)).collect();
        for entry in &kept {
            if let Some(place) = weights.get_mut(entry.slot as usize) {
                *place = entry.weights;
            }
        }
        let (region, identity) = claim.publish(bytes(size), |region| {
            let words: &[AtomicU64] = region.words();
            let header = [
                (VERSION_AT, HINTS_VERSION),
                (UNIT_AT, Unit::Relative.word()),
                (SLOTS_AT, size.into()),
                (WRITER_AT, std::process::id().into()),
                (HEARTBEAT_AT, since_boot()),
                (USED_AT, slots.used().into()),
                (0, MAGIC),
            ];
            for (at, value) in header {
                put(words, at, value);
            }
            for entry in &kept {
                fill(words, entry.slot, &encode(&entry.key, &entry.weights));
            }
        })?;
        Ok(Self { region, identity, slots, weights, claim })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        self.claim.path()
    }

    /// Makes the file again as it was, if it is gone, and says whether it was. Readers of the one before see by its name that there
    /// is another one.
    ///
    /// # Errors
    /// Another writer has its name meanwhile, or it can't be made.
    pub fn restore(&mut self) -> Result<bool, HintsError> {
        let found = std::fs::metadata(self.path());
        if found.is_ok_and(|metadata| Identity::of(&metadata) == self.identity) {
            return Ok(false);
        }
        if !self.claim.is_current() {
            self.claim = Claim::take(self.path())?;
        }
        let size = bytes(self.size());
        let (region, identity) = self.claim.publish(size, |region| {
            let (from, to): (&[AtomicU64], &[AtomicU64]) = (self.region.words(), region.words());
            for (from, to) in from.iter().zip(to) {
                to.store(from.load(Ordering::Relaxed), Ordering::Release);
            }
        })?;
        (self.region, self.identity) = (region, identity);
        Ok(true)
    }

    /// Takes a reference to the flow's slot. A flow that had none begins without weights, or with those from before
    /// a restart.
    ///
    /// # Errors
    /// All slots are taken: the flow gets no hints and goes by its own settings.
    pub fn acquire(&mut self, key: Key) -> Result<u32, HintsError> {
        let given = self.slots.acquire(key).ok_or(HintsError::Full { slots: self.size() })?;
        if given.new {
            self.write(given.slot, Some(key), Weights::default());
        }
        Ok(given.slot)
    }

    /// Gives a reference back; with the last one the slot is free for another flow.
    pub fn release(&mut self, key: &Key) {
        if let Some(slot) = self.slots.release(key) {
            self.write(slot, None, Weights::default());
        }
    }

    /// Sets the weights of a slot in use.
    ///
    /// # Errors
    /// No flow has it.
    pub fn set(&mut self, slot: u32, weights: Weights) -> Result<(), HintsError> {
        let used = self.slots.used();
        let key = *self.slots.key(slot).ok_or(HintsError::NoSuchSlot { slot, used })?;
        self.write(slot, Some(key), weights);
        Ok(())
    }

    /// Sets the weights of all slots in use, and says how many there are.
    pub fn set_all(&mut self, weights: Weights) -> usize {
        let all: Vec<_> = self.slots.iter().collect();
        for (slot, key, _) in &all {
            self.write(*slot, Some(*key), weights);
        }
        all.len()
    }

    /// Says that the writer lives. Due at least once a second.
    pub fn beat(&self) {
        put(self.region.words(), HEARTBEAT_AT, since_boot());
    }

    /// Frees the slots taken over from an earlier writer whose flows nobody has asked for since, and says how many.
    pub fn forget_unclaimed(&mut self) -> usize {
        let idle = self.slots.release_unreferenced();
        for slot in &idle {
            self.write(*slot, None, Weights::default());
        }
        idle.len()
    }

    /// The slots in use, and the references to each.
    pub fn entries(&self) -> Vec<(Entry, u32)> {
        let weights = |slot: u32| self.weights.get(slot as usize).copied().unwrap_or_default();
        self.slots
            .iter()
            .map(|(slot, key, references)| (Entry { slot, key, weights: weights(slot) }, references))
            .collect()
    }

    fn size(&self) -> u32 {
        u32::try_from(self.weights.len()).unwrap_or(MOST_SLOTS)
    }

    fn write(&mut self, slot: u32, key: Option<Key>, weights: Weights) {
        let words: &[AtomicU64] = self.region.words();
        let content = key.map_or_else(Content::default, |key| encode(&key, &weights));
        // Readers must not look for a flow beyond this, so it goes up before a slot is filled.
        put(words, USED_AT, self.slots.used().into());
        let moved = fill(words, slot, &content);
        if let Some(place) = self.weights.get_mut(slot as usize) {
            *place = weights;
        }
        let count = |at: usize| {
            if let Some(word) = words.get(at) {
                word.fetch_add(1, Ordering::Release);
            }
        };
        if moved {
            count(PLACEMENT_AT);
        }
        count(GENERATION_AT);
    }
}

fn put(words: &[AtomicU64], at: usize, value: u64) {
    if let Some(word) = words.get(at) {
        word.store(value, Ordering::Release);
    }
}

/// Writes a slot as a seqlock, and says whether it has another key now.
fn fill(words: &[AtomicU64], slot: u32, content: &Content) -> bool {
    let first = HEADER_WORDS + slot as usize * SLOT_WORDS;
    let Some([sequence, rest @ ..]) = words.get(first..first + SLOT_WORDS) else { return false };
    let before = sequence.load(Ordering::Relaxed);
    sequence.store(before.wrapping_add(1), Ordering::Relaxed);
    // No word may be seen before the odd sequence …
    fence(Ordering::Release);
    let mut moved = false;
    for (index, (word, value)) in rest.iter().zip(content).enumerate() {
        // The first five say whose it is.
        moved |= word.swap(*value, Ordering::Relaxed) != *value && index < 5;
    }
    // … and none after the even one.
    sequence.store(before.wrapping_add(2), Ordering::Release);
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        let flow = srv6_fabric::Flow { src: [10, 0, 0, n].into(), dst: [10, 0, 1, n].into() };
        Key { namespace: 4_026_531_840, flow }
    }

    fn weights(text: &str) -> Weights {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_set_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hints");
        let mut hints = Hints::create(&path, 4).unwrap();
        let view = HintsView::open(&path).unwrap();
        assert_eq!((hints.acquire(key(1)).unwrap(), hints.acquire(key(2)).unwrap()), (0, 1));
        assert_eq!(hints.acquire(key(1)).unwrap(), 0);
        let generation = view.generation();
        hints.set(1, weights("700,300")).unwrap();
        assert_ne!(view.generation(), generation);
        let entry = Entry { slot: 1, key: key(2), weights: weights("700,300") };
        assert_eq!(view.entries()[1], entry);
        assert_eq!(hints.entries()[1], (entry, 1));
        assert_eq!(hints.set_all(weights("5")), 2);
        hints.release(&key(1));
        assert_eq!(view.entries().len(), 2, "it has another reference");
        hints.release(&key(1));
        assert_eq!(view.entries(), [Entry { weights: weights("5"), ..entry }]);
    }

    #[test]
    fn mistakes_are_told_and_change_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hints");
        let mut hints = Hints::create(&path, 1).unwrap();
        let error = hints.set(0, weights("1")).unwrap_err();
        assert_eq!(error.to_string(), "slot 0 has no flow; no flow is registered");
        hints.acquire(key(1)).unwrap();
        let error = hints.acquire(key(2)).unwrap_err();
        assert_eq!(error.to_string(), "all 1 slots for hints are taken");
        let error = hints.set(7, weights("1")).unwrap_err();
        assert!(error.to_string().starts_with("slot 7 has no flow; want 0 to 0"), "{error}");
        hints.release(&key(2));
        assert_eq!(HintsView::open(&path).unwrap().entries().len(), 1);
        for slots in [0, MOST_SLOTS + 1] {
            assert!(matches!(Hints::create(&path, slots), Err(HintsError::Slots { .. })));
        }
    }

    #[test]
    fn slots_are_never_used_up() {
        let directory = tempfile::tempdir().unwrap();
        let mut hints = Hints::create(&directory.path().join("hints"), 2).unwrap();
        for n in 0..=255 {
            hints.acquire(key(n)).unwrap();
            hints.release(&key(n));
        }
        assert!(hints.entries().is_empty());
    }

    #[test]
    fn a_restarted_writer_goes_on_where_the_last_one_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hints");
        let mut hints = Hints::create(&path, 8).unwrap();
        for n in 1..=3 {
            hints.acquire(key(n)).unwrap();
        }
        hints.set(2, weights("10,990")).unwrap();
        drop(hints);
        let mut hints = Hints::create(&path, 16).unwrap();
        let view = HintsView::open(&path).unwrap();
        assert_eq!(view.entries()[2], Entry { slot: 2, key: key(3), weights: weights("10,990") });
        assert_eq!(hints.acquire(key(3)).unwrap(), 2);
        assert_eq!(hints.acquire(key(4)).unwrap(), 3, "slots of others are still kept");
        assert_eq!(hints.forget_unclaimed(), 2);
        let left: Vec<_> = view.entries().iter().map(|entry| entry.key).collect();
        assert_eq!(left, [key(3), key(4)]);
    }

    #[test]
    fn a_file_that_is_gone_is_made_again_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/hints");
        let mut hints = Hints::create(&path, 4).unwrap();
        hints.acquire(key(1)).unwrap();
        let slot = hints.acquire(key(2)).unwrap();
        hints.set(slot, "700,300".parse().unwrap()).unwrap();
        let before = HintsView::open(&path).unwrap();
        assert!(!hints.restore().unwrap(), "nothing is gone");
        assert!(before.is_current(&path));
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        assert!(hints.restore().unwrap());
        let after = HintsView::open(&path).unwrap();
        assert_eq!(after.entries(), before.entries());
        assert_eq!((after.generation(), after.placement()), (before.generation(), before.placement()));
        assert!(!before.is_current(&path));
        // The new file is the one that is written, and nobody else's.
        hints.set(slot, "1".parse().unwrap()).unwrap();
        assert_eq!(after.read(slot).flatten().unwrap().1.to_string(), "1");
        assert!(Hints::create(&path, 4).unwrap_err().to_string().contains("another process"));
        // Alone, beside its lock.
        std::fs::remove_file(&path).unwrap();
        assert!(hints.restore().unwrap() && path.exists());
        // One who took the name meanwhile keeps it.
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        let _other = Hints::create(&path, 4).unwrap();
        assert!(hints.restore().unwrap_err().to_string().contains("another process"));
    }
}
