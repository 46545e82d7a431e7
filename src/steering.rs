//! Who steers in this process: nobody, or srv6-steer's background thread.

use std::time::Duration;

use srv6_fabric::{Flow, chain};
use srv6_steer::{AgentSession, Attachment, Hold, Pinning, Status, Steer, SteerError, may_change_routes};

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

/// Longest wait for the agent's answer to whether it is there: init waits for it, so that the mode is known then.
const AGENT_PATIENCE: Duration = Duration::from_millis(500);

/// Starts what `SRV6_MODE` asks for; `None` if connections go unsteered.
///
/// The multipath transport may be content with routing headers on its sockets, for which nothing needs to be allowed.
///
/// # Errors
/// Mode local and it can't be; mode auto and strict and it can't be.
pub(crate) fn start(config: &Config) -> Result<Option<Steer>, Error> {
    let socket = config.agent.socket.display();
    let agent = match config.mode {
        Mode::Off => return Ok(None),
        // It may come later than the job.
        Mode::Agent => return attach(&config.agent).map(Some),
        Mode::Local => None,
        Mode::Auto => Some(answering(&config.agent)),
    };
    if let Some(Ok(version)) = &agent {
        log::info!("steered by the agent {version} at {socket}");
        return attach(&config.agent).map(Some);
    }
    let needs_no_route = config.transport == Choice::Multipath
        && matches!(config.multipath.terms.pinning, None | Some(Pinning::RoutingHeader));
    let hindrance = match (config.mode, &config.steering) {
        // Who may program VPP is told by its socket, flow by flow.
        (_, Some(steering))
            if steering.dry_run || steering.vpp.is_some() || needs_no_route || may_change_routes() =>
        {
            if let Some(Err(error)) = agent.filter(|_| config.agent.socket.exists()) {
                log::warn!("{}; this process installs its routes itself", chain(&error));
            }
            lifetime::register();
            return Steer::start(steering.clone()).map(Some).map_err(Error::Steering);
        }
        (Mode::Local, _) => return Err(Error::NotAllowed),
        (_, Some(_)) => format!(
            "no agent answers at {socket}, and this process may not install routes: start srv6d on the host, give the \
             process CAP_NET_ADMIN (in a container, capabilities.add: [NET_ADMIN]), or set SRV6_MODE=off"
        ),
        (_, None) => format!(
            "no agent answers at {socket}, and there is no source of paths: start srv6d on the host, set \
             JALAPENO_API_ENDPOINT or SRV6_TOPOLOGY, or SRV6_MODE=off to say that this is wanted"
        ),
    };
    if config.strict {
        return Err(Error::Strict { reason: hindrance });
    }
    log::warn!("connections go unsteered: {hindrance}");
    Ok(None)
}

fn attach(agent: &Attachment) -> Result<Steer, Error> {
    lifetime::register();
    Steer::attach(agent.clone()).map_err(Error::Steering)
}

/// The version of the agent that answers now.
fn answering(agent: &Attachment) -> Result<String, SteerError> {
    let session = AgentSession::open(&Attachment { deadline: AGENT_PATIENCE, ..agent.clone() })?;
    Ok(session.agent().to_owned())
}
