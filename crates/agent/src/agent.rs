//! The agent's state.

use std::sync::Arc;
use std::time::Instant;

use srv6_paths::SharedSource;

use crate::home::AskedFrom;
use crate::{AgentError, Config, Denied, Drains, Hinting, Host, Hosts, Namespace, Registry};

/// One agent. What listens, probes and counts shares it by `Arc`.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    paths: SharedSource,
    hosts: Hosts,
    denied: Arc<Denied>,
    drains: Drains,
    registry: Arc<Registry>,
    hinting: Arc<Hinting>,
    started: Instant,
    /// The agent's own namespace is served from start to end: what a job of it left has to go some day.
    _own: Arc<Host>,
}

impl Agent {
    /// Opens the path source and begins to serve the calling thread's network namespace.
    ///
    /// # Errors
    /// A path source or dataplane that can't work at all.
    pub fn start(config: Config) -> Result<Self, AgentError> {
        let source = config.steering.open_source().map_err(AgentError::Source)?;
        let source = Box::new(AskedFrom { namespace: Namespace::own()?, source });
        // The shortest time between two refreshes, or one of two askers would make a question of its own.
        let paths = SharedSource::new(source, config.refresh.mul_f64(0.8));
        let denied = Arc::new(Denied::default());
        let drains = Drains::load(config.state.clone(), Arc::clone(&denied))?;
        let own = Namespace::own()?;
        let hosts = Hosts::new(config.steering.clone(), own.id(), paths.clone(), Arc::clone(&denied));
        let own = hosts.enter(own)?;
        let hinting = Arc::new(Hinting::start(&config));
        let registry = Registry::new(config.limits);
        Ok(Self {
            config,
            paths,
            hosts,
            denied,
            drains,
            registry,
            hinting,
            started: Instant::now(),
            _own: own,
        })
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The one source of paths.
    pub fn paths(&self) -> &SharedSource {
        &self.paths
    }

    /// The network namespaces that are served now.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// What flows keep off.
    pub fn denied(&self) -> &Arc<Denied> {
        &self.denied
    }

    /// What is drained.
    pub fn drains(&self) -> &Drains {
        &self.drains
    }

    /// Who is attached.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The hints that it gives.
    pub fn hinting(&self) -> &Arc<Hinting> {
        &self.hinting
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Lets every namespace follow the fabric as it is now; returns at once. The shared source is asked once for all of them.
    pub fn refresh(&self) {
        for host in self.hosts.all() {
            drop(host.steer().refresh());
        }
    }

    /// Removes what nobody has registered, in each namespace whose time of grace is over, and makes the file of drains again where
    /// somebody has removed it. To be called now and then.
    pub fn tidy(&self) {
        self.drains.restore();
        for host in self.hosts.all() {
            host.tidy_after(self.config.grace);
        }
    }
}
