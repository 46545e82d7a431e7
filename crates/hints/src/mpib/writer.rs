//! The file of hints for MPIB's clients.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use super::{FILE_BYTES, FIRST_VALUE, MAGIC, Outcome, Pair, Registry, SLOTS, Slot};
use crate::HintsError;
use crate::publish::Claim;
use crate::region::Region;

/// The host's hints for MPIB's clients, as their only writer. The file goes when this is dropped, as theirs does.
#[derive(Debug)]
pub struct MpibHints<P> {
    pub(super) region: Region,
    registry: Registry<P>,
    values: Vec<u32>,
    claim: Claim,
}

impl<P: Copy + Eq + std::hash::Hash> MpibHints<P> {
    /// Makes the file in place of one that is there. Clients that mapped the other keep that: they never look again.
    ///
    /// # Errors
    /// Another writer lives, or the directory isn't safe.
    pub fn create(path: &Path) -> Result<Self, HintsError> {
        let claim = Claim::take(path)?;
        let (region, _) = claim.publish(FILE_BYTES, |region| {
            let words: &[AtomicU32] = region.words();
            for slot in 0..SLOTS {
                fill(words, slot, Slot { value: FIRST_VALUE, pair: Pair::default() });
            }
            for (word, value) in words.iter().zip([MAGIC, SLOTS]) {
                word.store(value, Ordering::Release);
            }
        })?;
        Ok(Self { region, registry: Registry::new(), values: vec![FIRST_VALUE; SLOTS as usize], claim })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        self.claim.path()
    }

    /// Gives a connection of a process its flow's slot, which begins with [`FIRST_VALUE`] unless it has a hint;
    /// `None` if all are taken.
    pub fn register(&mut self, process: P, connection: u32, pair: Pair) -> Option<u32> {
        let Outcome { slot, new, freed } = self.registry.register(process, connection, pair);
        if let Some(freed) = freed {
            self.clear(freed);
        }
        if let Some(slot) = slot.filter(|_| new) {
            self.write(slot, Slot { value: FIRST_VALUE, pair });
        }
        slot
    }

    /// Ends a connection's registration.
    pub fn deregister(&mut self, process: P, connection: u32) {
        if let Some(slot) = self.registry.deregister(process, connection) {
            self.clear(slot);
        }
    }

    /// Ends all registrations of a process.
    pub fn forget(&mut self, process: P) {
        for slot in self.registry.forget(process) {
            self.clear(slot);
        }
    }

    /// Registrations of a process.
    pub fn count(&self, process: P) -> usize {
        self.registry.count(process)
    }

    /// Sets a slot's hint, whether or not a flow has it.
    ///
    /// # Errors
    /// There is no such slot.
    pub fn set(&mut self, slot: u32, value: u32) -> Result<(), HintsError> {
        if slot >= SLOTS {
            return Err(HintsError::NoSuchSlot { slot, used: SLOTS });
        }
        let pair = self.registry.pair(slot).unwrap_or_default();
        self.write(slot, Slot { value, pair });
        Ok(())
    }

    /// Sets the hints of all slots that a flow has, and says how many there are.
    pub fn set_all(&mut self, value: u32) -> usize {
        let all: Vec<_> = self.registry.slots().collect();
        for (slot, pair, _) in &all {
            self.write(*slot, Slot { value, pair: *pair });
        }
        all.len()
    }

    /// The slots that a flow has: number, content, references.
    pub fn entries(&self) -> Vec<(u32, Slot, u32)> {
        let value = |slot: u32| self.values.get(slot as usize).copied().unwrap_or_default();
        self.registry
            .slots()
            .map(|(slot, pair, references)| (slot, Slot { value: value(slot), pair }, references))
            .collect()
    }

    /// Nothing of a flow stays for the next reader.
    fn clear(&mut self, slot: u32) {
        self.write(slot, Slot { value: 0, pair: Pair::default() });
    }

    fn write(&mut self, slot: u32, content: Slot) {
        fill(self.region.words(), slot, content);
        if let Some(value) = self.values.get_mut(slot as usize) {
            *value = content.value;
        }
    }
}

impl<P> Drop for MpibHints<P> {
    fn drop(&mut self) {
        // Another process can't have put its own there: it lacks the claim. If it is gone already, so be it.
        let _gone = std::fs::remove_file(self.claim.path());
    }
}

/// Writes a slot: hint, sequence (odd while it is written), source, destination.
fn fill(words: &[AtomicU32], slot: u32, content: Slot) {
    let first = 4 + 4 * slot as usize;
    let Some([value, sequence, src, dst]) = words.get(first..first + 4) else { return };
    let before = sequence.load(Ordering::Relaxed);
    sequence.store(before.wrapping_add(1), Ordering::Relaxed);
    // No word may be seen before the odd sequence …
    fence(Ordering::Release);
    value.store(content.value, Ordering::Relaxed);
    src.store(content.pair.src, Ordering::Relaxed);
    dst.store(content.pair.dst, Ordering::Relaxed);
    // … and none after the even one.
    sequence.store(before.wrapping_add(2), Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::super::MpibView;
    use super::*;

    fn pair(n: u32) -> Pair {
        Pair { src: n, dst: 1000 + n }
    }

    fn word(path: &Path, index: usize) -> u32 {
        let bytes = std::fs::read(path).unwrap();
        u32::from_ne_bytes(bytes[4 * index..4 * index + 4].try_into().unwrap())
    }

    #[test]
    fn the_file_is_theirs_byte_for_byte() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hints");
        let mut hints = MpibHints::create(&path).unwrap();
        let fresh = std::fs::read(&path).unwrap();
        assert_eq!(fresh.len(), 4112);
        assert_eq!(
            fresh[..16],
            [&0x4d50_4948_u32.to_ne_bytes()[..], &256_u32.to_ne_bytes(), &[0; 8]].concat()
        );
        assert!((0..256).all(|slot| word(&path, 4 + 4 * slot) == 1 && word(&path, 6 + 4 * slot) == 0));
        assert!((0..256).all(|slot| word(&path, 5 + 4 * slot).is_multiple_of(2)));

        assert_eq!(hints.register('p', 7, pair(5)), Some(0));
        assert_eq!(hints.register('p', 8, pair(6)), Some(1));
        hints.set(1, 300).unwrap();
        assert_eq!([word(&path, 8), word(&path, 10), word(&path, 11)], [300, 6, 1006]);
        assert_eq!([word(&path, 4), word(&path, 6), word(&path, 7)], [1, 5, 1005]);
        drop(hints);
        assert!(!path.exists());
    }

    #[test]
    fn a_freed_slot_says_nothing_and_a_shared_one_keeps_its_hint() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hints");
        let mut hints = MpibHints::create(&path).unwrap();
        let view = MpibView::open(&path).unwrap();
        hints.register('p', 1, pair(1));
        hints.set(0, 9).unwrap();
        hints.register('q', 1, pair(1));
        assert_eq!(view.read(0), Some(Slot { value: 9, pair: pair(1) }));
        hints.forget('p');
        assert_eq!(view.read(0), Some(Slot { value: 9, pair: pair(1) }));
        hints.deregister('q', 1);
        assert_eq!(view.read(0), Some(Slot { value: 0, pair: Pair::default() }));
        hints.register('q', 1, pair(2));
        assert_eq!(view.read(0), Some(Slot { value: 1, pair: pair(2) }));
        hints.register('q', 1, pair(3));
        assert_eq!((view.read(0), view.read(1).unwrap().value), (Some(Slot { value: 1, pair: pair(3) }), 1));
    }

    #[test]
    fn all_means_slots_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let mut hints = MpibHints::create(&directory.path().join("hints")).unwrap();
        assert_eq!(hints.set_all(5), 0);
        hints.register('p', 1, pair(1));
        hints.register('p', 2, pair(1));
        hints.register('p', 3, pair(2));
        assert_eq!(hints.set_all(5), 2);
        let slot = |n| Slot { value: 5, pair: pair(n) };
        assert_eq!(hints.entries(), [(0, slot(1), 2), (1, slot(2), 1)]);
        assert_eq!(hints.count('p'), 3);
        assert!(hints.set(255, 1).is_ok());
        let error = hints.set(256, 1).unwrap_err();
        assert!(error.to_string().starts_with("slot 256 has no flow; want 0 to 255"), "{error}");
    }
}
