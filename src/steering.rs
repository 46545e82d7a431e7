//! Who steers in this process: nobody, or srv6-steer's background thread.

use std::fs;
use std::time::Duration;

use srv6_fabric::Flow;
use srv6_steer::{Hold, Pinning, Status, Steer};

use crate::config::{Choice, Config, Mode};
use crate::connect::{Held, Steering};
use crate::error::Error;
use crate::lifetime;

impl Steering for Steer {
    fn request(&self, flow: Flow) -> Box<dyn Held> {
        Box::new(Self::request(self, flow))
    }

    fn settle(&self, patience: Duration) {
        Self::settle(self, patience);
    }
}

impl Held for Hold {
    fn status(&self) -> Status {
        Self::status(self)
    }
}

/// Starts what `SRV6_MODE` asks for; `None` if connections go unsteered.
///
/// The multipath transport may be content with routing headers on its sockets, for which nothing needs to be allowed.
///
/// # Errors
/// Mode local and it can't be; mode auto and strict and it can't be.
pub(crate) fn start(config: &Config) -> Result<Option<Steer>, Error> {
    let needs_no_route = config.transport == Choice::Multipath
        && matches!(config.multipath.terms.pinning, None | Some(Pinning::RoutingHeader));
    let hindrance = match (config.mode, &config.steering) {
        (Mode::Off, _) => return Ok(None),
        // Who may program VPP is told by its socket, flow by flow.
        (_, Some(steering))
            if steering.dry_run || steering.vpp.is_some() || needs_no_route || may_change_routes() =>
        {
            lifetime::register();
            return Steer::start(steering.clone()).map(Some).map_err(Error::Steering);
        }
        (Mode::Local, _) => return Err(Error::NotAllowed),
        (Mode::Auto, Some(_)) => {
            "this process may not install routes: give it CAP_NET_ADMIN (in a container, capabilities.add: \
             [NET_ADMIN]), or set SRV6_MODE=off"
        }
        (Mode::Auto, None) => {
            "no source of paths: set JALAPENO_API_ENDPOINT or SRV6_TOPOLOGY, or SRV6_MODE=off to say that this is \
             wanted"
        }
    };
    if config.strict {
        return Err(Error::Strict { reason: hindrance.to_owned() });
    }
    log::warn!("connections go unsteered: {hindrance}");
    Ok(None)
}

/// Whether this thread has CAP_NET_ADMIN (bit 12 of the effective set, `linux/capability.h`).
///
/// The background thread that installs routes inherits it.
fn may_change_routes() -> bool {
    const CAP_NET_ADMIN: u32 = 12;
    fs::read_to_string("/proc/thread-self/status").is_ok_and(|status| has_capability(&status, CAP_NET_ADMIN))
}

fn has_capability(status: &str, bit: u32) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_effective_set() {
        let status =
            |set: &str| format!("Name:\tpython\nCapInh:\tffffffffffffffff\nCapEff:\t{set}\nCapBnd:\t0\n");
        assert!(has_capability(&status("0000000000001000"), 12));
        assert!(has_capability(&status("000001ffffffffff"), 12));
        assert!(!has_capability(&status("0000000000000fff"), 12));
        assert!(!has_capability(&status("0000000000000000"), 12));
        assert!(!has_capability("", 12));
    }

    #[test]
    fn tests_run_as_root_of_a_namespace() {
        assert!(may_change_routes());
    }
}
