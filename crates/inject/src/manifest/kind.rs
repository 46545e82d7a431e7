//! Which documents have pods, and where in them.

use serde_json::Value;

use crate::pod::Source;

/// A workload, and where its pods are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workload {
    /// JSON pointer of the object, empty unless it is in a List.
    pub(crate) at: String,
    /// Which kind it is.
    pub(crate) kind: Kind,
    /// `metadata.name`, empty if it has none.
    pub(crate) name: String,
    /// Its pods.
    pub(crate) templates: Vec<Template>,
}

/// A pod, or a template of pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// JSON pointer in the document.
    pub(crate) at: String,
    /// The task, replica type or replicated job; empty where there is only one template.
    pub(crate) role: String,
}

/// Kinds that have pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    CronJob,
    DaemonSet,
    Deployment,
    Job,
    JobSet,
    MpiJob,
    Pod,
    PodTemplate,
    PyTorchJob,
    ReplicaSet,
    StatefulSet,
    VolcanoJob,
}

impl Kind {
    fn of(object: &Value) -> Option<Self> {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
        Some(match (group, text("kind")) {
            ("", "Pod") => Self::Pod,
            ("", "PodTemplate") => Self::PodTemplate,
            ("batch", "Job") => Self::Job,
            ("batch", "CronJob") => Self::CronJob,
            ("apps", "DaemonSet") => Self::DaemonSet,
            ("apps", "Deployment") => Self::Deployment,
            ("apps", "ReplicaSet") => Self::ReplicaSet,
            ("apps", "StatefulSet") => Self::StatefulSet,
            ("jobset.x-k8s.io", "JobSet") => Self::JobSet,
            ("kubeflow.org", "MPIJob") => Self::MpiJob,
            ("kubeflow.org", "PyTorchJob") => Self::PyTorchJob,
            ("batch.volcano.sh", "Job") => Self::VolcanoJob,
            _ => return None,
        })
    }

    /// As `kind:` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CronJob => "CronJob",
            Self::DaemonSet => "DaemonSet",
            Self::Deployment => "Deployment",
            Self::Job => "Job",
            Self::JobSet => "JobSet",
            Self::MpiJob => "MPIJob",
            Self::Pod => "Pod",
            Self::PodTemplate => "PodTemplate",
            Self::PyTorchJob => "PyTorchJob",
            Self::ReplicaSet => "ReplicaSet",
            Self::StatefulSet => "StatefulSet",
            Self::VolcanoJob => "Volcano Job",
        }
    }

    /// Pointers of the templates in the object.
    fn templates(self, object: &Value) -> Vec<Template> {
        let one = |at: &str| vec![Template { at: at.to_owned(), role: String::new() }];
        let listed = |list: &str, below: &str| {
            let entries = object.pointer(list).and_then(Value::as_array).into_iter().flatten();
            entries
                .enumerate()
                .map(|(number, entry)| Template {
                    at: format!("{list}/{number}{below}"),
                    role: entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
                })
                .collect()
        };
        let mapped = |mapping: &str| {
            let entries = object.pointer(mapping).and_then(Value::as_object);
            let roles = entries.into_iter().flat_map(|entries| entries.keys());
            roles
                .map(|role| Template {
                    at: format!("{mapping}/{}/template", role.replace('~', "~0").replace('/', "~1")),
                    role: role.clone(),
                })
                .collect()
        };
        match self {
            Self::Pod => one(""),
            Self::PodTemplate => one("/template"),
            Self::CronJob => one("/spec/jobTemplate/spec/template"),
            Self::JobSet => listed("/spec/replicatedJobs", "/template/spec/template"),
            Self::VolcanoJob => listed("/spec/tasks", "/template"),
            Self::MpiJob => mapped("/spec/mpiReplicaSpecs"),
            Self::PyTorchJob => mapped("/spec/pytorchReplicaSpecs"),
            _ => one("/spec/template"),
        }
    }
}

impl Workload {
    /// The workloads of a document: itself, or the items of a List.
    pub(crate) fn all_of(document: &Value) -> Vec<Self> {
        let is_list = document.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
        if is_list && let Some(items) = document.get("items").and_then(Value::as_array) {
            let items = items.iter().enumerate();
            return items.filter_map(|(number, item)| Self::of(item, &format!("/items/{number}"))).collect();
        }
        Self::of(document, "").into_iter().collect()
    }

    fn of(object: &Value, at: &str) -> Option<Self> {
        let kind = Kind::of(object)?;
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let templates = kind.templates(object).into_iter();
        let templates = templates
            .map(|template| Template { at: format!("{at}{}", template.at), role: template.role })
            .collect();
        Some(Self { at: at.to_owned(), kind, name, templates })
    }

    /// The job's name as its pods can know it; none: as the pod's own labels have it.
    pub(crate) fn job(&self) -> Option<Source> {
        let label = |label: &str| Some(Source::Field(format!("metadata.labels['{label}']")));
        match self.kind {
            Kind::Job | Kind::CronJob => label("batch.kubernetes.io/job-name"),
            Kind::JobSet => label("jobset.sigs.k8s.io/jobset-name"),
            Kind::MpiJob | Kind::PyTorchJob => label("training.kubeflow.org/job-name"),
            Kind::VolcanoJob => label("volcano.sh/job-name"),
            Kind::Pod | Kind::PodTemplate => None,
            _ if self.name.is_empty() => None,
            _ => Some(Source::Value(self.name.clone())),
        }
    }

    /// Whether pods of this template are to be steered at all: mpirun's own pod has no traffic of NCCL's.
    pub(crate) fn steers(&self, document: &Value, template: &Template) -> bool {
        let launches = self.kind == Kind::MpiJob && template.role == "Launcher";
        let works = document.pointer(&format!("{}/spec/runLauncherAsWorker", self.at));
        !launches || works == Some(&Value::Bool(true))
    }

    /// As messages name it: `Job/train, task worker`.
    pub(crate) fn title(&self, template: &Template) -> String {
        let name = if self.name.is_empty() { "(unnamed)" } else { &self.name };
        match template.role.as_str() {
            "" => format!("{}/{name}", self.kind.name()),
            role => format!("{}/{name}, {role}", self.kind.name()),
        }
    }
}
