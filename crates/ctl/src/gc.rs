//! `srv6ctl gc`: removes what killed processes left.

use anyhow::{Context, bail};
use serde_json::json;
use srv6_routes::collect_garbage;
use srv6_routes::vpp::VppRoutes;

use crate::config::Environment;
use crate::dataplane;
use crate::routes::LOCK_PATIENCE;

/// Removes the routes and rules of ours (protocol 83) that no living process of this network namespace holds
///
/// With ROUTE_PLATFORM=vpp also what VPP steers into policies of ours (docs/VPP.md), and those policies.
#[derive(Debug, clap::Args)]
pub(crate) struct GcArgs {
    /// Print one JSON object: removed, removed_rules, failed, in_use
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &GcArgs) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let mut dataplane = dataplane::open(&environment)?;
    let garbage =
        collect_garbage(dataplane.as_mut(), LOCK_PATIENCE).context("comparing routes with their holders")?;
    let removed: Vec<String> =
        garbage.removed.iter().map(|route| route.key.destination.to_string()).collect();
    let rules: Vec<String> = garbage.removed_rules.iter().map(ToString::to_string).collect();
    let in_use = garbage.kept.len() + garbage.kept_rules.len();
    let failed_routes = garbage.failed.iter().map(|(key, error)| format!("{}: {error}", key.destination));
    let failed_rules = garbage.failed_rules.iter().map(|(rule, error)| format!("rule {rule}: {error}"));
    // One that can't be asked keeps the kernel's routes from nothing, but what is left in it isn't known.
    let vpp = dataplane::vpp(&environment)?.and_then(|config| VppRoutes::new(config).policies().err());
    let failed_vpp = vpp.map(|error| format!("what VPP has: {error}"));
    let failed: Vec<String> = failed_routes.chain(failed_rules).chain(failed_vpp).collect();
    if args.json {
        let answer =
            json!({ "removed": removed, "removed_rules": rules, "failed": failed, "in_use": in_use });
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        removed.iter().for_each(|route| println!("removed {route}"));
        rules.iter().for_each(|rule| println!("removed rule {rule}"));
        println!("{} removed, {in_use} in use", removed.len() + rules.len());
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("could not remove {}", failed.join("; "))
}
