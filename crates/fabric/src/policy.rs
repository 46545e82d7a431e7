//! Which of several equal paths a flow takes.

use std::fmt;
use std::str::FromStr;

use crate::{Topology, VertexIndex};

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

/// Index of the path that flow `source -> destination` takes among `count` equal ones.
///
/// Rank of the source among the hosts of its leaf + position of its leaf + position of the destination's
/// leaf, modulo `count`. The hosts of a leaf that talk to one other leaf, a leaf that talks to many, and many
/// that talk to one all land on different spines, and every host comes to the same answer alone.
/// 0 for a `count` of 0.
pub fn spread(topology: &Topology, source: VertexIndex, destination: VertexIndex, count: usize) -> usize {
    if count == 0 {
        return 0;
    }
    let leaves = topology.leaves();
    let position = |host: VertexIndex| {
        let leaf = topology.leaves_of(host).first().copied();
        (leaf, leaf.and_then(|l| leaves.iter().position(|&x| x == l)).unwrap_or(0))
    };
    let (source_leaf, from) = position(source);
    let (_, to) = position(destination);
    let rank =
        source_leaf.and_then(|leaf| topology.hosts_of(leaf).iter().position(|&h| h == source)).unwrap_or(0);
    (rank + from + to) % count
}
