//! Which processes hold a route: whose sockets have the names that stand for references.
//!
//! The names are those of srv6-routes, `@srv6/hold/TABLE/PREFIX/…` in the abstract unix namespace of the network namespace.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use srv6_routes::RouteKey;

const HOLD: &str = "srv6/hold/";

/// One process with a reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    /// The kernel's name of its program, 15 bytes at most.
    pub(crate) command: String,
    /// Since it began, in seconds; `null` if it has just ended.
    pub(crate) running_s: Option<u64>,
}

/// References of all routes in the calling thread's network namespace.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    /// Socket inodes by route.
    references: HashMap<String, Vec<u64>>,
    /// Processes by socket inode; only those that this user may look into.
    processes: HashMap<u64, Vec<u32>>,
}

impl Holders {
    /// Reads `/proc`.
    ///
    /// # Errors
    /// It can't be read.
    pub(crate) fn read() -> std::io::Result<Self> {
        let sockets = std::fs::read_to_string("/proc/thread-self/net/unix")?;
        let references = references(&sockets);
        let processes = if references.is_empty() { HashMap::new() } else { owners(Path::new("/proc"))? };
        Ok(Self { references, processes })
    }

    /// How many references a route has.
    pub(crate) fn count(&self, key: &RouteKey) -> usize {
        self.references.get(&name(key)).map_or(0, Vec::len)
    }

    /// The processes that hold a route, by number; fewer than references where this user may not look into all.
    pub(crate) fn of(&self, key: &RouteKey) -> Vec<Holder> {
        let inodes = self.references.get(&name(key)).into_iter().flatten();
        let pids = inodes.filter_map(|inode| self.processes.get(inode)).flatten();
        let by_pid: BTreeMap<u32, Holder> = pids.map(|&pid| (pid, holder(pid))).collect();
        by_pid.into_values().collect()
    }
}

fn name(key: &RouteKey) -> String {
    format!("{}/{}", key.table, key.destination)
}

/// Socket inodes by route, from the text of `/proc/net/unix`.
fn references(sockets: &str) -> HashMap<String, Vec<u64>> {
    let mut found: HashMap<String, Vec<u64>> = HashMap::new();
    for line in sockets.lines() {
        let Some((fields, name)) = line.rsplit_once('@') else { continue };
        let Some((route, _)) = name.strip_prefix(HOLD).and_then(|name| name.rsplit_once('/')) else {
            continue;
        };
        let Some(inode) = fields.split_whitespace().next_back().and_then(|inode| inode.parse().ok()) else {
            continue;
        };
        found.entry(route.to_owned()).or_default().push(inode);
    }
    found
}

/// Processes by the sockets that they have open.
fn owners(proc: &Path) -> std::io::Result<HashMap<u64, Vec<u32>>> {
    let mut found: HashMap<u64, Vec<u32>> = HashMap::new();
    for process in std::fs::read_dir(proc)?.flatten() {
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

fn holder(pid: u32) -> Holder {
    let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let running_s = running(&stat, &uptime, rustix::param::clock_ticks_per_second()).map(|d| d.as_secs());
    Holder { pid, command: command.trim().to_owned(), running_s }
}

/// How long a process has run: its start in clock ticks after boot is field 22 of `/proc/PID/stat` (proc(5)).
fn running(stat: &str, uptime: &str, ticks: u64) -> Option<Duration> {
    // The second field is the program's name, which may hold anything, brackets and blanks too.
    let (_, rest) = stat.rsplit_once(')')?;
    let start: u64 = rest.split_whitespace().nth(19)?.parse().ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let since_boot = Duration::try_from_secs_f64(uptime).ok()?;
    Some(since_boot.saturating_sub(Duration::from_millis(start * 1000 / ticks.max(1))))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use srv6_fabric::Prefix;
    use srv6_routes::Holders as References;

    use super::*;

    #[test]
    fn a_reference_of_this_process_is_found() {
        let key = RouteKey { table: 254, destination: Prefix::host("2001:db8:77::1".parse().unwrap()) };
        let lock = References.lock(Duration::from_secs(5)).unwrap();
        let hold = References.hold(&lock, &key).unwrap();
        drop(lock);
        let holders = Holders::read().unwrap();
        assert_eq!(holders.count(&key), 1);
        let of = holders.of(&key);
        assert_eq!(of.len(), 1);
        assert_eq!(of[0].pid, std::process::id());
        assert!(of[0].running_s.unwrap() < 3600, "{of:?}");
        drop(hold);
        assert_eq!(Holders::read().unwrap().count(&key), 0);
    }

    #[test]
    fn the_age_of_a_process_is_read_past_its_name() {
        let stat = format!("77 (a) b (c) S {}500 0", "0 ".repeat(18));
        assert_eq!(running(&stat, "65.00 1.0", 100), Some(Duration::from_secs(60)));
        assert_eq!(running("", "65.00", 100), None);
    }
}
