//! A switch's SIDs as FRR's static-sids and SONiC's SRV6_MY_SIDS have them: each belongs to a locator.

use std::collections::BTreeMap;
use std::net::IpAddr;

use srv6_fabric::Prefix;
use srv6_lab::{LocalSid, SidAction};

/// A switch's uSID, under which its functions are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Locator {
    pub(super) name: String,
    pub(super) prefix: Prefix,
    /// Bits of the block.
    pub(super) block_len: u8,
    /// Bits of the node's uSID, and of one function.
    pub(super) node_len: u8,
}

/// A SID and the locator that it belongs to.
#[derive(Debug, Clone)]
pub(super) struct Located<'a> {
    pub(super) sid: &'a LocalSid,
    pub(super) locator: Locator,
    /// Right behind the block instead of behind the node's uSID.
    pub(super) local_only: bool,
    /// What stands behind the locator, or where local only behind the block.
    function: u128,
}

/// The locators among a switch's SIDs: MAIN, then MAIN2 and so on, which flexible algorithms bring.
pub(super) fn locators(sids: &[LocalSid]) -> Vec<Locator> {
    sids.iter()
        .filter_map(|sid| match sid.action {
            SidAction::Shift { block_len, node_len } => Some((sid.prefix, block_len, node_len)),
            SidAction::Dt6 | SidAction::Dx4(_) => None,
        })
        .enumerate()
        .map(|(i, (prefix, block_len, node_len))| Locator {
            name: if i == 0 { "MAIN".to_owned() } else { format!("MAIN{}", i + 1) },
            prefix,
            block_len,
            node_len,
        })
        .collect()
}

/// Every SID with its locator: the one it begins with, else the first of its block.
fn located(sids: &[LocalSid]) -> Vec<Located<'_>> {
    let locators = locators(sids);
    let owner = |sid: &LocalSid, length: fn(&Locator) -> u8| {
        locators.iter().find(|l| begins_with(sid.prefix, l.prefix, length(l))).cloned()
    };
    sids.iter()
        .filter_map(|sid| {
            let whole = owner(sid, |l| l.prefix.length());
            let local_only = whole.is_none();
            let locator = whole.or_else(|| owner(sid, |l| l.block_len))?;
            let known = if local_only { locator.block_len } else { locator.prefix.length() };
            Some(Located { sid, function: behind(sid.prefix, known), locator, local_only })
        })
        .collect()
}

/// Splits SIDs into those that a platform can have and the others.
///
/// FRR's SID manager, which SONiC uses too, ties one function to a behavior, a VRF and a block; with a second one it
/// takes the first away. A function is as long as a node's uSID.
pub(super) fn split(sids: &[LocalSid]) -> (Vec<Located<'_>>, Vec<Located<'_>>) {
    let mut decapsulation: BTreeMap<Prefix, u128> = BTreeMap::new();
    let (mut kept, mut others) = (Vec::new(), Vec::new());
    for one in located(sids) {
        let locator = &one.locator;
        let fits = match one.sid.action {
            SidAction::Shift { .. } => true,
            SidAction::Dx4(_) => false,
            SidAction::Dt6 => {
                let before = if one.local_only { locator.block_len } else { locator.prefix.length() };
                let block = Prefix::new(locator.prefix.address(), locator.block_len);
                one.sid.prefix.length() == before + locator.node_len
                    && block.is_ok_and(|b| *decapsulation.entry(b).or_insert(one.function) == one.function)
            }
        };
        if fits { kept.push(one) } else { others.push(one) }
    }
    (kept, others)
}

/// Whether the first `length` bits are those of `start`.
fn begins_with(prefix: Prefix, start: Prefix, length: u8) -> bool {
    let cut = |address| Prefix::new(address, length).ok();
    prefix.length() >= length && cut(prefix.address()) == cut(start.address())
}

/// The bits from `start` on, shifted to the left.
fn behind(prefix: Prefix, start: u8) -> u128 {
    match prefix.address() {
        IpAddr::V6(address) => address.to_bits().checked_shl(u32::from(start)).unwrap_or(0),
        IpAddr::V4(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIFT: SidAction = SidAction::Shift { block_len: 32, node_len: 16 };

    fn sids(of: &[(&str, SidAction)]) -> Vec<LocalSid> {
        of.iter()
            .map(|(prefix, action)| LocalSid { prefix: prefix.parse().unwrap(), action: *action })
            .collect()
    }

    fn names(kept: &[Located<'_>]) -> Vec<String> {
        kept.iter().map(|one| format!("{} {} {}", one.sid.prefix, one.locator.name, one.local_only)).collect()
    }

    #[test]
    fn a_function_belongs_to_the_locator_it_begins_with() {
        let sids = sids(&[
            ("fc00:0:1200::/48", SHIFT),
            ("fc00:0:1200:fe06::/64", SidAction::Dt6),
            ("fc00:0:2200::/48", SHIFT),
            ("fc00:0:2200:fe06::/64", SidAction::Dt6),
            ("fc00:0:fe06::/48", SidAction::Dt6),
        ]);
        let (kept, others) = split(&sids);
        assert_eq!(
            names(&kept),
            [
                "fc00:0:1200::/48 MAIN false",
                "fc00:0:1200:fe06::/64 MAIN false",
                "fc00:0:2200::/48 MAIN2 false",
                "fc00:0:2200:fe06::/64 MAIN2 false",
                "fc00:0:fe06::/48 MAIN true",
            ]
        );
        assert!(others.is_empty(), "{others:?}");
    }

    #[test]
    fn a_second_function_of_a_block_is_one_too_many() {
        let sids = sids(&[
            ("fc00:0:1200::/48", SHIFT),
            ("fc00:0:1200:e400::/64", SidAction::Dx4("10.1.0.2".parse().unwrap())),
            ("fc00:0:1200:fe06::/64", SidAction::Dt6),
            ("fc00:0:1200:fe07::/64", SidAction::Dt6),
            ("fc01:0:1200::/48", SHIFT),
            ("fc01:0:1200:fe07::/64", SidAction::Dt6),
            ("fc01:0:1200:fe07:1::/80", SidAction::Dt6),
        ]);
        let (kept, others) = split(&sids);
        assert_eq!(kept.len(), 4, "{:?}", names(&kept));
        let others: Vec<String> = others.iter().map(|one| one.sid.prefix.to_string()).collect();
        assert_eq!(
            others,
            ["fc00:0:1200:e400::/64", "fc00:0:1200:fe07::/64", "fc01:0:1200:fe07:1::/80"],
            "another block has functions of its own"
        );
    }
}
