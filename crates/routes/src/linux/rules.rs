//! Lane rules in the kernel.

use std::io;

use futures_util::TryStreamExt;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use netlink_packet_route::{AddressFamily, IpProtocol};
use rtnetlink::IpVersion;
use srv6_fabric::{Family, Flow};

use super::LinuxRoutes;
use crate::{
    LANE_TABLE_BASE, LaneRules, Match, PROTOCOL, Pinning, RULE_PRIORITY_END, RouteError, RouteKey, Rule,
    Selector, Slot,
};

impl LaneRules for LinuxRoutes {
    fn pinnings(&self) -> &[Pinning] {
        &[Pinning::Mark, Pinning::Ports, Pinning::RoutingHeader]
    }

    fn owned_rules(&mut self) -> Result<Vec<Rule>, RouteError> {
        let mut rules = Vec::new();
        for version in [IpVersion::V6, IpVersion::V4] {
            let request = self.handle.rule().get(version);
            let found: Vec<RuleMessage> = self
                .wait(async move { request.execute().try_collect().await })
                .map_err(|source| RouteError::Kernel { doing: "list rules".to_owned(), source })?;
            rules.extend(found.iter().filter_map(read));
        }
        Ok(rules)
    }

    fn set_rule(&mut self, rule: &Rule) -> Result<(), RouteError> {
        let (rules, wanted) = (self.handle.rule(), message(*rule));
        let set = self.change(|| {
            // The request's own type parameter decides nothing but which prefixes it takes.
            let mut request = rules.add().v6();
            *request.message_mut() = wanted.clone();
            request.execute()
        });
        match set {
            // Without EXCL, which the crate always sets, the kernel would make a second one.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            other => other.map_err(|source| refusal(rule.command(), source)),
        }
    }

    fn remove_rule(&mut self, rule: &Rule) -> Result<(), RouteError> {
        // Names our protocol: the kernel takes no other's rule for it.
        match self.delete(message(*rule)) {
            Err(error) if is_absent(&error) => Ok(()),
            other => other.map_err(|source| refusal(rule.removal(), source)),
        }
    }

    fn takes_by(&mut self, flow: Flow, selector: Selector, key: &RouteKey) -> Result<(), RouteError> {
        self.taken(flow, Some(selector), key)
    }
}

impl LinuxRoutes {
    /// Whether this process could change rules here. Nothing is changed: it asks for the removal of a rule that nobody has.
    ///
    /// # Errors
    /// [`RouteError::NotPermitted`], or a kernel without rules.
    pub fn may_change_rules(&mut self) -> Result<(), RouteError> {
        for family in [AddressFamily::Inet6, AddressFamily::Inet] {
            let mut nobodys = RuleMessage::default();
            nobodys.header.family = family;
            nobodys.header.action = RuleAction::ToTable;
            nobodys.attributes = vec![
                RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)),
                RuleAttribute::Priority(RULE_PRIORITY_END - 1),
                RuleAttribute::FwMark(u32::MAX),
                RuleAttribute::FwMask(u32::MAX),
                RuleAttribute::Table(LANE_TABLE_BASE + 0xffff),
            ];
            match self.delete(nobodys) {
                Err(error) if is_absent(&error) => {}
                other => other.map_err(|source| refusal("change rules".to_owned(), source))?,
            }
        }
        Ok(())
    }

    fn delete(&self, message: RuleMessage) -> io::Result<()> {
        let rules = self.handle.rule();
        self.change(|| rules.del(message.clone()).execute())
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

fn refusal(doing: String, source: io::Error) -> RouteError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => RouteError::NotPermitted { doing },
        Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT) => RouteError::NoRules { doing },
        _ => RouteError::Kernel { doing, source },
    }
}

/// The message for `RTM_NEWRULE` and `RTM_DELRULE`.
fn message(rule: Rule) -> RuleMessage {
    let (slot, ports) = (rule.slot, rule.slot.ports());
    let range = RulePortRange { start: *ports.start(), end: *ports.end() };
    let mut message = RuleMessage::default();
    message.header.family = match rule.family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Priority(rule.priority()),
        RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)),
        RuleAttribute::Table(slot.table()),
    ];
    let tcp = RuleAttribute::IpProtocol(IpProtocol::Tcp);
    message.attributes.extend(match rule.matches {
        Match::Mark => [RuleAttribute::FwMark(slot.mark()), RuleAttribute::FwMask(u32::MAX)],
        Match::SourcePorts => [tcp, RuleAttribute::SourcePortRange(range)],
        Match::DestinationPorts => [tcp, RuleAttribute::DestinationPortRange(range)],
    });
    message
}

/// Reads a dumped rule. `None` for anything that isn't in the form that we write.
pub(super) fn read(found: &RuleMessage) -> Option<Rule> {
    let family = match found.header.family {
        AddressFamily::Inet => Family::V4,
        AddressFamily::Inet6 => Family::V6,
        _ => return None,
    };
    let table = found.attributes.iter().find_map(|a| match a {
        RuleAttribute::Table(table) => Some(*table),
        _ => None,
    });
    let slot = Slot::of_table(table?)?;
    [Match::Mark, Match::SourcePorts, Match::DestinationPorts]
        .map(|matches| Rule { slot, family, matches })
        .into_iter()
        .find(|rule| message(*rule).attributes.iter().all(|a| found.attributes.contains(a)))
}
