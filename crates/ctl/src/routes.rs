//! `srv6ctl routes`: the routes of ours in this network namespace, and who holds them.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use srv6_routes::{Holders, LinuxRoutes, Route, Target};

use crate::config::Environment;
use crate::dataplane;
use crate::table;

/// Lists the SRv6 routes in this network namespace that are ours (protocol 196)
///
/// With ROUTE_PLATFORM=vpp also what VPP steers into policies of ours (docs/VPP.md).
#[derive(Debug, clap::Args)]
pub(crate) struct RoutesArgs {
    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

/// Longest wait for processes that are changing routes at the moment.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &RoutesArgs) -> anyhow::Result<()> {
    let mut kernel = LinuxRoutes::new()?;
    let lock = Holders.lock(LOCK_PATIENCE).context("reading who holds the routes")?;
    let routes = dataplane::routes(&Environment::of_process())?;
    let counts = Holders.count(&lock).context("reading who holds the routes")?;
    drop(lock);
    if args.json {
        let list: Vec<_> = routes
            .iter()
            .map(|(dataplane, route)| as_json(&mut kernel, dataplane, route, counts.of(&route.key)))
            .collect();
        println!("{}", serde_json::to_string_pretty(&list)?);
        return Ok(());
    }
    let mut rows =
        table::new(&["destination", "target", "interface", "source", "table", "mtu", "held by", "dataplane"]);
    for (dataplane, route) in &routes {
        let target = match &route.target {
            Target::Encap { mode, segments } => format!("{} {segments}", mode.name()),
            Target::Gateway(gateway) => format!("via {gateway}"),
        };
        let holders = match counts.of(&route.key) {
            0 => "nobody (srv6ctl gc removes it)".to_owned(),
            1 => "1 process".to_owned(),
            n => format!("{n} processes"),
        };
        rows.add_row([
            route.key.destination.to_string(),
            target,
            interface(&mut kernel, dataplane, route).unwrap_or_else(|| "-".to_owned()),
            route.source.map_or_else(|| "-".to_owned(), |s| s.to_string()),
            route.key.table.to_string(),
            route.mtu.map_or_else(|| "-".to_owned(), |m| m.to_string()),
            holders,
            (*dataplane).to_owned(),
        ]);
    }
    println!("{rows}");
    Ok(())
}

/// The interface that a route names; VPP's name none.
fn interface(kernel: &mut LinuxRoutes, dataplane: &str, route: &Route) -> Option<String> {
    if dataplane != "linux" {
        return None;
    }
    let known = kernel.interface_indexed(route.interface);
    Some(known.map_or_else(|_| format!("if{}", route.interface), |interface| interface.name))
}

/// One route as JSON. `mode` and `segments` are null for the route to a gateway, `gateway` for a tunnel; `interface`, `source` and
/// `mtu` are for VPP, which keeps none.
fn as_json(kernel: &mut LinuxRoutes, dataplane: &str, route: &Route, holders: usize) -> serde_json::Value {
    let (mode, segments, gateway) = match &route.target {
        Target::Encap { mode, segments } => (Some(mode.name()), Some(segments.as_slice()), None),
        Target::Gateway(gateway) => (None, None, Some(gateway)),
    };
    json!({
        "destination": route.key.destination.to_string(),
        "table": route.key.table,
        "interface": interface(kernel, dataplane, route),
        "source": route.source.map(|s| s.to_string()),
        "mtu": route.mtu,
        "mode": mode,
        "segments": segments.map(|s| s.iter().map(ToString::to_string).collect::<Vec<_>>()),
        "gateway": gateway.map(ToString::to_string),
        "holders": holders,
        "dataplane": dataplane,
    })
}
