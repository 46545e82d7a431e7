//! How much payload a shaped link carries after all headers.
//!
//! A tbf shaper counts what leaves by the interface: the Ethernet header is in, frame check sequence, preamble and gap
//! are not (`qdisc_pkt_len` in net/core/dev.c), and of a GSO packet the headers of each segment are in
//! (`qdisc_pkt_len_init`). A test of the lab compares its counter with this arithmetic.

/// A link's rate and MTU, and what packets look like on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Wire {
    /// Bits per second.
    rate: f64,
    /// Bytes of payload in each frame.
    payload: u32,
    /// Bytes of each frame.
    frame: u32,
}

const ETHERNET: u32 = 14;
const IPV6: u32 = 40;
/// With time stamps (RFC 7323), which Linux always has on: 20 + 12.
const TCP: u32 = 32;

/// What the kernel keeps free in a packet that it will encapsulate: IPv6 header, SRH and one segment, even where the
/// reduced encapsulation then needs the IPv6 header only (`seg6_lwt_headroom` in net/ipv6/seg6_iptunnel.c).
const HEADROOM: u32 = 40 + 8 + 16;

impl Wire {
    /// TCP over IPv6 without a tunnel.
    pub(crate) fn plain(mbps: u32, mtu: u32) -> Self {
        let payload = mtu - IPV6 - TCP;
        Self { rate: f64::from(mbps) * 1e6, payload, frame: ETHERNET + mtu }
    }

    /// TCP over IPv6 inside IPv6, one carrier and the reduced encapsulation: no SRH.
    pub(crate) fn steered(mbps: u32, mtu: u32) -> Self {
        let payload = mtu - HEADROOM - IPV6 - TCP;
        Self { rate: f64::from(mbps) * 1e6, payload, frame: ETHERNET + IPV6 + IPV6 + TCP + payload }
    }

    /// Bytes of payload that a link carries per second.
    pub(crate) fn bytes_per_s(self) -> f64 {
        self.rate / 8.0 * f64::from(self.payload) / f64::from(self.frame)
    }

    /// Bits of payload per second, in millions.
    pub(crate) fn mbps(self) -> f64 {
        self.bytes_per_s() * 8.0 / 1e6
    }

    /// The same wire at another rate, in Mbit/s.
    pub(crate) fn at(self, mbps: f64) -> Self {
        Self { rate: mbps * 1e6, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_counted_as_the_shaper_does() {
        // 1428 of 1514 bytes, and 1364 of 14 + 40 + 40 + 32 + 1364 = 1490.
        let plain = Wire::plain(200, 1500);
        assert_eq!((plain.payload, plain.frame), (1428, 1514));
        assert!((plain.mbps() - 188.639).abs() < 0.001, "{}", plain.mbps());
        let steered = Wire::steered(200, 1500);
        assert_eq!((steered.payload, steered.frame), (1364, 1490));
        assert!((steered.mbps() - 183.087).abs() < 0.001, "{}", steered.mbps());
        assert!((steered.bytes_per_s() - 22_885_906.0).abs() < 1.0, "{}", steered.bytes_per_s());
        assert!((steered.at(50.0).mbps() - 45.772).abs() < 0.001);
    }
}
