//! One workload over one kind of routing in a shaped fabric.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use srv6_lab::{Lab, LinkCounters, Mbps, Node, Options};

use super::crew::Sent;
use super::order::{Flow, Pattern, Until};
use super::{Crew, Load, MachineTime, Net, Scene, Settings, Wire, alternating, fabric, recovery, statistics};

/// Who sends how much to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// Ring all-reduce; every hop of the ring crosses the spines.
    Ring,
    /// Every host to its counterpart on the other leaf, for a time.
    Permutation,
    /// Every host to every other, the same number of bytes.
    AllToAll,
}

/// What decides which way packets take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Routing {
    /// The switches' hash of addresses and ports; one TCP connection each, unsteered.
    Ecmp,
    /// One path per flow, by the rule `spread`.
    Spread,
    /// One path per flow, the least loaded one by the accounting of the path server at this address.
    Load(String),
    /// Four subflows per connection, each on its own path.
    Multipath,
}

/// How long a trial takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Effort {
    /// Bytes that the ring reduces, and how often.
    pub(crate) ring_bytes: usize,
    pub(crate) ring_repeats: u32,
    pub(crate) permutation: Duration,
    /// Messages of 256 KiB from each host to each other.
    pub(crate) messages: u64,
}

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Trial {
    pub(crate) workload: Workload,
    pub(crate) routing: &'static str,
    pub(crate) seconds: f64,
    /// Payload of the slowest flow, or of the collective, over what the wire carries after all headers.
    pub(crate) fraction: f64,
    /// The same, of the mean flow; in an all-to-all, of the mean host.
    pub(crate) mean_fraction: f64,
    /// Payload of the slowest flow, or of each host's part in the collective, in Mbit/s.
    pub(crate) mbps: f64,
    /// Jain's index of the flows' rates; in an all-to-all, of the hosts'; of a ring, whose flows can't differ, 1.
    pub(crate) jain: f64,
    /// What each link was loaded with.
    pub(crate) links: Vec<LinkLoad>,
    /// Bytes that were not what they should be.
    pub(crate) wrong: u64,
    /// Share of the machine's processor time that was idle.
    pub(crate) idle: f64,
}

/// One direction of a link of the fabric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LinkLoad {
    pub(crate) from: String,
    pub(crate) to: String,
    /// Bytes with all headers over what its rate allows in that time.
    pub(crate) load: f64,
    /// Whether both ends are switches.
    pub(crate) switches: bool,
}

impl Trial {
    /// Loads of the links between switches: those that routing chooses among.
    pub(crate) fn between_switches(&self) -> Vec<f64> {
        self.links.iter().filter(|link| link.switches).map(|link| link.load).collect()
    }
}

/// A fabric whose links are the limit, with a rank in each host.
#[derive(Debug)]
pub(crate) struct Shaped {
    pub(crate) lab: Lab,
    pub(crate) file: PathBuf,
    pub(crate) mbps: u32,
    pub(crate) congestion: String,
    /// Hosts in the order of ranks: alternating between the leaves.
    hosts: Vec<String>,
}

const MTU: u32 = 1500;
const RING_SLOT: usize = 512 << 10;
const STREAM_SLOT: usize = 256 << 10;

/// No trial takes as long unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

impl Shaped {
    /// Raises a fabric with every link at one rate, whose hosts' TCP has this congestion control.
    pub(crate) fn up(file: &Path, mbps: u32, congestion: &str) -> anyhow::Result<Self> {
        let rate = Some(Mbps::new(mbps)?);
        let options = Options {
            rate_fabric: rate,
            rate_host: rate,
            mtu: Some(MTU),
            congestion: Some(congestion.to_owned()),
            ..Options::default()
        };
        let lab = Lab::up(&fabric(file)?, &options).context("raising the fabric")?;
        let hosts: Vec<String> = lab.hosts().map(|host| host.name().to_owned()).collect();
        let hosts = alternating(&hosts);
        ensure!(hosts.len() >= 2, "{}: want two hosts or more on each of two leaves", file.display());
        let file = file.canonicalize().with_context(|| format!("finding {}", file.display()))?;
        Ok(Self { lab, file, mbps, congestion: congestion.to_owned(), hosts })
    }

    /// One rank in each host.
    pub(crate) fn crew(
        &self,
        scene: &Scene,
        plugin: &Path,
        name: &str,
        routing: &Routing,
    ) -> anyhow::Result<Crew> {
        Crew::start(scene, Net::Plugin(plugin), name, &self.nodes()?, &routing.settings(&self.file))
    }

    /// The hosts in the order of ranks.
    pub(crate) fn nodes(&self) -> anyhow::Result<Vec<&Node>> {
        Ok(self.hosts.iter().map(|host| self.lab.node(host)).collect::<Result<Vec<_>, _>>()?)
    }

    /// How many ranks there are.
    pub(crate) fn world(&self) -> usize {
        self.hosts.len()
    }

    /// What a link carries.
    pub(crate) fn wire(&self, routing: &Routing) -> Wire {
        match routing {
            Routing::Ecmp => Wire::plain(self.mbps, MTU),
            Routing::Spread | Routing::Load(_) | Routing::Multipath => Wire::steered(self.mbps, MTU),
        }
    }

    /// Runs a workload once, over connections of its own: other ports, so another hash.
    pub(crate) fn trial(
        &self,
        crew: &mut Crew,
        routing: &Routing,
        workload: Workload,
        effort: &Effort,
    ) -> anyhow::Result<Trial> {
        let pattern = self.pattern(workload);
        let slot = if workload == Workload::Ring { RING_SLOT } else { STREAM_SLOT };
        crew.connect(&pattern, slot)?;
        if workload == Workload::Ring {
            crew.prepare(effort.ring_bytes)?;
        }
        let (before, idle_before) = (self.lab.links()?, MachineTime::now()?);
        let run = match workload {
            Workload::Ring => self.reduce(crew, effort)?,
            Workload::Permutation => {
                let sent = crew.send(STREAM_SLOT, Until::Time(effort.permutation), true, false, PATIENCE)?;
                let rates = sent.flows.iter().map(|flow| flow.rate(sent.began)).collect();
                Run { seconds: sent.seconds, rates, wrong: sent.flows.iter().map(|f| f.wrong).sum() }
            }
            Workload::AllToAll => {
                let until = Until::Messages(effort.messages);
                let sent = crew.send(STREAM_SLOT, until, true, false, PATIENCE)?;
                Run::of_hosts(&sent, pattern.pairs(), self.world())
            }
        };
        let Load { idle, .. } = MachineTime::now()?.since(idle_before);
        let links = self.loads(&before, &self.lab.links()?, run.seconds);
        crew.close()?;
        let possible = self.wire(routing).bytes_per_s();
        let slowest = statistics::least(&run.rates).unwrap_or(0.0);
        Ok(Trial {
            workload,
            routing: routing.name(),
            seconds: run.seconds,
            fraction: slowest / possible,
            mean_fraction: statistics::mean(&run.rates).unwrap_or(0.0) / possible,
            mbps: slowest * 8.0 / 1e6,
            jain: statistics::jain(&run.rates).unwrap_or(0.0),
            links,
            wrong: run.wrong,
            idle,
        })
    }

    /// How fast a ring all-reduce went, over time: Mbit/s of payload for each host in steps of `step`.
    pub(crate) fn trace(&self, crew: &mut Crew, effort: &Effort, step: Duration) -> anyhow::Result<Vec<f64>> {
        // Smaller messages than NCCL's, so that there is something to see in each step.
        crew.connect(&Pattern::Ring, RING_SLOT / 4)?;
        crew.prepare(effort.ring_bytes)?;
        let began = crew.begin_reduce(effort.ring_repeats, true)?;
        let reduced = crew.end_reduce(began, PATIENCE)?;
        crew.close()?;
        #[expect(clippy::cast_precision_loss, reason = "ranks are few")]
        let hosts = self.world() as f64;
        let rates = recovery::rates(&reduced.arrivals, began, step);
        Ok(rates.into_iter().map(|rate| rate / hosts * 8.0 / 1e6).collect())
    }

    fn pattern(&self, workload: Workload) -> Pattern {
        let world = self.world();
        match workload {
            Workload::Ring => Pattern::Ring,
            // Ranks alternate, so a rank's counterpart is its neighbour.
            Workload::Permutation => Pattern::Streams((0..world).map(|rank| (rank, rank ^ 1)).collect()),
            Workload::AllToAll => {
                let from_all = |distance| (0..world).map(move |from| (from, (from + distance) % world));
                Pattern::Streams(distances(world).flat_map(from_all).collect())
            }
        }
    }

    fn reduce(&self, crew: &mut Crew, effort: &Effort) -> anyhow::Result<Run> {
        let reduced = crew.reduce(effort.ring_repeats, PATIENCE)?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let (bytes, world) = (effort.ring_bytes as f64, self.world() as f64);
        // Each hop of the ring carries this much: what nccl-tests calls bus bandwidth.
        let rate = 2.0 * (world - 1.0) / world * bytes * f64::from(effort.ring_repeats) / reduced.seconds;
        Ok(Run { seconds: reduced.seconds, rates: vec![rate; self.world()], wrong: reduced.wrong })
    }

    fn loads(&self, before: &[LinkCounters], after: &[LinkCounters], seconds: f64) -> Vec<LinkLoad> {
        let allowed = f64::from(self.mbps) * 1e6 / 8.0 * seconds;
        let of: BTreeMap<(&str, &str), u64> = before
            .iter()
            .map(|link| ((link.from.as_str(), link.to.as_str()), link.wire_bytes.unwrap_or(0)))
            .collect();
        let load = |link: &LinkCounters| {
            let earlier = of.get(&(link.from.as_str(), link.to.as_str())).copied().unwrap_or(0);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let bytes = link.wire_bytes.unwrap_or(0).saturating_sub(earlier) as f64;
            let switches = !self.hosts.contains(&link.from) && !self.hosts.contains(&link.to);
            LinkLoad { from: link.from.clone(), to: link.to.clone(), load: bytes / allowed, switches }
        };
        after.iter().map(load).collect()
    }
}

/// From each rank to those that it sends to in an all-to-all, in NCCL's order (`p2pSchedule` of `init.cc`), in which no two
/// ranks begin with the same one.
fn distances(world: usize) -> impl Iterator<Item = usize> {
    let rounds = world.next_power_of_two();
    let all = (1..rounds).scan(0, move |distance, round| {
        *distance = (*distance + round) % rounds;
        Some(*distance)
    });
    all.filter(move |&distance| distance < world)
}

/// What the ranks said.
struct Run {
    seconds: f64,
    /// Bytes per second of each flow, or host.
    rates: Vec<f64>,
    wrong: u64,
}

impl Run {
    /// A host's link is shared by its flows: a rate is that of all that a host receives, until the last of it came.
    fn of_hosts(sent: &Sent, pairs: &[(usize, usize)], world: usize) -> Self {
        let rate = |host: usize| {
            let to_host = |flow: &&Flow| pairs.get(flow.pair).is_some_and(|(_, to)| *to == host);
            let flows = || sent.flows.iter().filter(to_host);
            let last = flows().filter_map(|flow| flow.arrivals.last()).map(|(at, _)| *at).max();
            let took = Duration::from_nanos(last.unwrap_or(0).saturating_sub(sent.began)).as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let bytes = flows().map(|flow| flow.bytes).sum::<u64>() as f64;
            if took > 0.0 { bytes / took } else { 0.0 }
        };
        let wrong = sent.flows.iter().map(|flow| flow.wrong).sum();
        Self { seconds: sent.seconds, rates: (0..world).map(rate).collect(), wrong }
    }
}

impl Workload {
    pub(crate) const ALL: [Self; 3] = [Self::Ring, Self::Permutation, Self::AllToAll];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring all-reduce",
            Self::Permutation => "permutation",
            Self::AllToAll => "all-to-all",
        }
    }
}

impl Routing {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ecmp => "ecmp",
            Self::Spread => "spread",
            Self::Load(_) => "load",
            Self::Multipath => "multipath",
        }
    }

    fn settings(&self, file: &Path) -> Settings {
        match self {
            Self::Ecmp => Settings::unsteered(1),
            Self::Spread => Settings::steered(file, 1),
            Self::Load(endpoint) => Settings::by_load(endpoint),
            Self::Multipath => Settings::steered(file, 4),
        }
    }
}

impl Effort {
    /// As the flags of a bench say.
    pub(crate) fn of_trials(seconds: Option<u32>, quick: bool, mbps: u32) -> Self {
        Self::new(seconds.map_or(if quick { 4.0 / 3.0 } else { 2.0 }, f64::from), mbps)
    }

    /// About as many seconds each without collisions, at any rate.
    pub(crate) fn new(seconds: f64, mbps: u32) -> Self {
        let (scale, rate) = (seconds / 2.0, f64::from(mbps) / 200.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below 2^32")]
        let times = |count: f64| count.round().max(1.0) as u32;
        Self {
            ring_bytes: 16 * usize::try_from(times(rate * f64::from(512 << 10))).unwrap_or(1),
            ring_repeats: times(4.0 * scale),
            permutation: Duration::from_millis(u64::from(times(2000.0 * scale))),
            messages: u64::from(times(24.0 * scale * rate)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effort_takes_as_long_at_any_rate() {
        let at = |mbps| Effort::new(2.0, mbps);
        assert_eq!((at(200).ring_bytes, at(200).ring_repeats, at(200).messages), (8 << 20, 4, 24));
        assert_eq!((at(50).ring_bytes, at(50).ring_repeats, at(50).messages), (2 << 20, 4, 6));
        assert_eq!(at(1).messages, 1);
        let longer = Effort::new(8.0, 200);
        assert_eq!((longer.ring_bytes, longer.ring_repeats, longer.messages), (8 << 20, 16, 96));
    }

    #[test]
    fn every_rank_sends_to_every_other_in_nccls_order() {
        assert_eq!(distances(8).collect::<Vec<_>>(), [1, 3, 6, 2, 7, 5, 4]);
        assert_eq!(distances(6).collect::<Vec<_>>(), [1, 3, 2, 5, 4]);
        assert_eq!(distances(2).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_host_is_as_fast_as_the_last_of_what_it_receives() {
        let flow = |pair, bytes, last: u64| Flow {
            pair,
            messages: 1,
            bytes,
            wrong: 1,
            arrivals: vec![(500_000_000, bytes), (last, bytes)],
        };
        // To host 1: 300 bytes, the last of them 2 s after the beginning; to host 0: 100 in 1 s.
        let flows =
            vec![flow(0, 100, 1_500_000_000), flow(1, 200, 3_000_000_000), flow(2, 100, 2_000_000_000)];
        let sent = Sent { began: 1_000_000_000, seconds: 2.0, flows, cpu: 0.0 };
        let run = Run::of_hosts(&sent, &[(0, 1), (2, 1), (1, 0)], 3);
        assert_eq!(run.rates, [100.0, 150.0, 0.0]);
        assert_eq!(run.wrong, 3);
    }
}
