//! Who steers in this process: nobody, or srv6-steer's background thread.

use std::time::Duration;

use srv6_fabric::Flow;
use srv6_steer::{Hold, Pinning, Status, Steer, may_change_routes};

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
