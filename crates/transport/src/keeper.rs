//! Who looks after the paths of a connection's lanes.

use std::fmt;
use std::sync::Arc;

/// Somebody who knows other paths for a connection's lanes.
///
/// Called from the data path when a lane is in trouble, so no call may block or take long. A lane's pin stays the
/// same; what changes is where the pin leads.
pub trait PathKeeper: Send + Sync + fmt::Debug {
    /// Asks for another path for this lane: its present one doesn't carry anything.
    fn avoid(&self, lane: usize);

    /// The path that this lane takes now, for log lines and statistics; none if it is still the first one.
    fn path(&self, lane: usize) -> Option<Arc<str>>;
}
