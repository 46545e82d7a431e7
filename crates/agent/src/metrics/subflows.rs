//! Metrics of the subflows of multipath connections, by path, as many as the settings allow.

use std::fmt;

use super::Page;
use crate::{PathSubflows, Snapshot, Subflows};

/// What stands for all paths beyond the limit.
const OTHERS: &str = "others";

/// Of the connections that are open: all of it shrinks when one ends, so none is a counter.
pub(super) fn encode(snapshot: &Snapshot, most: usize, page: &mut Page<'_>) -> fmt::Result {
    let mut all = Subflows::new();
    for (path, subflows) in snapshot.namespaces.iter().flat_map(|state| &state.subflows) {
        all.entry(path.clone()).or_default().add(subflows);
    }
    let mut paths: Vec<(&str, PathSubflows)> =
        all.iter().take(most).map(|(path, subflows)| (path.as_str(), *subflows)).collect();
    if all.len() > most {
        let mut others = PathSubflows::default();
        all.values().skip(most).for_each(|subflows| others.add(subflows));
        paths.push((OTHERS, others));
    }
    let states = paths.iter().flat_map(|(path, of)| {
        [("good", of.good), ("suspect", of.suspect), ("down", of.down), ("trial", of.trial)]
            .map(|(state, count)| (vec![("path", *path), ("state", state)], count))
    });
    page.gauges(
        "srv6d_path_subflows",
        "Subflows of multipath connections that send over these switches",
        states,
    )?;
    let each = |of: fn(&PathSubflows) -> u64| {
        paths.iter().map(move |(path, subflows)| (vec![("path", *path)], of(subflows)))
    };
    page.gauges(
        "srv6d_path_subflow_changes",
        "How often the subflows that send over these switches have changed their state",
        each(|subflows| subflows.changes),
    )?;
    page.gauges(
        "srv6d_path_reissued_chunks",
        "Chunks sent over these switches because another path did not deliver them",
        each(|subflows| subflows.reissued),
    )?;
    page.gauges(
        "srv6d_path_hedged_chunks",
        "Chunks sent over these switches because another path was slow with them",
        each(|subflows| subflows.hedged),
    )
}
