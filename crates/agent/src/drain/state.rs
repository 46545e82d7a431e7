//! What is drained, in a file, so that it stays so while no agent runs.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use srv6_steer::Place;

use super::DrainError;

/// Version of the file.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    drained: Vec<StoredPlace>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredPlace {
    Switch(String),
    Link(String, String),
}

/// Reads what was drained; nothing if there is no file.
pub(super) fn load(path: &Path) -> Result<BTreeSet<Place>, DrainError> {
    let damaged = |reason: String| DrainError::Damaged { path: path.to_owned(), reason };
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        text => text.map_err(|error| damaged(error.to_string()))?,
    };
    let stored: Stored = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    if stored.version != VERSION {
        return Err(damaged(format!("its version is {}, want {VERSION}", stored.version)));
    }
    let place = |stored| match stored {
        StoredPlace::Switch(name) => Place::Switch(name),
        StoredPlace::Link(one, other) => Place::link(&one, &other),
    };
    Ok(stored.drained.into_iter().map(place).collect())
}

/// Writes it, all or nothing: a crash leaves the file as it was.
pub(super) fn store(path: &Path, drained: &BTreeSet<Place>) -> Result<(), DrainError> {
    let drained = drained.iter().map(|place| match place {
        Place::Switch(name) => StoredPlace::Switch(name.clone()),
        Place::Link(one, other) => StoredPlace::Link(one.clone(), other.clone()),
    });
    let stored = Stored { version: VERSION, drained: drained.collect() };
    let write = || {
        let text = serde_json::to_string_pretty(&stored)?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let new = path.with_extension("new");
        std::fs::write(&new, text)?;
        std::fs::rename(&new, path)
    };
    write().map_err(|source| DrainError::Store { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_loaded_and_what_is_damaged_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/drained.json");
        assert_eq!(load(&path).unwrap(), BTreeSet::new());
        let drained = BTreeSet::from([Place::Switch("spine01".to_owned()), Place::link("leaf00", "spine02")]);
        store(&path, &drained).unwrap();
        assert_eq!(load(&path).unwrap(), drained);
        store(&path, &BTreeSet::new()).unwrap();
        assert_eq!(load(&path).unwrap(), BTreeSet::new());
        for text in ["", "{\"version\": 1}", "{\"version\": 2, \"drained\": []}"] {
            std::fs::write(&path, text).unwrap();
            let error = load(&path).unwrap_err().to_string();
            assert!(error.contains("drained.json") && error.contains("remove it"), "{error}");
        }
    }
}
