//! The documents that kustomize and Helm make, and those of the examples.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

/// Where kustomize's overlays are.
pub(crate) const OVERLAYS: [&str; 3] = ["node-mode", "pod-mode", "existing-api"];

/// The examples.
pub(crate) const EXAMPLES: [&str; 4] = ["network-attachment", "pytorchjob", "statefulset", "volcano"];

/// The namespace of the overlays, into which the chart is installed here, too.
pub(crate) const NAMESPACE: &str = "srv6-system";

/// A path from the repository's root.
pub(crate) fn path(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A file's text, by path from the repository's root.
pub(crate) fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What deploy.py prints, or what it complains of.
pub(crate) fn ask(arguments: &[&str], input: &Value) -> Result<Vec<Value>, String> {
    let python = path(".cache/kubernetes/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/fetch-kubernetes", python.display());
    let mut child = Command::new(python)
        .arg(path("crates/ctl/tests/manifests/deploy.py"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Fails where the program ends without reading, which its exit status tells.
    let _unread = child.stdin.take().unwrap().write_all(input.to_string().as_bytes());
    let output = child.wait_with_output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

/// What kustomize makes of a folder.
pub(crate) fn kustomize(folder: &Path) -> Vec<Value> {
    ask(&["kustomize", folder.to_str().unwrap()], &Value::Null).unwrap()
}

/// What an overlay makes.
pub(crate) fn overlay(name: &str) -> Vec<Value> {
    static MADE: [OnceLock<Vec<Value>>; OVERLAYS.len()] = [const { OnceLock::new() }; OVERLAYS.len()];
    let number = OVERLAYS.iter().position(|overlay| *overlay == name).unwrap();
    MADE[number].get_or_init(|| kustomize(&path("deploy/kubernetes/overlays").join(name))).clone()
}

/// What the chart makes with values.
pub(crate) fn chart(values: &Value) -> Result<Vec<Value>, String> {
    let folder = path("deploy/helm/nccl-net-srv6");
    ask(&["helm", folder.to_str().unwrap(), NAMESPACE], values)
}

/// Values with which the chart makes what the overlay `node-mode` makes.
pub(crate) fn values_of_node_mode() -> Value {
    json!({
        "pathServer": { "topology": text("deploy/kubernetes/overlays/node-mode/fabric.json") },
        "webhook": { "certificate": { "source": "cert-manager" } },
        "monitoring": { "enabled": true },
    })
}

/// The documents of an example.
pub(crate) fn example(name: &str) -> Vec<Value> {
    let file = path(&format!("deploy/kubernetes/examples/{name}.yaml"));
    ask(&["read", file.to_str().unwrap()], &Value::Null).unwrap()
}

/// The one of a kind with a name.
pub(crate) fn one<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<_> = documents
        .iter()
        .filter(|document| document["kind"] == kind && document["metadata"]["name"] == name)
        .collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

/// Every pod that documents describe, with where it is.
pub(crate) fn pods(documents: &[Value]) -> Vec<(String, &Value)> {
    fn search<'a>(value: &'a Value, place: &str, found: &mut Vec<(String, &'a Value)>) {
        match value {
            Value::Object(fields) => {
                if value["spec"]["containers"].is_array() {
                    found.push((place.to_owned(), value));
                }
                fields.iter().for_each(|(name, field)| search(field, &format!("{place}.{name}"), found));
            }
            Value::Array(items) => items.iter().for_each(|item| search(item, place, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for document in documents {
        search(document, document["kind"].as_str().unwrap(), &mut found);
    }
    found
}

/// The texts of a list.
pub(crate) fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
}
