//! `srv6ctl routes`: the routes of ours in this network namespace, and who holds them.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use srv6_routes::{Holders, LinuxRoutes, Route, Target};

use crate::config::Environment;
use crate::dataplane;
use crate::table;
use crate::watch::{Listing, ListingArgs};

/// Lists the SRv6 routes in this network namespace that are ours (protocol 83)
///
/// With ROUTE_PLATFORM=vpp also what VPP steers into policies of ours (docs/VPP.md).
#[derive(Debug, clap::Args)]
pub(crate) struct RoutesArgs {
    #[command(flatten)]
    listing: ListingArgs,
}

/// Longest wait for processes that are changing routes at the moment.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &RoutesArgs) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let mut kernel = LinuxRoutes::new()?;
    args.listing.show(|| {
        let lock = Holders.lock(LOCK_PATIENCE).context("reading who holds the routes")?;
        let routes = dataplane::routes(&environment)?;
        let counts = Holders.count(&lock).context("reading who holds the routes")?;
        drop(lock);
        let mut rows = table::new(&[
            "destination",
            "target",
            "interface",
            "source",
            "table",
            "mtu",
            "held by",
            "dataplane",
        ]);
        let mut list = Vec::new();
        for (dataplane, route) in &routes {
            let holders = counts.of(&route.key);
            let interface = interface(&mut kernel, dataplane, route);
            rows.add_row(as_row(dataplane, route, interface.as_deref(), holders));
            list.push(as_json(dataplane, route, interface, holders));
        }
        Ok(Listing { json: list.into(), text: rows.to_string() })
    })
}

fn as_row(dataplane: &str, route: &Route, interface: Option<&str>, holders: usize) -> [String; 8] {
    let target = match &route.target {
        Target::Encap { mode, segments } => format!("{} {segments}", mode.name()),
        Target::Gateway(gateway) => format!("via {gateway}"),
    };
    let holders = match holders {
        0 => "nobody (srv6ctl gc removes it)".to_owned(),
        1 => "1 process".to_owned(),
        n => format!("{n} processes"),
    };
    [
        route.key.destination.to_string(),
        target,
        interface.unwrap_or("-").to_owned(),
        route.source.map_or_else(|| "-".to_owned(), |s| s.to_string()),
        route.key.table.to_string(),
        route.mtu.map_or_else(|| "-".to_owned(), |m| m.to_string()),
        holders,
        dataplane.to_owned(),
    ]
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
fn as_json(dataplane: &str, route: &Route, interface: Option<String>, holders: usize) -> serde_json::Value {
    let (mode, segments, gateway) = match &route.target {
        Target::Encap { mode, segments } => (Some(mode.name()), Some(segments.as_slice()), None),
        Target::Gateway(gateway) => (None, None, Some(gateway)),
    };
    json!({
        "destination": route.key.destination.to_string(),
        "table": route.key.table,
        "interface": interface,
        "source": route.source.map(|s| s.to_string()),
        "mtu": route.mtu,
        "mode": mode,
        "segments": segments.map(|s| s.iter().map(ToString::to_string).collect::<Vec<_>>()),
        "gateway": gateway.map(ToString::to_string),
        "holders": holders,
        "dataplane": dataplane,
    })
}
