//! What this process may do: routes, and the ways to pin a socket of the multipath transport to a path.

use srv6_routes::{Ability, PinningReport};

use super::finding::Finding;
use crate::config::Environment;

/// Bit of the effective set (`linux/capability.h`).
const CAP_NET_ADMIN: u32 = 12;

/// All checks of this module; `interface` is the data interface, if it is known.
pub(crate) fn check(environment: &Environment, interface: Option<&str>) -> Vec<Finding> {
    let capabilities = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let mut findings = vec![routes(has_capability(&capabilities, CAP_NET_ADMIN), environment)];
    match srv6_routes::pinning(interface) {
        Ok(report) => findings.extend(pinnings(&report)),
        Err(error) => {
            findings.push(Finding::note("pinning.mark", format!("ways of pinning can't be tried: {error}")));
        }
    }
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
    if environment.get("ROUTE_PLATFORM") == Some("vpp") {
        return Finding::note(
            CHECK,
            "no CAP_NET_ADMIN: flows from VPP's interfaces need none, others go unsteered",
        );
    }
    Finding::failure(
        CHECK,
        format!("no CAP_NET_ADMIN: this process may not install routes (SRV6_MODE={mode})"),
        "give it to the job (in a container, capabilities.add: [NET_ADMIN]; or run srv6ctl doctor as the job's user, if that \
         user has it)",
    )
}

/// One of the first three is enough for several paths at once.
fn pinnings(report: &PinningReport) -> Vec<Finding> {
    let PinningReport { mark, ports, routing_header, accepts_routing_header } = report;
    vec![
        pinning("pinning.mark", mark, "paths can be pinned by mark"),
        pinning("pinning.ports", ports, "paths can be pinned by source port"),
        pinning("pinning.routing_header", routing_header, "paths can be pinned by routing header"),
        pinning(
            "pinning.accepts",
            accepts_routing_header,
            "peers may pin paths to this host by routing header",
        ),
    ]
}

fn pinning(check: &'static str, ability: &Ability, works: &str) -> Finding {
    if ability.works() {
        return Finding::ok(check, works);
    }
    let missing: Vec<String> = ability.missing.iter().map(ToString::to_string).collect();
    Finding::note(check, missing.join("; "))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn without_the_capability_routes_are_a_failure_unless_off() {
        assert_eq!(routes(false, &Environment::default()).status, Status::Failure);
        assert_eq!(routes(false, &Environment::from([("SRV6_MODE", "off")])).status, Status::Note);
        assert_eq!(routes(false, &Environment::from([("ROUTE_PLATFORM", "vpp")])).status, Status::Note);
        assert_eq!(routes(true, &Environment::default()).status, Status::Ok);
    }

    #[test]
    fn capabilities_are_bits_of_the_effective_set() {
        let status = "CapPrm:\t0000000000000000\nCapEff:\t0000000000003000\n";
        assert!(has_capability(status, CAP_NET_ADMIN) && has_capability(status, 13));
        assert!(!has_capability(status, 0) && !has_capability("", CAP_NET_ADMIN));
    }

    /// Tests run as root of their own namespace, whose loopback takes no routing headers.
    #[test]
    fn what_is_missing_is_told_in_its_own_words() {
        let findings = pinnings(&srv6_routes::pinning(Some("lo")).unwrap());
        let of = |check| findings.iter().find(|f| f.check == check).unwrap();
        for check in ["pinning.mark", "pinning.ports", "pinning.routing_header"] {
            assert_eq!(of(check).status, Status::Ok, "{check}");
        }
        let accepts = of("pinning.accepts");
        assert_eq!(accepts.status, Status::Note);
        assert!(accepts.message.contains("net.ipv6.conf.lo.seg6_enabled"), "{accepts:?}");
    }
}
