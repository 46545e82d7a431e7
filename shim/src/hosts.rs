//! Which destinations are steered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use srv6_fabric::{Prefix, Topology};

use crate::address::Address;
use crate::published::Published;

/// After this long the topology is looked at again before a destination counts as none of its hosts.
const FRESH: Duration = Duration::from_secs(30);

static LATEST: Published<Hosts> = Published::nothing();

/// A set of addresses.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// First and last address of each range, ascending; no two of them touch.
    ranges: Vec<(u128, u128)>,
    /// When it was last compared with its source, in milliseconds of the clock of [`now`]; `None` if it needn't be.
    compared: Option<AtomicU64>,
}

/// What is known of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It is steered.
    Host,
    /// It isn't.
    Other,
    /// It wasn't one when somebody looked last, which is a while ago.
    OtherOnce,
    /// Nobody has looked yet.
    Unknown,
}

/// What is known of a destination now. Takes no lock and makes no system call.
pub(crate) fn look(destination: Address) -> Look {
    let Some(hosts) = LATEST.get() else { return Look::Unknown };
    if hosts.contains(destination) {
        Look::Host
    } else if hosts.compared.as_ref().is_some_and(|compared| is_old(compared.load(Ordering::Relaxed))) {
        Look::OtherOnce
    } else {
        Look::Other
    }
}

/// Whether it falls to the caller to look at the source again: one caller in a while.
pub(crate) fn is_my_turn() -> bool {
    let Some(compared) = LATEST.get().and_then(|hosts| hosts.compared.as_ref()) else { return true };
    let last = compared.load(Ordering::Relaxed);
    is_old(last) && compared.compare_exchange(last, now(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// From now on these are the hosts, whatever else becomes known.
pub(crate) fn set(prefixes: &[Prefix]) {
    LATEST.publish(Hosts { ranges: ranges(prefixes.iter().copied()), compared: None });
}

/// From now on, until the next look, the topology's hosts are. `None`: it can't be read, so there are none.
pub(crate) fn learn(topology: Option<&Topology>) {
    let ranges = topology.map(of_topology).unwrap_or_default();
    match LATEST.get() {
        Some(Hosts { ranges: known, compared: Some(compared) }) if *known == ranges => {
            compared.store(now(), Ordering::Relaxed);
        }
        _ => LATEST.publish(Hosts { ranges, compared: Some(AtomicU64::new(now())) }),
    }
}

/// Milliseconds of a clock that costs next to nothing to read and ticks every few of them.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::MonotonicCoarse);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

fn is_old(compared: u64) -> bool {
    u128::from(now().saturating_sub(compared)) >= FRESH.as_millis()
}

impl Hosts {
    fn contains(&self, address: Address) -> bool {
        let bits = address.bits();
        let after = self.ranges.partition_point(|&(first, _)| first <= bits);
        after.checked_sub(1).and_then(|index| self.ranges.get(index)).is_some_and(|&(_, last)| bits <= last)
    }
}

fn of_topology(topology: &Topology) -> Vec<(u128, u128)> {
    ranges(topology.vertices().filter(|(_, vertex)| vertex.is_host()).flat_map(|(_, vertex)| {
        vertex.addresses.iter().map(|&address| Prefix::host(address)).chain(vertex.prefix)
    }))
}

/// The addresses of prefixes, sorted, with those that overlap or touch made one.
fn ranges(prefixes: impl Iterator<Item = Prefix>) -> Vec<(u128, u128)> {
    let mut all: Vec<(u128, u128)> = prefixes
        .map(|prefix| {
            let bits = if prefix.address().is_ipv4() { 32 } else { 128 };
            let first = Address::from(prefix.address()).bits();
            let free = u32::from(bits - prefix.length());
            (first, first | 1u128.checked_shl(free).map_or(u128::MAX, |size| size - 1))
        })
        .collect();
    all.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::with_capacity(all.len());
    for (first, last) in all {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn of(prefixes: &[Prefix]) -> Hosts {
        Hosts { ranges: ranges(prefixes.iter().copied()), compared: None }
    }

    fn prefixes(list: &str) -> Vec<Prefix> {
        list.split(' ').map(|prefix| prefix.parse().unwrap()).collect()
    }

    #[test]
    fn prefixes_that_touch_are_one_range() {
        let hosts = of(&prefixes("10.0.1.0/24 10.0.0.0/24 10.0.0.7/32 2001:db8::/32 10.0.3.0/24"));
        assert_eq!(hosts.ranges.len(), 3);
        let contains = |text: &str| hosts.contains(text.parse::<IpAddr>().unwrap().into());
        for yes in ["10.0.0.0", "10.0.1.255", "::ffff:10.0.3.1", "2001:db8:ffff::1"] {
            assert!(contains(yes), "{yes}");
        }
        for no in ["9.255.255.255", "10.0.2.0", "10.0.4.0", "2001:db9::", "::10.0.0.1"] {
            assert!(!contains(no), "{no}");
        }
    }

    #[test]
    fn everything_and_nothing() {
        let all = of(&prefixes("::/0"));
        assert_eq!(all.ranges, [(0, u128::MAX)]);
        assert!(all.contains(Address::v4([10, 0, 0, 1])));
        assert!(!of(&[]).contains(Address::v4([10, 0, 0, 1])));
    }

    proptest! {
        #[test]
        fn it_contains_what_any_prefix_contains(
            list in proptest::collection::vec((any::<[u8; 4]>(), 0u8..=32), 0..20),
            probes in proptest::collection::vec(any::<[u8; 4]>(), 20),
        ) {
            let prefixes: Vec<Prefix> =
                list.into_iter().map(|(address, length)| Prefix::new(address.into(), length).unwrap()).collect();
            let hosts = of(&prefixes);
            let edges = prefixes.iter().map(|prefix| prefix.address());
            for ip in probes.into_iter().map(IpAddr::from).chain(edges) {
                prop_assert_eq!(hosts.contains(ip.into()), prefixes.iter().any(|prefix| prefix.contains(ip)));
            }
        }
    }
}
