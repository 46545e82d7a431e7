//! Part 1: an all-reduce over four hosts, every flow on its own path.

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

/// Share of a flow's bytes that its chosen uplink must carry. The rest are acknowledgements of the flow that
/// comes the other way, which nobody steers.
const SHARE: f64 = 0.9;

pub(super) fn play(scene: &Scene, file: &Path) -> anyhow::Result<()> {
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
        arguments: &["-b", "4M", "-e", "32M", "-f", "2", "-n", "10", "-w", "2"],
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
            // A host that is busy is asked again in a moment.
            if let Some(Ok(shown)) = lab.node(host).ok().map(|n| n.sh("ip -6 route show proto 196"))
                && !shown.is_empty()
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
        let flow = Chosen::read(&text, &topology).with_context(|| format!("in the log of {host}"))?;
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
        let left = lab.node(host)?.sh("ip -6 route show proto 196")?;
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

/// What the plugin said it chose: `connection A -> B: path host00 > … carrier C from … in … ms`.
#[derive(Debug)]
struct Chosen {
    line: String,
    destination: String,
    hops: Vec<String>,
    carrier: String,
}

impl Chosen {
    fn read(log: &str, topology: &Topology) -> anyhow::Result<Self> {
        let line = log
            .lines()
            .find_map(|l| {
                l.split_once("connection ").map(|(_, rest)| rest).filter(|r| r.contains(" carrier "))
            })
            .context("no line that tells a steered connection")?;
        let chosen = (|| {
            let (flow, rest) = line.split_once(": path ")?;
            let (path, rest) = rest.split_once(" carrier ")?;
            Some(Self {
                line: line.to_owned(),
                destination: flow.split_once(" -> ")?.1.to_owned(),
                hops: path.split(" > ").map(str::to_owned).collect(),
                carrier: rest.split(' ').next()?.to_owned(),
            })
        })();
        let chosen = chosen.with_context(|| format!("this line is not understood: {line}"))?;
        match chosen.hops.iter().find(|name| topology.by_name(name).is_none()) {
            Some(name) => bail!("{name} is on the path but not in the fabric"),
            None => Ok(chosen),
        }
    }

    fn show_and_check(&self, host: &str, routes: &str, links: &[LinkCounters]) -> anyhow::Result<()> {
        println!("{}", self.line);
        let route = routes
            .lines()
            .find(|l| l.starts_with(&self.destination))
            .with_context(|| format!("{host} had no route to {}: {routes:?}", self.destination))?;
        println!("  route    {}", route.trim());
        if !route.contains(&format!("[ {} ]", self.carrier)) {
            bail!("{host}: the route's carrier is not {}", self.carrier);
        }
        for pair in self.hops.windows(2) {
            let [from, to] = pair else { continue };
            let bytes = |f: &dyn Fn(&LinkCounters) -> bool| {
                links.iter().filter(|l| f(l)).map(|l| l.bytes).sum::<u64>()
            };
            let link = bytes(&|l| l.from == *from && l.to == *to);
            let all = bytes(&|l| l.from == *host);
            println!("  carried  {from} > {to}  {:.1} MB", megabytes(link));
            if ratio(link, all) < SHARE {
                bail!("{from} > {to} carried {link} bytes of the {all} that {host} sent");
            }
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
