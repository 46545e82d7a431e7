//! The file of hints as one of its readers sees it.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use super::{FILE_BYTES, MAGIC, Pair, SLOTS, Slot};
use crate::HintsError;
use crate::region::Region;

/// How often a read of a slot is tried: MPIB's own clients try for ever, and hang if the writer died over it.
const TRIES: usize = 128;

/// Hints for MPIB's clients. After [`Self::open`] only memory is read.
#[derive(Debug)]
pub struct MpibView {
    region: Region,
}

impl MpibView {
    /// Maps the file.
    ///
    /// # Errors
    /// There is none, or it is another kind of file.
    pub fn open(path: &Path) -> Result<Self, HintsError> {
        let failed = |source| HintsError::File { doing: "open", path: path.to_owned(), source };
        let foreign =
            |found: String, wanted: String| HintsError::Foreign { path: path.to_owned(), found, wanted };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if length != FILE_BYTES as u64 {
            return Err(foreign(format!("{length} bytes"), format!("{FILE_BYTES} bytes")));
        }
        let region = Region::readable(&file, FILE_BYTES).map_err(failed)?;
        for (word, wanted) in region.words::<AtomicU32>().iter().zip([MAGIC, SLOTS]) {
            let found = word.load(Ordering::Relaxed);
            if found != wanted {
                return Err(foreign(format!("{found:#x}"), format!("{wanted:#x}")));
            }
        }
        Ok(Self { region })
    }

    /// What a slot says; `None` if there is no such slot, or it was being written at each of 128 looks.
    pub fn read(&self, slot: u32) -> Option<Slot> {
        let first = 4 + 4 * slot as usize;
        let words: &[AtomicU32] = self.region.words();
        let [value, sequence, src, dst] = words.get(first..first.checked_add(4)?)? else { return None };
        for _ in 0..TRIES {
            let before = sequence.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            let [value, src, dst] = [value, src, dst].map(|word| word.load(Ordering::Relaxed));
            // The words are read before the sequence is read again.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && sequence.load(Ordering::Relaxed) == before {
                return Some(Slot { value, pair: Pair { src, dst } });
            }
            std::hint::spin_loop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::MpibHints;
    use super::*;

    #[test]
    fn files_of_another_kind_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hints");
        std::fs::write(&path, [0; 4112]).unwrap();
        let error = MpibView::open(&path).unwrap_err();
        assert!(error.to_string().contains("has 0x0 where 0x4d504948 is wanted"), "{error}");
        std::fs::write(&path, [0; 4111]).unwrap();
        let error = MpibView::open(&path).unwrap_err();
        assert!(error.to_string().contains("has 4111 bytes where 4112 bytes"), "{error}");
    }

    #[test]
    fn reads_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hints");
        let hints = MpibHints::<u32>::create(&path).unwrap();
        let view = MpibView::open(&path).unwrap();
        assert_eq!(
            (view.read(255).map(|slot| slot.value), view.read(256), view.read(u32::MAX)),
            (Some(1), None, None)
        );
        // A writer that died over slot 0.
        let words: &[AtomicU32] = hints.region.words();
        words[5].store(3, Ordering::Relaxed);
        assert_eq!(view.read(0), None);
    }
}
