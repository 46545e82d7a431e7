//! What to add to a job.

use crate::names;

/// Who steers for the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The node's agent, a DaemonSet; the job's pods get its folder and no right.
    #[default]
    Node,
    /// An agent in each pod, a native sidecar with NET_ADMIN (Kubernetes 1.29).
    Sidecar,
}

/// How an injected pod looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Who steers.
    pub mode: Mode,
    /// Also preload the library that steers sockets which aren't NCCL's.
    pub shim: bool,
    /// Fail rather than go unsteered: `NCCL_NET=SRv6` and `SRV6_STRICT=1`.
    pub strict: bool,
    /// Names of the containers to steer; empty: those with a GPU among their resources.
    pub containers: Vec<String>,
    /// Image of the init container that brings the libraries.
    pub plugin_image: String,
    /// Image of the sidecar.
    pub agent_image: String,
    /// Variables for the steered containers, besides those that steering needs.
    pub env: Vec<(String, String)>,
    /// `JALAPENO_API_ENDPOINT`: for the sidecar if there is one, else for the steered containers.
    pub path_api: Option<String>,
    /// Variables for the sidecar: the agent's settings.
    pub agent_env: Vec<(String, String)>,
    /// A ConfigMap whose entries become the sidecar's environment.
    pub config_map: Option<String>,
    /// Replace values that the job sets itself.
    pub force: bool,
    /// Take pods with `hostNetwork: true`, with the multipath transport, whose routes have tables of their own.
    pub host_network: bool,
    /// Mount memory at `/dev/shm` where a steered container has nothing there.
    pub shm: bool,
    /// Name the plugin `srv6` and add its folder to `LD_LIBRARY_PATH`. NCCL before 2.21 and NCCL 2.27 want it so; others
    /// take its path.
    pub library_path: bool,
    /// Do what Volcano's plugin `pytorch` does.
    pub pytorch: Option<Pytorch>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Node,
            shim: false,
            strict: false,
            containers: Vec::new(),
            plugin_image: names::PLUGIN_IMAGE.to_owned(),
            agent_image: names::AGENT_IMAGE.to_owned(),
            env: Vec::new(),
            path_api: None,
            agent_env: Vec::new(),
            config_map: None,
            force: false,
            host_network: false,
            shm: true,
            library_path: false,
            pytorch: None,
        }
    }
}

/// Arguments of Volcano's plugin `pytorch`, with its defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pytorch {
    /// Name of the task, or workload, whose first pod is rank 0.
    pub master: String,
    /// Name of the task, or workload, of the other ranks.
    pub worker: String,
    /// Where rank 0 listens.
    pub port: u16,
    /// Whether workers wait in an init container until the master listens.
    pub wait: bool,
    /// How long they wait, in seconds.
    pub wait_timeout_s: u32,
    /// Image of that init container; none: `srv6ctl wait-master` of the plugin's image.
    pub wait_image: Option<String>,
}

impl Default for Pytorch {
    fn default() -> Self {
        Self {
            master: "master".to_owned(),
            worker: "worker".to_owned(),
            port: 23456,
            wait: false,
            wait_timeout_s: 300,
            wait_image: None,
        }
    }
}
