//! Receive packet steering: one CPU per node handles all packets that the node receives.
//!
//! A veth hands packets to the receive queue of whichever CPU sent them. With two CPUs at work, a flow's packets
//! overtake each other at every hop. One fixed CPU per node keeps their order, and different nodes may still have
//! different CPUs.

use std::io;
use std::path::Path;

use crate::Error;

/// Mask for interfaces yet to be made (Linux 6.3 and later). Its owner is the network namespace's, so that an
/// ordinary user in a user namespace may write it, unlike each queue's own mask.
const DEFAULT_MASK: &str = "/proc/sys/net/core/rps_default_mask";

/// CPUs of this process, for [`mask`].
pub(crate) fn cpus() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// Mask of the one CPU that handles a node's packets; none where there is only one CPU anyway.
///
/// The first CPU is left to the programs that send and receive.
pub(crate) fn mask(node: usize, cpus: &[usize]) -> Option<String> {
    let [_, rest @ ..] = cpus else { return None };
    let cpu = rest.get(node.checked_rem(rest.len())?)?;
    let mut words = vec![0u32; cpu / 32 + 1];
    if let Some(word) = words.last_mut() {
        *word = 1 << (cpu % 32);
    }
    words.reverse();
    Some(words.iter().map(|w| format!("{w:08x}")).collect::<Vec<_>>().join(","))
}

/// Steers interfaces that the calling thread's namespace gets from now on; false where the kernel is too old.
pub(crate) fn steer_new(node: &str, mask: &str) -> Result<bool, Error> {
    write(node, Path::new(DEFAULT_MASK), mask)
}

/// Steers interfaces there are; false where that takes more rights than a user namespace gives.
pub(crate) fn steer(node: &str, mask: &str, interfaces: &[String]) -> Result<bool, Error> {
    for interface in interfaces {
        let queues = Path::new("/sys/class/net").join(interface).join("queues");
        let failed = |source| Error::Sysctl {
            node: node.to_owned(),
            path: queues.clone(),
            value: mask.to_owned(),
            source,
        };
        for entry in std::fs::read_dir(&queues).map_err(failed)? {
            let queue = entry.map_err(failed)?.path();
            let receives = queue.file_name().is_some_and(|n| n.to_string_lossy().starts_with("rx-"));
            if receives && !write(node, &queue.join("rps_cpus"), mask)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn write(node: &str, path: &Path, mask: &str) -> Result<bool, Error> {
    match std::fs::write(path, mask) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(false),
        Err(source) => Err(Error::Sysctl {
            node: node.to_owned(),
            path: path.to_owned(),
            value: mask.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_one_cpu_and_never_the_first() {
        assert_eq!(mask(0, &[0]), None);
        assert_eq!(mask(0, &[]), None);
        assert_eq!(mask(0, &[0, 1]).as_deref(), Some("00000002"));
        assert_eq!(mask(7, &[0, 1]).as_deref(), Some("00000002"));
        let four = [0, 1, 2, 3];
        let masks: Vec<_> = (0..4).map(|n| mask(n, &four).unwrap()).collect();
        assert_eq!(masks, ["00000002", "00000004", "00000008", "00000002"]);
        assert_eq!(mask(0, &[0, 37]).as_deref(), Some("00000020,00000000"));
    }

    /// On kernels without a mask for new interfaces. Root's write is read back; a user namespace's root may not
    /// write, and is told so instead of failing.
    #[test]
    fn interfaces_there_are_get_the_mask_where_that_is_allowed() {
        let node = crate::Node::create("test").unwrap();
        node.sh("ip link add name left type veth peer name right").unwrap();
        let steered =
            node.run(|| steer("test", "00000001", &["left".to_owned(), "right".to_owned()])).unwrap();
        let shown = node.sh("cat /sys/class/net/right/queues/rx-0/rps_cpus").unwrap();
        let set = shown.trim().trim_start_matches('0') == "1";
        assert_eq!(set, steered, "{shown}");
        assert!(node.run(|| steer("test", "00000001", &["nosuch".to_owned()])).is_err());
    }
}
