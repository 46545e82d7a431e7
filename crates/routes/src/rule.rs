//! Rules: what leads the packets of a slot's sockets to the slot's table.

use std::fmt;

use srv6_fabric::Family;

use crate::{PROTOCOL, Pinning, Slot};

/// Lowest priority number of our rules; all are below [`RULE_PRIORITY_END`]. Behind `local` (0), before `main` (32766).
pub const RULE_PRIORITY_BASE: u32 = 5000;

/// First priority number beyond ours.
pub const RULE_PRIORITY_END: u32 = 6000;

/// Rules of one slot and kind, in both families: what is set, held and removed together.
///
/// The outer packet of an IPv4 connection is IPv6, and the mark goes with it; so one family alone would be half a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleKey {
    /// Whose table they lead to.
    pub slot: Slot,
    /// What they look at. There are none for [`Pinning::RoutingHeader`].
    pub pinning: Pinning,
}

impl RuleKey {
    /// Its rules.
    pub fn rules(self) -> Vec<Rule> {
        let matches: &[Match] = match self.pinning {
            Pinning::Mark => &[Match::Mark],
            Pinning::Ports => &[Match::SourcePorts, Match::DestinationPorts],
            Pinning::RoutingHeader => &[],
        };
        let rule = |family, &matches| Rule { slot: self.slot, family, matches };
        let both = [Family::V6, Family::V4];
        both.into_iter().flat_map(|family| matches.iter().map(move |m| rule(family, m))).collect()
    }
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Match {
    /// The slot's mark, all bits of it.
    Mark,
    /// TCP from a port of the slot.
    SourcePorts,
    /// TCP to a port of the slot: acknowledgements to a peer that is pinned by ports.
    DestinationPorts,
}

/// One rule of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    /// Whose table it leads to.
    pub slot: Slot,
    /// Packets of this family.
    pub family: Family,
    /// What it looks at.
    pub matches: Match,
}

impl Rule {
    /// The key that it is held by.
    pub fn key(self) -> RuleKey {
        let pinning = match self.matches {
            Match::Mark => Pinning::Mark,
            Match::SourcePorts | Match::DestinationPorts => Pinning::Ports,
        };
        RuleKey { slot: self.slot, pinning }
    }

    /// Its priority number: a hundred per kind, one per slot.
    pub fn priority(self) -> u32 {
        let kind = match self.matches {
            Match::Mark => 0,
            Match::SourcePorts => 100,
            Match::DestinationPorts => 200,
        };
        RULE_PRIORITY_BASE + kind + u32::from(self.slot.number())
    }

    /// The `ip` command that makes this rule.
    pub fn command(self) -> String {
        format!("ip {} rule add {self}", self.family_flag())
    }

    /// The `ip` command that removes this rule.
    pub fn removal(self) -> String {
        format!("ip {} rule del {self}", self.family_flag())
    }

    fn family_flag(self) -> &'static str {
        match self.family {
            Family::V4 => "-4",
            Family::V6 => "-6",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slot, ports) = (self.slot, self.slot.ports());
        write!(f, "priority {} ", self.priority())?;
        match self.matches {
            Match::Mark => write!(f, "fwmark {:#x}/0xffffffff", slot.mark())?,
            Match::SourcePorts => write!(f, "ipproto tcp sport {}-{}", ports.start(), ports.end())?,
            Match::DestinationPorts => write!(f, "ipproto tcp dport {}-{}", ports.start(), ports.end())?,
        }
        write!(f, " lookup {} protocol {PROTOCOL}", slot.table())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_a_place_of_its_own_in_our_range() {
        let keys = Slot::all().flat_map(|slot| {
            [Pinning::Mark, Pinning::Ports, Pinning::RoutingHeader].map(|pinning| RuleKey { slot, pinning })
        });
        let mut places = BTreeSet::new();
        for key in keys {
            for rule in key.rules() {
                assert_eq!(rule.key(), key);
                assert!((RULE_PRIORITY_BASE..RULE_PRIORITY_END).contains(&rule.priority()));
                assert!(places.insert((rule.family, rule.priority())), "{rule}");
            }
        }
        assert_eq!(places.len(), 16 * 2 * 3);
    }

    #[test]
    fn commands_are_what_ip_takes() {
        let slot = Slot::new(3).unwrap();
        let rule = Rule { slot, family: Family::V6, matches: Match::Mark };
        assert_eq!(
            rule.command(),
            "ip -6 rule add priority 5003 fwmark 0x53520003/0xffffffff lookup 1397882883 protocol 83"
        );
        let rule = Rule { slot, family: Family::V4, matches: Match::DestinationPorts };
        assert_eq!(
            rule.removal(),
            "ip -4 rule del priority 5203 ipproto tcp dport 21248-21503 lookup 1397882883 protocol 83"
        );
    }
}
