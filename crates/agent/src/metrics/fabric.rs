//! Metrics of the fabric's links, as probes and people see them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Page;
use crate::{Health, Probed, Snapshot, Trust};

/// All ways that are probed now and whose last link is the same, from whichever namespace they are probed.
#[derive(Default)]
struct Link {
    round_trip: Duration,
    bad: bool,
}

pub(super) fn encode(snapshot: &Snapshot, most: usize, page: &mut Page<'_>) -> fmt::Result {
    let denials = &snapshot.denials;
    page.gauges(
        "srv6d_denied_places",
        "Switches and links that flows keep off: drained by a person, or assumed bad by probes",
        [("drained", denials.drained.len()), ("bad", denials.bad.len())]
            .map(|(state, count)| (vec![("state", state)], count)),
    )?;
    let mut links: BTreeMap<String, Link> = BTreeMap::new();
    let ways = snapshot.namespaces.iter().flat_map(|state| &state.probes);
    for (way, health) in ways {
        if let Some(place) = way.link() {
            links.entry(place.to_string()).or_default().add(health);
        }
    }
    let links = || links.iter().take(most).map(|(name, link)| (vec![("link", name.as_str())], link));
    let probed: Vec<(String, Probed)> =
        snapshot.counts.probes.iter().map(|(link, probed)| (link.to_string(), *probed)).collect();
    let probed = || probed.iter().take(most).map(|(name, probed)| (vec![("link", name.as_str())], probed));
    page.counters(
        "srv6d_probes",
        "Probes sent over a link and judged",
        probed().map(|(labels, probed)| (labels, probed.sent)),
    )?;
    page.counters(
        "srv6d_probes_lost",
        "Probes over a link that did not come back in time",
        probed().map(|(labels, probed)| (labels, probed.lost)),
    )?;
    page.gauges(
        "srv6d_probe_round_trip_seconds",
        "How long the last probe over a link took, there and back; the slowest way",
        links().map(|(labels, link)| (labels, link.round_trip.as_secs_f64())),
    )?;
    page.gauges(
        "srv6d_link_assumed_bad",
        "1 where probes say that a link does not work",
        links().map(|(labels, link)| (labels, u64::from(link.bad))),
    )
}

impl Link {
    fn add(&mut self, health: &Health) {
        self.round_trip = self.round_trip.max(health.round_trip);
        self.bad |= health.trust == Trust::AssumedBad;
    }
}
