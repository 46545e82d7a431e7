//! Names that manifests, images, packages and this crate agree on.

/// Image of the job's side: both libraries in [`LIB_DIR`], and `srv6ctl`, its entrypoint.
pub const PLUGIN_IMAGE: &str = concat!("nccl-net-srv6:", env!("CARGO_PKG_VERSION"));

/// Image of the agent: `srv6d`, its entrypoint, and `srv6ctl`, both in `/usr/bin`.
pub const AGENT_IMAGE: &str = concat!("srv6d:", env!("CARGO_PKG_VERSION"));

/// This version of the project.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where images and packages have the libraries.
pub const LIB_DIR: &str = "/usr/lib/nccl-net-srv6";

/// The plugin's file name, as NCCL looks for it.
pub const PLUGIN_FILE: &str = "libnccl-net-srv6.so";

/// The preload library's file name.
pub const SHIM_FILE: &str = "libsrv6-shim.so";

/// Where a job's containers have the libraries.
pub const MOUNT_DIR: &str = "/opt/srv6";

/// Where the agent's socket is, on the node and in a job's containers: the folder is mounted, since a restarted agent makes a new
/// socket in it.
pub const AGENT_DIR: &str = "/run/srv6";

/// The agent's socket.
pub const AGENT_SOCKET: &str = "/run/srv6/agent.sock";

/// Volume of [`MOUNT_DIR`].
pub const LIB_VOLUME: &str = "srv6-lib";

/// Volume of [`AGENT_DIR`].
pub const AGENT_VOLUME: &str = "srv6-agent";

/// Volume of `/dev/shm`, where the job mounts none itself.
pub const SHM_VOLUME: &str = "srv6-shm";

/// Init container that puts the libraries into [`MOUNT_DIR`].
pub const INSTALL_CONTAINER: &str = "srv6-install";

/// The agent as a native sidecar.
pub const AGENT_CONTAINER: &str = "srv6-agent";

/// Init container that waits for the master, by the name that Volcano's plugin gives it, so that it adds no second one.
pub const WAIT_CONTAINER: &str = "wait-for-master";

/// Container port of the master's store, by the name that Volcano's plugin gives it.
pub const MASTER_PORT_NAME: &str = "pytorchjob-port";

/// Annotation of an injected pod: the version that injected it.
pub const INJECTED_VERSION: &str = "nccl-net-srv6/injected-version";

/// Annotation of an injected pod: the plugin's version, as the tag of its image says it.
pub const PLUGIN_VERSION: &str = "nccl-net-srv6/plugin-version";

/// Annotation of an injected pod: what was added and what it replaced, as JSON, for removal.
pub const UNDO: &str = "nccl-net-srv6/undo";

/// Label of an injected pod: who steers it, `node` or `sidecar`. By it injected pods are found, and a sidecar's pod is let in to
/// the path server.
pub const STEERED_BY: &str = "nccl-net-srv6/steered-by";

/// Label that asks the webhook for injection, with the value `true`.
pub const INJECT_LABEL: &str = "nccl-net-srv6/inject";

/// Namespace of the manifests.
pub const NAMESPACE: &str = "srv6-system";
