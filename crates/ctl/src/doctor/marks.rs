//! Who else uses the mark of packets: pods' networks (Calico, Cilium, kube-proxy) do, and may change ours.

use std::io;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use srv6_routes::{PROTOCOL, RULE_PRIORITY_BASE, Slot};

use super::finding::Finding;
use crate::config::Environment;
use crate::netlink::ask_route;

const CHECK: &str = "pinning.overlap";

const REMEDY: &str = "export SRV6_PINNING=ports: lanes are then chosen by source port, which nobody rewrites";

/// A rule of somebody else's that looks at the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MarkRule {
    priority: u32,
    mark: u32,
    mask: u32,
}

/// Says whether somebody else's rules look at bits of the mark. Rules of nftables and iptables are not looked at.
pub(crate) fn check(environment: &Environment) -> Finding {
    match others() {
        Ok(rules) => judge(&rules, environment),
        Err(error) => Finding::note(CHECK, format!("rules can't be read: {error}")),
    }
}

fn judge(rules: &[MarkRule], environment: &Environment) -> Finding {
    let Some(first) = rules.iter().find(|rule| rule.takes_ours()).or(rules.first()) else {
        return Finding::ok(CHECK, "nobody else's rules look at marks");
    };
    let MarkRule { priority, mark, mask } = first;
    let does = if first.takes_ours() {
        "takes packets of lanes that are pinned by mark"
    } else {
        "shows that somebody else marks packets: bits of ours that are changed lead past our rules"
    };
    let message = format!("the rule with priority {priority} for fwmark {mark:#x}/{mask:#x} {does}");
    let by_mark = matches!(environment.get("SRV6_PINNING").unwrap_or("auto"), "auto" | "mark");
    if by_mark && environment.get("SRV6_TRANSPORT") == Some("multipath") {
        Finding::warning(CHECK, message, REMEDY)
    } else {
        Finding::note(CHECK, message)
    }
}

impl MarkRule {
    /// Whether it comes before our rules and matches one of our marks.
    fn takes_ours(&self) -> bool {
        self.priority < RULE_PRIORITY_BASE
            && Slot::all().any(|slot| slot.mark() & self.mask == self.mark & self.mask)
    }

    /// `None` for a rule of ours, and one that doesn't look at the mark.
    fn of(rule: &RuleMessage) -> Option<Self> {
        let find = |of: fn(&RuleAttribute) -> Option<u32>| rule.attributes.iter().find_map(of);
        let protocol = find(|attribute| match attribute {
            RuleAttribute::Protocol(protocol) => Some(u8::from(*protocol).into()),
            _ => None,
        });
        if protocol == Some(PROTOCOL.into()) {
            return None;
        }
        let value = |attribute: &RuleAttribute| match attribute {
            RuleAttribute::FwMark(mark) => Some(*mark),
            _ => None,
        };
        let mask = |attribute: &RuleAttribute| match attribute {
            RuleAttribute::FwMask(mask) => Some(*mask),
            _ => None,
        };
        let priority = |attribute: &RuleAttribute| match attribute {
            RuleAttribute::Priority(priority) => Some(*priority),
            _ => None,
        };
        Some(Self {
            priority: find(priority).unwrap_or(0),
            mark: find(value)?,
            mask: find(mask).unwrap_or(u32::MAX),
        })
    }
}

fn others() -> io::Result<Vec<MarkRule>> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet6, AddressFamily::Inet] {
        let mut request = RuleMessage::default();
        request.header.family = family;
        let answers = ask_route(RouteNetlinkMessage::GetRule(request), NLM_F_DUMP)?;
        found.extend(answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRule(rule) => MarkRule::of(rule),
            _ => None,
        }));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::finding::Status;
    use super::*;

    /// `ip` as judge: tests run in a network namespace of their own.
    #[test]
    fn the_kernel_s_rules_are_told_apart() {
        let rule = |what: &str, rule: &str| {
            let status = Command::new("ip").args(["-6", "rule", what]).args(rule.split(' ')).status();
            assert!(status.unwrap().success(), "{what} {rule}");
        };
        let cilium = "priority 9 fwmark 0x200/0xf00 table 2004";
        let plain = "priority 77 from 2001:db8::/64 table 77";
        rule("add", cilium);
        rule("add", plain);
        let found = others().unwrap();
        rule("del", cilium);
        rule("del", plain);
        assert_eq!(found, [MarkRule { priority: 9, mark: 0x200, mask: 0xf00 }]);
        assert_eq!(others().unwrap(), []);
    }

    #[test]
    fn our_own_rules_are_not_somebody_else_s() {
        let mut rule = RuleMessage::default();
        rule.attributes = vec![RuleAttribute::Priority(5000), RuleAttribute::FwMark(0x5352_0000)];
        assert!(MarkRule::of(&rule).is_some_and(|rule| rule.mask == u32::MAX));
        rule.attributes.push(RuleAttribute::Protocol(PROTOCOL.into()));
        assert_eq!(MarkRule::of(&rule), None);
    }

    #[test]
    fn a_rule_that_takes_our_packets_is_named_before_one_that_only_uses_marks() {
        let cilium = MarkRule { priority: 9, mark: 0x200, mask: 0xf00 };
        let greedy = MarkRule { priority: 100, mark: 0x5000_0000, mask: 0xf000_0000 };
        let multipath = Environment::from([("SRV6_TRANSPORT", "multipath")]);
        let finding = judge(&[cilium, greedy], &multipath);
        assert_eq!(finding.status, Status::Warning);
        assert!(
            finding.message.contains("priority 100 for fwmark 0x50000000/0xf0000000 takes"),
            "{finding:?}"
        );
        let finding = judge(&[cilium], &multipath);
        assert!(finding.message.contains("fwmark 0x200/0xf00 shows"), "{finding:?}");
        assert!(!MarkRule { priority: 6000, ..greedy }.takes_ours(), "after ours");
        let ports = Environment::from([("SRV6_TRANSPORT", "multipath"), ("SRV6_PINNING", "ports")]);
        assert_eq!(judge(&[greedy], &ports).status, Status::Note);
        assert_eq!(judge(&[greedy], &Environment::default()).status, Status::Note);
        assert_eq!(judge(&[], &multipath).status, Status::Ok);
    }
}
