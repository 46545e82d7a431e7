//! Which processes hold references.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use crate::holders::{kernel, listed, name};
use crate::{Holders, RouteError, RouteKey};

/// References on routes, with the processes that hold them.
#[derive(Debug)]
pub struct HoldProcesses {
    /// Socket inodes by what they refer to.
    references: HashMap<String, HashSet<u64>>,
    /// Processes by socket inode.
    owners: HashMap<u64, Vec<u32>>,
}

impl Holders {
    /// Looks who holds references in the calling thread's network namespace, without the lock.
    ///
    /// # Errors
    /// `/proc` can't be read.
    pub fn processes(self) -> Result<HoldProcesses, RouteError> {
        let references = listed()?;
        let owners = if references.is_empty() { HashMap::new() } else { owners()? };
        Ok(HoldProcesses { references, owners })
    }
}

impl HoldProcesses {
    /// How many references a route has.
    pub fn count(&self, key: &RouteKey) -> usize {
        self.references.get(&name(key)).map_or(0, HashSet::len)
    }

    /// The processes that hold a route, by their numbers in this process's view; fewer than references where this user may
    /// not look into all.
    pub fn of(&self, key: &RouteKey) -> BTreeSet<u32> {
        let inodes = self.references.get(&name(key)).into_iter().flatten();
        inodes.filter_map(|inode| self.owners.get(inode)).flatten().copied().collect()
    }
}

/// Processes by the sockets that they have open.
fn owners() -> Result<HashMap<u64, Vec<u32>>, RouteError> {
    let mut found: HashMap<u64, Vec<u32>> = HashMap::new();
    let processes = std::fs::read_dir(Path::new("/proc")).map_err(|source| kernel("read /proc", source))?;
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Other users' processes can't be looked into, and any may end meanwhile.
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
        for file in files.flatten() {
            let Ok(target) = std::fs::read_link(file.path()) else { continue };
            let inode =
                target.to_str().and_then(|t| t.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                found.entry(inode).or_default().push(pid);
            }
        }
    }
    Ok(found)
}
