//! Whether a packet and its tunnel fit: the interface, the block route, and the path to a peer.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use srv6_fabric::{Block, Family, Path, Segments, Topology, VertexIndex, equal_cost_paths, segments};
use srv6_routes::{Dataplane, LinuxRoutes};

use super::finding::Finding;
use crate::config::Environment;
use crate::echo::{SMALL, Series};
use crate::interfaces::Interface;
use crate::path_source::PathSettings;

/// Bytes that the kernel keeps free for a tunnel, with reduced encapsulation too: an IPv6 header, a segment routing header
/// and its segments (kernel `seg6_iptunnel.c`).
pub(crate) fn headroom(segments: usize) -> usize {
    40 + 8 + 16 * segments
}

/// The smallest MTU that IPv6 works with (RFC 8200 section 5).
const MINIMUM: usize = 1280;

/// Longest wait for the answer to a probe.
const PATIENCE: Duration = Duration::from_millis(500);

/// A path from this host, to judge by.
#[derive(Debug)]
pub(crate) struct Example {
    path: Path,
    pub(super) segments: Segments,
}

/// A path that this host's flows could take, if the topology has one that can be written as a carrier.
///
/// # Errors
/// Why not.
pub(crate) fn example(
    topology: &Topology,
    settings: &PathSettings,
    (own, other): (VertexIndex, VertexIndex),
) -> Result<Example, String> {
    let path = equal_cost_paths(topology, own, other, 1).into_iter().next();
    let path = path.ok_or_else(|| "no path".to_owned())?;
    let family = topology.vertex(other).addresses.first().map_or(Family::V6, |&a| Family::of(a));
    let segments = segments(topology, &path, &settings.encoding(family)).map_err(|e| e.to_string())?;
    Ok(Example { path, segments })
}

/// Whether outer packets have a way out, and by the right interface.
pub(crate) fn block(example: &Example, interface: &Interface, environment: &Environment) -> Finding {
    const CHECK: &str = "route.block";
    let carrier = example.segments.first();
    let block = Block::of(carrier, srv6_fabric::SidFormat::F3216);
    let name = &interface.name;
    let gateway = environment.get("SRV6_GATEWAY");
    let remedy = format!("ip -6 route add {block} via GATEWAY dev {name}, or export SRV6_GATEWAY=GATEWAY");
    let reached = LinuxRoutes::new().and_then(|mut kernel| {
        let target = gateway.and_then(|g| g.parse::<Ipv6Addr>().ok()).unwrap_or(carrier);
        kernel.reach(target)
    });
    match (reached, gateway) {
        (Err(error), _) => {
            Finding::warning(CHECK, format!("the route to {block} can't be looked up: {error}"), remedy)
        }
        (Ok(None), Some(gateway)) => Finding::failure(
            CHECK,
            format!("SRV6_GATEWAY={gateway} can't be reached"),
            format!("export SRV6_GATEWAY with the switch's address on {name}"),
        ),
        (Ok(None), None) => {
            Finding::failure(CHECK, format!("no route to {block}: packets to carriers would be lost"), remedy)
        }
        (Ok(Some(reach)), _) if reach.interface != interface.index => Finding::warning(
            CHECK,
            format!(
                "carriers of {block} leave by another interface than {name} (a route of /{})",
                reach.prefix_len
            ),
            remedy,
        ),
        (Ok(Some(_)), Some(gateway)) => {
            Finding::ok(CHECK, format!("{gateway} is reached by {name}; the plugin routes {block} over it"))
        }
        (Ok(Some(reach)), None) if reach.prefix_len == 0 => {
            Finding::note(CHECK, format!("carriers of {block} leave by {name}, by its default route"))
                .remedy(remedy)
        }
        (Ok(Some(reach)), None) => Finding::ok(
            CHECK,
            format!("carriers of {block} leave by {name} (a route of /{})", reach.prefix_len),
        ),
    }
}

/// The MTU that the fabric is said to have, in bytes: the setting's, or the topology's.
pub(crate) fn believed(example: Option<(&Example, &Topology)>, environment: &Environment) -> Option<u32> {
    let told = environment.get("SRV6_FABRIC_MTU").and_then(|value| value.parse().ok());
    told.or_else(|| example.and_then(|(example, topology)| example.path.mtu(topology)))
}

/// Whether inner packets keep a usable size.
pub(crate) fn check(
    interface: &Interface,
    example: Option<(&Example, &Topology)>,
    environment: &Environment,
) -> Finding {
    const CHECK: &str = "interface.mtu";
    let name = &interface.name;
    let own = usize::try_from(interface.mtu).unwrap_or(usize::MAX);
    let needed = headroom(example.map_or(1, |(example, _)| example.segments.as_slice().len()));
    let fabric = believed(example, environment);
    let smallest = fabric.map_or(own, |mtu| own.min(usize::try_from(mtu).unwrap_or(usize::MAX)));
    let inner = smallest.saturating_sub(needed);
    if inner < MINIMUM {
        return Finding::failure(
            CHECK,
            format!("MTU {smallest} leaves {inner} bytes inside a tunnel of {needed}; IPv6 needs {MINIMUM}"),
            format!("ip link set {name} mtu 9000, on the switches too; {} is the least", MINIMUM + needed),
        );
    }
    match fabric {
        None => Finding::note(
            CHECK,
            format!(
                "MTU {own} on {name} leaves {inner} bytes inside a tunnel of {needed}; the fabric's is not known, and a smaller \
                 one stalls connections"
            ),
        )
        .remedy("export SRV6_FABRIC_MTU=BYTES, or say the links' mtu in the topology; --peer ADDRESS measures it"),
        Some(fabric) => Finding::ok(
            CHECK,
            format!("MTU {own} on {name}, {fabric} in the fabric: {inner} bytes inside a tunnel of {needed}"),
        ),
    }
}

/// Measures the path to a peer with packets that must not be fragmented. `believed` is what the fabric is said to take.
pub(crate) fn measure(source: IpAddr, peer: IpAddr, interface: &Interface, believed: Option<u32>) -> Finding {
    const CHECK: &str = "path.mtu";
    let mut series = match Series::open(source, peer, None) {
        Ok(series) => series,
        Err(error) => {
            return Finding::note(CHECK, format!("{peer} can't be probed from {source}: {error}"))
                .remedy("CAP_NET_RAW, or sysctl net.ipv4.ping_group_range");
        }
    };
    let mut passes = |size: usize| -> bool {
        // Twice: the first packet that is too large is lost, and only tells the kernel so.
        (0..2).any(|_| series.send(1, size, PATIENCE).is_ok_and(|outcome| outcome.answered == 1))
    };
    if !passes(SMALL) {
        return Finding::warning(
            CHECK,
            format!("{peer} doesn't answer echo requests from {source}"),
            "see whether it is up and its firewall lets them through; srv6ctl verify shows where packets end",
        );
    }
    let own = usize::try_from(interface.mtu).unwrap_or(usize::MAX);
    let largest = largest(SMALL, own, &mut passes);
    let wanted = believed.map_or(own, |mtu| usize::try_from(mtu).unwrap_or(own).min(own));
    if largest >= wanted {
        Finding::ok(CHECK, format!("packets of {largest} bytes reach {peer}"))
    } else if largest + headroom(1) >= wanted {
        // A route of ours is in place already: its tunnel takes the rest.
        Finding::ok(CHECK, format!("packets of {largest} bytes reach {peer} inside a tunnel"))
    } else {
        Finding::failure(
            CHECK,
            format!(
                "packets of {largest} bytes reach {peer}, larger ones don't, though {wanted} are believed to fit: TCP in a \
                     tunnel would stall"
            ),
            format!("export SRV6_FABRIC_MTU={largest}, or raise the MTU of the switches"),
        )
    }
}

/// The largest size that passes; `low` does.
fn largest(low: usize, high: usize, mut passes: impl FnMut(usize) -> bool) -> usize {
    if passes(high) {
        return high;
    }
    let (mut low, mut high) = (low, high);
    while high - low > 1 {
        let middle = usize::midpoint(low, high);
        if passes(middle) { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    fn interface(mtu: u32) -> Interface {
        Interface {
            name: "eth1".to_owned(),
            index: 2,
            mtu,
            up: true,
            running: true,
            loopback: false,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn the_tunnel_must_leave_room() {
        let plain = Environment::default();
        assert_eq!(check(&interface(1500), None, &plain).status, Status::Note);
        assert_eq!(check(&interface(1343), None, &plain).status, Status::Failure);
        let told = Environment::from([("SRV6_FABRIC_MTU", "1500")]);
        assert_eq!(check(&interface(1344), None, &told).status, Status::Ok);
        let small = Environment::from([("SRV6_FABRIC_MTU", "1300")]);
        let finding = check(&interface(9000), None, &small);
        assert_eq!(finding.status, Status::Failure);
        assert!(finding.message.contains("leaves 1236 bytes"), "{finding:?}");
    }

    #[test]
    fn the_largest_size_is_found() {
        for real in [120, 121, 1312, 1499, 1500] {
            let mut asked = 0;
            let found = largest(120, 1500, |size| {
                asked += 1;
                size <= real
            });
            assert_eq!(found, real);
            assert!(asked <= 12, "{asked} questions");
        }
    }

    #[test]
    fn loopback_takes_what_it_says() {
        let address = "::1".parse().unwrap();
        assert_eq!(measure(address, address, &interface(1500), None).status, Status::Ok);
    }
}
