//! What has to change: one pure function for first start, change, crash and withdrawal.

use std::collections::BTreeMap;

use crate::{Route, RouteKey};

/// Changes that turn what is owned into what is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be put in place, replacing what has the same key.
    pub set: Vec<Route>,
    /// To be removed.
    pub remove: Vec<RouteKey>,
}

/// Compares what is wanted with what is there.
///
/// A route that is already right isn't touched: a replace, though atomic, makes every socket on it look
/// its route up again.
pub fn plan<'a>(wanted: &BTreeMap<RouteKey, Route>, owned: impl IntoIterator<Item = &'a Route>) -> Plan {
    let owned: BTreeMap<RouteKey, &Route> = owned.into_iter().map(|r| (r.key, r)).collect();
    Plan {
        set: wanted.values().filter(|r| owned.get(&r.key) != Some(r)).cloned().collect(),
        remove: owned.keys().filter(|key| !wanted.contains_key(key)).copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use srv6_fabric::{Prefix, Segments};

    use super::*;
    use crate::{EncapMode, Target};

    fn route(host: u8, carrier: u16) -> Route {
        let destination =
            Prefix::host(std::net::Ipv6Addr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into()]).into());
        let segments = Segments::new(vec![[0xfc00, 0, carrier, 0, 0, 0, 0, 0].into()]).unwrap();
        Route {
            key: RouteKey { table: 254, destination },
            interface: 2,
            source: None,
            mtu: None,
            target: Target::Encap { mode: EncapMode::Reduced, segments },
        }
    }

    fn table() -> impl Strategy<Value = BTreeMap<RouteKey, Route>> {
        prop::collection::btree_map(0u8..8, 0u16..3, 0..8)
            .prop_map(|m| m.into_iter().map(|(h, c)| route(h, c)).map(|r| (r.key, r)).collect())
    }

    proptest! {
        #[test]
        fn applied_to_what_is_owned_it_gives_what_is_wanted(wanted in table(), owned in table()) {
            let plan = plan(&wanted, owned.values());
            let mut after = owned.clone();
            for key in &plan.remove {
                prop_assert!(after.remove(key).is_some(), "removed something that was not there");
            }
            for route in &plan.set {
                let before = after.insert(route.key, route.clone());
                prop_assert_ne!(before.as_ref(), Some(route), "touched a route that was right");
            }
            prop_assert_eq!(after, wanted);
        }
    }
}
