//! What a dataplane has to offer beside routes, so that connections of one flow can take different paths.

use srv6_fabric::Flow;

use crate::{Pinning, RouteError, RouteKey, Rule};

/// What a socket has that a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Selector {
    /// Its mark.
    Mark(u32),
    /// The TCP port that it is bound to.
    SourcePort(u16),
}

/// Rules that lead sockets to the tables of slots. Blocking calls, for a thread of ours.
pub trait LaneRules {
    /// What ties sockets to paths with this dataplane, the best first.
    fn pinnings(&self) -> &[Pinning];

    /// All rules that are ours.
    ///
    /// # Errors
    /// The dataplane's own failure.
    fn owned_rules(&mut self) -> Result<Vec<Rule>, RouteError>;

    /// Puts a rule in place. One that is there already is success, and stays one.
    ///
    /// # Errors
    /// Why it isn't there.
    fn set_rule(&mut self, rule: &Rule) -> Result<(), RouteError>;

    /// Removes a rule of ours. Nothing to remove is success.
    ///
    /// # Errors
    /// Why it is still there.
    fn remove_rule(&mut self, rule: &Rule) -> Result<(), RouteError>;

    /// Whether packets of a socket with this selector really take our route with this key.
    ///
    /// # Errors
    /// [`RouteError::Shadowed`], or the dataplane's own failure.
    fn takes_by(&mut self, flow: Flow, selector: Selector, key: &RouteKey) -> Result<(), RouteError>;
}
