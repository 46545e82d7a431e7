//! Which ways of tying a socket to a path work in this process and network namespace. Changes nothing.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::socket::{AddressFamily, SetSockOpt, SockFlag, SockType, setsockopt, socket, sockopt::Mark};

use crate::{LaneRules, LinuxRoutes, Match, Pinning, RouteError, Slot};

/// A segment routing header of two segments, as `IPV6_RTHDR` takes it (RFC 8754 section 2): fixed part, then
/// 16 bytes per segment.
const HEADER_LEN: usize = 8 + 2 * 16;

/// What works here, and what the rest lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinningReport {
    /// Sending over paths by `SO_MARK`.
    pub mark: Ability,
    /// Sending over paths by the port a socket is bound to.
    pub ports: Ability,
    /// Sending over paths by a routing header on the socket. Whether the far side accepts it, only a connection tells.
    pub routing_header: Ability,
    /// Accepting what a peer sends with a routing header.
    pub accepts_routing_header: Ability,
}

impl PinningReport {
    /// Whether sending this way works.
    pub fn of(&self, pinning: Pinning) -> &Ability {
        match pinning {
            Pinning::Mark => &self.mark,
            Pinning::Ports => &self.ports,
            Pinning::RoutingHeader => &self.routing_header,
        }
    }
}

/// One thing that works, or why it doesn't.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ability {
    /// All that is missing; nothing if it works.
    pub missing: Vec<Missing>,
}

impl Ability {
    /// Whether nothing is missing.
    pub fn works(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Something without which a way of pinning doesn't work, with its remedy as text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// `SO_MARK` is refused.
    #[error(
        "marking a socket is refused ({}): this needs CAP_NET_RAW or CAP_NET_ADMIN (capabilities.add: [NET_RAW])",
        io::Error::from_raw_os_error(*errno)
    )]
    MarkPermission {
        /// The kernel's reason.
        errno: i32,
    },
    /// No rules, and none can be made.
    #[error(
        "no rules lead to the lane tables, and this process may not add them: this needs CAP_NET_ADMIN \
         (capabilities.add: [NET_ADMIN])"
    )]
    RulePermission,
    /// A kernel without policy routing.
    #[error("the kernel has no routing rules (CONFIG_IP_MULTIPLE_TABLES, CONFIG_IPV6_MULTIPLE_TABLES)")]
    RuleSupport,
    /// `IPV6_RTHDR` is refused.
    #[error(
        "a segment routing header on a socket is refused ({}): this needs IPv6 and kernel 4.10 or later",
        io::Error::from_raw_os_error(*errno)
    )]
    HeaderSupport {
        /// The kernel's reason.
        errno: i32,
    },
    /// Arriving packets with a routing header are dropped.
    #[error(
        "{setting} is off, so packets that come with a routing header are dropped: sysctl -w {setting}=1"
    )]
    HeaderAcceptance {
        /// The kernel setting, as `sysctl` calls it.
        setting: String,
    },
}

/// Looks what works in the calling thread's network namespace; `interface` is the one that peers' packets come in by.
///
/// Blocks for a few system calls. Rules that are in place already count as well as the permission to make them.
///
/// # Errors
/// No netlink socket to be had.
pub fn pinning(interface: Option<&str>) -> Result<PinningReport, RouteError> {
    let mut kernel = LinuxRoutes::new()?;
    let present = kernel.owned_rules().unwrap_or_default();
    let permission = match kernel.may_change_rules() {
        Ok(()) => None,
        Err(RouteError::NoRules { .. }) => Some(Missing::RuleSupport),
        Err(_) => Some(Missing::RulePermission),
    };
    let rules = |matches: Match| {
        let first = present.iter().any(|r| r.matches == matches && Some(r.slot) == Slot::new(0));
        if first { None } else { permission.clone() }
    };
    let mark = refused(AddressFamily::Inet6, Mark, &Slot::new(0).map_or(0, Slot::mark))
        // A namespace without IPv6 has IPv4 sockets.
        .and_then(|_| refused(AddressFamily::Inet, Mark, &Slot::new(0).map_or(0, Slot::mark)))
        .map(|errno| Missing::MarkPermission { errno });
    let header = refused(AddressFamily::Inet6, RoutingHeader, &probe_header())
        .map(|errno| Missing::HeaderSupport { errno });
    let ability =
        |missing: [Option<Missing>; 2]| Ability { missing: missing.into_iter().flatten().collect() };
    Ok(PinningReport {
        mark: ability([mark, rules(Match::Mark)]),
        ports: ability([rules(Match::SourcePorts), None]),
        routing_header: ability([header, None]),
        accepts_routing_header: Ability {
            missing: ["all"].into_iter().chain(interface).filter_map(not_accepting).collect(),
        },
    })
}

/// The kernel's refusal of a socket option, tried on a socket that nobody uses.
fn refused<O: SetSockOpt>(family: AddressFamily, option: O, value: &O::Val) -> Option<i32> {
    let made: nix::Result<OwnedFd> = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    made.and_then(|socket| setsockopt(&socket, option, value)).err().map(|errno| errno as i32)
}

fn not_accepting(interface: &str) -> Option<Missing> {
    let on = std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{interface}/seg6_enabled"))
        .is_ok_and(|text| text.trim() != "0");
    // A VLAN's dot is a slash to sysctl.
    let setting = format!("net.ipv6.conf.{}.seg6_enabled", interface.replace('.', "/"));
    (!on).then_some(Missing::HeaderAcceptance { setting })
}

/// A header that any kernel with SRv6 takes: type 4, one segment to go, the loopback address as waypoint.
fn probe_header() -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    // Next header, length behind the first 8 bytes in units of 8, type, segments left, last entry, flags, tag.
    header[..8].copy_from_slice(&[0, 4, 4, 1, 1, 0, 0, 0]);
    header[HEADER_LEN - 1] = 1;
    header
}

mod option {
    //! `IPV6_RTHDR` by the crate that has safe wrappers for the other socket options.
    use nix::{setsockopt_impl, sockopt_impl};

    sockopt_impl!(RoutingHeader, SetOnly, libc::IPPROTO_IPV6, libc::IPV6_RTHDR, [u8; super::HEADER_LEN]);
}

use option::RoutingHeader;
