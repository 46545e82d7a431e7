//! What Volcano's plugin `pytorch` gives the pods of a job, for clusters without it: rank 0's address, ranks, a port, a wait.

mod arguments;
mod volcano;
mod volumes;

use serde_json::{Value, json};

pub(crate) use volcano::{Expanded, expand, lists_plugin};

use crate::manifest::{Kind, Workload};
use crate::pod::{Member, Source, Variable, name_of};
use crate::{Error, Options, Pytorch, names};

/// Where rank 0 of a job is, and how many ranks there are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    address: String,
    port: u16,
    size: u64,
}

impl Group {
    /// The four variables, in the order of Volcano's plugin; a pod that is no rank gets three.
    fn env(&self, rank: Option<Source>) -> Vec<Variable> {
        let value = |name: &str, value: String| (name.to_owned(), Source::Value(value));
        let mut env = vec![
            value("MASTER_ADDR", self.address.clone()),
            value("MASTER_PORT", self.port.to_string()),
            value("WORLD_SIZE", self.size.to_string()),
        ];
        env.extend(rank.map(|rank| ("RANK".to_owned(), rank)));
        env
    }

    /// The init container that waits for rank 0. `rank`: by which rank 0 itself knows that it needn't.
    fn wait(&self, pytorch: &Pytorch, options: &Options, rank: Option<&Source>) -> Value {
        let (port, timeout) = (self.port.to_string(), pytorch.wait_timeout_s.to_string());
        let mut container = json!({ "name": names::WAIT_CONTAINER });
        let mut add = |key: &str, value| {
            if let Some(container) = container.as_object_mut() {
                container.insert(key.to_owned(), value);
            }
        };
        match &pytorch.wait_image {
            Some(image) => {
                add("image", json!(image));
                add("command", json!(["sh", "-c", script(&self.address, self.port, pytorch.wait_timeout_s)]));
            }
            None => {
                add("image", json!(options.plugin_image));
                let command = [
                    "/usr/bin/srv6ctl",
                    "wait-master",
                    "--addr",
                    &self.address,
                    "--port",
                    &port,
                    "--timeout",
                    &timeout,
                ];
                add("command", json!(command));
            }
        }
        match rank {
            Some(Source::Field(path)) => {
                add("env", json!([{ "name": "RANK", "valueFrom": { "fieldRef": { "fieldPath": path } } }]));
            }
            Some(Source::Value(rank)) => add("env", json!([{ "name": "RANK", "value": rank }])),
            _ => {}
        }
        container
    }
}

/// The wait for images that have a shell and `nc`, such as busybox; time is the clock's, whatever `nc` takes.
fn script(address: &str, port: u16, timeout_s: u32) -> String {
    format!(
        "[ \"$RANK\" = 0 ] && exit 0; echo \"waiting up to {timeout_s} s for {address}:{port}\"; \
         end=$(($(date +%s) + {timeout_s})); \
         until nc -z -w 2 {address} {port}; do \
         [ \"$(date +%s)\" -lt \"$end\" ] || {{ echo \"{address}:{port} is not there after {timeout_s} s\"; exit 1; }}; \
         sleep 2; done"
    )
}

/// What the pods of a workload get, and the Services that give them, and rank 0, their names.
///
/// # Errors
/// The workload can't say each pod's rank, or has no rank 0.
pub(crate) fn member(
    workload: &Workload,
    object: &Value,
    role: &str,
    others: &[(Workload, Value)],
    options: &Options,
) -> Result<Option<(Member, Vec<Value>)>, Error> {
    let Some(pytorch) = &options.pytorch else { return Ok(None) };
    let fault = |reason: String| Error::Pytorch {
        what: format!("{}/{}", workload.kind.name(), workload.name),
        reason,
    };
    match workload.kind {
        Kind::StatefulSet => of_statefulset(workload, object, others, (pytorch, options), fault).map(Some),
        Kind::Job => of_indexed_job(workload, object, (pytorch, options), fault).map(Some),
        // The variables are Volcano's to set; the wait is too, unless it wasn't asked.
        Kind::VolcanoJob => {
            let own = arguments::of_job(object, pytorch);
            match volcano::group(object, &own) {
                Some(group) if pytorch.wait && role == own.worker => {
                    let wait = Some(group.wait(&own, options, None));
                    let member =
                        Member { env: Vec::new(), port: None, wait, subdomain: None, ordinals: false };
                    Ok(Some((member, Vec::new())))
                }
                Some(_) => Ok(None),
                None => Err(fault(format!("has no task {:?}, which would be rank 0 (--master)", own.master))),
            }
        }
        // The training operator's own: it sets the variables itself. Pods and the others have no place in a group.
        _ => Ok(None),
    }
}

fn of_statefulset(
    workload: &Workload,
    object: &Value,
    others: &[(Workload, Value)],
    (pytorch, options): (&Pytorch, &Options),
    fault: impl Fn(String) -> Error,
) -> Result<(Member, Vec<Value>), Error> {
    let replicas = |object: &Value| object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    let service_of =
        |object: &Value| object.pointer("/spec/serviceName").and_then(Value::as_str).map(str::to_owned);
    let service = service_of(object)
        .ok_or_else(|| fault("has no spec.serviceName, so its pods have no names".to_owned()))?;
    let partner = |mine: &str, its: &str| {
        let base = workload.name.strip_suffix(mine).filter(|base| base.is_empty() || base.ends_with('-'))?;
        let name = format!("{base}{its}");
        let found = others.iter().find(|(other, _)| other.kind == Kind::StatefulSet && other.name == name);
        Some((name, found.map(|(_, object)| object)))
    };
    let alone = |name: String| fault(format!("has no StatefulSet {name:?} beside it"));
    let index = Source::Field("metadata.labels['apps.kubernetes.io/pod-index']".to_owned());
    let first = object.pointer("/spec/ordinals/start").and_then(Value::as_u64);
    let service_for = |name: &str, object: &Value| {
        let selector = object.pointer("/spec/selector/matchLabels").cloned().unwrap_or_else(|| json!({}));
        headless(name, object, selector, pytorch.port)
    };
    let mut services = Vec::new();
    let (address, size, rank, ordinals, wait) =
        if let Some((name, worker)) = partner(&pytorch.master, &pytorch.worker) {
            if replicas(object) != 1 {
                return Err(fault(format!(
                    "has {} replicas, and each would be rank 0; want 1",
                    replicas(object)
                )));
            }
            let size = 1 + replicas(worker.ok_or_else(|| alone(name))?);
            (format!("{}-0.{service}", workload.name), size, Source::Value("0".to_owned()), false, false)
        } else if let Some((name, master)) = partner(&pytorch.worker, &pytorch.master) {
            let master = master.ok_or_else(|| alone(name.clone()))?;
            if first.is_some_and(|first| first != 1) {
                return Err(fault(
                    "has pods that don't begin at 1; want spec.ordinals.start: 1, or none".to_owned(),
                ));
            }
            let masters = service_of(master).ok_or_else(|| {
                fault(format!(
                    "has beside it StatefulSet {name:?} without spec.serviceName, so rank 0 has no name"
                ))
            })?;
            // Rank 0's name is what counts: where both have one Service, it selects the master.
            services.push(service_for(&masters, master));
            let address = format!("{name}-0.{masters}");
            // With pods that begin at 1, a worker's index is its rank.
            (address, 1 + replicas(object), index, first.is_none(), true)
        } else {
            if first.is_some_and(|first| first != 0) {
                return Err(fault("has pods that don't begin at 0; want no spec.ordinals".to_owned()));
            }
            (format!("{}-0.{service}", workload.name), replicas(object), index, false, true)
        };
    let group = Group { address, port: pytorch.port, size };
    let wait = (pytorch.wait && wait).then(|| group.wait(pytorch, options, Some(&rank)));
    if services.iter().all(|other| other.get("metadata").and_then(name_of) != Some(&service)) {
        services.push(service_for(&service, object));
    }
    let member =
        Member { env: group.env(Some(rank)), port: Some(group.port), wait, subdomain: None, ordinals };
    Ok((member, services))
}

fn of_indexed_job(
    workload: &Workload,
    object: &Value,
    (pytorch, options): (&Pytorch, &Options),
    fault: impl Fn(String) -> Error,
) -> Result<(Member, Vec<Value>), Error> {
    let number = |key: &str| object.pointer(&format!("/spec/{key}")).and_then(Value::as_u64);
    if object.pointer("/spec/completionMode").and_then(Value::as_str) != Some("Indexed") {
        return Err(fault(
            "its pods have no index; want completionMode: Indexed and as many completions as ranks, master and workers in one".to_owned(),
        ));
    }
    let (Some(size), Some(parallel)) = (number("completions"), number("parallelism")) else {
        return Err(fault("has no completions or no parallelism; want both, as many as ranks".to_owned()));
    };
    if size != parallel {
        return Err(fault(format!(
            "{parallel} of {size} pods run at once, and they would wait for the others; want them equal"
        )));
    }
    if workload.name.is_empty() {
        return Err(fault("has no name, so that of rank 0's pod isn't known".to_owned()));
    }
    let there = object.pointer("/spec/template/spec/subdomain").and_then(Value::as_str);
    let service = there.unwrap_or(&workload.name).to_owned();
    let group = Group { address: format!("{}-0.{service}", workload.name), port: pytorch.port, size };
    let rank = Source::Field("metadata.annotations['batch.kubernetes.io/job-completion-index']".to_owned());
    let wait = pytorch.wait.then(|| group.wait(pytorch, options, Some(&rank)));
    let selector = json!({ "batch.kubernetes.io/job-name": workload.name });
    let headless = headless(&service, object, selector, group.port);
    let subdomain = Some(service);
    let member =
        Member { env: group.env(Some(rank)), port: Some(group.port), wait, subdomain, ordinals: false };
    Ok((member, vec![headless]))
}

/// A Service that gives each pod a name, also while it isn't ready: rank 0 gets ready by being found.
fn headless(name: &str, object: &Value, selector: Value, port: u16) -> Value {
    let mut metadata = json!({ "name": name, "annotations": { names::INJECTED_VERSION: names::VERSION } });
    if let (Some(metadata), Some(namespace)) =
        (metadata.as_object_mut(), object.pointer("/metadata/namespace"))
    {
        metadata.insert("namespace".to_owned(), namespace.clone());
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": selector,
            "ports": [{ "name": names::MASTER_PORT_NAME, "port": port }],
        },
    })
}
