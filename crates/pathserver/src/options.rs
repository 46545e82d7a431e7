//! What a server is told when it starts.

/// How a server reads its documents and words its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Collection of edges that come without a collection name. Default `fabric_graph`.
    pub graph: String,
    /// Collection of hosts that come without a collection name. Default `hosts`.
    pub hosts: String,
    /// Answer errors with the empty detail of the original instead of one that says what is wrong.
    pub strict_compat: bool,
    /// Refuse the calls that the original doesn't have: taking back loads, and another topology.
    pub read_only: bool,
    /// Whose carriers and `srv6_data` fields to make.
    pub generation: Generation,
    /// Take documents that a fabric can't have, such as edges to nowhere: a real database holds them too, and a
    /// client must be tested against them.
    pub unchecked: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            graph: "fabric_graph".to_owned(),
            hosts: "hosts".to_owned(),
            strict_compat: false,
            read_only: false,
            generation: Generation::default(),
            unchecked: false,
        }
    }
}

/// A generation of the original API. The same documents give a different carrier in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Generation {
    /// May 2025: first SID of every vertex, block always `fc00:0:`, no algorithms.
    A,
    /// November 2025: SID of the algorithm, the source's included.
    B,
    /// January 2026: SID of the algorithm, the source's left out; SIDs without a behavior count for every algorithm.
    #[default]
    C,
}
