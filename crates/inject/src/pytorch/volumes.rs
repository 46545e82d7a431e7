//! A Volcano Job's `spec.volumes`: claims that every container of every pod mounts, as Volcano's job controller has it.

use serde_json::{Value, json};

use super::volcano::{copy_namespace, edit};

/// One volume of all pods.
pub(super) struct Shared {
    name: String,
    claim: String,
    path: String,
}

/// The volumes of a job, and the claims that are made for it: those that it describes and doesn't only name.
pub(super) fn of_job(job: &Value, name: &str) -> (Vec<Shared>, Vec<Value>) {
    let (mut volumes, mut claims): (Vec<Shared>, _) = (Vec::new(), Vec::new());
    let entries = job.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    for (number, entry) in entries.enumerate() {
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        let named = text("volumeClaimName").filter(|claim| !claim.is_empty());
        // Volcano makes up a name; this one is the same at each injection.
        let claim = named.map_or_else(|| format!("{name}-volume-{number}"), str::to_owned);
        if volumes.iter().any(|other| other.claim == claim) {
            continue;
        }
        if let Some(spec) = entry.get("volumeClaim").filter(|spec| !spec.is_null()) {
            let mut metadata = json!({ "name": claim });
            copy_namespace(job, &mut metadata);
            claims.push(json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec,
            }));
        }
        let path = text("mountPath").unwrap_or_default().to_owned();
        volumes.push(Shared { name: format!("{name}-volume-{number}"), claim, path });
    }
    (volumes, claims)
}

/// Mounts them in each container of a pod.
pub(super) fn mount(pod: &mut Value, volumes: &[Shared]) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut).filter(|_| !volumes.is_empty())
    else {
        return;
    };
    edit(spec, "volumes", |list| {
        list.extend(
            volumes
                .iter()
                .map(|one| json!({ "name": one.name, "persistentVolumeClaim": { "claimName": one.claim } })),
        );
    });
    for container in spec.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(container) = container.as_object_mut() else { continue };
        edit(container, "volumeMounts", |list| {
            list.extend(volumes.iter().map(|one| json!({ "name": one.name, "mountPath": one.path })));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_made_once_and_mounted_everywhere() {
        let job = json!({ "metadata": { "namespace": "ml" }, "spec": { "volumes": [
            { "mountPath": "/data", "volumeClaimName": "data" },
            { "mountPath": "/again", "volumeClaimName": "data" },
            { "mountPath": "/out", "volumeClaim": { "accessModes": ["ReadWriteMany"] } },
        ] } });
        let (volumes, claims) = of_job(&job, "train");
        assert_eq!(
            claims,
            [json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": { "name": "train-volume-2", "namespace": "ml" },
                "spec": { "accessModes": ["ReadWriteMany"] } })]
        );
        let own = json!({ "name": "x", "mountPath": "/x" });
        let mut pod =
            json!({ "spec": { "containers": [{ "name": "a", "volumeMounts": [own] }, { "name": "b" }] } });
        mount(&mut pod, &volumes);
        let (data, out) = (
            json!({ "name": "train-volume-0", "mountPath": "/data" }),
            json!({ "name": "train-volume-2", "mountPath": "/out" }),
        );
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"], json!([own, data, out]));
        assert_eq!(pod["spec"]["containers"][1]["volumeMounts"], json!([data, out]));
        assert_eq!(
            pod["spec"]["volumes"],
            json!([
                { "name": "train-volume-0", "persistentVolumeClaim": { "claimName": "data" } },
                { "name": "train-volume-2", "persistentVolumeClaim": { "claimName": "train-volume-2" } },
            ])
        );
    }
}
