//! Which of several equal paths a flow takes.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::{Path, Topology, VertexIndex};

/// How a path is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// Stateless and coordinated: see [`spread`]. The default.
    #[default]
    Spread,
    /// The path API's `/load`, whose own accounting coordinates the senders.
    Load,
    /// The path API's `/latency`.
    Latency,
    /// The path API's `/utilization`.
    Utilization,
    /// The first of the shortest paths.
    Hops,
}

impl Policy {
    /// All policies by the names that settings use.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("spread", Self::Spread),
        ("load", Self::Load),
        ("latency", Self::Latency),
        ("utilization", Self::Utilization),
        ("hops", Self::Hops),
    ];
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, p)| p == self).map_or("", |(n, _)| n);
        f.write_str(name)
    }
}

impl FromStr for Policy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::NAMES.iter().find(|(n, _)| *n == text).map(|&(_, p)| p).ok_or(())
    }
}

/// Index of the path that flow `source -> destination` takes among equal ones, which are sorted as
/// [`equal_cost_paths`](crate::equal_cost_paths) sorts them or for both ends alike.
///
/// First a spine: rank of the source among the hosts of its leaf + position of its leaf + position of the destination's
/// leaf, modulo the spines that the paths lead over. The hosts of a leaf that talk to one other leaf, a leaf that talks to
/// many, and many that talk to one all land on different spines, and every host comes to the same answer alone. Where
/// several paths lead over a spine, in three tiers, then a core: position of the source's leaf + those of both pods, and one
/// more for each time that the ranks have gone round the spines. 0 for no paths.
pub fn spread(topology: &Topology, source: VertexIndex, destination: VertexIndex, paths: &[Path]) -> usize {
    let spines = by_spine(paths);
    let leaves = topology.leaves();
    let place = |host: VertexIndex| {
        let leaf = topology.leaves_of(host).first().copied();
        (leaf, leaf.and_then(|l| leaves.iter().position(|&x| x == l)).unwrap_or(0))
    };
    let (source_leaf, from) = place(source);
    let (destination_leaf, to) = place(destination);
    let rank =
        source_leaf.and_then(|leaf| topology.hosts_of(leaf).iter().position(|&h| h == source)).unwrap_or(0);
    let Some(turn) = (rank + from + to).checked_rem(spines.len()) else { return 0 };
    match spines.get(turn).map(Vec::as_slice) {
        None | Some([]) => 0,
        Some([only]) => *only,
        Some(cores) => {
            let pods = Pods::new(topology, &leaves);
            let core = from + pods.of(source_leaf) + pods.of(destination_leaf) + rank / spines.len();
            cores.get(core % cores.len()).copied().unwrap_or(0)
        }
    }
}

/// Positions of the paths by the spines that they lead over, in the order of the first of each.
fn by_spine(paths: &[Path]) -> Vec<Vec<usize>> {
    let mut known = HashMap::new();
    let mut spines: Vec<Vec<usize>> = Vec::new();
    for (position, path) in paths.iter().enumerate() {
        let switches = path.switches();
        // All but the cores, and the same from both ends.
        let mut ends = [switches.iter().take(2).collect::<Vec<_>>(), switches.iter().rev().take(2).collect()];
        ends.sort_unstable();
        let spine = *known.entry(ends).or_insert(spines.len());
        match spines.get_mut(spine) {
            Some(cores) => cores.push(position),
            None => spines.push(vec![position]),
        }
    }
    spines
}

/// Numbers pods: leaves with the same first spine are in one, in the order of those.
struct Pods<'a> {
    topology: &'a Topology,
    firsts: Vec<VertexIndex>,
}

impl<'a> Pods<'a> {
    fn new(topology: &'a Topology, leaves: &[VertexIndex]) -> Self {
        let mut pods = Self { topology, firsts: Vec::new() };
        let mut firsts: Vec<VertexIndex> = leaves.iter().filter_map(|&leaf| pods.first(leaf)).collect();
        firsts.sort_unstable();
        firsts.dedup();
        pods.firsts = firsts;
        pods
    }

    fn of(&self, leaf: Option<VertexIndex>) -> usize {
        let first = leaf.and_then(|leaf| self.first(leaf));
        first.and_then(|first| self.firsts.binary_search(&first).ok()).unwrap_or(0)
    }

    fn first(&self, leaf: VertexIndex) -> Option<VertexIndex> {
        self.topology.outgoing(leaf).map(|e| e.to).filter(|&v| !self.topology.vertex(v).is_host()).min()
    }
}
