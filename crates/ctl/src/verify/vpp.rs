//! What VPP steers: read back from VPP, and compared with the topology. Nothing is sent.

use std::net::IpAddr;

use anyhow::Context;
use srv6_fabric::{Flow, Segments};
use srv6_routes::vpp::message::SegmentList;
use srv6_routes::vpp::{VppConfig, VppRoutes};
use srv6_routes::{Dataplane, Route};

use super::verdict::Evidence;
use super::{Standard, Wanted, chosen};
use crate::decode::decode;

/// Everything that can be known of VPP's flows without sending.
///
/// # Errors
/// VPP can't be asked.
pub(super) fn read(
    config: VppConfig,
    standard: &Standard,
    wanted: &[Wanted],
) -> anyhow::Result<Vec<Evidence>> {
    let mut vpp = VppRoutes::new(config);
    let routes = vpp.owned().context("reading what VPP steers")?;
    chosen(&routes, wanted).iter().map(|route| evidence(&mut vpp, route, standard, wanted)).collect()
}

fn evidence(
    vpp: &mut VppRoutes,
    route: &Route,
    standard: &Standard,
    wanted: &[Wanted],
) -> anyhow::Result<Evidence> {
    let destination = route.key.destination.address();
    let mut evidence = Evidence { destination: Some(destination), ..Evidence::default() };
    let found = vpp.policy_of(&route.key).with_context(|| format!("reading the policy of {destination}"))?;
    let Some((bsid, policy)) = found else {
        evidence.contradictions.push("it was taken away a moment ago".to_owned());
        return Ok(evidence);
    };
    evidence.policy = Some(bsid);
    // VPP steers by destination alone. The policy has the source of outer packets, which is the flow's unless a setting or
    // IPv4 makes it another one of the host's.
    let named = wanted.iter().filter(|flow| flow.destination == destination).find_map(|flow| flow.source);
    let outer = IpAddr::V6(policy.source);
    evidence.source = named.or_else(|| destination.is_ipv6().then_some(outer));
    let flow = Flow { src: named.unwrap_or(outer), dst: destination };
    evidence.contradictions.extend(vpp.takes(flow, &route.key).err().map(|error| error.to_string()));
    let any_path = standard.any_path || policy.lists.len() > 1;
    for SegmentList { segments, .. } in &policy.lists {
        evidence.segments.extend(segments.iter().map(ToString::to_string));
        let segments = Segments::new(segments.clone()).context("a policy of ours without segments")?;
        let lost = vpp.reach_from(flow.src, segments.first()).err().map(|error| error.to_string());
        evidence.contradictions.extend(lost.filter(|reason| !evidence.contradictions.contains(reason)));
        if let Some((topology, settings)) = &standard.fabric {
            let decoded = decode(topology, settings, flow, &segments);
            evidence.contradictions.extend(decoded.contradiction(&segments, settings.policy, any_path));
            evidence.is_path = decoded.path.is_some();
            if evidence.hops.is_empty() {
                evidence.hops = decoded.hops;
            }
        }
    }
    Ok(evidence)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use srv6_fabric::Prefix;
    use srv6_routes::{EncapMode, RouteKey, Target};
    use srv6_vpp_standin::{Setup, StandIn};

    use super::super::verdict::{Verdict, judge};
    use super::*;
    use crate::config::Environment;
    use crate::path_source::{PathSettings, Place};

    /// By spine01, which is what the policy spread gives from host00 to host01.
    const OWN: &str = "fc00:0:1200:1001:1201:fe06::";

    fn standard(any_path: bool) -> Standard {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics/4x4.json");
        let settings = PathSettings::at(Place::File(file), &Environment::default()).unwrap();
        Standard { fabric: Some((settings.topology().unwrap(), settings)), any_path }
    }

    fn steered(test: &str, carrier: &str, ways: bool) -> (StandIn, VppConfig) {
        let way = (0, "fc00::/32".parse().unwrap(), "2001:db8:1000::1".parse().unwrap(), 1);
        let setup = Setup {
            interfaces: vec![("eth1".to_owned(), vec![("2001:db8:1000::2".parse().unwrap(), 64)])],
            routes: if ways { vec![way] } else { Vec::new() },
            ..Setup::default()
        };
        let socket = std::env::temp_dir().join(format!("verify-{}-{test}.sock", std::process::id()));
        let standin = StandIn::start(&socket, setup).unwrap();
        let config = VppConfig { socket, ..VppConfig::default() };
        let destination: IpAddr = "2001:db8:1001::2".parse().unwrap();
        let segments = Segments::new(vec![carrier.parse().unwrap()]).unwrap();
        let route = Route {
            key: RouteKey { table: 0, destination: Prefix::host(destination) },
            interface: 1,
            source: Some("2001:db8:1000::2".parse().unwrap()),
            mtu: None,
            target: Target::Encap { mode: EncapMode::Reduced, segments },
        };
        VppRoutes::new(config.clone()).set(&route).unwrap();
        (standin, config)
    }

    #[test]
    fn what_vpp_has_is_consistent_where_it_is_the_policys_path() {
        let (standin, config) = steered("right", OWN, true);
        let mut found = read(config, &standard(false), &[]).unwrap();
        let judged = judge(found.remove(0));
        assert!(found.is_empty());
        let bsid = *standin.policies().keys().next().unwrap();
        assert_eq!((judged.verdict, judged.policy), (Verdict::Consistent, Some(bsid)));
        assert_eq!(
            judged.to_string(),
            format!(
                "CONSISTENT  2001:db8:1000::2 -> 2001:db8:1001::2  host00 > leaf00 > spine01 > leaf01 > host01  VPP's policy \
                 {bsid} was read back; no probe can be sent"
            )
        );
    }

    #[test]
    fn what_differs_is_told() {
        let differences = |test: &str, carrier: &str, ways: bool, any_path: bool| {
            let (_standin, config) = steered(test, carrier, ways);
            let judged = judge(read(config, &standard(any_path), &[]).unwrap().remove(0));
            assert_eq!(judged.verdict == Verdict::Consistent, judged.differences.is_empty());
            judged.differences.join("; ")
        };
        let other = "fc00:0:1200:1003:1201:fe06::";
        let text = differences("other", other, true, false);
        assert!(text.contains("gives host00 > leaf00 > spine01 > leaf01 > host01"), "{text}");
        assert_eq!(differences("any", other, true, true), "");
        let text = differences("none", "fc00:0:1200:9999:1201:fe06::", true, true);
        assert!(text.contains("are no path of the topology now"), "{text}");
        let text = differences("lost", OWN, false, false);
        assert!(text.contains("VPP has no route to carrier"), "{text}");
    }

    #[test]
    fn a_destination_that_somebody_else_took_is_not_ours() {
        let (standin, config) = steered("taken", OWN, true);
        let foreign = "2001:db8:b51d::1".parse().unwrap();
        standin.foreign_policy(foreign, &["fc00:0:1::".parse().unwrap()]);
        standin.foreign_steering(0, "2001:db8:1001::2/128".parse().unwrap(), foreign);
        let standard = Standard { fabric: None::<(Arc<_>, _)>, any_path: false };
        assert!(read(config, &standard, &[]).unwrap().is_empty());
    }
}
