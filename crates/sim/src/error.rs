//! What can be wrong with a simulation's input.

/// A fabric, workload, policy or fault that can't be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A number of a fabric's shape.
    #[error("{what} {given}: want {want}")]
    Shape {
        /// `planes`, `leaves` and so on.
        what: &'static str,
        /// The number.
        given: String,
        /// What would be right.
        want: &'static str,
    },
    /// No preset of this name.
    #[error("preset {given:?}: want one of {}", known.join(", "))]
    Preset {
        /// The name.
        given: String,
        /// All names.
        known: Vec<&'static str>,
    },
    /// A topology that is no Clos with equal leaves.
    #[error("{vertex}: {found}; the simulation wants {want}")]
    Irregular {
        /// Id of the vertex, or a word for the whole.
        vertex: String,
        /// What is there.
        found: String,
        /// What would be right.
        want: &'static str,
    },
    /// Jobs that don't fit the fabric, or a group that doesn't fit its job.
    #[error("{what} {given}: want {want}")]
    Workload {
        /// `jobs`, `job size`, `group` and so on.
        what: &'static str,
        /// The value.
        given: String,
        /// What would be right.
        want: String,
    },
    /// Text that is no policy.
    #[error(
        "policy {given:?}: want ecmp, spread, tiers, turns, load or random, each with :PATHS (1 to 256) or without, or all"
    )]
    Policy {
        /// The text.
        given: String,
    },
    /// Text that names nothing that can fail.
    #[error(
        "{given:?} can't fail: want a node ({example}), a link (two nodes with - between them), or KIND:COUNT \
         or KIND:SHARE% at random, KIND being links, ports, leaves, spines or cores"
    )]
    Fault {
        /// The text.
        given: String,
        /// Names that there are.
        example: String,
    },
    /// More random faults than there are things.
    #[error("{given}: the fabric has {there} {kind}")]
    TooManyFaults {
        /// The text.
        given: String,
        /// How many there are.
        there: usize,
        /// `links` and so on.
        kind: &'static str,
    },
}
