//! `srv6ctl gc`: removes what killed processes left.

use anyhow::{Context, bail};
use srv6_routes::collect_garbage;
use srv6_routes::vpp::VppRoutes;

use crate::config::Environment;
use crate::dataplane;
use crate::routes::LOCK_PATIENCE;

/// Removes the routes and rules of ours (protocol 196) that no living process of this network namespace holds
///
/// With ROUTE_PLATFORM=vpp also what VPP steers into policies of ours (docs/VPP.md), and those policies.
#[derive(Debug, clap::Args)]
pub(crate) struct GcArgs {}

pub(crate) fn run(_args: &GcArgs) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let mut dataplane = dataplane::open(&environment)?;
    let garbage =
        collect_garbage(dataplane.as_mut(), LOCK_PATIENCE).context("comparing routes with their holders")?;
    for route in &garbage.removed {
        println!("removed {}", route.key.destination);
    }
    for rule in &garbage.removed_rules {
        println!("removed rule {rule}");
    }
    println!(
        "{} removed, {} in use",
        garbage.removed.len() + garbage.removed_rules.len(),
        garbage.kept.len() + garbage.kept_rules.len()
    );
    let routes = garbage.failed.iter().map(|(key, error)| format!("{}: {error}", key.destination));
    let rules = garbage.failed_rules.iter().map(|(rule, error)| format!("rule {rule}: {error}"));
    // One that can't be asked keeps the kernel's routes from nothing, but what is left in it isn't known.
    let vpp = dataplane::vpp(&environment)?.and_then(|config| VppRoutes::new(config).policies().err());
    let vpp = vpp.map(|error| format!("what VPP has: {error}"));
    let reasons: Vec<String> = routes.chain(rules).chain(vpp).collect();
    if reasons.is_empty() {
        return Ok(());
    }
    bail!("could not remove {}", reasons.join("; "))
}
