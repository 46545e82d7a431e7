//! How a lab is built, beyond its topology.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A link rate in Mbit/s, 1 to 400 000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Mbps(u32);

/// A rate beyond what a link can be shaped to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rate {given:?}: want 1 to 400000 (Mbit/s)")]
pub struct RateError {
    given: String,
}

impl Mbps {
    const MAX: u32 = 400_000;

    /// A rate of this many Mbit/s.
    ///
    /// # Errors
    /// 0, or more than 400 000.
    pub fn new(mbps: u32) -> Result<Self, RateError> {
        if (1..=Self::MAX).contains(&mbps) {
            Ok(Self(mbps))
        } else {
            Err(RateError { given: mbps.to_string() })
        }
    }

    /// Mbit/s.
    pub fn get(self) -> u32 {
        self.0
    }

    /// Bytes that may pass at once.
    ///
    /// One millisecond's worth, but never less than a full GSO packet with its per-segment headers and a
    /// tunnel header (65 536 + about 7 000 bytes): a smaller bucket makes the kernel cut every such packet.
    pub(crate) fn burst(self) -> u64 {
        (u64::from(self.0) * 125).max(96 * 1024)
    }

    /// Bytes that may wait: 10 ms worth, and four bursts at least, so that TCP loses packets to a queue
    /// that is full and not to one that never had room for its window.
    pub(crate) fn queue(self) -> u64 {
        (u64::from(self.0) * 1250).max(4 * self.burst())
    }
}

impl TryFrom<u32> for Mbps {
    type Error = RateError;

    fn try_from(mbps: u32) -> Result<Self, RateError> {
        Self::new(mbps)
    }
}

impl From<Mbps> for u32 {
    fn from(rate: Mbps) -> Self {
        rate.0
    }
}

impl FromStr for Mbps {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let mbps = text.parse().map_err(|_| RateError { given: text.to_owned() })?;
        Self::new(mbps)
    }
}

impl fmt::Display for Mbps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Mbit/s", self.0)
    }
}

/// How links are shaped, packets are received and hosts send.
///
/// What an edge document says about its own link (`rate_mbps`, `mtu`) goes before the values here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Rate of each direction of a link between switches. Default: not shaped.
    pub rate_fabric: Option<Mbps>,
    /// Rate of each direction of a link between a switch and a host. Default: not shaped.
    pub rate_host: Option<Mbps>,
    /// MTU of every link in bytes, 1280 to 65535. Default: 1500.
    pub mtu: Option<u32>,
    /// Handle all packets that a node receives on one CPU. Default: on.
    ///
    /// Off, a chain of veths reorders packets inside a flow as soon as there are two CPUs, and TCP answers
    /// with hundreds of needless retransmissions per second.
    pub receive_steering: bool,
    /// TCP's congestion control in hosts, by name. Default: the machine's own, as every new network namespace has it.
    ///
    /// The kernel takes only one that `net.ipv4.tcp_allowed_congestion_control` names.
    #[serde(default)]
    pub congestion: Option<String>,
}

impl Options {
    /// MTU of a link that nobody says otherwise of, in bytes.
    pub const MTU: u32 = 1500;
}

impl Default for Options {
    fn default() -> Self {
        Self { rate_fabric: None, rate_host: None, mtu: None, receive_steering: true, congestion: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_holds_a_gso_packet_and_a_queue_four_bursts() {
        for mbps in [1, 100, 1_000, 100_000, 400_000] {
            let rate = Mbps::new(mbps).unwrap();
            assert!(rate.burst() >= 65_536 + 7_000, "{rate}");
            assert!(rate.queue() >= 4 * rate.burst(), "{rate}");
        }
        assert_eq!(Mbps::new(10_000).unwrap().queue(), 12_500_000, "10 ms of 10 Gbit/s");
    }

    #[test]
    fn rates_out_of_range_are_refused_by_name() {
        for text in ["0", "400001", "-1", "fast", ""] {
            let error = text.parse::<Mbps>().unwrap_err().to_string();
            assert_eq!(error, format!("rate {text:?}: want 1 to 400000 (Mbit/s)"));
        }
    }
}
