//! Part 1: an all-reduce over four hosts, every flow over all its paths, each lane where it was pinned.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use srv6_fabric::Topology;
use srv6_lab::{Lab, LinkCounters, Options};
use srv6_paths::read_topology;
use srv6_pathserver::{Options as ServerOptions, Running, Server};

use super::ranks::{Job, Ranks};
use super::{Scene, heading};
use crate::experiment::fabric;
use crate::progress::spinner;
use crate::table;

/// Port of the path server in the management network.
const PORT: u16 = 8000;

/// Share of a host's bytes that the lanes of its flow must carry.
const SHARE: f64 = 0.9;

/// All that is ours, the lanes' own tables included.
const ROUTES: &str = "ip -6 route show table all proto 83";

pub(super) fn play(scene: &Scene, file: &Path, size: &str) -> anyhow::Result<()> {
    heading("4 leaves, 4 spines, 4 hosts: network namespaces, kernel SRv6");
    let topology = fabric(file)?;
    let bar = spinner("raising the fabric");
    let lab = Lab::up(&topology, &Options::default()).context("raising the fabric")?;
    bar.finish_and_clear();
    let hosts: Vec<String> = lab.hosts().map(|h| h.name().to_owned()).collect();
    println!("{} switches and {} hosts are up", lab.switches().count(), hosts.len());

    let server = path_server(&lab, file).context("starting the path server")?;
    let endpoint = server.url();
    println!("path server: {endpoint}");

    heading("all-reduce over 4 hosts, SRV6_TRANSPORT=multipath, SRV6_STRICT=1");
    let before = lab.links()?;
    let job = Job {
        name: "steered",
        hosts: &hosts,
        arguments: &["-b", "1M", "-e", size, "-f", "2", "-n", "10", "-w", "2"],
        settings: &[
            ("JALAPENO_API_ENDPOINT", endpoint.as_str()),
            ("SRV6_MODE", "local"),
            ("SRV6_STRICT", "1"),
        ],
    };
    let ranks = Ranks::start(scene, &lab, &job)?;
    let logs = ranks.logs.clone();
    let mut routes: BTreeMap<String, String> = BTreeMap::new();
    let bar = spinner("reducing");
    let rows = ranks.finish(|| {
        for host in &hosts {
            // A host that is busy is asked again in a moment. Those that have all lanes hold them until the end.
            if let Some(Ok(shown)) = lab.node(host).ok().map(|n| n.sh(ROUTES))
                && shown.len() >= routes.get(host).map_or(1, String::len)
            {
                routes.insert(host.clone(), shown);
            }
        }
    })?;
    bar.finish_and_clear();
    let links = carried(&before, &lab.links()?);
    drop(server);

    let mut table = table::new(&["size", "time (us)", "wrong"]);
    for row in &rows {
        table.add_row([row.size.to_string(), format!("{:.0}", row.time_us), row.wrong.to_string()]);
    }
    println!("{table}");

    heading("flows");
    for (rank, log) in logs.iter().enumerate() {
        let text = std::fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
        let host = hosts.get(rank).context("more logs than hosts")?;
        let next = hosts.get((rank + 1) % hosts.len()).context("a ring without hosts")?;
        let flow = Chosen::read(&text, next, &topology).with_context(|| format!("in the log of {host}"))?;
        flow.show_and_check(host, routes.get(host).map_or("", String::as_str), &links)?;
    }

    heading("bytes that each spine carried");
    let mut table = table::new(&["spine", "MB"]);
    let spines: Vec<String> = lab.spine_bytes()?.into_keys().collect();
    for spine in &spines {
        let bytes: u64 = links.iter().filter(|l| l.from == *spine).map(|l| l.bytes).sum();
        table.add_row([spine.clone(), format!("{:.1}", megabytes(bytes))]);
    }
    println!("{table}");

    for host in &hosts {
        let left = lab.node(host)?.sh(ROUTES)?;
        if !left.is_empty() {
            bail!("{host} still has routes after the job: {left}");
        }
    }
    println!("no route is left after the job");
    Ok(())
}

/// Starts the path server in the management network; it ends with what is returned, or with this process.
fn path_server(lab: &Lab, file: &Path) -> anyhow::Result<Running> {
    let (documents, _) = read_topology(file, "fabric_graph", "hosts")?;
    let address = lab.management_address(lab.management().name())?;
    let start = move || Server::bind((address, PORT).into(), &documents, ServerOptions::default())?.spawn();
    Ok(lab.management().run(start)?)
}

/// What the plugin said it chose: `connection A -> B: 4 lanes by mark, 0 spare; 0: host00 > … carrier C; 1: …`.
#[derive(Debug)]
struct Chosen {
    flow: String,
    destination: String,
    pinning: String,
    lanes: Vec<Lane>,
}

/// One of them.
#[derive(Debug)]
struct Lane {
    hops: Vec<String>,
    carrier: String,
}

impl Chosen {
    /// The flow that carries the data: to the next host of the ring. Acknowledgements have lanes to the one before.
    fn read(log: &str, next: &str, topology: &Topology) -> anyhow::Result<Self> {
        let to_next = format!(" > {next} carrier ");
        let line = log
            .lines()
            .filter_map(|line| line.split_once("connection "))
            .find_map(|(_, rest)| rest.contains(&to_next).then_some(rest))
            .with_context(|| format!("no line that tells a steered connection to {next}"))?;
        let chosen = Self::parse(line).with_context(|| format!("this line is not understood: {line}"))?;
        match chosen.lanes.iter().flat_map(|l| &l.hops).find(|name| topology.by_name(name).is_none()) {
            Some(name) => bail!("{name} is on the path but not in the fabric"),
            None => Ok(chosen),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let (flow, rest) = line.split_once(": ")?;
        let (pinning, lanes) = rest.split_once("; ")?;
        let lane = |text: &str| {
            let (_, rest) = text.split_once(": ")?;
            let (path, carrier) = rest.split_once(" carrier ")?;
            let hops = path.split(" > ").map(str::to_owned).collect();
            Some(Lane { hops, carrier: carrier.split(' ').next()?.to_owned() })
        };
        Some(Self {
            flow: flow.to_owned(),
            destination: flow.split_once(" -> ")?.1.to_owned(),
            pinning: pinning.to_owned(),
            lanes: lanes.split("; ").map(lane).collect::<Option<_>>()?,
        })
    }

    fn show_and_check(&self, host: &str, routes: &str, links: &[LinkCounters]) -> anyhow::Result<()> {
        println!("{}: {}", self.flow, self.pinning);
        let bytes = |from: &str, to: Option<&str>| -> u64 {
            let counted = |l: &&LinkCounters| l.from == from && to.is_none_or(|to| l.to == to);
            links.iter().filter(counted).map(|l| l.bytes).sum()
        };
        let sent = bytes(host, None);
        let mut carried = 0;
        for (number, lane) in self.lanes.iter().enumerate() {
            let carrier = format!("[ {} ]", lane.carrier);
            let route = routes
                .lines()
                .find(|l| l.starts_with(&self.destination) && l.contains(&carrier))
                .with_context(|| {
                    format!("{host} had no route to {} by {carrier}: {routes}", self.destination)
                })?;
            // Up to the first switch, and from the last, all lanes share a link.
            let inner = lane.hops.get(1..lane.hops.len().saturating_sub(1)).unwrap_or_default();
            let mut least = sent;
            for pair in inner.windows(2) {
                let [from, to] = pair else { continue };
                let link = bytes(from, Some(to));
                if link == 0 {
                    bail!("{from} > {to} carried nothing, and lane {number} of {host} goes over it");
                }
                least = least.min(link);
            }
            carried += least;
            println!("  lane {number}  {}  {:.1} MB", lane.hops.join(" > "), megabytes(least));
            println!("          {}", route.trim());
        }
        if ratio(carried, sent) < SHARE {
            bail!("the lanes of {host} carried {carried} of the {sent} bytes that it sent");
        }
        Ok(())
    }
}

/// What each link carried between two readings.
fn carried(before: &[LinkCounters], after: &[LinkCounters]) -> Vec<LinkCounters> {
    after
        .iter()
        .map(|now| {
            let then = before.iter().find(|l| l.from == now.from && l.interface == now.interface);
            LinkCounters { bytes: now.bytes - then.map_or(0, |l| l.bytes), ..now.clone() }
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "a share, to two digits")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_read_from_the_log_line() {
        let line = "2001:db8:1000::2 -> 2001:db8:1001::2: 2 lanes by mark, 1 spare; 0: host00 > leaf00 > host01 \
                    carrier fc00:0:1200::; 1: host00 > leaf01 > host01 carrier fc00:0:1201:: from topology file in 2 ms";
        let chosen = Chosen::parse(line).unwrap();
        assert_eq!(chosen.destination, "2001:db8:1001::2");
        assert_eq!(chosen.pinning, "2 lanes by mark, 1 spare");
        let carriers: Vec<&str> = chosen.lanes.iter().map(|l| l.carrier.as_str()).collect();
        assert_eq!(carriers, ["fc00:0:1200::", "fc00:0:1201::"]);
        assert_eq!(chosen.lanes[1].hops, ["host00", "leaf01", "host01"]);
        assert!(Chosen::parse("unsteered").is_none());
    }
}
