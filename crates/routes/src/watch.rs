//! Being told of changes, instead of looking every so often.

use crate::{Route, RouteError, RouteKey, RuleKey};

/// Something that happened to what is ours, whoever did it: our own changes are told, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A route of ours is there, new or instead of another.
    Set(Route),
    /// A route of ours is gone, or something else is in its place.
    Removed(RouteKey),
    /// A rule of ours is gone.
    RemovedRule(RuleKey),
    /// An interface or an address came, went or changed: routes may have gone along, some of them without a word.
    Interfaces,
    /// Changes were missed, so anything may have happened.
    Lost,
}

/// A dataplane's notifications. Blocking, for a thread of its own.
pub trait Watch: Send + std::fmt::Debug {
    /// Waits for changes; `None` once it was stopped.
    ///
    /// # Errors
    /// The dataplane's own failure: there won't be any more.
    fn wait(&mut self) -> Result<Option<Vec<Change>>, RouteError>;

    /// What ends a wait, from another thread.
    fn stopper(&self) -> Box<dyn Fn() + Send>;
}
