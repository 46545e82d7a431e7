//! Who looks after the paths of a connection's lanes.

use std::fmt;
use std::sync::Arc;

use crate::pin::Pin;

/// Somebody who knows other paths for a connection's lanes.
///
/// Called from the data path, so no call may block or take long. With a mark or ports a lane's pin stays the same, and
/// what changes is where it leads.
pub trait PathKeeper: Send + Sync + fmt::Debug {
    /// Asks for another path for this lane: its present one doesn't carry anything.
    fn avoid(&self, lane: usize);

    /// Says which path the peer's lane takes from now on, so that what goes back can meet the same switches.
    fn follow(&self, lane: usize, path: &str);

    /// The path that this lane takes now, for log lines and statistics; none if it is still the first one.
    fn path(&self, lane: usize) -> Option<Arc<str>>;

    /// What ties this lane's sockets to its path now; none if that has not changed.
    fn pin(&self, lane: usize) -> Option<Pin>;

    /// Changes whenever a path or a pin does. Asked about a thousand times a second.
    fn generation(&self) -> u64;
}
