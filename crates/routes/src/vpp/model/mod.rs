//! Policies and steering as VPP has them, and what has to change: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::net::{IpAddr, Ipv6Addr};

use srv6_fabric::Prefix;

use super::error::VppError;
use super::message::{ListChange, ModifyPolicy, PolicyDetails, SegmentList, SteeringDetails};
use crate::RouteKey;

/// Binding SIDs that are tried, one after the other, before a range counts as full.
const TRIES: usize = 64;

/// What a policy does. Flows that want the same share one policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Policy {
    /// Source address of outer packets; `::` where VPP has one for all policies.
    pub source: Ipv6Addr,
    /// Its lists, in order of weight and segments; at least one.
    pub lists: Vec<SegmentList>,
}

impl Policy {
    /// A policy with these lists, in any order.
    pub fn new(source: Ipv6Addr, mut lists: Vec<SegmentList>) -> Self {
        lists.sort();
        Self { source, lists }
    }
}

/// VPP's side, as far as it is known: every policy in our range, and everything that is steered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// `None` for one that we would not have made: another type, or without encapsulation.
    pub(super) policies: BTreeMap<Ipv6Addr, Option<Policy>>,
    pub(super) steering: BTreeMap<RouteKey, Ipv6Addr>,
    /// Binding SIDs of our range that VPP refused: routes of somebody else's.
    pub(super) taken: BTreeSet<Ipv6Addr>,
}

/// What is to be sent, in this order. Each part finds what it needs in place, and nothing that is in use is taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// New policies, each with its first list.
    pub(super) add: Vec<(Ipv6Addr, Policy)>,
    /// Further lists of policies.
    pub(super) widen: Vec<ModifyPolicy>,
    /// Prefixes into policies.
    pub(super) steer: Vec<(RouteKey, Ipv6Addr)>,
    /// Prefixes no longer steered.
    pub(super) unsteer: Vec<(RouteKey, Ipv6Addr)>,
    /// Policies that nothing is steered into.
    pub(super) delete: Vec<Ipv6Addr>,
}

/// How sure we are of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Read just now, under the lock: nobody else changes it.
    Fresh,
    /// As it was when we last looked: other processes may use our policies for flows of theirs.
    Remembered,
}

impl State {
    /// From VPP's dumps. Policies outside of our range are nobody's business here.
    pub(super) fn read(
        range: Prefix,
        policies: Vec<PolicyDetails>,
        steering: Vec<SteeringDetails>,
        taken: BTreeSet<Ipv6Addr>,
    ) -> Self {
        let ours = |bsid: Ipv6Addr| range.contains(IpAddr::V6(bsid));
        let policy = |details: PolicyDetails| {
            let ordinary = details.encap && details.kind == 0 && !details.lists.is_empty();
            (details.bsid, ordinary.then(|| Policy::new(details.source, details.lists)))
        };
        let key = |details: SteeringDetails| {
            let (table, destination) = details.prefix?;
            Some((RouteKey { table, destination }, details.bsid))
        };
        Self {
            policies: policies.into_iter().filter(|p| ours(p.bsid)).map(policy).collect(),
            steering: steering.into_iter().filter_map(key).collect(),
            taken,
        }
    }

    /// The policy that a key of ours is steered into.
    pub(super) fn policy_of(&self, key: &RouteKey) -> Option<&Policy> {
        self.policies.get(self.steering.get(key)?)?.as_ref()
    }

    /// What turns this state into one where `set` is steered so and `remove` not at all. What must be sent for others is the
    /// same whatever they are: their policies stay.
    ///
    /// A prefix that changes its path is steered into the policy for the new one, which is there before; VPP does that in one
    /// go. No policy is ever made to do something else: another process may remember it for what it did and steer flows
    /// into it. With what is only remembered none is deleted either.
    ///
    /// # Errors
    /// [`VppError::Occupied`], [`VppError::BsidTaken`]; then nothing is to be sent.
    pub(super) fn steps(
        &self,
        range: Prefix,
        set: &[(RouteKey, Policy)],
        remove: &[RouteKey],
        known: Known,
    ) -> Result<Steps, VppError> {
        let mut steps = Steps::default();
        let mut by_content: BTreeMap<&Policy, Ipv6Addr> = BTreeMap::new();
        for (bsid, policy) in self.policies.iter().filter_map(|(b, p)| Some((b, p.as_ref()?))) {
            by_content.entry(policy).or_insert(*bsid);
        }
        let set: BTreeMap<RouteKey, &Policy> = set.iter().map(|(key, policy)| (*key, policy)).collect();
        let remove: BTreeSet<RouteKey> =
            remove.iter().filter(|key| !set.contains_key(key)).copied().collect();
        let mut claimed = BTreeSet::new();
        let mut used: BTreeSet<Ipv6Addr> = BTreeSet::new();
        for (key, policy) in &set {
            let present = self.steering.get(key).copied();
            if let Some(bsid) = present.filter(|bsid| !range.contains(IpAddr::V6(*bsid))) {
                let RouteKey { table, destination } = *key;
                return Err(VppError::Occupied { destination, table, bsid, range });
            }
            let bsid = match by_content.get(policy) {
                Some(bsid) => *bsid,
                None => {
                    let bsid = self.free(range, policy, &claimed)?;
                    claimed.insert(bsid);
                    by_content.insert(policy, bsid);
                    steps.add(bsid, policy);
                    bsid
                }
            };
            used.insert(bsid);
            if present != Some(bsid) {
                steps.steer.push((*key, bsid));
            }
        }
        for key in &remove {
            if let Some(bsid) = self.steering.get(key).filter(|bsid| range.contains(IpAddr::V6(**bsid))) {
                steps.unsteer.push((*key, *bsid));
            }
        }
        if known == Known::Fresh {
            let staying =
                self.steering.iter().filter(|(key, _)| !set.contains_key(key) && !remove.contains(key));
            used.extend(staying.map(|(_, bsid)| *bsid));
            steps.delete = self.policies.keys().filter(|bsid| !used.contains(*bsid)).copied().collect();
        }
        Ok(steps)
    }

    /// The first binding SID for a policy that is in use for nothing. The same policy begins at the same one in every process.
    fn free(
        &self,
        range: Prefix,
        policy: &Policy,
        claimed: &BTreeSet<Ipv6Addr>,
    ) -> Result<Ipv6Addr, VppError> {
        let first = bsid(range, policy, 0);
        let mut candidates = (0..TRIES).map(|turn| bsid(range, policy, turn));
        let is_free = |bsid: &Ipv6Addr| {
            !self.policies.contains_key(bsid) && !self.taken.contains(bsid) && !claimed.contains(bsid)
        };
        candidates.find(is_free).ok_or(VppError::BsidTaken { bsid: first, tried: TRIES })
    }

    /// Enters that a policy was added.
    pub(super) fn added(&mut self, bsid: Ipv6Addr, policy: &Policy) {
        self.policies.insert(bsid, Some(policy.clone()));
    }

    /// Enters that something is steered, or no longer.
    pub(super) fn steered(&mut self, key: RouteKey, bsid: Option<Ipv6Addr>) {
        match bsid {
            Some(bsid) => self.steering.insert(key, bsid),
            None => self.steering.remove(&key),
        };
    }

    /// Enters that a policy is gone.
    pub(super) fn deleted(&mut self, bsid: Ipv6Addr) {
        self.policies.remove(&bsid);
    }
}

impl Steps {
    fn add(&mut self, bsid: Ipv6Addr, policy: &Policy) {
        self.add.push((bsid, policy.clone()));
        let further = policy.lists.iter().skip(1).cloned();
        let source = policy.source;
        self.widen.extend(further.map(|list| ModifyPolicy { bsid, change: ListChange::Add(list), source }));
    }
}

/// A binding SID in our range, from what the policy does.
pub(super) fn bsid(range: Prefix, policy: &Policy, turn: usize) -> Ipv6Addr {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.write(&policy.source.octets());
    for list in &policy.lists {
        hash.write(&list.weight.to_be_bytes());
        for segment in &list.segments {
            hash.write(&segment.octets());
        }
    }
    let IpAddr::V6(first) = range.address() else { return Ipv6Addr::UNSPECIFIED };
    let free = 128 - u32::from(range.length()).min(127);
    let mask = u128::MAX >> (128 - free);
    // Never the first address: for routers that is an anycast address of theirs.
    let number = u128::from(hash.finish()).wrapping_add(turn as u128) & mask;
    (u128::from(first) | number.max(1)).into()
}

/// FNV-1a: the standard library's hash is another one in every process.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests;
