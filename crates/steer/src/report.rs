//! What steering does at the moment, for people and their programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use srv6_fabric::Flow;
use srv6_routes::Slot;

use crate::Objection;

/// Why a flow or lane has changed its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Something on its path was drained.
    Drain,
    /// Something on its path is assumed not to work.
    Bad,
    /// What was against its own path is over.
    Return,
    /// The fabric was read anew, and its path wasn't in it any more, or another one is now its own.
    Refresh,
    /// The transport saw the path dead.
    Transport,
    /// The peer's lane has moved.
    Peer,
    /// Another process of the host has moved it.
    Host,
}

impl Reason {
    /// All of them, in the order of their names' declaration.
    pub const ALL: [Self; 7] =
        [Self::Drain, Self::Bad, Self::Return, Self::Refresh, Self::Transport, Self::Peer, Self::Host];

    /// Its name in logs, tables and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Bad => "bad",
            Self::Return => "return",
            Self::Refresh => "refresh",
            Self::Transport => "transport",
            Self::Peer => "peer",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many times something moved, by reason.
pub type Moves = BTreeMap<Reason, u64>;

/// A steered flow, or one slot of a flow that has lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowReport {
    /// Which.
    pub flow: Flow,
    /// The slot, for lanes that share a route or have a routing header; `None` for a flow with a route of its own.
    pub slot: Option<Slot>,
    /// Names of host, switches and host, in travel order.
    pub hops: Vec<String>,
    /// Carriers in travel order, separated by commas.
    pub carrier: String,
    /// Where the path came from.
    pub origin: String,
    /// Connections that use it.
    pub connections: usize,
    /// What is against its path; it has no better one.
    pub against: Objection,
    /// Whether the kernel had what it needs when it was last looked at.
    pub in_place: bool,
    /// How long it has been steered.
    pub age: Duration,
    /// How often it has moved.
    pub moves: Moves,
}

/// How the path source has answered so far. Answers from memory don't count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceReport {
    /// Questions that it was asked.
    pub questions: u64,
    /// Of those, how many it gave no usable answer to.
    pub failures: u64,
    /// Time spent waiting for all answers together.
    pub waited: Duration,
    /// The longest wait.
    pub longest: Duration,
}

/// All of a steering's flows, and what has happened since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Flows and slots, sorted.
    pub flows: Vec<FlowReport>,
    /// Moves of all flows and lanes, those that are gone included.
    pub moves: Moves,
    /// How often the kernel's routes and rules were compared with what is wanted.
    pub checks: u64,
    /// How long the last comparison took, its repairs included.
    pub last_check: Duration,
    /// Routes that were missing or altered and are right again.
    pub repaired: u64,
    /// Whether something is missing that could not be put back yet.
    pub incomplete: bool,
    /// How the path source has answered.
    pub source: SourceReport,
}

/// What came of a denial or of a new look at the fabric.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Routes that were replaced, and lanes with a routing header that were told.
    pub moved: usize,
    /// The flows that they belong to, sorted.
    pub flows: Vec<Flow>,
    /// Flows that had to stay where they were: they have no better path.
    pub stranded: Vec<Flow>,
    /// From the call until the last replace.
    pub took: Duration,
}
