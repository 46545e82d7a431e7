//! One policy over one workload on one fabric: what every link carries and what that means for the flows.

use crate::choose::Chooser;
use crate::count::{Counts, Shares, UNIT};
use crate::fabric::Ends;
use crate::fair::Subflows;
use crate::greedy::Stored;
use crate::spray::Spray;
use crate::summary::{Distribution, jain};
use crate::workload::{Flow, Workload};
use crate::{Fabric, Link, Path, Rule, parallel};

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// As it is, dead parts left out.
    pub fabric: &'a Fabric,
    /// As it was before parts died, to see what their death hits.
    pub before: &'a Fabric,
    /// Who sends to whom.
    pub workload: &'a Workload,
    /// How paths are chosen.
    pub rule: Rule,
    /// Paths of each connection; of no meaning for [`Rule::All`].
    pub paths: usize,
    /// Most paths that a path source hands out for [`Rule::Spread`] to choose from.
    pub candidates: usize,
    /// For what is hashed or drawn.
    pub seed: u64,
}

/// What came out. A load of 1 is a link that is exactly full while every host sends, or receives, at its line rate; a
/// slowdown of 2 is twice the time that the hosts' own ports would need.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Load of the most loaded link: no collective ends before its bytes are through, so this is also the lower bound
    /// of its time, as a multiple of the time that the hosts' ports would need.
    pub worst: f64,
    /// That link; none if nothing is sent.
    pub worst_link: Option<Link>,
    /// Loads of the live links between switches.
    pub links: Distribution,
    /// Jain's index of those loads.
    pub jain_links: f64,
    /// Slowdown of each flow, by the most loaded link that it uses.
    pub flows: Distribution,
    /// Jain's index of the flows' rates, the inverse of their slowdowns.
    pub jain_flows: f64,
    /// Flows without a path.
    pub cut_off: usize,
    /// Slowdown of each job that isn't cut off: that of its slowest flow.
    pub jobs: Distribution,
    /// Share of all bytes whose path, chosen before parts died, leads over a dead one: lost until someone moves it.
    pub hit: f64,
    /// Share of all bytes whose path is alive and yet another one for connections that are made after parts died.
    pub moved: f64,
    /// Max-min fair rates of the connections; none for [`Rule::All`], and where there are too many.
    pub fair: Option<Fair>,
}

/// What TCP would make of it if it shared every link equally among the paths that use it, and each connection's chunks
/// went wherever there is room.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fair {
    /// Slowdown of the slowest flow.
    pub slowest: f64,
    /// Mean of the flows' rates, 1 being the rate that line rate gives each.
    pub mean_rate: f64,
    /// Jain's index of the rates.
    pub jain: f64,
}

/// Most paths, over all flows, for which max-min fair rates are computed.
const MOST_FAIR: usize = 200_000;

/// How a simulation knows the paths of a flow.
enum Choice<'a> {
    Alone(Chooser<'a>),
    Together(&'a Fabric, Stored),
}

impl Run<'_> {
    /// Simulates, and gives the load of every link by number too.
    pub fn simulate(&self) -> (Outcome, Vec<f32>) {
        let spray = (self.rule == Rule::All).then(|| Spray::new(self.fabric, self.workload));
        let choice = self.choice(self.fabric);
        let counts = Counts::new(self.fabric.links());
        match &spray {
            Some(spray) => spray.count(&counts),
            None => self.count(&choice, &counts),
        }
        let loads = self.loads(&counts.finish());

        let slowdowns = match &spray {
            Some(spray) => {
                let of_pairs = spray.worst(&loads);
                parallel::map(self.workload.flows(), || (), |(), n| of_pairs[self.workload.pair_of(n)])
            }
            None => parallel::map(self.workload.flows(), Vec::new, |paths, n| {
                let (_, ends) = self.paths(&choice, n, paths);
                let mut worst = f32::NAN;
                for &path in &*paths {
                    self.fabric.travel(&ends, path, |link| worst = worst.max(loads[link]));
                }
                worst
            }),
        };
        let (hit, moved) = match () {
            () if self.fabric.is_whole() => (0.0, 0.0),
            () if self.rule == Rule::All => (self.hit_of_all(), 0.0),
            () => self.hit_and_moved(&choice),
        };
        let fair = self.fair(&choice);
        (self.outcome(&loads, slowdowns, hit, moved, fair), loads)
    }

    /// Paths of flow number `n`; for [`Rule::All`], none by name.
    pub fn paths_of(&self, n: usize) -> Vec<Path> {
        let mut paths = Vec::new();
        self.paths(&self.choice(self.fabric), n, &mut paths);
        paths
    }

    fn choice<'a>(&'a self, fabric: &'a Fabric) -> Choice<'a> {
        match self.rule {
            Rule::Load => Choice::Together(fabric, Stored::greedy(fabric, self.workload, self.paths)),
            rule => Choice::Alone(Chooser {
                fabric,
                rule,
                paths: self.paths,
                seed: self.seed,
                channels: self.workload.jobs().channels,
                candidates: self.candidates,
            }),
        }
    }

    /// Puts the paths of flow number `n` into `paths`.
    fn paths(&self, choice: &Choice<'_>, n: usize, paths: &mut Vec<Path>) -> (Flow, Ends) {
        let flow = self.workload.flow(n);
        let ends = self.fabric.ends(flow.source, flow.destination);
        match choice {
            Choice::Alone(chooser) => chooser.choose(&flow, &ends, paths),
            Choice::Together(fabric, stored) => {
                paths.clear();
                paths.extend(stored.of(fabric, self.workload.pair_of(n)));
            }
        }
        (flow, ends)
    }

    fn count(&self, choice: &Choice<'_>, counts: &Counts) {
        parallel::each(self.workload.flows(), Vec::new, |paths, n| {
            let (_, ends) = self.paths(choice, n, paths);
            let mut shares = Shares::new(UNIT, paths.len());
            for &path in &*paths {
                let units = shares.take(1);
                self.fabric.travel(&ends, path, |link| counts.add(link, units));
            }
        });
    }

    /// What a flow at its share of the line rate adds to a link: between host and leaf, and between switches.
    fn flow_load(&self) -> (f64, f64) {
        let clos = self.fabric.clos();
        let of_port = clos.planes as f64 / self.workload.heaviest() as f64;
        (of_port, of_port * clos.host_rate / clos.fabric_rate)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "24 bits are enough for a load, and there are millions"
    )]
    fn loads(&self, units: &[u64]) -> Vec<f32> {
        let (port, switched) = self.flow_load();
        let host_links = self.fabric.layout().host_links();
        let load = |(link, &units): (usize, &u64)| {
            (units as f64 / UNIT as f64 * if link < host_links { port } else { switched }) as f32
        };
        units.iter().enumerate().map(load).collect()
    }

    /// Shares of the bytes whose path died, and whose path changed although it had not.
    fn hit_and_moved(&self, after: &Choice<'_>) -> (f64, f64) {
        let before = self.choice(self.before);
        let shares = parallel::map(
            self.workload.flows(),
            || (Vec::new(), Vec::new()),
            |(old, new), n| {
                let (_, ends) = self.paths(&before, n, old);
                self.paths(after, n, new);
                let of_all = |count: usize| count as f64 / old.len().max(1) as f64;
                let alive = |path: &Path| self.fabric.works(&ends, *path);
                let dead = old.iter().filter(|path| !alive(path)).count();
                let moved = old.iter().filter(|path| alive(path) && !new.contains(path)).count();
                (of_all(dead), of_all(moved))
            },
        );
        let sums = shares.iter().fold((0.0, 0.0), |sums, share| (sums.0 + share.0, sums.1 + share.1));
        let flows = shares.len().max(1) as f64;
        (sums.0 / flows, sums.1 / flows)
    }

    fn hit_of_all(&self) -> f64 {
        let lost = parallel::map(
            self.workload.pairs(),
            || (),
            |(), pair| {
                let flow = self.workload.pair(pair);
                let paths = |fabric: &Fabric| fabric.paths(flow.source, flow.destination) as f64;
                1.0 - paths(self.fabric) / paths(self.before).max(1.0)
            },
        );
        lost.iter().sum::<f64>() / lost.len().max(1) as f64
    }

    fn fair(&self, choice: &Choice<'_>) -> Option<Fair> {
        let flows = self.workload.flows();
        if self.rule == Rule::All || flows.checked_mul(self.paths).is_none_or(|paths| paths > MOST_FAIR) {
            return None;
        }
        let (mut subflows, mut of_flow, mut paths) = (Subflows::default(), Vec::new(), Vec::new());
        for n in 0..flows {
            let (_, ends) = self.paths(choice, n, &mut paths);
            for &path in &paths {
                let mut links = Vec::with_capacity(6);
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a checked fabric has at most 2^28 links"
                )]
                self.fabric.travel(&ends, path, |link| links.push(link as u32));
                subflows.push(links);
                of_flow.push(n);
            }
        }
        let (port, switched) = self.flow_load();
        let host_links = self.fabric.layout().host_links();
        let capacity = |link| 1.0 / if link < host_links { port } else { switched };
        let capacities: Vec<f64> = (0..self.fabric.links()).map(capacity).collect();
        let mut rates = vec![0.0; flows];
        for (&flow, rate) in of_flow.iter().zip(subflows.rates(&capacities)) {
            rates[flow] += rate;
        }
        rates.retain(|&rate| rate > 0.0);
        let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
        Some(Fair {
            slowest: 1.0 / slowest,
            mean_rate: rates.iter().sum::<f64>() / rates.len().max(1) as f64,
            jain: jain(rates.iter().copied()),
        })
    }

    fn outcome(
        &self,
        loads: &[f32],
        mut slowdowns: Vec<f32>,
        hit: f64,
        moved: f64,
        fair: Option<Fair>,
    ) -> Outcome {
        let worst = loads.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        let worst = worst.filter(|&(_, load)| load > 0.0);
        let first = self.fabric.layout().host_links();
        let switched = loads.iter().enumerate().skip(first).filter(|&(link, _)| self.fabric.is_alive(link));
        let mut switched: Vec<f32> = switched.map(|(_, &load)| load).collect();

        // NaN, no path at all, makes a job's slowdown infinite: it never ends.
        let mut jobs = vec![0.0f32; self.workload.jobs().count];
        for (n, &slowdown) in slowdowns.iter().enumerate() {
            let job = &mut jobs[self.workload.job_of(n)];
            *job = if slowdown.is_nan() { f32::INFINITY } else { job.max(slowdown) };
        }
        jobs.retain(|job| job.is_finite());
        let flows = slowdowns.len();
        slowdowns.retain(|slowdown| !slowdown.is_nan());
        Outcome {
            worst: worst.map_or(0.0, |(_, load)| f64::from(load)),
            worst_link: worst.map(|(link, _)| self.fabric.link(link)),
            jain_links: jain(switched.iter().map(|&load| f64::from(load))),
            links: Distribution::of(&mut switched),
            jain_flows: jain(slowdowns.iter().map(|&slowdown| 1.0 / f64::from(slowdown))),
            cut_off: flows - slowdowns.len(),
            flows: Distribution::of(&mut slowdowns),
            jobs: Distribution::of(&mut jobs),
            hit,
            moved,
            fair,
        }
    }
}
