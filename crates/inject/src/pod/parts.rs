//! The containers and volumes that injection adds.

use serde_json::{Value, json};

use crate::{Mode, Options, names};

/// A user that owns nothing, as distroless images number it.
const NOBODY: u32 = 65532;

/// The init container that brings the libraries. Requests equal limits, so that a pod stays in the class Guaranteed.
pub(super) fn install(options: &Options) -> Value {
    json!({
        "name": names::INSTALL_CONTAINER,
        "image": options.plugin_image,
        "command": ["/usr/bin/srv6ctl", "install-plugin", "--to", names::MOUNT_DIR],
        "resources": resources("100m", "64Mi"),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
        },
        "volumeMounts": [{ "name": names::LIB_VOLUME, "mountPath": names::MOUNT_DIR }],
    })
}

/// The agent as a native sidecar. `group`: whom the job runs as, so that it may use the socket.
pub(super) fn agent(options: &Options, group: Option<u64>) -> Value {
    let mut env = vec![json!({ "name": "SRV6D_SCOPE", "value": "pod" })];
    if let Some(endpoint) = &options.path_api {
        env.push(json!({ "name": "JALAPENO_API_ENDPOINT", "value": endpoint }));
    }
    for (name, value) in &options.agent_env {
        env.retain(|one| super::name_of(one) != Some(name));
        env.push(json!({ "name": name, "value": value }));
    }
    if let (Some(group), false) = (group, options.agent_env.iter().any(|(name, _)| name == "SRV6D_GROUP")) {
        env.push(json!({ "name": "SRV6D_GROUP", "value": group.to_string() }));
    }
    let mut container = json!({
        "name": names::AGENT_CONTAINER,
        "image": options.agent_image,
        "restartPolicy": "Always",
        "command": ["/usr/bin/srv6d"],
        "env": env,
    });
    let status = json!(["/usr/bin/srv6ctl", "agent", "status"]);
    let mut add = |key: &str, value| {
        if let Some(container) = container.as_object_mut() {
            container.insert(key.to_owned(), value);
        }
    };
    if let Some(name) = &options.config_map {
        add("envFrom", json!([{ "configMapRef": { "name": name } }]));
    }
    add(
        "startupProbe",
        json!({ "exec": { "command": status }, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 60 }),
    );
    add("resources", resources("200m", "256Mi"));
    add(
        "securityContext",
        json!({
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"], "add": ["NET_ADMIN"] },
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": false,
            "runAsUser": 0,
            "runAsGroup": group.unwrap_or(0),
        }),
    );
    add("volumeMounts", json!([{ "name": names::AGENT_VOLUME, "mountPath": names::AGENT_DIR }]));
    container
}

/// The volumes: libraries, the agent's folder, and `/dev/shm` if asked.
pub(super) fn volumes(options: &Options, shm: bool) -> Vec<Value> {
    let agent = match options.mode {
        Mode::Node => json!({
            "name": names::AGENT_VOLUME,
            "hostPath": { "path": names::AGENT_DIR, "type": "DirectoryOrCreate" },
        }),
        Mode::Sidecar => json!({ "name": names::AGENT_VOLUME, "emptyDir": {} }),
    };
    let mut volumes = vec![json!({ "name": names::LIB_VOLUME, "emptyDir": {} }), agent];
    if shm {
        volumes.push(json!({ "name": names::SHM_VOLUME, "emptyDir": { "medium": "Memory" } }));
    }
    volumes
}

/// Where a steered container has them. It only reads: connecting to a socket is no write.
pub(super) fn mounts(shm: bool) -> Vec<Value> {
    let mut mounts = vec![
        json!({ "name": names::LIB_VOLUME, "mountPath": names::MOUNT_DIR, "readOnly": true }),
        json!({ "name": names::AGENT_VOLUME, "mountPath": names::AGENT_DIR, "readOnly": true }),
    ];
    if shm {
        mounts.push(json!({ "name": names::SHM_VOLUME, "mountPath": "/dev/shm" }));
    }
    mounts
}

fn resources(cpu: &str, memory: &str) -> Value {
    let amount = json!({ "cpu": cpu, "memory": memory });
    json!({ "requests": amount, "limits": amount })
}
