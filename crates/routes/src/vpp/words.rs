//! What is programmed, as commands of VPP's command line.

use super::VppConfig;
use super::message::SegmentList;
use super::model::{Policy, bsid};
use crate::{Route, RouteKey, Target};

/// The commands that do what [`crate::Dataplane::set`] does where nothing is there yet. None for a route to a router, which VPP
/// doesn't get from us.
pub(crate) fn commands(config: &VppConfig, route: &Route) -> Vec<String> {
    let Target::Encap { segments, .. } = &route.target else { return Vec::new() };
    let source = match (config.source, route.source) {
        (Some(source), _) | (None, Some(std::net::IpAddr::V6(source))) => Some(source),
        _ => None,
    };
    let policy =
        Policy::new(source.unwrap_or(std::net::Ipv6Addr::UNSPECIFIED), vec![SegmentList::alone(segments)]);
    let bsid = bsid(config.range, &policy, 0);
    let next: String = segments.as_slice().iter().map(|segment| format!(" next {segment}")).collect();
    let source = source.map(|source| format!(" v6src {source}")).unwrap_or_default();
    let RouteKey { table, destination } = route.key;
    vec![
        format!("vppctl sr policy add bsid {bsid}{next} encap{source}"),
        format!("vppctl sr steer l3 {destination} via bsid {bsid} fib-table {table}"),
    ]
}

/// The command that does what [`crate::Dataplane::remove`] does; a policy without flows goes with it.
pub(crate) fn removal(key: &RouteKey) -> String {
    format!("vppctl sr steer del l3 {} fib-table {}", key.destination, key.table)
}

#[cfg(test)]
mod tests {
    use srv6_fabric::Segments;

    use super::*;
    use crate::EncapMode;

    #[test]
    fn commands_are_what_vppctl_takes() {
        let segments = ["fc00:0:1200:1001:1201:fe06::", "fc00:0:7::"].map(|s| s.parse().unwrap()).to_vec();
        let route = Route {
            key: RouteKey { table: 7, destination: "2001:db8:1001::2/128".parse().unwrap() },
            interface: 0,
            source: Some("2001:db8:1000::2".parse().unwrap()),
            mtu: None,
            target: Target::Encap { mode: EncapMode::Reduced, segments: Segments::new(segments).unwrap() },
        };
        let commands = commands(&VppConfig::default(), &route);
        let bsid = commands[0].split(' ').nth(5).unwrap();
        assert_eq!(
            commands,
            [
                format!(
                    "vppctl sr policy add bsid {bsid} next fc00:0:1200:1001:1201:fe06:: next fc00:0:7:: encap v6src 2001:db8:1000::2"
                ),
                format!("vppctl sr steer l3 2001:db8:1001::2/128 via bsid {bsid} fib-table 7"),
            ]
        );
        assert_eq!(removal(&route.key), "vppctl sr steer del l3 2001:db8:1001::2/128 fib-table 7");
    }
}
