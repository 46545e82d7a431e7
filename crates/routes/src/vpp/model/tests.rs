//! Steps against a model of VPP that knows no mercy: what is asked for in the wrong order fails.

use proptest::prelude::*;

use super::*;

fn range() -> Prefix {
    "fd53:5256:36::/64".parse().unwrap()
}

fn key(host: u8) -> RouteKey {
    let destination = Prefix::host(Ipv6Addr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into()]).into());
    RouteKey { table: 0, destination }
}

fn list(path: u8, weight: u32) -> SegmentList {
    SegmentList { weight, segments: vec![[0xfc00, 0, 0x1000 + u16::from(path), 0, 0, 0, 0, 0].into()] }
}

fn policy(paths: &[(u8, u32)]) -> Policy {
    let source = "2001:db8:1000::2".parse().unwrap();
    Policy::new(source, paths.iter().map(|&(path, weight)| list(path, weight)).collect())
}

/// VPP, as strict as it can be made.
#[derive(Debug, Clone, Default)]
struct Vpp {
    policies: BTreeMap<Ipv6Addr, Vec<SegmentList>>,
    steering: BTreeMap<RouteKey, Ipv6Addr>,
}

impl Vpp {
    fn state(&self) -> State {
        let source = policy(&[]).source;
        State {
            policies: self
                .policies
                .iter()
                .map(|(bsid, lists)| (*bsid, Some(Policy::new(source, lists.clone()))))
                .collect(),
            steering: self.steering.clone(),
            taken: BTreeSet::new(),
        }
    }

    /// Every prefix has somewhere to go at every moment: that is asserted after each step.
    fn carry_out(&mut self, steps: &Steps) {
        for (bsid, policy) in &steps.add {
            let first = vec![policy.lists[0].clone()];
            assert!(self.policies.insert(*bsid, first).is_none(), "a policy was added twice");
        }
        for ModifyPolicy { bsid, change, .. } in &steps.widen {
            assert!(steps.add.iter().any(|(added, _)| added == bsid), "a policy was made another one");
            let ListChange::Add(list) = change else { panic!("only added to: {change:?}") };
            self.policies.get_mut(bsid).expect("it was added").push(list.clone());
        }
        for (key, bsid) in &steps.steer {
            assert!(self.policies.contains_key(bsid), "steered into nothing");
            self.steering.insert(*key, *bsid);
        }
        for (key, bsid) in &steps.unsteer {
            assert_eq!(self.steering.remove(key), Some(*bsid));
        }
        for bsid in &steps.delete {
            assert!(self.policies.remove(bsid).is_some(), "a policy was deleted that isn't there");
            assert!(!self.steering.values().any(|other| other == bsid), "a policy was deleted in use");
        }
    }
}

fn paths() -> impl Strategy<Value = Policy> {
    prop::collection::btree_map(0u8..4, 1u32..3, 1..3)
        .prop_map(|lists| policy(&lists.into_iter().collect::<Vec<_>>()))
}

type Round = (Vec<(u8, Policy)>, Vec<u8>);

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let round = (prop::collection::vec((0u8..6, paths()), 0..5), prop::collection::vec(0u8..6, 0..3));
    prop::collection::vec(round, 1..8)
}

proptest! {
    #[test]
    fn whatever_changes_each_flow_ends_on_its_policy_and_no_policy_is_left(rounds in rounds()) {
        let mut vpp = Vpp::default();
        let mut wanted: BTreeMap<RouteKey, Policy> = BTreeMap::new();
        for (set, remove) in rounds {
            let set: BTreeMap<RouteKey, Policy> = set.into_iter().map(|(host, p)| (key(host), p)).collect();
            let remove: Vec<RouteKey> = remove.into_iter().map(key).filter(|k| !set.contains_key(k)).collect();
            let set: Vec<(RouteKey, Policy)> = set.into_iter().collect();
            let steps = vpp.state().steps(range(), &set, &remove, Known::Fresh).unwrap();
            vpp.carry_out(&steps);
            wanted.extend(set.clone());
            wanted.retain(|key, _| !remove.contains(key));
            let state = vpp.state();
            let found: BTreeMap<RouteKey, Policy> =
                state.steering.keys().map(|key| (*key, state.policy_of(key).unwrap().clone())).collect();
            prop_assert_eq!(&found, &wanted);
            let distinct: BTreeSet<&Policy> = wanted.values().collect();
            prop_assert_eq!(vpp.policies.len(), distinct.len(), "one policy per distinct content");
            // Asked again, there is nothing to do.
            let again = vpp.state().steps(range(), &set, &remove, Known::Fresh).unwrap();
            prop_assert_eq!(again, Steps::default());
        }
    }

    #[test]
    fn what_is_only_remembered_takes_nothing_away(rounds in rounds()) {
        let mut vpp = Vpp::default();
        for (set, _) in rounds {
            let set: BTreeMap<RouteKey, Policy> = set.into_iter().map(|(host, p)| (key(host), p)).collect();
            let set: Vec<(RouteKey, Policy)> = set.into_iter().collect();
            let steps = vpp.state().steps(range(), &set, &[], Known::Remembered).unwrap();
            prop_assert!(steps.delete.is_empty());
            vpp.carry_out(&steps);
            for (key, policy) in &set {
                let state = vpp.state();
                prop_assert_eq!(state.policy_of(key), Some(policy));
            }
        }
    }

    #[test]
    fn binding_sids_lie_in_the_range_and_depend_on_content_only(policy in paths(), length in 16u8..=112) {
        let range = Prefix::new("fd53:5256:36:1:2:3:4:5".parse().unwrap(), length).unwrap();
        let mut seen = BTreeSet::new();
        for turn in 0..TRIES {
            let bsid = bsid(range, &policy, turn);
            prop_assert!(range.contains(bsid.into()), "{} is not in {}", bsid, range);
            prop_assert_ne!(IpAddr::V6(bsid), range.address());
            seen.insert(bsid);
        }
        prop_assert!(seen.len() >= TRIES - 1);
        prop_assert_eq!(bsid(range, &policy, 3), bsid(range, &policy.clone(), 3));
    }
}

#[test]
fn flows_that_move_are_steered_into_a_policy_that_is_there_before_and_the_old_one_goes_after() {
    let mut vpp = Vpp::default();
    let (old, new) = (policy(&[(0, 1)]), policy(&[(1, 1), (2, 3)]));
    let all = |policy: &Policy| (0..3).map(|host| (key(host), policy.clone())).collect::<Vec<_>>();
    vpp.carry_out(&vpp.state().steps(range(), &all(&old), &[], Known::Fresh).unwrap());

    let one = [(key(0), new.clone())];
    let steps = vpp.state().steps(range(), &one, &[], Known::Fresh).unwrap();
    assert_eq!((steps.add.len(), steps.widen.len(), steps.steer.len()), (1, 1, 1), "{steps:?}");
    assert!(steps.delete.is_empty(), "the others are still on it: {steps:?}");

    let steps = vpp.state().steps(range(), &all(&new), &[], Known::Fresh).unwrap();
    assert_eq!((steps.add.len(), steps.steer.len(), steps.delete.len()), (1, 3, 1), "{steps:?}");
}

#[test]
fn a_full_range_is_told() {
    let narrow: Prefix = "fd53::/127".parse().unwrap();
    let mut state = State::default();
    state.taken.insert("fd53::1".parse().unwrap());
    let set = [(key(0), policy(&[(0, 1)]))];
    let error = state.steps(narrow, &set, &[], Known::Fresh).unwrap_err();
    assert!(matches!(error, VppError::BsidTaken { .. }), "{error}");
}
