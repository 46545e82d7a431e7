//! The dataplanes of this host: the kernel, and VPP where the plugin's settings say that there is one.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use anyhow::Context;
use srv6_fabric::Prefix;
use srv6_routes::vpp::{VppConfig, VppRoutes};
use srv6_routes::{ByInterface, Dataplane, LinuxRoutes, Route};

use crate::config::Environment;

/// The VPP that `ROUTE_PLATFORM=vpp` and what belongs to it mean; `None` without.
///
/// # Errors
/// A value that the plugin would refuse too.
pub(crate) fn vpp(environment: &Environment) -> anyhow::Result<Option<VppConfig>> {
    if environment.get("ROUTE_PLATFORM") != Some("vpp") {
        return Ok(None);
    }
    let mut config = VppConfig::default();
    if let Some(socket) = environment.get("SRV6_VPP_SOCKET") {
        config.socket = PathBuf::from(socket);
    }
    if let Some(text) = environment.get("SRV6_VPP_BSID_PREFIX") {
        config.range = text.parse::<Prefix>().with_context(|| format!("SRV6_VPP_BSID_PREFIX={text}"))?;
    }
    if let Some(text) = environment.get("SRV6_VPP_ENCAP_SOURCE") {
        let source = text.parse::<Ipv6Addr>();
        config.source =
            Some(source.with_context(|| format!("SRV6_VPP_ENCAP_SOURCE={text}: want an IPv6 address"))?);
    }
    Ok(Some(config))
}

/// Everything that steers on this host, as one.
///
/// # Errors
/// A wrong setting, or no netlink socket.
pub(crate) fn open(environment: &Environment) -> anyhow::Result<Box<dyn Dataplane>> {
    let backend = environment.get("BACKEND_INTERFACE").map(str::to_owned);
    Ok(match vpp(environment)? {
        Some(config) => Box::new(ByInterface::new(config, backend)?),
        None => Box::new(LinuxRoutes::new()?),
    })
}

/// All routes of ours, each with the name of its dataplane.
///
/// # Errors
/// A dataplane that can't be asked.
pub(crate) fn routes(environment: &Environment) -> anyhow::Result<Vec<(&'static str, Route)>> {
    let kernel = LinuxRoutes::new()?.owned().context("reading the kernel's routes")?;
    let mut all: Vec<_> = kernel.into_iter().map(|route| ("linux", route)).collect();
    if let Some(config) = vpp(environment)? {
        let steered = VppRoutes::new(config).owned().context("reading what VPP steers")?;
        all.extend(steered.into_iter().map(|route| ("vpp", route)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_platform_makes_a_vpp() {
        assert_eq!(vpp(&Environment::from([("SRV6_VPP_SOCKET", "/run/vpp/api.sock")])).unwrap(), None);
        let platform = Environment::from([("ROUTE_PLATFORM", "vpp")]);
        assert_eq!(vpp(&platform).unwrap(), Some(VppConfig::default()));
        let config = vpp(&platform.clone().with("SRV6_VPP_BSID_PREFIX", "2001:db8::/48")).unwrap().unwrap();
        assert_eq!(config.range.to_string(), "2001:db8::/48");
        let error = vpp(&platform.with("SRV6_VPP_ENCAP_SOURCE", "10.0.0.1")).unwrap_err();
        assert!(error.to_string().contains("SRV6_VPP_ENCAP_SOURCE=10.0.0.1"), "{error}");
    }
}
