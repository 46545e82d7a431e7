//! Routes and rules that nobody holds any more: what a killed process left.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Dataplane, Holders, Route, RouteError, RouteKey, Rule, plan};

/// What a collection did.
#[derive(Debug, Default)]
pub struct Garbage {
    /// Routes that were removed.
    pub removed: Vec<Route>,
    /// Routes that are held and stay.
    pub kept: Vec<Route>,
    /// Routes that could not be removed, and why.
    pub failed: Vec<(RouteKey, RouteError)>,
    /// Rules that were removed.
    pub removed_rules: Vec<Rule>,
    /// Rules that are held and stay.
    pub kept_rules: Vec<Rule>,
    /// Rules that could not be removed, and why.
    pub failed_rules: Vec<(Rule, RouteError)>,
}

/// Removes routes of all tables, and rules, that are ours and without a holder in this network namespace. One that can't be
/// removed doesn't stop the others.
///
/// # Errors
/// The lock or the list of routes or rules can't be had.
pub fn collect_garbage(dataplane: &mut dyn Dataplane, patience: Duration) -> Result<Garbage, RouteError> {
    let lock = Holders.lock(patience)?;
    let owned = dataplane.owned()?;
    let counts = Holders.count(&lock)?;
    let held: BTreeMap<RouteKey, Route> =
        owned.iter().filter(|r| counts.of(&r.key) > 0).map(|r| (r.key, r.clone())).collect();
    let mut garbage = Garbage::default();
    for key in plan(&held, &owned).remove {
        match dataplane.remove(&key) {
            Ok(()) => garbage.removed.extend(owned.iter().find(|r| r.key == key).cloned()),
            Err(error) => garbage.failed.push((key, error)),
        }
    }
    garbage.kept = held.into_values().collect();
    let Some(rules) = dataplane.lane_rules() else { return Ok(garbage) };
    for rule in rules.owned_rules()? {
        if counts.of_rule(&rule.key()) > 0 {
            garbage.kept_rules.push(rule);
            continue;
        }
        match rules.remove_rule(&rule) {
            Ok(()) => garbage.removed_rules.push(rule),
            Err(error) => garbage.failed_rules.push((rule, error)),
        }
    }
    Ok(garbage)
}
