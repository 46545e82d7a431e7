//! How large buffers may be on this host.

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// What a rank says of its host's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HostMemory {
    /// Names the host's kernel: containers and namespaces of one host share its memory.
    boot: String,
    /// Bytes that can be had without swapping.
    available: u64,
}

impl HostMemory {
    /// As the kernel says.
    ///
    /// # Errors
    /// If /proc can't be read.
    pub(super) fn read() -> anyhow::Result<Self> {
        const BOOT: &str = "/proc/sys/kernel/random/boot_id";
        const MEMORY: &str = "/proc/meminfo";
        let boot = std::fs::read_to_string(BOOT).with_context(|| format!("reading {BOOT}"))?;
        let text = std::fs::read_to_string(MEMORY).with_context(|| format!("reading {MEMORY}"))?;
        let available = available(&text).with_context(|| format!("{MEMORY} has no MemAvailable"))?;
        Ok(Self { boot: boot.trim().to_owned(), available })
    }
}

fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The largest size for which every rank has room: two buffers each, and a tenth of the host's memory is left alone.
pub(super) fn largest_size(ranks: &[HostMemory]) -> u64 {
    let of = |rank: &HostMemory| {
        let here = ranks.iter().filter(|other| other.boot == rank.boot);
        let least = here.clone().map(|other| other.available).min().unwrap_or(0);
        least / 10 * 9 / here.count().max(1) as u64 / 2
    };
    ranks.iter().map(of).min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_one_host_share_its_memory() {
        let rank = |boot: &str, available| HostMemory { boot: boot.into(), available };
        assert_eq!(largest_size(&[rank("a", 1000)]), 450);
        assert_eq!(largest_size(&[rank("a", 1000), rank("a", 900)]), 202);
        assert_eq!(largest_size(&[rank("a", 1000), rank("b", 500)]), 225);
    }

    #[test]
    fn the_kernel_s_figure_is_read() {
        assert_eq!(available("MemTotal:  2 kB\nMemAvailable:   12 kB\n"), Some(12_288));
        assert_eq!(available("MemTotal:  2 kB\n"), None);
        assert!(HostMemory::read().unwrap().available > 1 << 20);
    }
}
