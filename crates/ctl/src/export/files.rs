//! What an export writes: all of it made before the first file is touched.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Context;

/// Texts by path below the folder of the export.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<String, String>);

impl Files {
    pub(super) fn add(&mut self, path: String, text: String) {
        self.0.insert(path, text);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Writes every file below a folder.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        for (path, text) in &self.0 {
            let path = folder.join(path);
            let parent = path.parent().unwrap_or(folder);
            std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, text) in &self.0 {
            writeln!(f, "==> {path} <==")?;
            f.write_str(text)?;
        }
        Ok(())
    }
}
