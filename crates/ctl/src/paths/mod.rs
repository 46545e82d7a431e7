//! `srv6ctl paths`: which path each steered flow has, who holds it, and what its connections carry.
//!
//! The kernel keeps no time with a route. What is told instead is how long the oldest process that holds it has been
//! running: the route is no older.

mod holders;
pub(crate) mod tcp;

use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;
use srv6_fabric::{Flow, Segments, Topology};
use srv6_routes::{HoldProcesses, Holders, Route, Slot, Target};

use self::holders::Holder;
use self::tcp::Connection;
use crate::config::Environment;
use crate::dataplane;
use crate::decode::decode;
use crate::path_source::{PathSettings, SourceArgs};
use crate::table::{self, bytes};
use crate::watch::{Listing, ListingArgs};

/// Shows which path each steered flow of this host has, who holds it, and what its connections carry
///
/// Paths are named by the topology of the path API or file; without either only carriers are shown. The kernel doesn't
/// remember when a route was made: "held for" is how long the oldest process that holds it has been running.
#[derive(Debug, clap::Args)]
pub(crate) struct PathsArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    listing: ListingArgs,
}

/// One steered flow.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct SteeredFlow {
    source: Option<String>,
    destination: String,
    table: u32,
    /// `null` for the route of a whole flow.
    lane: Option<u8>,
    /// Names in travel order; `null` without a topology.
    path: Option<Vec<String>>,
    /// Whether the topology has this path now; `null` without one.
    in_topology: Option<bool>,
    /// Whether it is what the policy gives for this flow; `null` without a topology, and for a lane.
    by_policy: Option<bool>,
    /// Carriers in travel order.
    segments: Vec<String>,
    mode: &'static str,
    mtu: Option<u32>,
    /// References; more than `holders` where this user may not look into all processes.
    references: usize,
    holders: Vec<Holder>,
    connections: Vec<Connection>,
    /// Who steers it: `linux` or `vpp`.
    dataplane: &'static str,
    /// Part of what was sent over all paths to this destination, 0 to 1; `null` if nothing was.
    share: Option<f64>,
}

pub(crate) fn run(args: &PathsArgs) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    args.listing.show(|| look(args, &environment))
}

/// As JSON an object: `named_by`, `flows`.
fn look(args: &PathsArgs, environment: &Environment) -> anyhow::Result<Listing> {
    let settings = PathSettings::new(&args.source, environment)?;
    let fabric = settings.map(|settings| (settings.topology(), settings));
    let named_by = fabric.as_ref().map(|(_, settings)| settings.name());
    let fabric = match fabric {
        // Routes are worth seeing without their names.
        Some((Err(error), _)) => {
            log::warn!("paths go without names: {error}");
            None
        }
        Some((Ok(topology), settings)) => Some((topology, settings)),
        None => None,
    };
    let routes = dataplane::routes(environment)?;
    let holders = Holders.processes().context("reading who holds the routes")?;
    let connections = tcp::connections().context("reading TCP connections")?;
    let mut flows: Vec<SteeredFlow> =
        routes.iter().filter_map(|route| flow(route, fabric.as_ref(), &holders, &connections)).collect();
    let sent: Vec<(String, u64)> =
        flows.iter().map(|flow| (flow.destination.clone(), sum(flow, |c| c.acknowledged))).collect();
    for (flow, (_, bytes)) in flows.iter_mut().zip(&sent) {
        let all: u64 = sent.iter().filter(|(to, _)| *to == flow.destination).map(|(_, bytes)| bytes).sum();
        flow.share = part(*bytes, all);
    }
    flows.sort_by(|a, b| (&a.destination, a.table).cmp(&(&b.destination, b.table)));
    let named_by = named_by.filter(|_| fabric.is_some());
    let text = if flows.is_empty() {
        format!("nothing is steered: there is no route of protocol {}", srv6_routes::PROTOCOL)
    } else {
        shown(&flows).to_string()
    };
    Ok(Listing { json: serde_json::json!({ "named_by": named_by, "flows": flows }), text })
}

fn flow(
    (dataplane, route): &(&'static str, Route),
    fabric: Option<&(Arc<Topology>, PathSettings)>,
    holders: &HoldProcesses,
    connections: &[Connection],
) -> Option<SteeredFlow> {
    let Target::Encap { mode, segments } = &route.target else { return None };
    let destination = route.key.destination.address();
    // VPP doesn't keep it, but whoever is connected to the destination knows.
    let by_connection =
        || connections.iter().find(|c| route.key.destination.contains(c.remote)).map(|c| c.local);
    let source = route.source.or_else(by_connection);
    let decoded = source.zip(fabric).map(|(source, (topology, settings))| {
        decode(topology, settings, Flow { src: source, dst: destination }, segments)
    });
    let slot = Slot::of_table(route.key.table);
    let own = |c: &&Connection| {
        route.key.destination.contains(c.remote)
            && route.source.is_none_or(|source| source == c.local)
            && c.lane() == slot
    };
    Some(SteeredFlow {
        source: source.map(|source| source.to_string()),
        destination: destination.to_string(),
        table: route.key.table,
        in_topology: decoded.as_ref().map(|decoded| decoded.path.is_some()),
        // A connection's lanes take the paths beside the policy's too.
        by_policy: decoded
            .as_ref()
            .filter(|_| slot.is_none())
            .map(|decoded| decoded.path.is_some() && decoded.is_by_policy()),
        lane: slot.map(Slot::number),
        path: decoded.map(|decoded| decoded.hops),
        segments: list(segments),
        mode: mode.name(),
        mtu: route.mtu,
        references: holders.count(&route.key),
        holders: holders.of(&route.key).into_iter().map(Holder::of).collect(),
        connections: connections.iter().filter(own).cloned().collect(),
        dataplane,
        share: None,
    })
}

fn sum(flow: &SteeredFlow, of: fn(&Connection) -> u64) -> u64 {
    flow.connections.iter().map(of).sum()
}

#[expect(clippy::cast_precision_loss, reason = "a share is not that exact")]
fn part(bytes: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| bytes as f64 / all as f64)
}

fn list(segments: &Segments) -> Vec<String> {
    segments.as_slice().iter().map(ToString::to_string).collect()
}

fn shown(flows: &[SteeredFlow]) -> comfy_table::Table {
    let mut rows = table::new(&[
        "source",
        "destination",
        "lane",
        "path",
        "carrier",
        "held by",
        "held for",
        "connections",
        "sent",
        "received",
        "rtt",
        "resent",
        "dataplane",
        "share",
        "delivers",
    ]);
    for flow in flows {
        let path = flow.path.as_ref().map_or_else(|| "-".to_owned(), |path| path.join(" > "));
        let path = match flow.in_topology {
            Some(false) => format!("{path} (not in the topology)"),
            _ => path,
        };
        let rtt = flow.connections.iter().map(|c| c.rtt_us).min();
        rows.add_row([
            flow.source.clone().unwrap_or_else(|| "-".to_owned()),
            flow.destination.clone(),
            flow.lane.map_or_else(|| "-".to_owned(), |lane| lane.to_string()),
            path,
            flow.segments.join(","),
            held_by(flow),
            flow.holders.iter().filter_map(|h| h.running_s).max().map_or_else(|| "-".to_owned(), age),
            flow.connections.len().to_string(),
            bytes(sum(flow, |c| c.acknowledged)),
            bytes(sum(flow, |c| c.received)),
            rtt.map_or_else(|| "-".to_owned(), |us| format!("{:.2} ms", f64::from(us) / 1e3)),
            sum(flow, |c| c.retransmitted.into()).to_string(),
            flow.dataplane.to_owned(),
            flow.share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}%", share * 100.0)),
            format!("{}/s", bytes(sum(flow, |c| c.delivery_rate))),
        ]);
    }
    rows
}

fn held_by(flow: &SteeredFlow) -> String {
    if flow.references == 0 {
        return "nobody (srv6ctl gc removes it)".to_owned();
    }
    let hidden = flow.references.saturating_sub(flow.holders.len());
    let seen = flow.holders.iter().map(|holder| format!("{}[{}]", holder.command, holder.pid));
    let rest = (hidden > 0).then(|| format!("{hidden} more"));
    seen.chain(rest).collect::<Vec<_>>().join(" ")
}

fn age(seconds: u64) -> String {
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> SteeredFlow {
        SteeredFlow {
            source: Some("2001:db8:1000::2".to_owned()),
            destination: "2001:db8:1001::2".to_owned(),
            table: 254,
            lane: None,
            path: Some(["host00", "leaf00", "spine01", "leaf01", "host01"].map(str::to_owned).to_vec()),
            in_topology: Some(true),
            by_policy: Some(true),
            segments: vec!["fc00:0:1200:1001:1201:fe06::".to_owned()],
            mode: "encap.red",
            mtu: None,
            references: 2,
            holders: vec![Holder { pid: 77, command: "python3".to_owned(), running_s: Some(4000) }],
            connections: vec![Connection {
                local: "2001:db8:1000::2".parse().unwrap(),
                local_port: 4000,
                remote: "2001:db8:1001::2".parse().unwrap(),
                remote_port: 5000,
                acknowledged: 12_345_678,
                received: 999,
                rtt_us: 150,
                retransmitted: 3,
                delivery_rate: 2_500_000,
                mark: 0,
                inode: 1,
            }],
            dataplane: "linux",
            share: part(1, 4),
        }
    }

    #[test]
    fn a_row_can_be_cut_with_awk() {
        let text = shown(&[flow()]).to_string();
        let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            row.join(" "),
            "2001:db8:1000::2 2001:db8:1001::2 - host00 > leaf00 > spine01 > leaf01 > host01 fc00:0:1200:1001:1201:fe06:: \
             python3[77] 1 more 1 h 6 min 1 12.3 MB 999 B 0.15 ms 3 linux 25.0% 2.5 MB/s"
        );
    }

    #[test]
    fn what_nobody_holds_and_what_is_no_path_is_told() {
        let left = SteeredFlow {
            references: 0,
            holders: Vec::new(),
            connections: Vec::new(),
            in_topology: Some(false),
            ..flow()
        };
        let text = shown(&[left]).to_string();
        assert!(
            text.contains("nobody (srv6ctl gc removes it)") && text.contains("(not in the topology)"),
            "{text}"
        );
    }

    #[test]
    fn the_keys_are_the_documented_ones() {
        let json = serde_json::to_value(flow()).unwrap();
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "source",
                "destination",
                "table",
                "lane",
                "path",
                "in_topology",
                "by_policy",
                "segments",
                "mode",
                "mtu",
                "references",
                "holders",
                "connections",
                "dataplane",
                "share"
            ]
        );
        assert_eq!(json["connections"][0]["rtt_us"], 150);
        assert_eq!(json["holders"][0]["running_s"], 4000);
    }

    #[test]
    fn ages_and_sizes_are_short() {
        assert_eq!(
            (age(59), age(61), age(7300)),
            ("59 s".to_owned(), "1 min 1 s".to_owned(), "2 h 1 min".to_owned())
        );
        assert_eq!((bytes(999), bytes(2_000_000_000)), ("999 B".to_owned(), "2.00 GB".to_owned()));
    }
}
