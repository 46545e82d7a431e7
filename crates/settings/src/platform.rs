//! Where routes go: the kernel, VPP, or nowhere.

use std::net::Ipv6Addr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use srv6_fabric::Prefix;
use srv6_routes::vpp::VppConfig;

use crate::Reader;

/// `ROUTE_PLATFORM` and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Only log what would be done.
    pub dry_run: bool,
    /// The VPP of this host.
    pub vpp: Option<VppConfig>,
    /// Routing table id; VPP's where there is one.
    pub table: u32,
}

/// The kernel's `main`.
const MAIN: u32 = 254;

/// The table that every VPP has.
const VPP_DEFAULT: u32 = 0;

/// Lengths of a prefix that leave room to number policies, and for others' prefixes.
const RANGE_LENGTHS: RangeInclusive<u8> = 16..=112;

/// Longest that VPP may take for one answer; a connect waits for several.
const LONGEST_ANSWER: Duration = Duration::from_secs(2);

impl Platform {
    /// Takes it from `reader`. `connect_timeout` is how long a connection waits for its path, which VPP must not take alone.
    pub fn read(reader: &mut Reader, connect_timeout: Duration) -> Self {
        let (dry_run, named) = match reader.text("ROUTE_PLATFORM").as_deref() {
            None | Some("linux") => (false, false),
            Some("vpp") => (false, true),
            // Which of the two is spoken of tells the socket.
            Some("none") => (true, reader.text("SRV6_VPP_SOCKET").is_some()),
            Some(_) => reader.refuse("ROUTE_PLATFORM", (false, false)),
        };
        let vpp = Self::vpp(reader, connect_timeout);
        if !named {
            return Self { dry_run, vpp: None, table: reader.number("ROUTE_TABLE_ID", 1..=u32::MAX, MAIN) };
        }
        if reader.text("SRV6_GATEWAY").is_some() {
            reader.refuse_because(
                "SRV6_GATEWAY",
                "VPP's tables don't tell whose a route is; unset it, and add the route to the uSID block in VPP",
                (),
            );
        }
        if reader.text("SRV6_ENCAP").as_deref() == Some("encap") {
            reader.refuse_because(
                "SRV6_ENCAP",
                "VPP never adds a routing header where one carrier is enough; unset it",
                (),
            );
        }
        let table = reader.number("ROUTE_TABLE_ID", VPP_DEFAULT..=u32::MAX - 1, VPP_DEFAULT);
        Self { dry_run, vpp: Some(vpp), table }
    }

    /// Read whether or not there is a VPP, so that mistakes are found.
    fn vpp(reader: &mut Reader, connect_timeout: Duration) -> VppConfig {
        let default = VppConfig::default();
        let range = reader.parsed::<Prefix>("SRV6_VPP_BSID_PREFIX").unwrap_or(default.range);
        let range = if range.address().is_ipv6() && RANGE_LENGTHS.contains(&range.length()) {
            range
        } else {
            reader.refuse("SRV6_VPP_BSID_PREFIX", default.range)
        };
        VppConfig {
            socket: reader.text("SRV6_VPP_SOCKET").map_or(default.socket, PathBuf::from),
            range,
            source: reader.parsed::<Ipv6Addr>("SRV6_VPP_ENCAP_SOURCE"),
            timeout: (connect_timeout / 2).min(LONGEST_ANSWER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mistakes;

    fn read(variables: &[(&str, &str)]) -> Result<Platform, Mistakes> {
        let mut reader = Reader::of_environment(variables.iter().copied());
        let platform = Platform::read(&mut reader, Duration::from_secs(5));
        reader.finish(platform)
    }

    #[test]
    fn vpp_has_a_socket_a_range_and_tables_of_its_own() {
        let platform = read(&[("ROUTE_PLATFORM", "vpp")]).unwrap();
        assert_eq!(platform, Platform { dry_run: false, vpp: Some(VppConfig::default()), table: 0 });
        let platform = read(&[
            ("ROUTE_PLATFORM", "vpp"),
            ("SRV6_VPP_SOCKET", "/run/vpp/other.sock"),
            ("SRV6_VPP_BSID_PREFIX", "2001:db8:b51d::/96"),
            ("SRV6_VPP_ENCAP_SOURCE", "2001:db8:1000::2"),
            ("ROUTE_TABLE_ID", "7"),
        ])
        .unwrap();
        let vpp = VppConfig {
            socket: "/run/vpp/other.sock".into(),
            range: "2001:db8:b51d::/96".parse().unwrap(),
            source: Some("2001:db8:1000::2".parse().unwrap()),
            ..VppConfig::default()
        };
        assert_eq!(platform, Platform { dry_run: false, vpp: Some(vpp), table: 7 });
    }

    #[test]
    fn without_vpp_its_settings_change_nothing_but_a_dry_run() {
        let linux = Platform { dry_run: false, vpp: None, table: 254 };
        assert_eq!(read(&[("SRV6_VPP_SOCKET", "/run/vpp/api.sock")]).unwrap(), linux);
        let dry = read(&[("ROUTE_PLATFORM", "none"), ("SRV6_VPP_SOCKET", "/run/vpp/api.sock")]).unwrap();
        assert_eq!(dry, Platform { dry_run: true, vpp: Some(VppConfig::default()), table: 0 });
        assert_eq!(read(&[("ROUTE_PLATFORM", "none")]).unwrap(), Platform { dry_run: true, ..linux });
    }

    #[test]
    fn what_vpp_cant_do_is_a_mistake() {
        for (name, value) in [
            ("SRV6_GATEWAY", "fe80::1"),
            ("SRV6_ENCAP", "encap"),
            ("SRV6_VPP_BSID_PREFIX", "fd00::/120"),
            ("SRV6_VPP_BSID_PREFIX", "10.0.0.0/16"),
            ("SRV6_VPP_ENCAP_SOURCE", "10.0.0.1"),
            ("ROUTE_TABLE_ID", "4294967295"),
        ] {
            let text = read(&[("ROUTE_PLATFORM", "vpp"), (name, value)]).unwrap_err().to_string();
            assert!(text.starts_with(&format!("{name}={value:?}: ")), "{text}");
        }
    }
}
