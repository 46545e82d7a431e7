//! What the switches themselves say: probes with small hop limits, and the packets that come back quoted.
//!
//! The kernel copies the inner packet's hop limit to the tunnel (`seg6_do_srh_encap`), so the switch where it runs out
//! answers to this host and quotes the packet as it was there (RFC 4443 section 3.3): with the carrier that was left.
//! Only the owner of a uSID shifts it away (RFC 9800 section 4.1), so each quote proves which switches were passed, in
//! which order.

use std::io::{self, Read};
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};
use srv6_fabric::{Carrier, Segments, SidFormat};

use crate::echo::{NONCE, Series};

/// Longest wait for one switch's answer.
const PATIENCE: Duration = Duration::from_millis(300);

/// Probes per switch. Routers limit their errors, Linux to one a second and receiver after the first few
/// (`net.ipv6.icmp.ratelimit`): with several flows the last ones have to ask until a second is over.
const ATTEMPTS: u32 = 4;

/// ICMPv6 type "time exceeded".
const TIME_EXCEEDED: u8 = 3;

/// One switch's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Told {
    /// Switches that the probe had passed, the one that answered included.
    pub(crate) passed: usize,
    /// The destination that the packet had when it left that switch's local SID.
    pub(crate) carrier: Ipv6Addr,
}

/// Probes with hop limits from 1 to `switches`, up to the first switch that is silent: what is behind it proves nothing.
///
/// # Errors
/// No raw socket (CAP_NET_RAW), or nothing can be sent.
pub(crate) fn trace(series: &mut Series, switches: usize) -> io::Result<Vec<Told>> {
    let listener = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    let mut told = Vec::new();
    for passed in 1..=switches {
        let limit = u32::try_from(passed).map_err(io::Error::other)?;
        let mut carrier = None;
        for _ in 0..ATTEMPTS {
            series.send_limited(limit)?;
            carrier = answer(&listener, series.nonce())?;
            if carrier.is_some() {
                break;
            }
        }
        let Some(carrier) = carrier else { break };
        told.push(Told { passed, carrier });
    }
    Ok(told)
}

/// The carrier that a switch quotes; `None` if none does in time.
fn answer(listener: &Socket, nonce: [u8; NONCE]) -> io::Result<Option<Ipv6Addr>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        listener.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut buffer = [0; 2048];
        let mut reader = listener;
        match reader.read(&mut buffer) {
            Ok(length) => {
                if let Some(carrier) = buffer.get(..length).and_then(|message| quoted(message, nonce)) {
                    return Ok(Some(carrier));
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The outer destination of a quoted packet that ends in these bytes.
fn quoted(message: &[u8], nonce: [u8; NONCE]) -> Option<Ipv6Addr> {
    if message.first() != Some(&TIME_EXCEEDED) || !message.ends_with(&nonce) {
        return None;
    }
    let destination: [u8; 16] = *message.get(8 + 24..)?.first_chunk()?;
    Some(destination.into())
}

/// What the first, second, … switch of a path leaves of its only carrier; the last one decapsulates and is not among
/// them. `None` for several carriers, whose first ones are used up in between.
pub(crate) fn expected(segments: &Segments, switches: usize) -> Option<Vec<Ipv6Addr>> {
    let [only] = segments.as_slice() else { return None };
    let carrier = Carrier::unpack(*only, SidFormat::F3216).ok()?;
    (1..switches)
        .map(|passed| Some(Carrier::new(carrier.block(), carrier.usids().get(passed..)?).ok()?.address()))
        .collect()
}

/// How many of the first switches in a row have told what was expected; a different word is an error.
///
/// # Errors
/// What a switch said instead.
pub(crate) fn agreed(told: &[Told], expected: &[Ipv6Addr], hops: &[String]) -> Result<usize, String> {
    let mut agreed = 0;
    for (passed, wanted) in (1..).zip(expected) {
        let Some(word) = told.iter().find(|word| word.passed == passed) else { return Ok(agreed) };
        if word.carrier != *wanted {
            let name = hops.get(passed).map_or("a switch", String::as_str);
            return Err(format!(
                "switch {passed} of the way left {} of the carrier; {name} would have left {wanted}",
                word.carrier
            ));
        }
        agreed = passed;
    }
    Ok(agreed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<Ipv6Addr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn told(passed: usize, carrier: &str) -> Told {
        Told { passed, carrier: carrier.parse().unwrap() }
    }

    #[test]
    fn each_switch_shifts_its_usid_away() {
        let segments = Segments::new(addresses(&["fc00:0:1200:1001:1201:fe06::"])).unwrap();
        let left = addresses(&["fc00:0:1001:1201:fe06::", "fc00:0:1201:fe06::"]);
        assert_eq!(expected(&segments, 3), Some(left));
        let two = Segments::new(addresses(&["fc00:0:1200:1001::", "fc00:0:1201:fe06::"])).unwrap();
        assert_eq!(expected(&two, 3), None);
    }

    #[test]
    fn a_switch_may_be_silent_but_not_another_one() {
        let wanted = addresses(&["fc00:0:1001:1201:fe06::", "fc00:0:1201:fe06::"]);
        let hops = ["host00", "leaf00", "spine01", "leaf01", "host01"].map(str::to_owned);
        let first = told(1, "fc00:0:1001:1201:fe06::");
        let both = [first.clone(), told(2, "fc00:0:1201:fe06::")];
        assert_eq!(agreed(&both, &wanted, &hops), Ok(2));
        assert_eq!(agreed(&both[1..], &wanted, &hops), Ok(0));
        let strayed = [first, told(2, "fc00:0:1001:1201:fe06::")];
        assert!(
            agreed(&strayed, &wanted, &hops)
                .unwrap_err()
                .contains("spine01 would have left fc00:0:1201:fe06::")
        );
    }

    #[test]
    fn only_quotes_of_the_series_count() {
        let mut message = vec![TIME_EXCEEDED, 0, 0, 0, 0, 0, 0, 0];
        message.resize(8 + 24, 0);
        message.extend("fc00:0:1201::".parse::<Ipv6Addr>().unwrap().octets());
        message.extend([7; NONCE]);
        assert_eq!(quoted(&message, [7; NONCE]), Some("fc00:0:1201::".parse().unwrap()));
        assert_eq!(quoted(&message, [8; NONCE]), None);
        message[0] = 1;
        assert_eq!(quoted(&message, [7; NONCE]), None);
    }
}
