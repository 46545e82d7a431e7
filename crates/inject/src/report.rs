//! What an injection did, for people to read.

/// What was done to one pod template, and what its owner should know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Names of the steered containers.
    pub containers: Vec<String>,
    /// What was left as it was, or is to be looked at; one sentence each.
    pub notes: Vec<String>,
}

/// Whether a pod is as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Injected by this version, with these options.
    Current,
    /// Not injected.
    Missing,
    /// Injected by another version, or with another version of the plugin.
    Version {
        /// What the pod says: who injected it, and its plugin.
        found: String,
    },
    /// Injected by this version, but not as these options ask for it, or changed since.
    Different,
}
