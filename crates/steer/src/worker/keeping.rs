//! What the kernel holds is kept as it is wanted: looked at when it changed, and every now and then.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use srv6_fabric::chain;
use srv6_routes::{Change, RouteKey};

use super::Worker;
use crate::report::Reason;

/// Changes that come together are looked at together.
const GATHER: Duration = Duration::from_millis(5);

/// A notification may be missed; a route that is missing for longer than this isn't.
const PERIOD: Duration = Duration::from_secs(30);

/// First pause before what couldn't be put back is tried again. It doubles up to [`LONGEST`]; a notification ends it.
const PAUSE: Duration = Duration::from_millis(100);

/// Longest pause.
const LONGEST: Duration = Duration::from_secs(2);

/// When the kernel is looked at next, and what came of it so far.
#[derive(Debug)]
pub(super) struct Keeping {
    due: Instant,
    pause: Duration,
    /// What could not be put back.
    pub(super) missing: HashSet<RouteKey>,
    /// Whether something, a rule included, could not be put back.
    pub(super) incomplete: bool,
    pub(super) checks: u64,
    pub(super) last_check: Duration,
    pub(super) repaired: u64,
}

impl Keeping {
    pub(super) fn new() -> Self {
        Self {
            due: Instant::now() + PERIOD,
            pause: PAUSE,
            missing: HashSet::new(),
            incomplete: false,
            checks: 0,
            last_check: Duration::ZERO,
            repaired: 0,
        }
    }

    /// How long until it is looked at.
    pub(super) fn left(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// Lets it be looked at soon.
    pub(super) fn hurry(&mut self) {
        self.due = self.due.min(Instant::now() + GATHER);
    }
}

impl Worker {
    /// Takes note of what the dataplane tells. What this process did itself is told too, and is as it is wanted.
    pub(super) fn changed(&mut self, changes: &[Change]) {
        let concerns = |change: &Change| match change {
            Change::Set(route) => self.ledger.route(&route.key).is_some_and(|wanted| wanted != route),
            Change::Removed(key) => self.ledger.route(key).is_some(),
            Change::RemovedRule(key) => self.ledger.has_rule(key),
            Change::Interfaces | Change::Lost => !self.ledger.is_empty(),
        };
        if changes.iter().any(concerns) {
            self.keeping.hurry();
        }
    }

    /// Compares what the kernel holds with what is wanted, and puts it right.
    pub(super) fn look(&mut self) {
        let started = Instant::now();
        let checked = self.ledger.check(self.dataplane.as_mut());
        self.keeping.checks += 1;
        self.keeping.last_check = started.elapsed();
        let checked = match checked {
            Ok(checked) => checked,
            Err(error) => {
                log::warn!("routes could not be compared with what is wanted: {}", chain(&error));
                self.postpone();
                return;
            }
        };
        if checked.repaired > 0 {
            log::info!(
                "put {} routes or rules back in {:.1} ms",
                checked.repaired,
                started.elapsed().as_secs_f64() * 1e3
            );
        }
        self.keeping.repaired += checked.repaired;
        for route in checked.theirs {
            self.follow_host(&route);
        }
        let missing: HashSet<RouteKey> = checked.missing.into_iter().collect();
        if let Some((what, error)) = checked.failed.first()
            && (!self.keeping.incomplete || missing.len() > self.keeping.missing.len())
        {
            let more = checked.failed.len() - 1;
            let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
            log::warn!("{what}{rest} can't be put back yet: {}", chain(error));
        }
        self.keeping.incomplete = !checked.failed.is_empty();
        self.keeping.missing = missing;
        if self.keeping.incomplete {
            self.postpone();
        } else {
            self.keeping.pause = PAUSE;
            self.keeping.due = Instant::now() + PERIOD;
        }
    }

    fn postpone(&mut self) {
        self.keeping.due = Instant::now() + self.keeping.pause;
        self.keeping.pause = (self.keeping.pause * 2).min(LONGEST);
    }

    /// Takes over what another process of the host has made of a route that both hold.
    fn follow_host(&mut self, route: &srv6_routes::Route) {
        let srv6_routes::Target::Encap { segments, .. } = &route.target else { return };
        if let Some(flow) = self.flows.get(&route.key).map(|steering| steering.flow) {
            let hops = self.names(flow, segments);
            if let Some(steering) = self.flows.get_mut(&route.key) {
                steering.segments = segments.clone();
                steering.steered.carrier = segments.to_string();
                steering.steered.hops = hops;
                *steering.moves.entry(Reason::Host).or_default() += 1;
                steering.publish();
            }
            self.count(Reason::Host);
            return;
        }
        self.adopt_lanes(route);
    }
}
