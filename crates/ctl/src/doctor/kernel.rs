//! What the kernel can do, tried in a throw-away network namespace instead of guessed from a version.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteLwEnCapType, RouteLwTunnelEncap, RouteMessage, RouteProtocol,
    RouteSeg6LocalTunnel, RouteType, Seg6LocalAction,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use netlink_packet_route::{AddressFamily, IpProtocol, RouteNetlinkMessage};
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};
use srv6_fabric::{Prefix, Segments, chain};
use srv6_routes::{Dataplane, EncapMode, LinuxRoutes, Route, RouteKey, Target};

use super::child;
use super::finding::{Finding, Status};
use crate::netlink::{ask_route, attribute};

/// The name of this check's own child.
pub(crate) const PROBE: &str = "probe-kernel";

/// Flavor NEXT-CSID of a local SID: `SEG6_LOCAL_FLAVORS` with the operation, block and node lengths
/// (kernel `seg6_local.h`); netlink-packet-route has no name for any of them.
const FLAVORS: u16 = 11 | 0x8000;
const FLAVOR_OPERATION: u16 = 1;
const FLAVOR_BLOCK_BITS: u16 = 2;
const FLAVOR_NODE_BITS: u16 = 3;
const NEXT_CSID: u32 = 1 << 4;

/// One thing that was tried.
struct Feature {
    check: &'static str,
    what: &'static str,
    /// How bad its absence is.
    absent: Status,
    remedy: &'static str,
}

const FEATURES: [Feature; 8] = [
    Feature {
        check: "kernel.encap",
        what: "routes that encapsulate (seg6 encap)",
        absent: Status::Failure,
        remedy: "use a kernel with CONFIG_IPV6_SEG6_LWTUNNEL and CONFIG_LWTUNNEL (4.10 or later)",
    },
    Feature {
        check: "kernel.encap_red",
        what: "reduced encapsulation (seg6 encap.red)",
        absent: Status::Warning,
        remedy: "export SRV6_ENCAP=encap, or use a kernel from 6.0 on",
    },
    Feature {
        check: "kernel.ipv4",
        what: "IPv4 destinations in SRv6 tunnels",
        absent: Status::Note,
        remedy: "use IPv6 addresses on the data interfaces",
    },
    Feature {
        check: "kernel.marks",
        what: "rules by mark (ip rule fwmark)",
        absent: Status::Note,
        remedy: "paths of the multipath transport can be pinned by source port or routing header instead",
    },
    Feature {
        check: "kernel.ports",
        what: "rules by port (ip rule ipproto tcp sport)",
        absent: Status::Note,
        remedy: "paths of the multipath transport can be pinned by mark or routing header instead",
    },
    Feature {
        check: "kernel.end",
        what: "uSIDs of switches (seg6local End with NEXT-CSID)",
        absent: Status::Note,
        remedy: "only a lab on this machine needs it: Linux 6.1 or later",
    },
    Feature {
        check: "kernel.decap6",
        what: "decapsulation of IPv6 (seg6local End.DT6)",
        absent: Status::Note,
        remedy: "only a lab, or a host that decapsulates itself, needs it: Linux 4.14 or later",
    },
    Feature {
        check: "kernel.decap4",
        what: "decapsulation of IPv4 (seg6local End.DX4)",
        absent: Status::Note,
        remedy: "only a lab, or a host that decapsulates itself, needs it: Linux 4.14 or later",
    },
];

/// What the child found: `None` for what works, else the kernel's words.
#[derive(Debug, Serialize, Deserialize)]
struct Tried {
    features: BTreeMap<String, Option<String>>,
}

/// Tries everything in a child.
pub(crate) fn check() -> Vec<Finding> {
    let outcome = child::ask::<Result<Tried, String>>(&[PROBE], |_| {}, Duration::from_secs(20));
    match outcome.answer.and_then(|tried| tried) {
        Ok(tried) => FEATURES.iter().map(|feature| judge(feature, &tried)).collect(),
        Err(reason) => vec![untried(&reason, configuration().as_deref())],
    }
}

fn judge(feature: &Feature, tried: &Tried) -> Finding {
    let Feature { check, what, absent, remedy } = *feature;
    match tried.features.get(check) {
        Some(None) => Finding::ok(check, format!("the kernel has {what}")),
        Some(Some(reason)) => Finding {
            check,
            status: absent,
            message: format!("the kernel refuses {what}: {reason}"),
            remedy: Some(remedy.to_owned()),
        },
        None => Finding::note(check, format!("not tried: {what}")),
    }
}

/// Where no namespace can be had, the kernel's configuration is the next best thing.
fn untried(reason: &str, configuration: Option<&str>) -> Finding {
    let not_tried = format!("no throw-away namespace to try the kernel in ({reason})");
    let option = |text: &str| text.lines().any(|line| matches!(line, "CONFIG_IPV6_SEG6_LWTUNNEL=y"));
    match configuration.map(option) {
        Some(true) => Finding::note(
            "kernel.encap",
            format!("{not_tried}; its configuration has CONFIG_IPV6_SEG6_LWTUNNEL=y"),
        ),
        Some(false) => Finding::failure(
            "kernel.encap",
            format!("{not_tried}; its configuration lacks CONFIG_IPV6_SEG6_LWTUNNEL=y"),
            "use a kernel with CONFIG_IPV6_SEG6_LWTUNNEL and CONFIG_LWTUNNEL",
        ),
        None => Finding::warning(
            "kernel.encap",
            format!("{not_tried}, and no configuration of it in /boot or /lib/modules"),
            "run srv6ctl doctor as root, or allow user namespaces (sysctl user.max_user_namespaces, \
             kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)",
        ),
    }
}

fn configuration() -> Option<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let release = release.trim();
    [format!("/boot/config-{release}"), format!("/lib/modules/{release}/config")]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
}

/// The child: makes the namespace, tries, answers.
///
/// # Errors
/// What can't be printed.
pub(crate) fn probe() -> anyhow::Result<()> {
    child::answer(&tried())
}

fn tried() -> Result<Tried, String> {
    // Root may make a network namespace where user namespaces are forbidden.
    let separate = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET);
    separate
        .or_else(|_| unshare(CloneFlags::CLONE_NEWNET))
        .map_err(|error| format!("unshare: {}", error.desc()))?;
    let interface = interface().map_err(|error| format!("making an interface in it: {error}"))?;
    let mut kernel = LinuxRoutes::new().map_err(|error| error.to_string())?;
    let mut features = BTreeMap::new();
    let mut note = |check: &str, result: Result<(), String>| {
        features.insert(check.to_owned(), result.err());
    };
    let v6: IpAddr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1).into();
    let v4: IpAddr = Ipv4Addr::new(192, 0, 2, 9).into();
    for (check, destination, mode) in [
        ("kernel.encap", v6, EncapMode::Full),
        ("kernel.encap_red", v6, EncapMode::Reduced),
        ("kernel.ipv4", v4, EncapMode::Full),
    ] {
        let route = tunnel(destination, mode, interface);
        note(check, route.and_then(|route| kernel.set(&route).map_err(|error| chain(&error))));
    }
    let mark = [RuleAttribute::FwMark(77), RuleAttribute::FwMask(u32::MAX)];
    let ports = [
        RuleAttribute::IpProtocol(IpProtocol::Tcp),
        RuleAttribute::SourcePortRange(RulePortRange { start: 40_000, end: 40_015 }),
    ];
    note("kernel.marks", text(rule(&mark)));
    note("kernel.ports", text(rule(&ports)));
    let next_csid = [
        attribute(FLAVOR_OPERATION, &NEXT_CSID.to_ne_bytes()),
        attribute(FLAVOR_BLOCK_BITS, &[32]),
        attribute(FLAVOR_NODE_BITS, &[16]),
    ]
    .concat();
    let flavors = RouteSeg6LocalTunnel::Other(DefaultNla::new(FLAVORS, next_csid));
    let action = RouteSeg6LocalTunnel::Action;
    note("kernel.end", text(local_sid(1, vec![action(Seg6LocalAction::End), flavors], interface)));
    let local = RouteSeg6LocalTunnel::Table(255);
    note("kernel.decap6", text(local_sid(2, vec![action(Seg6LocalAction::EndDt6), local], interface)));
    let next_hop = RouteSeg6LocalTunnel::Nh4(Ipv4Addr::new(192, 0, 2, 1));
    note("kernel.decap4", text(local_sid(3, vec![action(Seg6LocalAction::EndDx4), next_hop], interface)));
    Ok(Tried { features })
}

fn text(result: io::Result<()>) -> Result<(), String> {
    result.map_err(|error| error.to_string())
}

/// An interface that is up and has addresses: routes over `lo` are refused. Gives its index.
fn interface() -> io::Result<u32> {
    let create = NLM_F_CREATE | NLM_F_EXCL;
    let mut refused = None;
    // Small kernels have one of the two.
    for kind in [InfoKind::Dummy, InfoKind::Veth] {
        let mut link = LinkMessage::default();
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes = vec![
            LinkAttribute::IfName("probe0".to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]),
        ];
        match ask_route(RouteNetlinkMessage::NewLink(link), create) {
            Ok(_) => {
                refused = None;
                break;
            }
            Err(error) => refused = Some(error),
        }
    }
    if let Some(error) = refused {
        return Err(error);
    }
    let made = crate::interfaces::read()?.into_iter().find(|i| i.name == "probe0");
    let index = made.ok_or(io::ErrorKind::NotFound)?.index;
    let addresses: [(AddressFamily, IpAddr, u8); 2] = [
        (AddressFamily::Inet6, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), 64),
        (AddressFamily::Inet, Ipv4Addr::new(192, 0, 2, 1).into(), 24),
    ];
    for (family, address, length) in addresses {
        let mut message = AddressMessage::default();
        message.header.family = family;
        message.header.index = index;
        message.header.prefix_len = length;
        message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        match ask_route(RouteNetlinkMessage::NewAddress(message), create) {
            // Without IPv6 its routes will fail, and say so.
            Err(_) if family == AddressFamily::Inet6 => {}
            other => {
                other?;
            }
        }
    }
    Ok(index)
}

fn tunnel(destination: IpAddr, mode: EncapMode, interface: u32) -> Result<Route, String> {
    let segments = Segments::new(vec![Ipv6Addr::new(0xfc00, 0, 1, 2, 3, 0, 0, 0)]);
    let segments = segments.map_err(|error| error.to_string())?;
    Ok(Route {
        key: RouteKey { table: 254, destination: Prefix::host(destination) },
        interface,
        source: None,
        mtu: None,
        target: Target::Encap { mode, segments },
    })
}

fn rule(selector: &[RuleAttribute]) -> io::Result<()> {
    let mut rule = RuleMessage::default();
    rule.header.family = AddressFamily::Inet6;
    rule.header.action = RuleAction::ToTable;
    rule.attributes = [RuleAttribute::Table(1_000_077), RuleAttribute::Priority(5000)].to_vec();
    rule.attributes.extend_from_slice(selector);
    ask_route(RouteNetlinkMessage::NewRule(rule), NLM_F_CREATE | NLM_F_EXCL).map(|_| ())
}

fn local_sid(number: u16, behavior: Vec<RouteSeg6LocalTunnel>, interface: u32) -> io::Result<()> {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet6;
    route.header.destination_prefix_length = 48;
    route.header.table = 254;
    route.header.protocol = RouteProtocol::Static;
    route.header.kind = RouteType::Unicast;
    route.attributes = vec![
        RouteAttribute::Destination(RouteAddress::Inet6(Ipv6Addr::new(0xfc00, 0, number, 0, 0, 0, 0, 0))),
        RouteAttribute::Oif(interface),
        RouteAttribute::EncapType(RouteLwEnCapType::Seg6Local),
        RouteAttribute::Encap(behavior.into_iter().map(RouteLwTunnelEncap::Seg6Local).collect()),
    ];
    ask_route(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_refuses_is_told_with_the_remedy() {
        let refused = Some("Operation not supported".to_owned());
        let features = [("kernel.encap".to_owned(), refused.clone()), ("kernel.encap_red".to_owned(), None)];
        let tried = Tried { features: features.into() };
        let finding = judge(&FEATURES[0], &tried);
        assert_eq!(finding.status, Status::Failure);
        assert!(finding.message.contains("seg6 encap") && finding.message.contains("not supported"));
        assert!(finding.remedy.unwrap().contains("CONFIG_IPV6_SEG6_LWTUNNEL"));
        assert_eq!(judge(&FEATURES[1], &tried).status, Status::Ok);
    }

    #[test]
    fn without_a_namespace_the_configuration_decides() {
        let with = "CONFIG_LWTUNNEL=y\nCONFIG_IPV6_SEG6_LWTUNNEL=y\n";
        let without = "CONFIG_LWTUNNEL=y\n# CONFIG_IPV6_SEG6_LWTUNNEL is not set\n";
        for (configuration, status) in
            [(Some(with), Status::Note), (Some(without), Status::Failure), (None, Status::Warning)]
        {
            let finding = untried("unshare: Operation not permitted", configuration);
            assert_eq!(finding.status, status, "{finding:?}");
            assert!(finding.message.contains("Operation not permitted"));
        }
    }
}
