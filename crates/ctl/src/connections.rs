//! `srv6ctl connections`: what the multipath connections of this network namespace carry, path by path.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use srv6_transport::{ConnectionStats, Direction, HostConnections, SubflowState, SubflowStats};

use crate::table;
use crate::watch::{Listing, ListingArgs};

/// Longest wait for the processes; those that are well answer in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lists the multipath connections of this network namespace: each subflow's path, state, bytes, share, round-trip time and rate
#[derive(Debug, clap::Args)]
pub(crate) struct ConnectionsArgs {
    #[command(flatten)]
    listing: ListingArgs,
}

pub(crate) fn run(args: &ConnectionsArgs) -> anyhow::Result<()> {
    args.listing.show(|| {
        let host = srv6_transport::read_connections(PATIENCE).context("asking for connections")?;
        Ok(Listing { json: document(&host), text: shown(&host) })
    })
}

fn document(host: &HostConnections) -> serde_json::Value {
    let unread = host.unread.iter().map(|(pid, why)| json!({ "pid": pid, "reason": why.to_string() }));
    json!({ "processes": host.processes, "unread": unread.collect::<Vec<_>>() })
}

fn shown(host: &HostConnections) -> String {
    let mut rows = table::new(&[
        "pid",
        "connection",
        "direction",
        "subflow",
        "path",
        "state",
        "bytes",
        "share",
        "rtt",
        "rate",
        "resent",
        "changes",
        "peer",
    ]);
    for process in &host.processes {
        for connection in &process.connections {
            for subflow in &connection.subflows {
                rows.add_row(row(process.pid, connection, subflow));
            }
        }
    }
    let unread = host.unread.iter().map(|(pid, why)| format!("process {pid} is left out: {why}"));
    let table = match rows.is_empty() {
        true => "no process here has multipath connections that it tells of".to_owned(),
        false => rows.to_string(),
    };
    std::iter::once(table).chain(unread).collect::<Vec<_>>().join("\n")
}

fn row(pid: u32, connection: &ConnectionStats, subflow: &SubflowStats) -> [String; 13] {
    let none = || "-".to_owned();
    [
        pid.to_string(),
        format!("{:016x}", connection.connection),
        match connection.direction {
            Direction::Send => "send",
            Direction::Receive => "receive",
        }
        .to_owned(),
        subflow.index.to_string(),
        if subflow.path.is_empty() { none() } else { printable(&subflow.path) },
        match subflow.state {
            SubflowState::Good => "good",
            SubflowState::Suspect => "suspect",
            SubflowState::Down => "down",
            SubflowState::Trial => "trial",
        }
        .to_owned(),
        table::bytes(subflow.bytes),
        format!("{:.1}%", subflow.share * 100.0),
        subflow.tcp.map_or_else(none, |tcp| format!("{:.2} ms", tcp.rtt.as_secs_f64() * 1e3)),
        if subflow.rate == 0 { none() } else { format!("{}/s", table::bytes(subflow.rate)) },
        subflow.tcp.map_or_else(none, |tcp| tcp.retransmits.to_string()),
        subflow.changes.to_string(),
        subflow.peer.to_string(),
    ]
}

/// Another user's process chooses this text, and it may be root's terminal.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use srv6_transport::{ProcessConnections, TcpInfo, Unread};

    use super::*;

    fn subflow() -> SubflowStats {
        SubflowStats {
            index: 1,
            path: "host00 > \u{1b}[2Jleaf00".into(),
            local: "[2001:db8::1]:1".parse().unwrap(),
            peer: "[2001:db8::2]:2".parse().unwrap(),
            bytes: 12_345_678,
            share: 0.25,
            chunks: 1,
            reissued: 0,
            hedged: 0,
            duplicates: 0,
            state: SubflowState::Suspect,
            changes: 3,
            suspected: None,
            replaced: 0,
            rate: 2_000_000,
            ack_time: Duration::ZERO,
            tcp: Some(TcpInfo { rtt: Duration::from_micros(250), retransmits: 7, ..TcpInfo::default() }),
        }
    }

    fn host() -> HostConnections {
        let bare =
            SubflowStats { path: "".into(), state: SubflowState::Down, rate: 0, tcp: None, ..subflow() };
        let connection =
            ConnectionStats { connection: 0xab, direction: Direction::Send, subflows: vec![subflow(), bare] };
        HostConnections {
            processes: vec![ProcessConnections { pid: 77, connections: vec![connection] }],
            unread: vec![(78, Unread::Late)],
        }
    }

    #[test]
    fn a_row_for_each_subflow_and_a_line_for_who_told_nothing() {
        let text = shown(&host());
        let lines: Vec<&str> = text.lines().collect();
        let [_, first, second, last] = lines.as_slice() else { panic!("{text}") };
        for wanted in ["77", "00000000000000ab", "suspect", "12.3 MB", "25.0%", "0.25 ms", "2.0 MB/s"] {
            assert!(first.contains(wanted), "{wanted}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "a process writes to a terminal that isn't its own");
        assert!(second.contains("down") && second.matches(" - ").count() == 4, "{text}");
        assert_eq!(*last, "process 78 is left out: it did not answer in time");
    }

    #[test]
    fn programs_get_everything() {
        let document = document(&host());
        assert_eq!(document["processes"][0]["connections"][0]["subflows"][0]["share"], 0.25);
        assert_eq!(document["unread"][0], json!({ "pid": 78, "reason": "it did not answer in time" }));
    }
}
