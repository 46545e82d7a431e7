//! VPP, where the settings say that there is one: whether it can be programmed, and which flows are its.

use std::net::{IpAddr, Ipv6Addr};

use srv6_routes::vpp::{VppConfig, VppRoutes};
use srv6_routes::{ByInterface, Dataplane};

use super::finding::Finding;
use crate::config::Environment;
use crate::dataplane;

/// What was found, and who steers flows from which address.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    pub(crate) findings: Vec<Finding>,
    both: Option<ByInterface>,
    vpp: Option<VppRoutes>,
}

/// Asks VPP, if there is one. Nothing is found where there is none to be asked.
pub(crate) fn check(environment: &Environment) -> Examined {
    const CHECK: &str = "vpp.api";
    let config = match dataplane::vpp(environment) {
        Ok(Some(config)) => config,
        Ok(None) => return Examined::default(),
        Err(error) => {
            let finding =
                Finding::failure(CHECK, format!("{error:#}"), "correct the setting (docs/CONFIG.md)");
            return Examined { findings: vec![finding], ..Examined::default() };
        }
    };
    let mut vpp = VppRoutes::new(config.clone());
    let found = vpp.version().and_then(|version| Ok((version, vpp.policies()?)));
    let finding = match found {
        Ok((version, policies)) => Finding::ok(
            CHECK,
            format!("VPP {version} at {}; {policies} policies in {}", config.socket.display(), config.range),
        ),
        Err(error) => {
            let finding = Finding::failure(CHECK, error.to_string(), remedy(&config));
            return Examined { findings: vec![finding], ..Examined::default() };
        }
    };
    let backend = environment.get("BACKEND_INTERFACE").map(str::to_owned);
    let both = ByInterface::new(config, backend).ok();
    Examined { findings: vec![finding], both, vpp: Some(vpp) }
}

fn remedy(config: &VppConfig) -> String {
    let socket = config.socket.display();
    format!("start VPP with socksvr {{ socket-name {socket} }}, or export SRV6_VPP_SOCKET")
}

impl Examined {
    /// Whether VPP has an interface of this name.
    pub(crate) fn has_interface(&mut self, name: &str) -> bool {
        self.vpp.as_mut().is_some_and(|vpp| vpp.interface_named(name).is_ok())
    }

    /// Whether flows from this address are VPP's.
    pub(crate) fn steers(&mut self, source: IpAddr) -> bool {
        self.both.as_mut().is_some_and(|both| both.is_vpps(source).unwrap_or(false))
    }

    /// Who steers flows from each of these addresses, and whether VPP has a way out for their outer packets.
    pub(crate) fn flows(&mut self, sources: &[IpAddr], carrier: Option<Ipv6Addr>) -> Vec<Finding> {
        if self.both.is_none() {
            return Vec::new();
        }
        let mut findings = Vec::new();
        for source in sources {
            let by = if self.steers(*source) { "VPP" } else { "the kernel" };
            findings.push(Finding::ok("vpp.flows", format!("flows from {source} are steered by {by}")));
        }
        if let (Some(carrier), Some(vpp)) = (carrier, &mut self.vpp) {
            findings.push(match vpp.reach(carrier) {
                Ok(Some(reach)) => Finding::ok(
                    "vpp.block",
                    format!("VPP routes carriers like {carrier} (a route of /{})", reach.prefix_len),
                ),
                Ok(None) => Finding::failure(
                    "vpp.block",
                    format!("VPP has no route to carrier {carrier}: packets would be lost"),
                    "vppctl ip route add BLOCK via GATEWAY INTERFACE",
                ),
                Err(error) => Finding::note("vpp.block", format!("VPP's routes can't be looked at: {error}")),
            });
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;
    use srv6_vpp_standin::{Offer, Setup, StandIn};

    fn standin(test: &str, setup: Setup) -> (StandIn, Environment) {
        let socket = std::env::temp_dir().join(format!("doctor-{}-{test}.sock", std::process::id()));
        let environment = Environment::from([("ROUTE_PLATFORM", "vpp")]);
        let environment = environment.with("SRV6_VPP_SOCKET", socket.to_str().unwrap());
        (StandIn::start(&socket, setup).unwrap(), environment)
    }

    #[test]
    fn without_vpp_there_is_nothing_to_say() {
        assert!(check(&Environment::default()).findings.is_empty());
    }

    #[test]
    fn a_vpp_that_cant_be_programmed_is_a_failure_with_a_remedy() {
        let (_standin, environment) =
            standin("without", Setup { offer: Offer::WithoutSegmentRouting, ..Setup::default() });
        let findings = check(&environment).findings;
        assert!(
            matches!(&findings[..], [f] if f.status == Status::Failure && f.message.contains("segment routing"))
        );
        let absent = environment.with("SRV6_VPP_SOCKET", "/nonexistent/api.sock");
        assert!(matches!(&check(&absent).findings[..], [f] if f.message.contains("/nonexistent/api.sock")));
    }

    #[test]
    fn each_source_is_told_with_its_dataplane() {
        let (standin, environment) = standin(
            "flows",
            Setup {
                interfaces: vec![("eth1".to_owned(), vec![("2001:db8:1000::2".parse().unwrap(), 64)])],
                ..Setup::default()
            },
        );
        let mut examined = check(&environment);
        assert_eq!(examined.findings[0].status, Status::Ok);
        assert!(examined.has_interface("eth1") && !examined.has_interface("eth7"));
        let sources = ["2001:db8:1000::2".parse().unwrap(), "127.0.0.1".parse().unwrap()];
        let findings = examined.flows(&sources, Some("fc00:0:1::".parse().unwrap()));
        let texts: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(
            texts[..2],
            [
                "flows from 2001:db8:1000::2 are steered by VPP",
                "flows from 127.0.0.1 are steered by the kernel"
            ]
        );
        assert!(texts[2].starts_with("VPP has no route to carrier fc00:0:1::"), "{texts:?}");
        assert!(standin.policies().is_empty());
    }
}
