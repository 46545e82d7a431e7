//! What a dataplane is like, for those who use it without knowing which one it is.

/// What one dataplane does otherwise than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Its name, as `ROUTE_PLATFORM` has it.
    pub name: &'static str,
    /// The table that it steers in whatever `ROUTE_TABLE_ID` says.
    pub table: Option<u32>,
    /// Whether a route names the interface that packets leave by. If not, the dataplane's own tables alone decide.
    pub names_interface: bool,
    /// Why sockets can't be tied to paths; `None` where there are [`crate::LaneRules`].
    pub no_pinning: Option<&'static str>,
}
