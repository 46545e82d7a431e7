//! What one document names, another one is; labels select what they are meant to; ports are one number.

use serde_json::Value;

use crate::rendered::{OVERLAYS, chart, kustomize, one, overlay, path, pods, texts, values_of_node_mode};

/// A secret that cert-manager makes.
const CERTIFICATE: &str = "srv6-webhook-tls";

fn all() -> Vec<(String, Vec<Value>)> {
    let mut all: Vec<_> = OVERLAYS.iter().map(|name| ((*name).to_owned(), overlay(name))).collect();
    all.push(("chart".to_owned(), chart(&values_of_node_mode()).unwrap()));
    all
}

fn selects(selector: &Value, labels: &Value) -> bool {
    selector["matchLabels"]
        .as_object()
        .is_some_and(|wanted| wanted.iter().all(|(name, value)| labels[name] == *value))
}

#[test]
fn accounts_settings_secrets_and_volumes_are_there() {
    for (name, documents) in all() {
        for (place, pod) in pods(&documents) {
            let spec = &pod["spec"];
            let account = spec["serviceAccountName"].as_str().unwrap();
            assert_eq!(
                one(&documents, "ServiceAccount", account)["automountServiceAccountToken"],
                false,
                "{name}"
            );
            assert_eq!(spec["automountServiceAccountToken"], false, "{name} {place}");
            for volume in spec["volumes"].as_array().unwrap() {
                if let Some(map) = volume["configMap"]["name"].as_str() {
                    one(&documents, "ConfigMap", map);
                }
                if let Some(secret) = volume["secret"]["secretName"].as_str() {
                    assert_eq!(secret, CERTIFICATE, "{name} {place}");
                    assert_eq!(one(&documents, "Certificate", "srv6-webhook")["spec"]["secretName"], secret);
                }
            }
            let volumes: Vec<_> =
                spec["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]).collect();
            for container in spec["containers"].as_array().unwrap() {
                for source in container["envFrom"].as_array().into_iter().flatten() {
                    one(&documents, "ConfigMap", source["configMapRef"]["name"].as_str().unwrap());
                }
                for mount in container["volumeMounts"].as_array().unwrap() {
                    assert!(volumes.contains(&&mount["name"]), "{name} {place}: {mount}");
                }
            }
        }
    }
}

#[test]
fn nobody_asks_the_api_server() {
    for (name, documents) in all() {
        let roles: Vec<_> =
            documents.iter().filter(|one| one["kind"].as_str().unwrap().contains("Role")).collect();
        assert!(roles.is_empty(), "{name}: {roles:?}");
    }
}

#[test]
fn selectors_select_and_ports_are_those_of_the_pods() {
    for (name, documents) in all() {
        let pods = pods(&documents);
        let selected = |selector: &Value| -> Vec<&Value> {
            pods.iter()
                .map(|(_, pod)| *pod)
                .filter(|pod| selects(selector, &pod["metadata"]["labels"]))
                .collect()
        };
        let has_port = |pod: &Value, port: &Value| {
            let containers = pod["spec"]["containers"].as_array().unwrap();
            let mut ports = containers.iter().flat_map(|one| one["ports"].as_array().unwrap());
            ports.any(|one| one["name"] == *port)
        };
        let mut seen = 0;
        for document in &documents {
            let (spec, kind) = (&document["spec"], document["kind"].as_str().unwrap());
            let (selector, ports): (Value, Vec<&Value>) = match kind {
                "DaemonSet" | "Deployment" | "PodDisruptionBudget" => (spec["selector"].clone(), Vec::new()),
                "Service" => (
                    serde_json::json!({ "matchLabels": spec["selector"] }),
                    spec["ports"].as_array().unwrap().iter().map(|port| &port["targetPort"]).collect(),
                ),
                "PodMonitor" => (
                    spec["selector"].clone(),
                    spec["podMetricsEndpoints"].as_array().unwrap().iter().map(|end| &end["port"]).collect(),
                ),
                "NetworkPolicy" => {
                    let rules = spec["ingress"].as_array().into_iter().flatten();
                    let ports = rules.flat_map(|rule| rule["ports"].as_array().unwrap());
                    (spec["podSelector"].clone(), ports.map(|port| &port["port"]).collect())
                }
                _ => continue,
            };
            let found = selected(&selector);
            assert_eq!(found.len(), 1, "{name}: {kind} {}", document["metadata"]["name"]);
            for port in ports {
                assert!(
                    has_port(found[0], port),
                    "{name}: {kind} {} wants port {port}",
                    document["metadata"]["name"]
                );
            }
            seen += 1;
        }
        assert!(seen >= 4, "{name}: only {seen}");
        for (place, pod) in &pods {
            for container in pod["spec"]["containers"].as_array().unwrap() {
                for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                    let port = &container[probe]["httpGet"]["port"];
                    assert!(port.is_null() || has_port(pod, port), "{name} {place}: {probe} {port}");
                }
            }
        }
    }
}

#[test]
fn the_api_server_finds_the_webhook_and_trusts_it() {
    for (name, documents) in all() {
        let configuration = one(&documents, "MutatingWebhookConfiguration", "srv6-webhook");
        let service = &configuration["webhooks"][0]["clientConfig"]["service"];
        let found = one(&documents, "Service", service["name"].as_str().unwrap());
        assert_eq!(found["spec"]["ports"][0]["port"], service["port"], "{name}");
        let host =
            format!("{}.{}.svc", service["name"].as_str().unwrap(), service["namespace"].as_str().unwrap());
        let certificate = one(&documents, "Certificate", "srv6-webhook");
        assert_eq!(texts(&certificate["spec"]["dnsNames"]), [host], "{name}");
        let from = &configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
        assert_eq!(from, "srv6-system/srv6-webhook", "{name}");
        let issuer = |one_of: &Value| one_of["spec"]["issuerRef"]["name"].as_str().unwrap().to_owned();
        let authority = one(&documents, "Issuer", &issuer(certificate));
        let root = one(&documents, "Certificate", "srv6-webhook-ca");
        assert_eq!(authority["spec"]["ca"]["secretName"], root["spec"]["secretName"], "{name}");
        one(&documents, "Issuer", &issuer(root));
        // Its own pods are never its business: they couldn't start while it is away.
        let excluded = &configuration["webhooks"][0]["namespaceSelector"]["matchExpressions"][0];
        assert!(
            excluded["operator"] == "NotIn" && texts(&excluded["values"]).contains(&"srv6-system"),
            "{name}"
        );
    }
}

#[test]
fn another_registry_reaches_what_the_webhook_puts_into_pods() {
    let folder = std::env::temp_dir().join(format!("srv6-registry-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // kustomize takes no absolute paths: the way to the overlay begins at the root.
    let up = "../".repeat(folder.canonicalize().unwrap().components().count());
    let overlay = path("deploy/kubernetes/overlays/node-mode").canonicalize().unwrap();
    let images = ["srv6d", "nccl-net-srv6"]
        .map(|name| format!("  - {{ name: {name}, newName: registry.example/ml/{name}, newTag: \"7\" }}\n"));
    let text = format!(
        "resources:\n  - {up}{}\nimages:\n{}",
        overlay.display().to_string().trim_start_matches('/'),
        images.concat()
    );
    std::fs::write(folder.join("kustomization.yaml"), text).unwrap();
    let documents = kustomize(&folder);
    std::fs::remove_dir_all(&folder).unwrap();
    for (place, pod) in pods(&documents) {
        assert_eq!(pod["spec"]["containers"][0]["image"], "registry.example/ml/srv6d:7", "{place}");
    }
    let webhook = &one(&documents, "Deployment", "srv6-webhook")["spec"]["template"]["spec"]["containers"][0];
    let values: Vec<_> =
        webhook["env"].as_array().unwrap().iter().map(|variable| &variable["value"]).collect();
    assert_eq!(values, ["node", "registry.example/ml/nccl-net-srv6:7", "registry.example/ml/srv6d:7"]);
}
