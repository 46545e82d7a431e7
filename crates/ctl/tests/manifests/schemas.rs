//! Kubernetes would take it, and Helm and kustomize make the same.

use std::process::Command;

use serde_json::{Value, json};

use crate::rendered::{
    EXAMPLES, OVERLAYS, ask, chart, example, overlay, path, pods, text, values_of_node_mode,
};

/// The oldest release that has all that the manifests use, and the newest whose schemas there are.
const RELEASES: [&str; 2] = ["1.30", "1.37"];

fn mistakes(documents: &[Value], release: &str) -> Vec<Value> {
    let schemas = path("crates/ctl/tests/manifests/crds");
    ask(&["validate", release, schemas.to_str().unwrap()], &json!(documents)).unwrap()
}

#[test]
fn the_overlays_and_examples_are_valid() {
    let mut documents = Vec::new();
    for made in OVERLAYS.map(overlay).into_iter().chain(EXAMPLES.map(example)) {
        assert!(!made.is_empty());
        documents.extend(made);
    }
    for release in RELEASES {
        assert_eq!(mistakes(&documents, release), Vec::<Value>::new(), "Kubernetes {release}");
    }
}

#[test]
fn the_examples_are_valid_when_they_are_injected() {
    let folder = std::env::temp_dir().join(format!("srv6-injected-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut documents = Vec::new();
    for (name, mode) in
        [("volcano", "node"), ("pytorchjob", "node"), ("statefulset", "node"), ("statefulset", "sidecar")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_srv6ctl"))
            .args(["inject", "--mode", mode, "-f"])
            .arg(path(&format!("deploy/kubernetes/examples/{name}.yaml")))
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let file = folder.join(format!("{name}-{mode}.yaml"));
        std::fs::write(&file, output.stdout).unwrap();
        let injected = ask(&["read", file.to_str().unwrap()], &Value::Null).unwrap();
        for (place, pod) in pods(&injected) {
            let first = &pod["spec"]["initContainers"][0]["name"];
            assert_eq!(first, srv6_inject::names::INSTALL_CONTAINER, "{name} {place}");
        }
        documents.extend(injected);
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(pods(&documents).len() >= 8);
    for release in RELEASES {
        assert_eq!(mistakes(&documents, release), Vec::<Value>::new(), "Kubernetes {release}");
    }
}

#[test]
fn the_chart_is_valid_with_all_its_switches() {
    let topology = json!({ "topology": text("examples/fabrics/3x3.json") });
    let own = json!({ "source": "secret", "caBundle": "LS0tCg==" });
    let jalapeno = json!({ "JALAPENO_API_ENDPOINT": "http://[2001:db8::5]:30800" });
    let mut documents = Vec::new();
    for values in [
        values_of_node_mode(),
        json!({ "pathServer": topology }),
        json!({ "pathServer": topology, "agent": { "enabled": false }, "webhook": { "mode": "sidecar", "extraArgs": ["--shim"] } }),
        json!({ "pathServer": { "enabled": false }, "settings": jalapeno, "webhook": { "certificate": own } }),
        json!({ "pathServer": topology, "webhook": { "enabled": false }, "image": { "pullSecrets": [{ "name": "registry" }] } }),
    ] {
        let made = chart(&values).unwrap();
        assert!(made.len() > 5, "{values}");
        documents.extend(made);
        let folder = path("deploy/helm/nccl-net-srv6");
        let findings = ask(&["lint", folder.to_str().unwrap()], &values).unwrap();
        assert_eq!(findings, Vec::<Value>::new(), "{values}");
    }
    for release in RELEASES {
        assert_eq!(mistakes(&documents, release), Vec::<Value>::new(), "Kubernetes {release}");
    }
}

#[test]
fn the_schemas_find_mistakes() {
    let mut documents = overlay("node-mode");
    documents.extend(example("volcano"));
    let mistaken = [
        ("DaemonSet", "/spec/template/spec/hostPid", json!(true), "hostPid"),
        ("DaemonSet", "/spec/template/spec/containers/0/ports/0/containerPort", json!("9779"), "9779"),
        ("PodMonitor", "/spec/podMetricsEndpoints/0/intervall", json!("15s"), "intervall"),
        ("Certificate", "/spec/privateKey/algorithm", json!("DSA"), "DSA"),
        ("Job", "/spec/tasks/0/template/spec/containers/0/comand", json!(["sh"]), "comand"),
    ];
    let mut wrong: Vec<Value> = Vec::new();
    for (kind, pointer, value, _) in &mistaken {
        let mut document = documents.iter().find(|document| document["kind"] == *kind).unwrap().clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[key] = value.clone();
        wrong.push(document);
    }
    wrong.push(json!({ "apiVersion": "v1", "kind": "Pot", "metadata": { "name": "x" } }));
    let found = mistakes(&wrong, RELEASES[1]);
    let named = mistaken.iter().map(|(_, _, _, named)| *named).chain(["Couldn't find schema for kind Pot"]);
    assert_eq!(found.len(), wrong.len(), "{found:?}");
    for (found, named) in found.iter().zip(named) {
        assert!(found.as_str().unwrap().contains(named), "{named}: {found}");
    }
}

#[test]
fn the_chart_refuses_what_it_does_not_know_or_lacks() {
    for (values, named) in [
        (json!({}), "pathServer.topology: the fabric's topology document"),
        (json!({ "pathServer": { "enabled": false } }), "settings.JALAPENO_API_ENDPOINT: where agents ask"),
        (json!({ "pathServer": { "topolgy": "{}" } }), "topolgy"),
        (json!({ "webhook": { "mode": "pod" } }), "mode"),
        (
            json!({ "pathServer": { "topology": "{}" }, "webhook": { "certificate": { "source": "secret" } } }),
            "webhook.certificate.caBundle: what vouches",
        ),
    ] {
        let refused = chart(&values).unwrap_err();
        assert!(refused.contains(named), "{values}: {refused}");
    }
}

/// Without what only one of the two tools adds: labels of Helm's, checksums instead of suffixes of names.
fn plain(document: &Value) -> Value {
    let mut document = document.clone();
    let suffix = |name: &str| -> Option<String> {
        let (stem, hash) = name.rsplit_once('-')?;
        let generated = ["srv6-settings", "srv6-topology"].contains(&stem) && hash.len() == 10;
        generated.then(|| stem.to_owned())
    };
    fn walk(value: &mut Value, suffix: &dyn Fn(&str) -> Option<String>) {
        match value {
            Value::String(text) => {
                if let Some(stem) = suffix(text) {
                    *text = stem;
                }
            }
            Value::Object(fields) => {
                for name in [
                    "app.kubernetes.io/managed-by",
                    "helm.sh/chart",
                    "checksum/settings",
                    "checksum/topology",
                ] {
                    fields.remove(name);
                }
                if fields.get("annotations") == Some(&json!({}))
                    || fields.get("annotations") == Some(&Value::Null)
                {
                    fields.remove("annotations");
                }
                fields.values_mut().for_each(|field| walk(field, suffix));
                fields.retain(|name, field| name != "annotations" || *field != json!({}));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, suffix)),
            _ => {}
        }
    }
    walk(&mut document, &suffix);
    // One ends the text with a line feed that the other one takes away.
    if let Some(Value::String(topology)) = document.pointer_mut("/data/fabric.json") {
        *topology = topology.trim_end().to_owned();
    }
    document
}

#[test]
fn the_chart_makes_what_the_overlay_makes() {
    let key = |document: &Value| format!("{} {}", document["kind"], document["metadata"]["name"]);
    let sorted = |documents: Vec<Value>| {
        let mut documents: Vec<Value> = documents.iter().map(plain).collect();
        documents.sort_by_key(key);
        documents
    };
    // Helm's namespace is there before the chart.
    let overlay: Vec<_> =
        overlay("node-mode").into_iter().filter(|document| document["kind"] != "Namespace").collect();
    let (overlay, chart) = (sorted(overlay), sorted(chart(&values_of_node_mode()).unwrap()));
    let names = |documents: &[Value]| documents.iter().map(key).collect::<Vec<_>>();
    assert_eq!(names(&overlay), names(&chart));
    for (ours, helms) in overlay.iter().zip(&chart) {
        assert_eq!(ours, helms, "{}", key(ours));
    }
}
