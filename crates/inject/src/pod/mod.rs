//! Injection into one pod, or into the pod template of a workload.

mod env;
mod parts;
mod record;

use serde_json::{Map, Value, json};

pub(crate) use env::{Source, Variable, variables};
pub(crate) use record::{Record, is_our_volume, name_of};

use crate::{Error, Mode, Options, Report, State, names};

/// What a pod's workload says about it.
pub(crate) struct Place<'a> {
    /// The job's name, for `SRV6_JOB`; none: as the pod's labels have it.
    pub(crate) job: Option<Source>,
    /// Its part in a job of PyTorch.
    pub(crate) member: Option<Member>,
    /// The value of a container's variable as the manifest spells it.
    pub(crate) quoted: &'a dyn Fn(&str, &str) -> Option<String>,
}

/// What a pod of a job of PyTorch gets, as Volcano's plugin `pytorch` gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// For every container.
    pub(crate) env: Vec<Variable>,
    /// Where the master listens; none: no container port is added.
    pub(crate) port: Option<u16>,
    /// The init container that waits for the master.
    pub(crate) wait: Option<Value>,
    /// `spec.subdomain`, unless the pod has one.
    pub(crate) subdomain: Option<String>,
    /// The workload's pods are to begin at 1.
    pub(crate) ordinals: bool,
}

impl Place<'_> {
    /// Of a pod of which nothing is known but itself.
    fn nowhere() -> Self {
        Self { job: None, member: None, quoted: &|_, _| None }
    }
}

/// Labels that name a pod's job, the surest first.
const JOB_LABELS: [&str; 5] = [
    "volcano.sh/job-name",
    "training.kubeflow.org/job-name",
    "jobset.sigs.k8s.io/jobset-name",
    "batch.kubernetes.io/job-name",
    "job-name",
];

/// Injects into a pod, or a pod template: an object with `spec` and, as a rule, `metadata`. What an earlier injection added is
/// taken out first, so doing it twice is doing it once. An error leaves the pod as it was.
///
/// # Errors
/// No container to steer, names taken, a pod that must not be steered, or one that isn't a pod.
pub fn inject_pod(pod: &mut Value, options: &Options) -> Result<Report, Error> {
    inject_placed(pod, options, &Place::nowhere())
}

/// As [`inject_pod`], with what the pod's workload says.
///
/// # Errors
/// As there.
pub(crate) fn inject_placed(pod: &mut Value, options: &Options, place: &Place<'_>) -> Result<Report, Error> {
    let mut new = pod.clone();
    remove_pod(&mut new)?;
    let report = add(&mut new, options, place)?;
    *pod = new;
    Ok(report)
}

/// Takes out what injection added, and puts back what it replaced. Gives whether the pod was injected.
///
/// # Errors
/// The pod's record of its injection can't be read.
pub fn remove_pod(pod: &mut Value) -> Result<bool, Error> {
    let record = Record::of(pod)?;
    if let Some(record) = &record {
        record.undo(pod)?;
    }
    Ok(record.is_some())
}

/// Whether a pod is injected as these options ask for it.
///
/// # Errors
/// As [`inject_pod`].
pub fn check_pod(pod: &Value, options: &Options) -> Result<State, Error> {
    check_placed(pod, options, &Place::nowhere())
}

/// As [`check_pod`], with what the pod's workload says.
///
/// # Errors
/// As there.
pub(crate) fn check_placed(pod: &Value, options: &Options, place: &Place<'_>) -> Result<State, Error> {
    let mut wanted = pod.clone();
    inject_placed(&mut wanted, options, place)?;
    let annotation = |pod: &Value, name: &str| {
        let text = pod.pointer("/metadata/annotations").and_then(|all| all.get(name)?.as_str());
        text.map(str::to_owned)
    };
    let versions = [names::INJECTED_VERSION, names::PLUGIN_VERSION];
    Ok(match versions.map(|name| annotation(pod, name)) {
        [None, _] => State::Missing,
        found if found != versions.map(|name| annotation(&wanted, name)) => {
            let [by, plugin] = found.map(|version| version.unwrap_or_else(|| "?".to_owned()));
            State::Version { found: format!("injected by {by}, plugin {plugin}") }
        }
        _ if *pod == wanted => State::Current,
        _ => State::Different,
    })
}

/// The containers to steer.
///
/// # Errors
/// None is there, or a named one isn't.
pub(crate) fn steered(pod: &Value, options: &Options) -> Result<Vec<String>, Error> {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let containers =
        containers.ok_or_else(|| Error::Shape { at: "spec.containers".to_owned(), want: "a list" })?;
    let mut known = Vec::new();
    for (number, container) in containers.iter().enumerate() {
        let name = name_of(container)
            .ok_or_else(|| Error::Shape { at: format!("spec.containers[{number}].name"), want: "a name" })?;
        known.push(name.to_owned());
    }
    if let Some(name) = options.containers.iter().find(|name| !known.contains(name)) {
        return Err(Error::NoContainer { name: name.clone(), known });
    }
    if !options.containers.is_empty() {
        return Ok(options.containers.clone());
    }
    let gpu: Vec<_> =
        containers.iter().zip(known).filter(|(one, _)| has_gpu(one)).map(|(_, name)| name).collect();
    if gpu.is_empty() { Err(Error::NoGpu) } else { Ok(gpu) }
}

fn has_gpu(container: &Value) -> bool {
    ["limits", "requests"].iter().any(|kind| {
        let amounts = container.get("resources").and_then(|resources| resources.get(kind)?.as_object());
        amounts.is_some_and(|amounts| {
            amounts.keys().any(|name| {
                name == "nvidia.com/gpu" || name == "amd.com/gpu" || name.starts_with("nvidia.com/mig-")
            })
        })
    })
}

fn add(pod: &mut Value, options: &Options, place: &Place<'_>) -> Result<Report, Error> {
    let mut report = Report { containers: steered(pod, options)?, notes: Vec::new() };
    let job = place.job.clone().unwrap_or_else(|| job_of(pod));
    let mut record = Record::default();
    let Some(pod) = pod.as_object_mut() else {
        return Err(Error::Shape { at: "the pod".to_owned(), want: "an object" });
    };
    let spec = object(pod, "spec", "spec")?;
    if spec.get("hostNetwork") == Some(&Value::Bool(true)) {
        if !options.host_network {
            return Err(Error::HostNetwork);
        }
        if options.shim {
            return Err(Error::HostNetworkShim);
        }
    }
    free(spec)?;
    let group = run_as_group(spec, &report.containers);
    let mut any_shm = false;
    let containers = spec.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten();
    for container in containers {
        let Some(name) = name_of(container).map(str::to_owned) else { continue };
        let Some(container) = container.as_object_mut() else { continue };
        let steer = report.containers.contains(&name);
        let member = place.member.as_ref();
        let mut wanted: Vec<Variable> = member.map(|member| member.env.clone()).unwrap_or_default();
        if steer {
            wanted.extend(env::of_steering(options, &job));
        }
        if !wanted.is_empty() {
            env::set(container, &name, &wanted, (options.force, place), &mut record, &mut report.notes)?;
        }
        if let Some(port) = member.and_then(|member| member.port) {
            add_port(container, &name, port, &mut record)?;
        }
        if steer {
            let shm = options.shm && !mounts_at(container, "/dev/shm");
            any_shm |= shm;
            list(container, "volumeMounts", &format!("{name}/"), &mut record)?.extend(parts::mounts(shm));
        }
    }
    if let Some(member) = &place.member {
        record.ordinals = member.ordinals;
        if let (Some(subdomain), false) = (&member.subdomain, spec.contains_key("subdomain")) {
            spec.insert("subdomain".to_owned(), json!(subdomain));
            record.subdomain = true;
        }
    }
    add_init(spec, options, place, group, &mut record)?;
    list(spec, "volumes", "", &mut record)?.extend(parts::volumes(options, any_shm));
    annotate(pod, options, record)?;
    Ok(report)
}

/// Init containers: ours first, since the job's own may need what they bring; the wait last, as Volcano's plugin has it.
fn add_init(
    spec: &mut Map<String, Value>,
    options: &Options,
    place: &Place<'_>,
    group: Option<u64>,
    record: &mut Record,
) -> Result<(), Error> {
    let init = list(spec, "initContainers", "", record)?;
    let mut ours = vec![parts::install(options)];
    if options.mode == Mode::Sidecar {
        ours.push(parts::agent(options, group));
    }
    record.init.extend(ours.iter().filter_map(name_of).map(str::to_owned));
    init.splice(0..0, ours);
    if let Some(wait) = place.member.as_ref().and_then(|member| member.wait.as_ref())
        && !init.iter().any(|one| name_of(one) == Some(names::WAIT_CONTAINER))
    {
        init.push(wait.clone());
        record.init.push(names::WAIT_CONTAINER.to_owned());
    }
    Ok(())
}

fn add_port(
    container: &mut Map<String, Value>,
    name: &str,
    port: u16,
    record: &mut Record,
) -> Result<(), Error> {
    let ports = list(container, "ports", &format!("{name}/"), record)?;
    if ports.iter().any(|one| one.get("containerPort").and_then(Value::as_u64) == Some(u64::from(port))) {
        return Ok(());
    }
    ports.push(json!({ "name": names::MASTER_PORT_NAME, "containerPort": port }));
    record.ports.entry(name.to_owned()).or_default().push(port);
    Ok(())
}

fn annotate(pod: &mut Map<String, Value>, options: &Options, mut record: Record) -> Result<(), Error> {
    if !pod.contains_key("metadata") {
        pod.shift_insert(0, "metadata".to_owned(), json!({}));
        record.made.push("metadata".to_owned());
    }
    let metadata = object(pod, "metadata", "metadata")?;
    if !metadata.contains_key("labels") {
        metadata.insert("labels".to_owned(), json!({}));
        record.made.push("labels".to_owned());
    }
    let labels = object(metadata, "labels", "metadata.labels")?;
    if labels.contains_key(names::STEERED_BY) {
        return Err(Error::Taken { what: "label", name: names::STEERED_BY.to_owned() });
    }
    let mode = match options.mode {
        Mode::Node => "node",
        Mode::Sidecar => "sidecar",
    };
    labels.insert(names::STEERED_BY.to_owned(), json!(mode));
    record.label = true;
    if !metadata.contains_key("annotations") {
        metadata.insert("annotations".to_owned(), json!({}));
        record.made.push("annotations".to_owned());
    }
    let annotations = object(metadata, "annotations", "metadata.annotations")?;
    let plugin = version_of(&options.plugin_image);
    let undo = record.to_text();
    for (name, value) in
        [(names::INJECTED_VERSION, names::VERSION), (names::PLUGIN_VERSION, plugin), (names::UNDO, &undo)]
    {
        annotations.insert(name.to_owned(), Value::from(value));
    }
    Ok(())
}

/// The tag of an image, or its digest; `latest` if it has neither.
fn version_of(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once('@').or_else(|| name.split_once(':')).map_or("latest", |(_, version)| version)
}

/// The job's name: the first label that says it, else the workload that owns the pod, else the pod's own name.
fn job_of(pod: &Value) -> Source {
    let labels = pod.pointer("/metadata/labels");
    let label = JOB_LABELS.iter().find(|label| labels.is_some_and(|labels| labels.get(**label).is_some()));
    match (label, owner_of(pod)) {
        (Some(label), _) => Source::Field(format!("metadata.labels['{label}']")),
        (None, Some(owner)) => Source::Value(owner),
        (None, None) => Source::Field("metadata.name".to_owned()),
    }
}

/// The workload whose pod this is, by the name that its manifest has, so that all of its pods are one job.
fn owner_of(pod: &Value) -> Option<String> {
    let owners = pod.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    let (kind, name) = (owner.get("kind")?.as_str()?, name_of(owner)?);
    match kind {
        "StatefulSet" | "DaemonSet" => Some(name.to_owned()),
        "ReplicaSet" => {
            // A Deployment's ReplicaSet is called by its pods' hash besides.
            let hash = pod.pointer("/metadata/labels/pod-template-hash").and_then(Value::as_str);
            let deployment = hash.and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'));
            Some(deployment.unwrap_or(name).to_owned())
        }
        _ => None,
    }
}

/// Whether the names and paths that injection needs are free.
fn free(spec: &Map<String, Value>) -> Result<(), Error> {
    let entries = |key: &str| spec.get(key).and_then(Value::as_array).into_iter().flatten();
    let taken = |what, name: &str| Error::Taken { what, name: name.to_owned() };
    if let Some(name) = entries("volumes").filter_map(name_of).find(|name| is_our_volume(name)) {
        return Err(taken("volume", name));
    }
    let is_ours = |name: &&str| [names::INSTALL_CONTAINER, names::AGENT_CONTAINER].contains(name);
    if let Some(name) =
        entries("initContainers").chain(entries("containers")).filter_map(name_of).find(is_ours)
    {
        return Err(taken("container", name));
    }
    for container in entries("containers").filter_map(Value::as_object) {
        for path in [names::MOUNT_DIR, names::AGENT_DIR] {
            if mounts_at(container, path) {
                return Err(taken("mount path", path));
            }
        }
    }
    Ok(())
}

fn mounts_at(container: &Map<String, Value>, path: &str) -> bool {
    let mounts = container.get("volumeMounts").and_then(Value::as_array);
    mounts.into_iter().flatten().any(|mount| {
        mount.get("mountPath").and_then(Value::as_str).map(|at| at.trim_end_matches('/')) == Some(path)
    })
}

/// The group that the steered containers run as, if the manifest says so.
fn run_as_group(spec: &Map<String, Value>, steered: &[String]) -> Option<u64> {
    let of = |object: &Value| object.get("securityContext")?.get("runAsGroup")?.as_u64();
    let containers = spec.get("containers").and_then(Value::as_array).into_iter().flatten();
    containers
        .filter(|one| name_of(one).is_some_and(|name| steered.iter().any(|steered| steered == name)))
        .find_map(of)
        .or_else(|| spec.get("securityContext")?.get("runAsGroup")?.as_u64())
}

fn object<'a>(
    parent: &'a mut Map<String, Value>,
    key: &str,
    at: &str,
) -> Result<&'a mut Map<String, Value>, Error> {
    let found = parent.get_mut(key).and_then(Value::as_object_mut);
    found.ok_or_else(|| Error::Shape { at: at.to_owned(), want: "a mapping" })
}

/// A member that is a list, made if it isn't there; `prefix` says whose it is in the record.
fn list<'a>(
    parent: &'a mut Map<String, Value>,
    key: &str,
    prefix: &str,
    record: &mut Record,
) -> Result<&'a mut Vec<Value>, Error> {
    if !parent.contains_key(key) {
        parent.insert(key.to_owned(), json!([]));
        record.made.push(format!("{prefix}{key}"));
    }
    let found = parent.get_mut(key).and_then(Value::as_array_mut);
    found.ok_or_else(|| Error::Shape { at: format!("{prefix}{key}"), want: "a list, or nothing at all" })
}
