//! What injection refuses, and says about it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a panic is the failure")]

use srv6_inject::{Error, Options, State, check, inject, inject_pod, names, remove};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: c\n    image: i\n    \
                   resources: {limits: {nvidia.com/gpu: 1}}\n";

/// An error with everything below it, as a program prints it.
fn told(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", told(source)))
}

fn refused(text: &str, options: &Options) -> String {
    told(&inject(text, options).unwrap_err())
}

#[test]
fn nothing_to_steer_is_an_error_that_says_so() {
    let none = Options::default();
    assert_eq!(inject("a: 1\n", &none), Err(Error::NoPods));
    assert_eq!(inject("", &none), Err(Error::NoPods));
    assert_eq!(inject(&POD.replace("nvidia.com/gpu", "cpu"), &none), Err(Error::NoGpu));
    let named = Options { containers: vec!["x".to_owned()], ..Options::default() };
    assert_eq!(refused(POD, &named), "no container \"x\"; there is c");
    let named = Options { containers: vec!["c".to_owned()], ..Options::default() };
    assert_eq!(inject(&POD.replace("nvidia.com/gpu", "cpu"), &named).unwrap().reports[0].1.containers, ["c"]);
}

#[test]
fn a_pod_in_the_hosts_network_needs_a_word() {
    let pod = POD.replace("spec:\n", "spec:\n  hostNetwork: true\n");
    let error = refused(&pod, &Options::default());
    assert!(
        error.starts_with("document 1 (Pod/p): hostNetwork: true: this pod's routes would be the node's own"),
        "{error}"
    );
    let allowed = Options { host_network: true, ..Options::default() };
    assert!(inject(&pod, &allowed).unwrap().text.contains("name: SRV6_TRANSPORT\n      value: multipath"));
    let error = refused(&pod, &Options { shim: true, ..allowed });
    assert!(error.contains("hostNetwork: true with --shim"), "{error}");
}

#[test]
fn names_and_paths_that_are_taken_are_named() {
    let cases = [
        ("  volumes:\n  - name: srv6-lib\n    emptyDir: {}\n", "volume \"srv6-lib\" is taken"),
        ("  initContainers:\n  - name: srv6-install\n    image: x\n", "container \"srv6-install\" is taken"),
        ("    volumeMounts: [{name: x, mountPath: /run/srv6/}]\n", "mount path \"/run/srv6\" is taken"),
    ];
    for (lines, wanted) in cases {
        let error = refused(&format!("{POD}{lines}"), &Options::default());
        assert!(error.contains(wanted), "{error}");
    }
    let labelled = POD.replace("  name: p\n", "  name: p\n  labels: {nccl-net-srv6/steered-by: me}\n");
    let error = refused(&labelled, &Options::default());
    assert!(error.contains("label \"nccl-net-srv6/steered-by\" is taken"), "{error}");
}

#[test]
fn shapes_that_kubernetes_has_not_are_named() {
    let cases = [
        ("    env: x\n", "c/env: want a list, or nothing at all"),
        ("    env:\n", "c/env: want a list, or nothing at all"),
        ("  - image: y\n", "spec.containers[1].name: want a name"),
    ];
    for (lines, wanted) in cases {
        let error = refused(&format!("{POD}{lines}"), &Options::default());
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_value_from_elsewhere_is_not_overridden() {
    let from = "    env:\n    - name: LD_PRELOAD\n      valueFrom: {configMapKeyRef: {name: m, key: k}}\n    - name: SRV6_MODE\n      \
                valueFrom: {configMapKeyRef: {name: m, key: k}}\n";
    let pod = format!("{POD}{from}");
    let error = refused(&pod, &Options { shim: true, ..Options::default() });
    assert!(error.contains(
        "LD_PRELOAD takes its value from elsewhere (valueFrom); want a value that can be extended"
    ));
    let error = refused(&pod, &Options { force: true, ..Options::default() });
    assert!(
        error.contains(
            "SRV6_MODE takes its value from elsewhere (valueFrom); want a value that can be replaced"
        )
    );
    let notes = &inject(&pod, &Options::default()).unwrap().reports[0].1.notes;
    assert_eq!(*notes, ["container c: keeps its own SRV6_MODE=(valueFrom)"]);
}

#[test]
fn what_may_come_from_elsewhere_is_told() {
    let from = "    env:\n    - {name: NCCL_NET, value: IB}\n    envFrom:\n    - configMapRef: {name: nccl}\n    \
                - secretRef: {name: keys}\n      prefix: LD_\n    - secretRef: {name: other}\n      prefix: AWS_\n";
    let pod = format!("{POD}{from}");
    let options = Options { shim: true, strict: true, ..Options::default() };
    let notes = inject(&pod, &options).unwrap().reports.remove(0).1.notes;
    assert_eq!(
        notes,
        [
            "container c: ConfigMap nccl (envFrom) can't be seen here and loses against what is injected; set in env what is to stay of \
             NCCL_NET_PLUGIN, NCCL_NET_PLUGIN_REF_COUNT, SRV6_STRICT, SRV6_MODE, SRV6_AGENT_SOCKET, SRV6_JOB, LD_PRELOAD",
            "container c: Secret keys (envFrom) can't be seen here and loses against what is injected; set in env what is to stay of \
             LD_PRELOAD",
            "container c: keeps its own NCCL_NET=IB",
        ]
    );
    let forced = inject(&pod, &Options { force: true, ..options }).unwrap();
    assert_eq!(forced.reports[0].1.notes, [""; 0], "who forces wants them to be overridden");
}

#[test]
fn pods_of_one_workload_are_one_job() {
    let job = |metadata: serde_json::Value| {
        let mut pod = serde_json::json!({ "metadata": metadata, "spec": { "containers": [
            { "name": "c", "resources": { "limits": { "nvidia.com/gpu": "1" } } }] } });
        inject_pod(&mut pod, &Options::default()).unwrap();
        let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
        env.iter().find(|one| one["name"] == "SRV6_JOB").unwrap().clone()
    };
    let owned = |kind: &str, name: &str| {
        serde_json::json!({
            "name": "p-0", "labels": { "pod-template-hash": "5d9c" },
            "ownerReferences": [{ "kind": "Other", "name": "o" }, { "kind": kind, "name": name, "controller": true }],
        })
    };
    assert_eq!(job(owned("StatefulSet", "train"))["value"], "train");
    assert_eq!(job(owned("ReplicaSet", "train-5d9c"))["value"], "train");
    assert_eq!(job(owned("ReplicaSet", "bare"))["value"], "bare");
    let field = |metadata| job(metadata)["valueFrom"]["fieldRef"]["fieldPath"].clone();
    assert_eq!(field(owned("Elsewhere", "x")), "metadata.name");
    let mut labelled = owned("StatefulSet", "train");
    labelled["labels"]["volcano.sh/job-name"] = "v".into();
    assert_eq!(field(labelled), "metadata.labels['volcano.sh/job-name']");
}

#[test]
fn other_versions_and_options_are_seen() {
    let options = Options::default();
    let injected = inject(POD, &options).unwrap().text;
    let state = |text: &str, options: &Options| check(text, options).unwrap().remove(0).1;
    let strict = Options { strict: true, ..Options::default() };
    assert_eq!(state(&injected, &strict), State::Different);
    let old =
        injected.replace(&format!("injected-version: \"{}\"", names::VERSION), "injected-version: \"0.0.1\"");
    let found = format!("injected by 0.0.1, plugin {}", names::VERSION);
    assert_eq!(state(&old, &options), State::Version { found });
    assert_eq!(inject(&old, &options).unwrap().text, injected, "injecting again brings it up to date");
    let newer = Options { plugin_image: "registry:5000/srv6@sha256:0a".to_owned(), ..Options::default() };
    let found = format!("injected by {0}, plugin {0}", names::VERSION);
    assert_eq!(state(&injected, &newer), State::Version { found });
    assert!(inject(POD, &newer).unwrap().text.contains("plugin-version: sha256:0a"));
}

#[test]
fn a_record_that_cannot_be_read_stops_everything() {
    let injected = inject(POD, &Options::default()).unwrap().text;
    let broken = injected.replace("{\"made\":", "{\"mode\":");
    let error = told(&remove(&broken).unwrap_err());
    assert!(error.contains("annotation nccl-net-srv6/undo: unknown field `mode`"), "{error}");
    let lost = injected.lines().filter(|line| !line.contains("/undo")).collect::<Vec<_>>().join("\n");
    assert!(told(&remove(&lost).unwrap_err()).contains("is missing from an injected pod"));
}

#[test]
fn an_error_leaves_a_pod_as_it_was() {
    let mut pod = serde_json::json!({ "spec": { "hostNetwork": true, "containers": [
        { "name": "c", "resources": { "limits": { "amd.com/gpu": "1" } } }] } });
    let before = pod.clone();
    assert_eq!(inject_pod(&mut pod, &Options::default()), Err(Error::HostNetwork));
    assert_eq!(pod, before);
}
