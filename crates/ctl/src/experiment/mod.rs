//! What experiments in the lab are made of: ranks in its hosts, arithmetic of wires and times, plots.
//!
//! An experiment is a [`Crew`] of processes, one per rank, each inside a host and driving the plugin as NCCL's proxy
//! does, and the bench's own process, which holds the lab, gives orders, breaks links and looks at counters.

mod comparison;
mod crew;
mod machine;
mod order;
pub(crate) mod plot;
pub(crate) mod recovery;
pub(crate) mod statistics;
mod trial;
mod wire;
mod worker;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use srv6_fabric::Topology;
use srv6_paths::read_topology;

pub(crate) use comparison::Comparison;
pub(crate) use crew::{Crew, Net, Reduced, Settings};
pub(crate) use machine::{Load, MachineTime};
pub(crate) use order::{Memory, Pattern, Until, Usage};
#[cfg(test)]
pub(crate) use trial::LinkLoad;
pub(crate) use trial::{Effort, Routing, Shaped, Trial, Workload};
pub(crate) use wire::Wire;
pub(crate) use worker::{WorkerArgs, run as work};

/// The program that ranks run, and where their logs go.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) program: PathBuf,
    pub(crate) folder: PathBuf,
}

impl Scene {
    /// A scene with a folder that only this user may look into.
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let folder = std::env::temp_dir().join(format!("srv6-{name}-{}", std::process::id()));
        // One that is already there is somebody else's and is refused.
        let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
        made.with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { program, folder })
    }

    /// Removes the logs, when nobody needs them any more.
    pub(crate) fn clear(self) -> anyhow::Result<()> {
        std::fs::remove_dir_all(&self.folder).context("removing the logs")
    }
}

/// A congestion control that goes by losses, unlike BBR, whose timers halve what round trips of microseconds could carry.
///
/// A network namespace takes none that the machine doesn't allow to all, whoever asks; reno always is one.
pub(crate) fn loss_based() -> anyhow::Result<String> {
    let file = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";
    let names = std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let cubic = names.split_whitespace().any(|name| name == "cubic");
    Ok(if cubic { "cubic" } else { "reno" }.to_owned())
}

/// The topology of a file.
pub(crate) fn fabric(file: &Path) -> anyhow::Result<Topology> {
    let (_, topology) = read_topology(file, "fabric_graph", "hosts").context("reading the fabric")?;
    Ok(topology)
}

/// First of one leaf, first of the other, second of one leaf, …: every hop of a ring in this order crosses the spines.
pub(crate) fn alternating(hosts: &[String]) -> Vec<String> {
    let (near, far) = hosts.split_at(hosts.len() / 2);
    near.iter().zip(far).flat_map(|(a, b)| [a.clone(), b.clone()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_alternates_between_the_leaves() {
        let hosts: Vec<String> = (0..4).map(|i| format!("host{i}")).collect();
        assert_eq!(alternating(&hosts), ["host0", "host2", "host1", "host3"]);
    }
}
