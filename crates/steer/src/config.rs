//! What steering has to know.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use srv6_fabric::Policy;
use srv6_paths::{Jalapeno, JalapenoConfig, PathSource, TopologyFile};
use srv6_routes::EncapMode;
use srv6_routes::vpp::VppConfig;

use crate::SteerError;

/// Where paths come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Base address of a Jalapeno API, with or without `/api/v1`.
    Api(String),
    /// Topology file, list of files or folder.
    File(PathBuf),
}

/// The kernel's routing table that needs no rule.
const MAIN: u32 = 254;

/// Settings of one [`crate::Steer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where paths come from.
    pub source: Source,
    /// Edge collection that is searched.
    pub graph: String,
    /// Collection of hosts that come without one.
    pub hosts: String,
    /// Interface that routes name; the one with the flow's source address if not given.
    pub interface: Option<String>,
    /// Only log what would be done.
    pub dry_run: bool,
    /// The VPP of this host, for flows from its interfaces.
    pub vpp: Option<VppConfig>,
    /// Routing table id; VPP's where there is one.
    pub table: u32,
    /// Decapsulation function at the end of every carrier; the topology's if not given.
    pub function: Option<u32>,
    /// Which of several paths.
    pub policy: Policy,
    /// Flex-Algo.
    pub algo: u8,
    /// With or without the first segment in the header.
    pub encap: EncapMode,
    /// First switch: a route for the uSID block through it is installed.
    pub gateway: Option<IpAddr>,
    /// MTU of the fabric in bytes; the topology's if not given.
    pub mtu: Option<u32>,
    /// How long a flow may take from request to ready. Longer: a slow path API still counts; shorter: a dead
    /// one delays connects less.
    pub deadline: Duration,
}

impl Config {
    /// Defaults of all settings, for one source.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            graph: "fabric_graph".to_owned(),
            hosts: "hosts".to_owned(),
            interface: None,
            dry_run: false,
            vpp: None,
            table: MAIN,
            function: None,
            policy: Policy::Spread,
            algo: 0,
            encap: EncapMode::Reduced,
            gateway: None,
            mtu: None,
            deadline: Duration::from_secs(5),
        }
    }

    /// The same for a network namespace that no interface of VPP's belongs to: the kernel steers there, in its main table.
    pub fn without_vpp(&self) -> Self {
        match self.vpp {
            None => self.clone(),
            // The table and the interface that are named are VPP's.
            Some(_) => Self { vpp: None, table: MAIN, interface: None, ..self.clone() },
        }
    }

    /// Opens the source of paths; nothing is asked yet.
    ///
    /// # Errors
    /// An API address that is none.
    pub fn open_source(&self) -> Result<Box<dyn PathSource>, SteerError> {
        Ok(match &self.source {
            Source::Api(endpoint) => Box::new(Jalapeno::new(JalapenoConfig {
                endpoint: endpoint.clone(),
                graph: self.graph.clone(),
                hosts: self.hosts.clone(),
                // Leaves time for the next request of the same flow: a path takes two.
                request_timeout: self.deadline.mul_f64(0.6),
            })?),
            Source::File(path) => {
                Box::new(TopologyFile::new(path.clone(), self.graph.clone(), self.hosts.clone()))
            }
        })
    }
}
