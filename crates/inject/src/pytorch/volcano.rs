//! A Volcano Job as the pods that Volcano makes of it, with its plugins `pytorch` and `svc`.
//!
//! Source: Volcano's job controller and `pkg/controllers/job/plugins`, of January 2026.

use serde_json::{Map, Value, json};

use super::{Group, volumes};
use crate::pod::{Source, name_of};
use crate::{Error, Options, Pytorch, names};

/// A job written out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expanded {
    /// In the order of tasks and indices.
    pub(crate) pods: Vec<Value>,
    /// The headless Service that gives the pods their names.
    pub(crate) service: Value,
    /// The PersistentVolumeClaims that Volcano makes of `spec.volumes`.
    pub(crate) claims: Vec<Value>,
}

/// Whether the job leaves ranks to Volcano.
pub(crate) fn lists_plugin(job: &Value) -> bool {
    job.pointer("/spec/plugins/pytorch").is_some()
}

/// The group of a job's pods; none if there is no task for rank 0.
pub(super) fn group(job: &Value, pytorch: &Pytorch) -> Option<Group> {
    let master = task(job, &pytorch.master)?;
    let name = name_of(job.get("metadata")?).unwrap_or_default();
    let own = |key: &str| {
        master.pointer(&format!("/template/spec/{key}")).and_then(Value::as_str).map(str::to_owned)
    };
    let host = own("hostname").unwrap_or_else(|| format!("{name}-{}-0", pytorch.master));
    let subdomain = own("subdomain").unwrap_or_else(|| name.to_owned());
    // Other tasks have no rank, and don't count.
    let workers = task(job, &pytorch.worker).map_or(0, replicas);
    Some(Group {
        address: format!("{host}.{subdomain}"),
        port: pytorch.port,
        size: replicas(master) + workers,
    })
}

/// The pods and the Service of a job.
///
/// # Errors
/// It has no name, no tasks, or none for rank 0.
pub(crate) fn expand(job: &Value, pytorch: &Pytorch, options: &Options) -> Result<Expanded, Error> {
    let name = job.get("metadata").and_then(name_of).unwrap_or_default();
    let fault =
        |reason: &str| Error::Pytorch { what: format!("Volcano Job/{name}"), reason: reason.to_owned() };
    if name.is_empty() {
        return Err(fault("has no metadata.name, from which its pods have theirs"));
    }
    if group(job, pytorch).is_none() {
        return Err(fault(&format!("has no task {:?}, which would be rank 0 (--master)", pytorch.master)));
    }
    let (volumes, claims) = volumes::of_job(job, name);
    let mut pods = Vec::new();
    for task in job.pointer("/spec/tasks").and_then(Value::as_array).into_iter().flatten() {
        let task_name = name_of(task).unwrap_or("default");
        for index in 0..replicas(task) {
            let mut pod = bare_pod(job, name, task, task_name, index);
            volumes::mount(&mut pod, &volumes);
            on_pod_create(job, task_name, index, &mut pod, pytorch, options);
            pods.push(pod);
        }
    }
    let labels = json!({ "volcano.sh/job-name": name, "volcano.sh/job-namespace": namespace(job) });
    let mut metadata = json!({ "name": name });
    copy_namespace(job, &mut metadata);
    let spec = json!({ "clusterIP": "None", "publishNotReadyAddresses": true, "selector": labels });
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec });
    Ok(Expanded { pods, service, claims })
}

/// What the plugin does to a pod of a task when it is made. Without a task for rank 0 the pod stays as it is.
fn on_pod_create(job: &Value, task: &str, index: u64, pod: &mut Value, pytorch: &Pytorch, options: &Options) {
    let Some(group) = group(job, pytorch) else { return };
    let rank = match task {
        _ if task == pytorch.master => Some(0),
        _ if task == pytorch.worker => Some(index + 1),
        _ => None,
    };
    let env = group.env(rank.map(|rank| Source::Value(rank.to_string())));
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for container in spec.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(container) = container.as_object_mut() else { continue };
        edit(container, "env", |list| {
            for (name, source) in &env {
                let Source::Value(value) = source else { continue };
                // What is set twice counts as it was set last, and that would be Volcano's value: so it is the only one.
                list.retain(|entry| name_of(entry) != Some(name));
                list.push(json!({ "name": name, "value": value }));
            }
        });
        edit(container, "ports", |list| {
            let port = |entry: &Value| entry.get("containerPort").and_then(Value::as_u64);
            if !list.iter().any(|entry| port(entry) == Some(group.port.into())) {
                list.push(json!({ "name": names::MASTER_PORT_NAME, "containerPort": group.port }));
            }
        });
    }
    if pytorch.wait && task == pytorch.worker {
        edit(spec, "initContainers", |list| {
            if !list.iter().any(|one| name_of(one) == Some(names::WAIT_CONTAINER)) {
                list.push(group.wait(pytorch, options, None));
            }
        });
    }
}

/// A pod as Volcano's controller and its plugin `svc` name and label it.
fn bare_pod(job: &Value, job_name: &str, task: &Value, task_name: &str, index: u64) -> Value {
    let name = format!("{job_name}-{task_name}-{index}");
    let of_template = |key: &str| {
        let found = task.pointer(&format!("/template/metadata/{key}")).and_then(Value::as_object);
        found.cloned().unwrap_or_default()
    };
    let identity = [
        ("volcano.sh/job-name", job_name.to_owned()),
        ("volcano.sh/job-namespace", namespace(job)),
        ("volcano.sh/task-spec", task_name.to_owned()),
        ("volcano.sh/task-index", index.to_string()),
    ];
    let with_identity = |mut map: Map<String, Value>| {
        map.extend(identity.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
        map
    };
    let mut metadata = json!({
        "name": name,
        "labels": with_identity(of_template("labels")),
        "annotations": with_identity(of_template("annotations")),
    });
    copy_namespace(job, &mut metadata);
    let mut spec = task.pointer("/template/spec").and_then(Value::as_object).cloned().unwrap_or_default();
    spec.entry("hostname").or_insert_with(|| json!(name));
    spec.entry("subdomain").or_insert_with(|| json!(job_name));
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec })
}

fn task<'a>(job: &'a Value, name: &str) -> Option<&'a Value> {
    job.pointer("/spec/tasks")?.as_array()?.iter().find(|task| name_of(task) == Some(name))
}

fn replicas(task: &Value) -> u64 {
    task.get("replicas").and_then(Value::as_u64).unwrap_or(1)
}

fn namespace(job: &Value) -> String {
    job.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("default").to_owned()
}

pub(super) fn copy_namespace(job: &Value, metadata: &mut Value) {
    if let (Some(namespace), Some(metadata)) = (job.pointer("/metadata/namespace"), metadata.as_object_mut())
    {
        metadata.insert("namespace".to_owned(), namespace.clone());
    }
}

/// Edits a member that is a list, or makes it one.
pub(super) fn edit(parent: &mut Map<String, Value>, key: &str, work: impl FnOnce(&mut Vec<Value>)) {
    let mut list = match parent.get_mut(key) {
        Some(Value::Array(list)) => std::mem::take(list),
        _ => Vec::new(),
    };
    work(&mut list);
    parent.insert(key.to_owned(), Value::Array(list));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(tasks: &[(&str, u64)]) -> Value {
        let tasks: Vec<Value> = tasks
            .iter()
            .map(|(name, replicas)| json!({ "name": name, "replicas": replicas, "template": { "spec": {} } }))
            .collect();
        json!({ "metadata": { "name": "test-pytorch" }, "spec": { "tasks": tasks } })
    }

    fn pod(ports: &[u16]) -> Value {
        let ports: Vec<Value> =
            ports.iter().map(|port| json!({ "name": format!("p{port}"), "containerPort": port })).collect();
        json!({ "spec": { "containers": [{ "name": "main", "ports": ports }] } })
    }

    fn created(job: &Value, task: &str, index: u64, mut pod: Value, pytorch: &Pytorch) -> Value {
        on_pod_create(job, task, index, &mut pod, pytorch, &Options::default());
        pod
    }

    fn env(size: &str, rank: Option<&str>) -> Value {
        let mut env = vec![
            json!({ "name": "MASTER_ADDR", "value": "test-pytorch-master-0.test-pytorch" }),
            json!({ "name": "MASTER_PORT", "value": "23456" }),
            json!({ "name": "WORLD_SIZE", "value": size }),
        ];
        env.extend(rank.map(|rank| json!({ "name": "RANK", "value": rank })));
        Value::from(env)
    }

    /// The cases of the plugin's own test of variables and ports.
    #[test]
    fn variables_and_ports_are_those_of_volcano() {
        let added = json!({ "name": "pytorchjob-port", "containerPort": 23456 });
        let pair = job(&[("master", 1), ("worker", 1)]);
        let three = job(&[("master", 1), ("worker", 2), ("extra", 5)]);
        let none = job(&[("worker", 1)]);
        let cases = [
            ("no master", &none, "worker", 0, vec![], None, json!([])),
            ("no port", &pair, "master", 0, vec![], Some(("2", "0")), json!([added])),
            (
                "its port",
                &pair,
                "master",
                0,
                vec![23456],
                Some(("2", "0")),
                json!([{ "name": "p23456", "containerPort": 23456 }]),
            ),
            (
                "another port",
                &pair,
                "master",
                0,
                vec![80],
                Some(("2", "0")),
                json!([{ "name": "p80", "containerPort": 80 }, added]),
            ),
            ("first worker", &pair, "worker", 0, vec![], Some(("2", "1")), json!([added])),
            (
                "second worker beside an extra task",
                &three,
                "worker",
                1,
                vec![],
                Some(("3", "2")),
                json!([added]),
            ),
        ];
        for (case, job, task, index, ports, wanted, wanted_ports) in cases {
            let made = created(job, task, index, pod(&ports), &Pytorch::default());
            match wanted {
                None => assert_eq!(made, pod(&ports), "{case}"),
                Some((size, rank)) => {
                    let mut whole = pod(&ports);
                    whole["spec"]["containers"][0]["ports"] = wanted_ports;
                    whole["spec"]["containers"][0]["env"] = env(size, Some(rank));
                    assert_eq!(made, whole, "{case}");
                }
            }
        }
        let extra = created(&three, "extra", 4, pod(&[]), &Pytorch::default());
        assert_eq!(extra["spec"]["containers"][0]["env"], env("3", None), "no rank, but the other three");
    }

    /// The cases of the plugin's own test of its init container.
    #[test]
    fn the_init_container_is_that_of_volcano() {
        let busybox = |timeout| Pytorch {
            wait: true,
            wait_timeout_s: timeout,
            wait_image: Some("busybox:1.36.1".to_owned()),
            ..Pytorch::default()
        };
        let pair = job(&[("master", 1), ("worker", 1)]);
        let init = |job: &Value, task: &str, pod: Value, pytorch: &Pytorch| {
            created(job, task, 0, pod, pytorch)["spec"]["initContainers"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        };
        assert_eq!(init(&pair, "worker", pod(&[]), &Pytorch::default()), Vec::<Value>::new(), "disabled");
        assert_eq!(init(&pair, "master", pod(&[]), &busybox(300)), Vec::<Value>::new(), "the master");
        assert_eq!(
            init(&job(&[("worker", 1)]), "worker", pod(&[]), &busybox(300)),
            Vec::<Value>::new(),
            "no master"
        );
        let mut with = pod(&[]);
        with["spec"]["initContainers"] = json!([{ "name": "wait-for-master", "image": "mine" }]);
        assert_eq!(
            init(&pair, "worker", with, &busybox(300)),
            [json!({ "name": "wait-for-master", "image": "mine" })]
        );
        for timeout in [300, 600] {
            let made = init(&pair, "worker", pod(&[]), &busybox(timeout));
            let [container] = made.as_slice() else { panic!("{made:?}") };
            let keys: Vec<_> = container.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["name", "image", "command"]);
            assert_eq!(container["name"], "wait-for-master");
            assert_eq!(container["image"], "busybox:1.36.1");
            let script = container["command"][2].as_str().unwrap();
            assert_eq!(container["command"], json!(["sh", "-c", script]));
            assert!(script.contains("nc -z -w 2 test-pytorch-master-0.test-pytorch 23456"), "{script}");
            assert!(script.contains(&format!("+ {timeout}")), "{script}");
        }
        let ours = init(&pair, "worker", pod(&[]), &Pytorch { wait: true, ..Pytorch::default() });
        let command = json!([
            "/usr/bin/srv6ctl",
            "wait-master",
            "--addr",
            "test-pytorch-master-0.test-pytorch",
            "--port",
            "23456",
            "--timeout",
            "300",
        ]);
        assert_eq!(
            ours,
            [json!({ "name": "wait-for-master", "image": names::PLUGIN_IMAGE, "command": command })]
        );
    }

    #[test]
    fn a_template_may_name_its_host_and_the_port_may_be_another() {
        let mut job = job(&[("chief", 1), ("worker", 1)]);
        job["spec"]["tasks"][0]["template"]["spec"] =
            json!({ "hostname": "h", "subdomain": "s", "containers": [] });
        let pytorch = Pytorch { master: "chief".to_owned(), port: 5000, ..Pytorch::default() };
        let Expanded { pods, service, .. } = expand(&job, &pytorch, &Options::default()).unwrap();
        let worker = created(&job, "worker", 0, pod(&[]), &pytorch);
        assert_eq!(worker["spec"]["containers"][0]["env"][0]["value"], "h.s");
        assert_eq!(worker["spec"]["containers"][0]["env"][1]["value"], "5000");
        assert_eq!(pods.len(), 2);
        assert_eq!((&pods[0]["spec"]["hostname"], &pods[0]["spec"]["subdomain"]), (&json!("h"), &json!("s")));
        assert_eq!(pods[1]["metadata"]["name"], "test-pytorch-worker-0");
        assert_eq!(pods[1]["spec"]["hostname"], "test-pytorch-worker-0");
        assert_eq!(pods[1]["spec"]["subdomain"], "test-pytorch");
        assert_eq!(pods[1]["metadata"]["labels"]["volcano.sh/task-index"], "0");
        assert_eq!(service["spec"]["selector"]["volcano.sh/job-name"], "test-pytorch");
        let error = expand(&job, &Pytorch::default(), &Options::default()).unwrap_err().to_string();
        assert_eq!(
            error,
            "Volcano Job/test-pytorch: has no task \"master\", which would be rank 0 (--master)"
        );
    }
}
