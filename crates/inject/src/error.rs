//! Why a manifest can't be injected.

/// What is wrong with a manifest, or with what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Text that is no YAML.
    #[error("line {line}: {reason}")]
    Yaml {
        /// From 1, in the whole input.
        line: usize,
        /// The parser's words.
        reason: String,
    },
    /// YAML that is understood, but can't be edited without a risk.
    #[error("line {line}: {found}; want {want}")]
    Unsupported {
        /// From 1, in the whole input.
        line: usize,
        /// What is there.
        found: String,
        /// What would do.
        want: &'static str,
    },
    /// The edited text doesn't say what it should. Nothing was written.
    #[error("document {document}: the edited text would read differently; want the manifest in block style")]
    Unfaithful {
        /// From 1.
        document: usize,
    },
    /// A member that isn't what Kubernetes has there.
    #[error("{at}: want {want}")]
    Shape {
        /// Path of the member, such as `spec.containers`.
        at: String,
        /// What would be right.
        want: &'static str,
    },
    /// No container to steer.
    #[error(
        "no container has nvidia.com/gpu or amd.com/gpu among its resources; name the containers to steer (--containers)"
    )]
    NoGpu,
    /// A container that was asked for.
    #[error("no container {name:?}; there {}", one_of(known))]
    NoContainer {
        /// As asked.
        name: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// Nothing in the input has pods.
    #[error(
        "nothing here has pods; want a Pod, PodTemplate, Job, CronJob, Deployment, StatefulSet, DaemonSet, ReplicaSet, JobSet, \
         PyTorchJob, MPIJob, Volcano Job, or a List of them"
    )]
    NoPods,
    /// A pod in the network of its node.
    #[error(
        "hostNetwork: true: this pod's routes would be the node's own and steer whatever else runs there; take the pod off the host's \
         network, or have it use the multipath transport, whose routes have tables of their own (--host-network)"
    )]
    HostNetwork,
    /// The preload library in a pod in the network of its node.
    #[error(
        "hostNetwork: true with --shim: the preload library's routes would be the node's own; only NCCL's connections can be steered \
         in such a pod"
    )]
    HostNetworkShim,
    /// A name or path that injection needs, but the manifest uses.
    #[error("{what} {name:?} is taken by the manifest; injection needs it")]
    Taken {
        /// Volume, init container, mount or label.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A variable whose value isn't in the manifest.
    #[error(
        "container {container:?}: {name} takes its value from elsewhere (valueFrom); want a value that can be {doing}"
    )]
    ValueFrom {
        /// The container.
        container: String,
        /// The variable.
        name: String,
        /// Replaced or extended.
        doing: &'static str,
    },
    /// The annotation that removal needs.
    #[error("annotation {}: {reason}; want it as injection wrote it", crate::names::UNDO)]
    Undo {
        /// What is wrong with it.
        reason: String,
    },
    /// One of these, in a text of several documents.
    #[error("document {document} ({what})")]
    At {
        /// From 1.
        document: usize,
        /// The workload and the template.
        what: String,
        /// What is wrong there.
        #[source]
        source: Box<Error>,
    },
    /// What Volcano's plugin `pytorch` does can't be said in this manifest.
    #[error("{what}: {reason}")]
    Pytorch {
        /// The workload or task.
        what: String,
        /// Why, and what would do.
        reason: String,
    },
}

fn one_of(known: &[String]) -> String {
    match known {
        [] => "is none".to_owned(),
        known => format!("is {}", known.join(", ")),
    }
}
