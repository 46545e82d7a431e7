//! `srv6ctl gc`: removes what killed processes left.

use anyhow::{Context, bail};
use srv6_routes::{LinuxRoutes, collect_garbage};

use crate::routes::LOCK_PATIENCE;

/// Removes the routes of ours (protocol 196) that no living process of this network namespace holds
#[derive(Debug, clap::Args)]
pub(crate) struct GcArgs {}

pub(crate) fn run(_args: &GcArgs) -> anyhow::Result<()> {
    let mut kernel = LinuxRoutes::new()?;
    let garbage =
        collect_garbage(&mut kernel, LOCK_PATIENCE).context("comparing routes with their holders")?;
    for route in &garbage.removed {
        println!("removed {}", route.key.destination);
    }
    println!("{} removed, {} in use", garbage.removed.len(), garbage.kept.len());
    if garbage.failed.is_empty() {
        return Ok(());
    }
    let reasons: Vec<String> =
        garbage.failed.iter().map(|(key, error)| format!("{}: {error}", key.destination)).collect();
    bail!("could not remove {}", reasons.join("; "))
}
