//! Who steers in this process: nobody, or srv6-steer's background thread.

use std::time::Duration;

use srv6_fabric::Flow;
use srv6_steer::{Hold, Status, Steer, may_change_routes};

use crate::config::{Config, Mode};
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
/// # Errors
/// Mode local and it can't be; mode auto and strict and it can't be.
pub(crate) fn start(config: &Config) -> Result<Option<Box<dyn Steering>>, Error> {
    let hindrance = match (config.mode, &config.steering) {
        (Mode::Off, _) => return Ok(None),
        // Who may program VPP is told by its socket, flow by flow.
        (_, Some(steering)) if steering.dry_run || steering.vpp.is_some() || may_change_routes() => {
            lifetime::register();
            let steer = Steer::start(steering.clone()).map_err(Error::Steering)?;
            return Ok(Some(Box::new(steer)));
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
