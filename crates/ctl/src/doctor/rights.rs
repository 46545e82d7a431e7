//! What this process may do: routes, and the ways to pin a socket of the multipath transport to a path.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

use super::finding::Finding;
use crate::config::Environment;

/// Bits of the effective set (`linux/capability.h`).
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;

/// All checks of this module; `interface` is the data interface, if it is known.
pub(crate) fn check(environment: &Environment, interface: Option<&str>) -> Vec<Finding> {
    let capabilities = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let has = |bit| has_capability(&capabilities, bit);
    let admin = has(CAP_NET_ADMIN);
    let mut findings = vec![routes(admin, environment)];
    findings.push(mark(set_mark(), has(CAP_NET_RAW)));
    findings.push(ports(admin));
    findings.push(routing_header(set_routing_header(), interface.map(accepts_routing_headers)));
    findings
}

fn has_capability(status: &str, bit: u32) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set >> bit & 1 == 1)
}

fn routes(admin: bool, environment: &Environment) -> Finding {
    const CHECK: &str = "rights.routes";
    if admin {
        return Finding::ok(CHECK, "CAP_NET_ADMIN: this process may install routes");
    }
    let mode = environment.get("SRV6_MODE").unwrap_or("auto");
    if mode == "off" {
        return Finding::note(
            CHECK,
            "no CAP_NET_ADMIN, and none is needed with SRV6_MODE=off: nothing is steered",
        );
    }
    Finding::failure(
        CHECK,
        format!("no CAP_NET_ADMIN: this process may not install routes (SRV6_MODE={mode})"),
        "give it to the job (in a container, capabilities.add: [NET_ADMIN]; or run srv6ctl doctor as the job's user, if that \
         user has it)",
    )
}

fn mark(tried: io::Result<()>, raw: bool) -> Finding {
    const CHECK: &str = "pinning.mark";
    match tried {
        Ok(()) => Finding::ok(CHECK, "sockets may be marked (SO_MARK)"),
        Err(error) => Finding::note(
            CHECK,
            format!(
                "sockets can't be marked (SO_MARK: {error}{})",
                if raw { "" } else { "; no CAP_NET_RAW" }
            ),
        )
        .remedy("capabilities.add: [NET_RAW], if paths of the multipath transport shall be pinned by mark"),
    }
}

fn ports(admin: bool) -> Finding {
    const CHECK: &str = "pinning.ports";
    if admin {
        Finding::ok(CHECK, "rules by source port may be installed (CAP_NET_ADMIN)")
    } else {
        Finding::note(CHECK, "rules by source port can't be installed by this process (no CAP_NET_ADMIN)")
    }
}

fn routing_header(tried: io::Result<()>, accepts: Option<bool>) -> Finding {
    const CHECK: &str = "pinning.routing_header";
    match (tried, accepts) {
        (Err(error), _) => Finding::note(CHECK, format!("sockets can't have a segment routing header (IPV6_RTHDR: {error})"))
            .remedy("a kernel with CONFIG_IPV6_SEG6_LWTUNNEL, if paths shall be pinned by routing header"),
        (Ok(()), Some(false)) => Finding::note(
            CHECK,
            "sockets may have a segment routing header, but this host drops those that arrive (seg6_enabled=0)",
        )
        .remedy(
            "only if peers pin paths by routing header: sysctl net.ipv6.conf.all.seg6_enabled=1 and the data interface's",
        ),
        (Ok(()), Some(true)) => Finding::ok(CHECK, "sockets may have a segment routing header, and those that arrive are taken"),
        (Ok(()), None) => Finding::ok(CHECK, "sockets may have a segment routing header (IPV6_RTHDR)"),
    }
}

fn set_mark() -> io::Result<()> {
    Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?.set_mark(0x5352_0000)
}

/// Whether packets with a routing header for this host are taken: both settings must be on (kernel `exthdrs.c`).
fn accepts_routing_headers(interface: &str) -> bool {
    ["all", interface].iter().all(|name| {
        let path = format!("/proc/sys/net/ipv6/conf/{name}/seg6_enabled");
        std::fs::read_to_string(path).is_ok_and(|value| value.trim() == "1")
    })
}

/// Gives a throw-away socket a segment routing header of one carrier (RFC 8754 section 2: last segment first; the kernel
/// fills the final one in).
fn set_routing_header() -> io::Result<()> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    // Next header, length in units of 8 bytes beyond the first, type 4, segments left, last entry, flags, tag.
    let mut header = vec![0, 4, 4, 1, 1, 0, 0, 0];
    header.extend(Ipv6Addr::UNSPECIFIED.octets());
    header.extend(Ipv6Addr::new(0xfc00, 0, 1, 2, 0, 0, 0, 0).octets());
    let length = libc::socklen_t::try_from(header.len()).map_err(io::Error::other)?;
    // SAFETY: setsockopt's contract: the value is readable for the length given with it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_RTHDR,
            header.as_ptr().cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn without_the_capability_routes_are_a_failure_unless_off() {
        assert_eq!(routes(false, &Environment::default()).status, Status::Failure);
        assert_eq!(routes(false, &Environment::from([("SRV6_MODE", "off")])).status, Status::Note);
        assert_eq!(routes(true, &Environment::default()).status, Status::Ok);
    }

    #[test]
    fn capabilities_are_bits_of_the_effective_set() {
        let status = "CapPrm:\t0000000000000000\nCapEff:\t0000000000003000\n";
        assert!(has_capability(status, CAP_NET_ADMIN) && has_capability(status, CAP_NET_RAW));
        assert!(!has_capability(status, 0) && !has_capability("", CAP_NET_ADMIN));
    }

    /// Tests run as root of their own namespace.
    #[test]
    fn marks_and_routing_headers_are_really_tried() {
        assert_eq!(mark(set_mark(), true).status, Status::Ok);
        assert_eq!(routing_header(set_routing_header(), None).status, Status::Ok);
        let refused = io::Error::from_raw_os_error(libc::EPERM);
        assert!(mark(Err(refused), false).message.contains("no CAP_NET_RAW"));
        assert!(!accepts_routing_headers("lo"));
    }
}
