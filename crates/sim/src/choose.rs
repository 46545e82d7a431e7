//! The rules that look at one connection alone: hashing, counting round, drawing.

use crate::fabric::{Ends, Reach};
use crate::random::{Random, below, mix};
use crate::workload::Flow;
use crate::{Fabric, Path, Rule};

/// What such a rule goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chooser<'a> {
    pub(crate) fabric: &'a Fabric,
    pub(crate) rule: Rule,
    /// Paths of each connection.
    pub(crate) paths: usize,
    pub(crate) seed: u64,
    /// Connections of each pair.
    pub(crate) channels: usize,
    /// Most paths that a path source hands out to choose from, for [`Rule::Spread`].
    pub(crate) candidates: usize,
}

impl Chooser<'_> {
    /// Puts the paths of a flow into `chosen`; none if there is no way.
    pub(crate) fn choose(&self, flow: &Flow, ends: &Ends, chosen: &mut Vec<Path>) {
        chosen.clear();
        match self.rule {
            Rule::Ecmp => self.hash(flow, ends, chosen),
            Rule::Spread => self.spread(ends, chosen),
            Rule::Tiers => self.tiers(ends, 0, self.paths, chosen),
            Rule::Turns => {
                self.tiers(ends, flow.channel * self.paths, self.channels * self.paths, chosen);
            }
            Rule::Random => self.draw(flow, ends, chosen),
            // These look at all connections together.
            Rule::Load | Rule::All => {}
        }
    }

    fn hash(&self, flow: &Flow, ends: &Ends, chosen: &mut Vec<Path>) {
        let fabric = self.fabric;
        let (planes, _) = fabric.plane_round(ends, 0);
        if planes == 0 {
            return;
        }
        for socket in 0..self.paths {
            let key = mix(self.key(flow), socket as u64);
            let (_, plane) = fabric.plane_round(ends, below(mix(key, 1), planes));
            // A spine with fewer cores left is as likely as any other: a leaf counts next hops, not paths.
            let (spines, _) = fabric.spine_round(ends, plane, 0);
            let (_, spine) = fabric.spine_round(ends, plane, below(mix(key, 2), spines));
            let cores = fabric.cores_over(ends, plane, spine);
            let core = fabric.core(ends, plane, spine, below(mix(key, 3), cores));
            chosen.push(Path { plane, spine, core });
        }
    }

    fn spread(&self, ends: &Ends, chosen: &mut Vec<Path>) {
        let fabric = self.fabric;
        let count = fabric.planes(ends).map(|plane| fabric.paths_in(ends, plane)).sum::<usize>();
        let candidates = count.min(self.candidates);
        if candidates == 0 {
            return;
        }
        let (from, to) = (fabric.place(ends.source), fabric.place(ends.destination));
        let spines = fabric.spines_of(ends);
        let turn = from.rank + from.leaf + to.leaf;
        // Candidates lie evenly among the paths; those over one spine are in a row.
        let over = fabric.over_spine(ends, turn % spines);
        let candidate = |path: usize| (path * candidates).div_ceil(count);
        let (begin, end) = (candidate(over.start), candidate(over.end));
        let core = from.leaf + from.pod + to.pod + from.rank / spines;
        let first = match end - begin {
            0 => turn % candidates,
            cores => begin + core % cores,
        };
        let paths = self.paths.min(candidates);
        let path = |k: usize| (first + k * candidates / paths) % candidates * count / candidates;
        chosen.extend((0..paths).filter_map(|k| fabric.nth(ends, path(k))));
    }

    /// Paths number `first` and following of the `all` that the connections of a pair have together.
    fn tiers(&self, ends: &Ends, first: usize, all: usize, chosen: &mut Vec<Path>) {
        let fabric = self.fabric;
        let clos = fabric.clos();
        let (planes, _) = fabric.plane_round(ends, 0);
        if planes == 0 {
            return;
        }
        let (spines, cores) = match ends.reach {
            Reach::Leaf => (1, 1),
            Reach::Spine => (clos.spines, 1),
            Reach::Core => (clos.spines, clos.cores),
        };
        let rank = ends.source % clos.hosts_per_leaf;
        let turn = rank + ends.from + ends.to;
        // Not by the destination's leaf: source and destination leaf that move together would use every other core only.
        let side = ends.from + clos.pod_of(ends.from) + clos.pod_of(ends.to);
        for k in first..first + self.paths {
            // Paths first use every plane, then every spine: a further round in a plane starts where the share of the
            // spines ends that the round before has.
            let (round, rounds) = (k / clos.planes, all.div_ceil(clos.planes));
            let spine = turn + round * spines / rounds;
            let lap = rank / spines + round / spines + round;
            let mut path =
                Path { plane: (turn + k) % clos.planes, spine: spine % spines, core: (side + lap) % cores };
            // Counting over all parts and not over the live ones leaves every path alone whose own parts live.
            if !fabric.works(ends, path) {
                let (_, plane) = fabric.plane_round(ends, turn + k);
                let (_, spine) = fabric.spine_round(ends, plane, spine);
                let left = fabric.cores_over(ends, plane, spine);
                path = Path { plane, spine, core: fabric.core(ends, plane, spine, (side + lap) % left) };
            }
            if !chosen.contains(&path) {
                chosen.push(path);
            }
        }
    }

    fn draw(&self, flow: &Flow, ends: &Ends, chosen: &mut Vec<Path>) {
        let fabric = self.fabric;
        let (planes, _) = fabric.plane_round(ends, 0);
        if planes == 0 {
            return;
        }
        let mut random = Random::new(mix(self.key(flow), 4));
        let first = random.below(planes);
        for (turn, plane) in fabric.planes(ends).enumerate() {
            let extra = usize::from((turn + planes - first) % planes < self.paths % planes);
            let there = fabric.paths_in(ends, plane);
            let wanted = (self.paths / planes + extra).min(there);
            // Floyd's way to draw distinct numbers.
            let start = chosen.len();
            for last in there - wanted..there {
                let path = fabric.nth_in(ends, plane, random.below(last + 1));
                let taken = chosen.get(start..).is_some_and(|drawn| drawn.contains(&path));
                chosen.push(if taken { fabric.nth_in(ends, plane, last) } else { path });
            }
        }
    }

    fn key(&self, flow: &Flow) -> u64 {
        let pair = mix(flow.source as u64, flow.destination as u64);
        mix(mix(self.seed, pair), flow.channel as u64)
    }
}
