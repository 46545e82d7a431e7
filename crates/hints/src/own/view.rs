//! The side that follows hints.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use super::layout::{
    Content, GENERATION_AT, HEADER_WORDS, HEARTBEAT_AT, HINTS_VERSION, MAGIC, MOST_SLOTS, PLACEMENT_AT,
    SLOT_WORDS, SLOTS_AT, UNIT_AT, USED_AT, Unit, VERSION_AT, WRITER_AT, bytes, decode,
};
use super::{Entry, Key, Weights, since_boot};
use crate::HintsError;
use crate::region::{Identity, Region};

/// How often a read of a slot is tried: a writer needs far less time for a slot than this takes.
const TRIES: usize = 128;

/// A host's hints, as one of their readers. After [`Self::open`] only memory is read: no system call, no wait.
#[derive(Debug)]
pub struct HintsView {
    region: Region,
    identity: Identity,
    slots: u32,
}

impl HintsView {
    /// Maps a file of hints.
    ///
    /// # Errors
    /// There is none, it is of another kind, version or unit, or shorter than it says.
    pub fn open(path: &Path) -> Result<Self, HintsError> {
        let failed = |source| HintsError::File { doing: "open", path: path.to_owned(), source };
        let foreign =
            |found: String, wanted: String| HintsError::Foreign { path: path.to_owned(), found, wanted };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let least = bytes(0) as u64;
        if !metadata.is_file() || metadata.len() < least {
            return Err(foreign(format!("{} bytes", metadata.len()), format!("a file of {least} or more")));
        }
        let header = Region::readable(&file, bytes(0)).map_err(failed)?;
        let word = |at| load(&header, at);
        let expected = [
            (0, "magic", MAGIC),
            (VERSION_AT, "version", HINTS_VERSION),
            (UNIT_AT, "unit", Unit::Relative.word()),
        ];
        for (at, what, wanted) in expected {
            if word(at) != wanted {
                return Err(foreign(format!("{what} {:#x}", word(at)), format!("{wanted:#x}")));
            }
        }
        let slots = word(SLOTS_AT);
        let count = u32::try_from(slots).ok().filter(|slots| (1..=MOST_SLOTS).contains(slots));
        let Some(slots) = count.filter(|slots| bytes(*slots) as u64 == metadata.len()) else {
            return Err(foreign(
                format!("{} bytes for {slots} slots", metadata.len()),
                "64 bytes a slot".to_owned(),
            ));
        };
        let region = Region::readable(&file, bytes(slots)).map_err(failed)?;
        Ok(Self { region, identity: Identity::of(&metadata), slots })
    }

    /// Whether `path` still names this file, or a new writer has made another. Asks the kernel.
    pub fn is_current(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| Identity::of(&metadata) == self.identity)
    }

    /// Counts changes of any slot.
    pub fn generation(&self) -> u64 {
        load(&self.region, GENERATION_AT)
    }

    /// Counts changes of which flow has which slot.
    pub fn placement(&self) -> u64 {
        load(&self.region, PLACEMENT_AT)
    }

    /// Time since the writer's last sign of life.
    pub fn silence(&self) -> Duration {
        Duration::from_nanos(since_boot().saturating_sub(load(&self.region, HEARTBEAT_AT)))
    }

    /// The writer's process id, in its own PID namespace.
    pub fn writer(&self) -> u64 {
        load(&self.region, WRITER_AT)
    }

    /// How many slots there are.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// The slot that a flow has. Looks at each slot in use.
    pub fn find(&self, key: &Key) -> Option<u32> {
        (0..self.used()).find(|slot| self.read(*slot).flatten().is_some_and(|(found, _)| found == *key))
    }

    /// What a slot says, or that it is free (inner none). The outer none: it was being written at each of 128 looks,
    /// or its writer died over it; keep what you had.
    ///
    /// Reads memory only, and allocates nothing.
    pub fn read(&self, slot: u32) -> Option<Option<(Key, Weights)>> {
        let words: &[AtomicU64] = self.region.words();
        let first = HEADER_WORDS + slot as usize * SLOT_WORDS;
        let Some([sequence, rest @ ..]) = words.get(first..first.checked_add(SLOT_WORDS)?) else {
            return Some(None);
        };
        for _ in 0..TRIES {
            let before = sequence.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            let mut content = Content::default();
            for (value, word) in content.iter_mut().zip(rest) {
                *value = word.load(Ordering::Relaxed);
            }
            // The words are read before the sequence is read again.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && sequence.load(Ordering::Relaxed) == before {
                return Some(decode(&content));
            }
            std::hint::spin_loop();
        }
        None
    }

    /// The slots in use, without those that are just being written.
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |slot| self.read(slot).flatten().map(|(key, weights)| Entry { slot, key, weights });
        (0..self.used()).filter_map(entry).collect()
    }

    fn used(&self) -> u32 {
        u32::try_from(load(&self.region, USED_AT)).unwrap_or(self.slots).min(self.slots)
    }
}

fn load(region: &Region, at: usize) -> u64 {
    let value = region.words::<AtomicU64>().get(at).map_or(0, |word| word.load(Ordering::Relaxed));
    fence(Ordering::Acquire);
    value
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::Hints;

    fn key(n: u8) -> Key {
        Key { namespace: 7, flow: srv6_fabric::Flow { src: [10, 0, 0, 1].into(), dst: [10, 0, 1, n].into() } }
    }

    #[test]
    fn files_of_another_kind_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hints");
        let refused = |wanted: &str| {
            let error = HintsView::open(&path).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        };
        refused("open ");
        std::fs::write(&path, "short").unwrap();
        refused("has 5 bytes where a file of 128 or more");
        drop(Hints::create(&path, 2).unwrap());
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let damage = |at: u64, word: u64, wanted: &str| {
            let before = std::fs::read(&path).unwrap();
            file.write_all_at(&word.to_ne_bytes(), at).unwrap();
            refused(wanted);
            file.write_all_at(&before, 0).unwrap();
        };
        damage(0, 0, "has magic 0x0 where");
        damage(8, 2, "has version 0x2 where 0x1");
        damage(16, 9, "has unit 0x9");
        damage(24, 3, "256 bytes for 3 slots");
        damage(24, u64::MAX, "slots");
        HintsView::open(&path).unwrap();
    }

    #[test]
    fn a_writer_that_died_over_a_slot_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hints");
        let mut hints = Hints::create(&path, 2).unwrap();
        hints.acquire(key(1)).unwrap();
        hints.acquire(key(2)).unwrap();
        drop(hints);
        let view = HintsView::open(&path).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&5_u64.to_ne_bytes(), 128).unwrap();
        assert_eq!(view.read(0), None);
        assert_eq!((view.find(&key(1)), view.find(&key(2))), (None, Some(1)));
        assert_eq!(view.entries().len(), 1);
        assert_eq!((view.read(2), view.read(u32::MAX)), (Some(None), Some(None)));
    }

    #[test]
    fn another_file_and_silence_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hints");
        let hints = Hints::create(&path, 2).unwrap();
        let view = HintsView::open(&path).unwrap();
        assert!(
            view.is_current(&path) && view.writer() == u64::from(std::process::id()) && view.slots() == 2
        );
        let before = view.silence();
        while view.silence() == before {}
        let quiet = load(&view.region, HEARTBEAT_AT);
        hints.beat();
        assert!(load(&view.region, HEARTBEAT_AT) > quiet);
        drop(hints);
        let _next = Hints::create(&path, 2).unwrap();
        assert!(!view.is_current(&path));
        assert!(HintsView::open(&path).unwrap().is_current(&path));
    }

    #[test]
    fn no_reader_sees_half_of_a_hint() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hints");
        let mut hints = Hints::create(&path, 1).unwrap();
        let view = HintsView::open(&path).unwrap();
        let done = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut seen = 0_u32;
                while !done.load(Ordering::Relaxed) || seen == 0 {
                    let Some(Some((found, weights))) = view.read(0) else { continue };
                    let std::net::IpAddr::V4(dst) = found.flow.dst else { panic!("{found:?}") };
                    let weights = weights.get();
                    assert!(weights.iter().all(|weight| *weight == weights[0]), "{weights:?}");
                    // A new flow begins without weights; later ones are its own number.
                    let own = u16::from(dst.octets()[3]);
                    assert!(weights[0].is_none_or(|weight| weight == own), "{found:?} {weights:?}");
                    seen += 1;
                }
                seen
            });
            for round in 0..20_000_u32 {
                let n = u8::try_from(round % 250).unwrap();
                let slot = hints.acquire(key(n)).unwrap();
                hints.set(slot, Weights::new(&[Some(n.into()); 8])).unwrap();
                hints.release(&key(n));
            }
            hints.acquire(key(1)).unwrap();
            done.store(true, Ordering::Relaxed);
            reader.join().unwrap()
        });
        assert!(seen > 0);
    }
}
