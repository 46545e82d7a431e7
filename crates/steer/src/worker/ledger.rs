//! What this process needs in the kernel, how many times, and the references that tell the other processes of the host.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use srv6_fabric::{Segments, chain};
use srv6_routes::{Dataplane, Hold, Holders, Plan, Route, RouteError, RouteKey, Rule, RuleKey, Target, plan};

use crate::SteerError;

/// Longest wait for other processes of this host that change routes. Each of them needs under a millisecond.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Routes and rules of this process.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    routes: HashMap<RouteKey, Entry>,
    rules: HashMap<RuleKey, RuleEntry>,
}

/// A route that is to change.
#[derive(Debug)]
pub(super) struct Exchange {
    /// As this process knows it.
    pub(super) before: Route,
    /// As it is to be; the key is the same.
    pub(super) after: Route,
}

/// What became of an [`Exchange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in place.
    Placed,
    /// The kernel can't take it now; it is wanted, and put in place by a later [`Ledger::check`].
    Later,
    /// Another process of the host needs the route too, and has changed it to something else.
    Theirs,
}

/// What a comparison with the kernel came to.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Routes and rules that were missing or altered, and are right again.
    pub(super) repaired: u64,
    /// Routes that another process of the host has changed and needs too: theirs stand.
    pub(super) theirs: Vec<Route>,
    /// Routes that could not be put back.
    pub(super) missing: Vec<RouteKey>,
    /// What could not be put back, by name, and why.
    pub(super) failed: Vec<(String, RouteError)>,
}

#[derive(Debug)]
struct RuleEntry {
    hold: Hold,
    references: usize,
    placed: bool,
}

#[derive(Debug)]
struct Entry {
    // Dropping it tells other processes that this one needs the route no longer.
    hold: Hold,
    references: usize,
    /// Whether it got there: what the kernel refused needn't be removed.
    placed: bool,
    /// As it was installed, or found installed by another process.
    route: Route,
}

impl Ledger {
    /// The route with this key as this process knows it, if it needs it.
    pub(super) fn route(&self, key: &RouteKey) -> Option<&Route> {
        self.routes.get(key).map(|entry| &entry.route)
    }

    /// Whether this process needs these rules.
    pub(super) fn has_rule(&self, key: &RuleKey) -> bool {
        self.rules.contains_key(key)
    }

    /// Whether this process needs nothing in the kernel.
    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.rules.is_empty()
    }

    /// Takes one reference on each route and rule, puts in place what isn't, and gives the routes as they are then, in the
    /// order asked for. All of it or nothing.
    ///
    /// A route that another process holds stays as it is: two ranks of a host share it, and the first one's choice
    /// stands, or they would fight over it.
    pub(super) fn claim(
        &mut self,
        dataplane: &mut dyn Dataplane,
        routes: &[Route],
        rules: &[RuleKey],
    ) -> Result<Vec<Route>, SteerError> {
        for route in routes {
            let present = self.routes.get(&route.key).and_then(|entry| entry.route.source);
            if let (Some(present), Some(wanted)) = (present, route.source)
                && present != wanted
            {
                return Err(SteerError::SharedDestination { other: present });
            }
        }
        let known = routes.iter().all(|route| self.routes.contains_key(&route.key))
            && rules.iter().all(|key| self.rules.contains_key(key));
        if !known && let Err(error) = self.install(dataplane, routes, rules) {
            self.withdraw_unused(dataplane);
            return Err(error);
        }
        for key in rules {
            if let Some(entry) = self.rules.get_mut(key) {
                entry.references += 1;
            }
        }
        let mut installed = Vec::with_capacity(routes.len());
        for route in routes {
            if let Some(entry) = self.routes.get_mut(&route.key) {
                entry.references += 1;
                installed.push(entry.route.clone());
            }
        }
        Ok(installed)
    }

    /// Enters what isn't known yet, with no references.
    fn install(
        &mut self,
        dataplane: &mut dyn Dataplane,
        routes: &[Route],
        rules: &[RuleKey],
    ) -> Result<(), SteerError> {
        let lock = Holders.lock(LOCK_PATIENCE)?;
        let missing: Vec<&Route> =
            routes.iter().filter(|route| !self.routes.contains_key(&route.key)).collect();
        // A list of all routes serves several questions; for one there is a shorter answer.
        let owned: HashMap<RouteKey, Route> = match missing.as_slice() {
            [] => HashMap::new(),
            [one] => dataplane.find(&one.key)?.map(|route| (route.key, route)).into_iter().collect(),
            _ => dataplane.owned()?.into_iter().map(|route| (route.key, route)).collect(),
        };
        // Who else holds it is asked only where that decides something: the list of all references is long.
        let altered = missing
            .iter()
            .any(|route| owned.get(&route.key).is_some_and(|present| *present != dataplane.as_kept(route)));
        let counts = if altered { Some(Holders.count(&lock)?) } else { None };
        for route in missing {
            let present = owned.get(&route.key);
            let others = present.filter(|_| counts.as_ref().is_some_and(|counts| counts.of(&route.key) > 0));
            if let Some(theirs) = others.and_then(|r| r.source)
                && route.source.is_some_and(|ours| ours != theirs)
            {
                return Err(SteerError::SharedDestination { other: theirs });
            }
            let hold = Holders.hold(&lock, &route.key)?;
            let stands = others.map_or_else(|| route.clone(), |theirs| completed(theirs, route));
            let entry = Entry { hold, references: 0, placed: false, route: stands.clone() };
            let entry = self.routes.entry(route.key).or_insert(entry);
            let wanted = BTreeMap::from([(stands.key, dataplane.as_kept(&stands))]);
            if !plan(&wanted, present).set.is_empty() {
                dataplane.set(&stands)?;
            }
            entry.placed = true;
        }
        for key in rules {
            if !self.rules.contains_key(key) {
                let hold = Holders.hold_rule(&lock, key)?;
                self.rules.insert(*key, RuleEntry { hold, references: 0, placed: false });
            }
        }
        let set = set_missing(dataplane, rules);
        // Where the first was refused there is none; after any other failure there may be some.
        let placed = !matches!(set, Err(SteerError::Route(RouteError::NotPermitted { .. })));
        for key in rules {
            if let Some(entry) = self.rules.get_mut(key) {
                entry.placed |= placed;
            }
        }
        set
    }

    /// Puts back what somebody took away, under the host's lock: another process may be replacing it at this moment.
    pub(super) fn repair(
        &mut self,
        dataplane: &mut dyn Dataplane,
        routes: &[RouteKey],
        rules: &[RuleKey],
    ) -> Result<(), SteerError> {
        let _lock = Holders.lock(LOCK_PATIENCE)?;
        let owned = dataplane.owned()?;
        for key in routes {
            let Some(entry) = self.routes.get_mut(key) else { continue };
            match owned.iter().find(|route| route.key == *key) {
                Some(present) => entry.route = completed(present, &entry.route),
                None => dataplane.set(&entry.route)?,
            }
        }
        set_missing(dataplane, rules)
    }

    /// Puts `stand_in` in the place of the route over `lost`, and gives what is there then.
    ///
    /// If it no longer is the one over `lost`, somebody else was faster, and theirs stands. `None` if it is and there is no
    /// stand-in.
    pub(super) fn exchange(
        &mut self,
        dataplane: &mut dyn Dataplane,
        key: &RouteKey,
        lost: &Segments,
        stand_in: Option<Route>,
    ) -> Result<Option<Route>, SteerError> {
        let _lock = Holders.lock(LOCK_PATIENCE)?;
        let present = dataplane.find(key)?;
        let is_lost = |r: &Route| matches!(&r.target, Target::Encap { segments, .. } if segments == lost);
        let now = match (present, stand_in) {
            (Some(others), _) if !is_lost(&others) => others,
            (_, Some(stand_in)) => {
                dataplane.set(&stand_in)?;
                stand_in
            }
            (_, None) => return Ok(None),
        };
        if let Some(entry) = self.routes.get_mut(key) {
            entry.route = completed(&now, &entry.route);
        }
        Ok(Some(now))
    }

    /// Replaces many routes under one lock, after one list of what is there.
    pub(super) fn exchange_all(
        &mut self,
        dataplane: &mut dyn Dataplane,
        exchanges: &[Exchange],
    ) -> Result<Vec<Outcome>, SteerError> {
        if exchanges.is_empty() {
            return Ok(Vec::new());
        }
        let lock = Holders.lock(LOCK_PATIENCE)?;
        let owned: HashMap<RouteKey, Route> =
            dataplane.owned()?.into_iter().map(|route| (route.key, route)).collect();
        let altered: HashSet<RouteKey> = exchanges
            .iter()
            .filter(|e| {
                let [before, after] = [&e.before, &e.after].map(|route| dataplane.as_kept(route));
                owned.get(&after.key).is_some_and(|present| *present != before && *present != after)
            })
            .map(|e| e.after.key)
            .collect();
        let counts = if altered.is_empty() { None } else { Some(Holders.count(&lock)?) };
        let theirs = |key: &RouteKey| {
            altered.contains(key) && counts.as_ref().is_some_and(|counts| counts.of(key) > 1)
        };
        let wanted = exchanges.iter().map(|exchange| &exchange.after).filter(|after| !theirs(&after.key));
        let wrong: Vec<Route> = wanted
            .filter(|after| owned.get(&after.key) != Some(&dataplane.as_kept(after)))
            .cloned()
            .collect();
        let failed: HashMap<RouteKey, RouteError> =
            put(dataplane, wrong, |key| owned.contains_key(key)).into_iter().collect();
        let outcome = |Exchange { after, .. }: &Exchange| {
            if theirs(&after.key) {
                return Outcome::Theirs;
            }
            if let Some(entry) = self.routes.get_mut(&after.key) {
                entry.route = after.clone();
            }
            match failed.get(&after.key) {
                None => Outcome::Placed,
                Some(error) => {
                    log::warn!("{after}: not now: {}", chain(error));
                    Outcome::Later
                }
            }
        };
        Ok(exchanges.iter().map(outcome).collect())
    }

    /// Compares all that this process needs with what the kernel holds, and puts right what differs; what is right isn't touched.
    ///
    /// A route that is altered and that another process of the host holds too stays: it may be that one's doing. One that can't
    /// be put back doesn't stop the others.
    pub(super) fn check(&mut self, dataplane: &mut dyn Dataplane) -> Result<Checked, SteerError> {
        let mut checked = Checked::default();
        if self.is_empty() {
            return Ok(checked);
        }
        let lock = Holders.lock(LOCK_PATIENCE)?;
        let owned = dataplane.owned()?;
        let wanted: BTreeMap<RouteKey, Route> =
            self.routes.iter().map(|(key, entry)| (*key, dataplane.as_kept(&entry.route))).collect();
        let wrong = plan(&wanted, owned.iter().filter(|route| wanted.contains_key(&route.key))).set;
        let mut wrong: Vec<Route> =
            wrong.iter().filter_map(|route| Some(self.routes.get(&route.key)?.route.clone())).collect();
        let present: HashMap<RouteKey, &Route> = owned.iter().map(|route| (route.key, route)).collect();
        let altered = wrong.iter().any(|route| present.contains_key(&route.key));
        let counts = if altered { Some(Holders.count(&lock)?) } else { None };
        wrong.retain(|route| match present.get(&route.key) {
            Some(&theirs) if counts.as_ref().is_some_and(|counts| counts.of(&route.key) > 1) => {
                if let Some(entry) = self.routes.get_mut(&route.key) {
                    entry.route = completed(theirs, &entry.route);
                }
                checked.theirs.push(theirs.clone());
                false
            }
            _ => true,
        });
        // The way to a block before the routes whose packets it carries.
        let (tunnels, ways): (Vec<Route>, Vec<Route>) =
            wrong.into_iter().partition(|route| matches!(route.target, Target::Encap { .. }));
        for routes in [ways, tunnels] {
            let count = routes.len();
            let failed = put(dataplane, routes, |key| present.contains_key(key));
            checked.repaired += u64::try_from(count - failed.len()).unwrap_or_default();
            for (key, error) in failed {
                checked.missing.push(key);
                checked.failed.push((format!("the route to {}", key.destination), error));
            }
        }
        let Some(lane_rules) = dataplane.lane_rules().filter(|_| !self.rules.is_empty()) else {
            return Ok(checked);
        };
        let present = lane_rules.owned_rules()?;
        for rule in self.rules.keys().flat_map(|key| key.rules()).filter(|rule| !present.contains(rule)) {
            match lane_rules.set_rule(&rule) {
                Ok(()) => checked.repaired += 1,
                Err(error) => checked.failed.push((format!("the rule {rule}"), error)),
            }
        }
        Ok(checked)
    }

    /// Gives one reference on each back; the last one of the host takes the route or rule along.
    pub(super) fn release(&mut self, dataplane: &mut dyn Dataplane, routes: &[RouteKey], rules: &[RuleKey]) {
        for key in routes {
            if let Some(entry) = self.routes.get_mut(key) {
                entry.references = entry.references.saturating_sub(1);
            }
        }
        for key in rules {
            if let Some(entry) = self.rules.get_mut(key) {
                entry.references = entry.references.saturating_sub(1);
            }
        }
        self.withdraw_unused(dataplane);
    }

    /// Gives back the references and leaves what they were on: for those that come after this process.
    pub(super) fn leave_all(&mut self) {
        self.routes.clear();
        self.rules.clear();
    }

    /// Gives everything back, at the end of the process.
    pub(super) fn release_all(&mut self, dataplane: &mut dyn Dataplane) {
        for entry in self.routes.values_mut() {
            entry.references = 0;
        }
        for entry in self.rules.values_mut() {
            entry.references = 0;
        }
        self.withdraw_unused(dataplane);
    }

    fn withdraw_unused(&mut self, dataplane: &mut dyn Dataplane) {
        let routes: Vec<(RouteKey, Entry)> =
            self.routes.extract_if(|_, entry| entry.references == 0).collect();
        let rules: Vec<(RuleKey, RuleEntry)> =
            self.rules.extract_if(|_, entry| entry.references == 0).collect();
        // Named before the holds go: if the lock isn't to be had they go all the same.
        let route_keys: Vec<RouteKey> =
            routes.iter().filter(|(_, entry)| entry.placed).map(|(key, _)| *key).collect();
        let rule_keys: Vec<RuleKey> =
            rules.iter().filter(|(_, entry)| entry.placed).map(|(key, _)| *key).collect();
        if route_keys.is_empty() && rule_keys.is_empty() {
            return;
        }
        let mut failed: Vec<(String, RouteError)> = Vec::new();
        let locked = Holders.lock(LOCK_PATIENCE).and_then(|lock| {
            drop(routes.into_iter().map(|(_, entry)| entry.hold).collect::<Vec<Hold>>());
            drop(rules.into_iter().map(|(_, entry)| entry.hold).collect::<Vec<Hold>>());
            let counts = Holders.count(&lock)?;
            for key in route_keys.iter().filter(|key| counts.of(key) == 0) {
                let removed = dataplane.remove(key);
                failed
                    .extend(removed.err().map(|error| (format!("the route to {}", key.destination), error)));
            }
            let Some(lane_rules) = dataplane.lane_rules() else { return Ok(()) };
            for rule in rule_keys.iter().filter(|key| counts.of_rule(key) == 0).flat_map(|key| key.rules()) {
                let removed = lane_rules.remove_rule(&rule);
                failed.extend(removed.err().map(|error| (format!("the rule {rule}"), error)));
            }
            Ok(())
        });
        if let Err(error) = locked {
            let destinations: Vec<String> =
                route_keys.iter().map(|key| key.destination.to_string()).collect();
            failed.push((format!("what leads to {}", destinations.join(", ")), error));
        }
        // One line: a process that may not remove anything has the same reason for each.
        if let [(what, error), rest @ ..] = failed.as_slice() {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            log::warn!(
                "{what}{more} left until srv6ctl gc or another process of ours starts: {}",
                chain(error)
            );
        }
    }
}

/// Puts routes in place, those that are there already by a replace, and gives what could not be done.
fn put(
    dataplane: &mut dyn Dataplane,
    routes: Vec<Route>,
    is_there: impl Fn(&RouteKey) -> bool,
) -> Vec<(RouteKey, RouteError)> {
    let (there, set): (Vec<Route>, Vec<Route>) = routes.into_iter().partition(|route| is_there(&route.key));
    let mut failed = dataplane.apply(&Plan { set, remove: Vec::new() });
    failed.extend(dataplane.replace_all(&there));
    failed
}

/// A route as the dataplane has it, with what only we know where it can't keep that.
fn completed(present: &Route, ours: &Route) -> Route {
    match present.source {
        Some(_) => present.clone(),
        None => {
            let Route { interface, source, mtu, .. } = *ours;
            Route { interface, source, mtu, ..present.clone() }
        }
    }
}

/// Sets the rules that aren't there. A process that may not change rules needs none to be missing.
fn set_missing(dataplane: &mut dyn Dataplane, keys: &[RuleKey]) -> Result<(), SteerError> {
    if keys.is_empty() {
        return Ok(());
    }
    let Some(lane_rules) = dataplane.lane_rules() else { return Ok(()) };
    let present: Vec<Rule> = lane_rules.owned_rules()?;
    for rule in keys.iter().flat_map(|key| key.rules()).filter(|rule| !present.contains(rule)) {
        lane_rules.set_rule(&rule)?;
    }
    Ok(())
}
