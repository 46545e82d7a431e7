//! Settings of the multipath transport.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use srv6_fabric::Family;
use srv6_settings::Reader;
use srv6_transport::{Congestion, MAX_PATHS, Share};

use super::GUARD;
use crate::multipath::{Rules, Settings, Terms};

/// What concerns the multipath transport only, and NCCL's own settings, for it to choose interfaces as NCCL's
/// Socket does.
pub(super) fn read(reader: &mut Reader, strict: bool, deadline: Duration, dry_run: bool) -> Settings {
    let rules = Rules {
        names: reader.text("NCCL_SOCKET_IFNAME"),
        // NCCL takes only these two, and so ignores anything else.
        family: match reader.text("NCCL_SOCKET_FAMILY").as_deref() {
            Some("AF_INET") => Some(Family::V4),
            Some("AF_INET6") => Some(Family::V6),
            _ => None,
        },
        root: reader.text("NCCL_COMM_ID").and_then(|id| root_address(&id)),
    };
    let pinning = match reader.text("SRV6_PINNING").as_deref() {
        None | Some("auto") => None,
        Some(_) => reader.parsed("SRV6_PINNING"),
    };
    let config = srv6_transport::Config {
        paths: reader.number("SRV6_PATHS", 1..=MAX_PATHS, 4),
        dead_after: Duration::from_millis(reader.number("SRV6_DEAD_MS", 1000..=600_000, 10_000)),
        congestion: congestion(reader, "SRV6_CONGESTION"),
        zero_copy: reader.number("SRV6_ZERO_COPY", 0..=1, 1) == 1,
        ..srv6_transport::Config::default()
    };
    let terms = Terms { strict, patience: deadline + GUARD, pinning, dry_run };
    let hints = reader.text("SRV6_HINTS").map(PathBuf::from);
    Settings { rules, config, shares: shares(reader, "SRV6_WEIGHTS"), hints, terms }
}

/// One that the kernel gives to this process.
fn congestion(reader: &mut Reader, name: &'static str) -> Option<Congestion> {
    Congestion::named(&reader.text(name)?).map_or_else(|why| reader.refuse_because(name, why, None), Some)
}

/// Shares of subflows: `WEIGHT`, `@LIMIT` in Mbit/s or `WEIGHT@LIMIT`, separated by commas.
fn shares(reader: &mut Reader, name: &'static str) -> Vec<Share> {
    let Some(text) = reader.text(name) else { return Vec::new() };
    let shares: Option<Vec<Share>> = text.split(',').map(|share| parse_share(share.trim())).collect();
    match shares {
        Some(shares) if shares.len() <= MAX_PATHS => shares,
        _ => reader.refuse(name, Vec::new()),
    }
}

fn parse_share(text: &str) -> Option<Share> {
    let (weight, limit) = text.split_once('@').map_or((text, None), |(weight, limit)| (weight, Some(limit)));
    let cap = match limit {
        // Mbit/s into bytes per second.
        Some(limit) => Some(limit.parse::<u64>().ok().filter(|&mbps| mbps > 0)?.checked_mul(125_000)?),
        None => None,
    };
    let weight = match weight {
        "" if cap.is_some() => None,
        weight => Some(weight.parse().ok().filter(|&weight: &u16| weight <= 1000)?),
    };
    Some(Share { weight, cap })
}

/// The address in NCCL_COMM_ID: `10.0.0.1:4000` or `[2001:db8::1]:4000`. A name is NCCL's to resolve.
fn root_address(id: &str) -> Option<IpAddr> {
    let host = id.rsplit_once(':').map_or(id, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_weights_and_limits() {
        let shares = |text: &str| {
            let mut reader = Reader::of_environment([("SRV6_WEIGHTS", text)]);
            let shares = shares(&mut reader, "SRV6_WEIGHTS");
            reader.finish(shares).ok()
        };
        let share = |weight, cap| Share { weight, cap };
        assert_eq!(shares(""), Some(vec![]));
        assert_eq!(shares("4, 0"), Some(vec![share(Some(4), None), share(Some(0), None)]));
        assert_eq!(
            shares("@8,2@1000"),
            Some(vec![share(None, Some(1_000_000)), share(Some(2), Some(125_000_000))])
        );
        for wrong in ["1001", "-1", "a", "1,", ",", "@", "1@0", "1@-5", "1@x", "1,1,1,1,1,1,1,1,1"] {
            assert_eq!(shares(wrong), None, "{wrong}");
        }
    }
}
