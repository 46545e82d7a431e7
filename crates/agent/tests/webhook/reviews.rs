//! Reviews: what is injected, what is left alone, and what isn't a review.

use std::io::Write;
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use srv6_inject::{Mode, Options, inject_pod};

use crate::client::review;
use crate::serving::Serving;

/// The pod that a response makes of a review's.
pub(crate) fn patched(review: &Value, response: &Value) -> Value {
    assert_eq!(
        (&response["allowed"], &response["patchType"]),
        (&json!(true), &json!("JSONPatch")),
        "{response}"
    );
    let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let mut pod = review["request"]["object"].clone();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

/// The review's pod with these options, as `srv6ctl inject` would have it.
fn injected(review: &Value, options: &Options) -> Value {
    let mut pod = review["request"]["object"].clone();
    inject_pod(&mut pod, options).unwrap();
    pod
}

fn annotated(annotations: &Value) -> Value {
    let mut review = review();
    let own = review["request"]["object"]["metadata"]["annotations"].as_object_mut().unwrap();
    own.extend(annotations.as_object().unwrap().clone());
    review
}

#[test]
fn a_labelled_pod_is_injected() {
    let serving = Serving::start(&[]);
    let review = review();
    let pod = patched(&review, &serving.ask(&review));
    assert_eq!(pod, injected(&review, &Options::default()));

    let before = &review["request"]["object"];
    let install = &pod["spec"]["initContainers"][0];
    assert_eq!(install["name"], "srv6-install");
    assert_eq!(install["image"], concat!("nccl-net-srv6:", env!("CARGO_PKG_VERSION")));
    let names = |list: &Value, of: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one[of].as_str().unwrap().to_owned()).collect()
    };
    assert!(names(&pod["spec"]["containers"][0]["env"], "name").contains(&"NCCL_NET_PLUGIN".to_owned()));
    assert!(
        names(&pod["spec"]["containers"][0]["volumeMounts"], "mountPath").contains(&"/opt/srv6".to_owned())
    );
    assert_eq!(pod["metadata"]["annotations"]["nccl-net-srv6/injected-version"], env!("CARGO_PKG_VERSION"));
    // What asked for nothing is as it was.
    assert_eq!(pod["spec"]["containers"][1], before["spec"]["containers"][1]);
    assert_eq!(pod["spec"]["initContainers"][1], before["spec"]["initContainers"][0]);
    assert_eq!(pod["metadata"]["ownerReferences"], before["metadata"]["ownerReferences"]);
    assert_eq!(pod["metadata"]["annotations"]["example.com/owner~team"], "vision/ml");
    assert_eq!(serving.logged("pod=training/resnet-0- review=0df28fbd"), 1);
}

#[test]
fn annotations_and_flags_choose_how() {
    let serving =
        Serving::start(&["--shim", "--plugin-image=r.example/nccl-net-srv6:9", "--env=SRV6_PATHS=4"]);
    let defaults = Options {
        shim: true,
        plugin_image: "r.example/nccl-net-srv6:9".to_owned(),
        env: vec![("SRV6_PATHS".to_owned(), "4".to_owned())],
        ..Options::default()
    };
    let plain = review();
    assert_eq!(patched(&plain, &serving.ask(&plain)), injected(&plain, &defaults));

    let other = annotated(&json!({
        "nccl-net-srv6/mode": "sidecar",
        "nccl-net-srv6/shim": "false",
        "nccl-net-srv6/strict": "true",
        "nccl-net-srv6/containers": "log-shipper",
    }));
    let containers = vec!["log-shipper".to_owned()];
    let wanted = Options { mode: Mode::Sidecar, shim: false, strict: true, containers, ..defaults };
    let pod = patched(&other, &serving.ask(&other));
    assert_eq!(pod, injected(&other, &wanted));
    assert_eq!(pod["spec"]["initContainers"][1]["restartPolicy"], "Always");
    assert_eq!(pod["spec"]["containers"][0], other["request"]["object"]["spec"]["containers"][0]);
}

#[test]
fn who_does_not_ask_or_was_injected_is_left_alone() {
    let serving = Serving::start(&[]);
    let alone = |review: &Value| {
        let response = serving.ask(review);
        assert_eq!(response, json!({ "uid": review["request"]["uid"], "allowed": true }));
    };
    let first = review();
    let mut again = first.clone();
    again["request"]["object"] = patched(&first, &serving.ask(&first));
    alone(&again);
    for (pointer, value) in [
        ("/request/object/metadata/labels/nccl-net-srv6~1inject", json!("false")),
        ("/request/object/metadata/labels", json!({})),
        ("/request/object/metadata", json!({ "name": "bare" })),
        ("/request/object", Value::Null),
        ("/request/operation", json!("UPDATE")),
        ("/request/kind", json!({ "group": "batch", "version": "v1", "kind": "Job" })),
    ] {
        let mut other = first.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        alone(&other);
    }
    let mut sub = first.clone();
    sub["request"]["subResource"] = json!("ephemeralcontainers");
    alone(&sub);
    assert_eq!(serving.metric("srv6_webhook_reviews_total{outcome=\"untouched\"}"), 8);
    assert_eq!(serving.metric("srv6_webhook_reviews_total{outcome=\"injected\"}"), 1);
}

#[test]
fn a_dry_run_is_answered_alike() {
    let serving = Serving::start(&[]);
    let mut review = review();
    let real = serving.ask(&review);
    review["request"]["dryRun"] = json!(true);
    assert_eq!(serving.ask(&review), real);
    assert_eq!(serving.logged("dry_run=true injected"), 1);
}

#[test]
fn what_can_not_be_injected_goes_unsteered_unless_strict() {
    let serving = Serving::start(&[]);
    let mut host_network = review();
    host_network["request"]["object"]["spec"]["hostNetwork"] = json!(true);
    let mut no_gpu = review();
    no_gpu["request"]["object"]["spec"]["containers"][0]["resources"] = json!({});
    let unclear = annotated(&json!({ "nccl-net-srv6/mode": "pod" }));
    let mut misshapen = review();
    misshapen["request"]["object"]["spec"]["containers"] = json!("none");
    for (review, reason) in [
        (host_network, "hostNetwork: true"),
        (no_gpu, "nvidia.com/gpu"),
        (unclear, "nccl-net-srv6/mode=\"pod\": want node or sidecar"),
        (misshapen, "spec.containers: want a list"),
    ] {
        let response = serving.ask(&review);
        assert_eq!(response["allowed"], true, "{response}");
        assert!(response.get("patch").is_none(), "{response}");
        let warning = response["warnings"][0].as_str().unwrap();
        assert!(warning.starts_with("nccl-net-srv6: not injected") && warning.contains(reason), "{warning}");

        let mut strict = review;
        strict["request"]["object"]["metadata"]["annotations"]["nccl-net-srv6/strict"] = json!("true");
        let response = serving.ask(&strict);
        assert_eq!(response["allowed"], false, "{response}");
        let message = response["status"]["message"].as_str().unwrap();
        assert!(message.contains(reason) && response["status"]["code"] == 403, "{response}");
    }
    assert_eq!(serving.metric("srv6_webhook_reviews_total{outcome=\"passed\"}"), 4);
    assert_eq!(serving.metric("srv6_webhook_reviews_total{outcome=\"denied\"}"), 4);
}

#[test]
fn what_injection_overrides_unseen_is_a_warning_and_owners_name_the_job() {
    let serving = Serving::start(&[]);
    let mut review = review();
    let pod = &mut review["request"]["object"];
    pod["spec"]["containers"][0]["envFrom"] = json!([{ "configMapRef": { "name": "nccl" } }]);
    pod["metadata"]["labels"] = json!({ "nccl-net-srv6/inject": "true" });
    let owner =
        json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "train", "controller": true });
    pod["metadata"]["ownerReferences"] = json!([owner]);
    let response = serving.ask(&review);
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(warning.contains("ConfigMap nccl (envFrom)"), "{warning}");
    let pod = patched(&review, &response);
    let job = json!({ "name": "SRV6_JOB", "value": "train" });
    assert!(pod["spec"]["containers"][0]["env"].as_array().unwrap().contains(&job), "{pod}");
}

#[test]
fn garbage_is_refused_and_disturbs_nobody() {
    let serving = Serving::start(&[]);
    let whole = review().to_string();
    let mut old = review();
    old["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let mut nameless = review();
    nameless["request"]["uid"] = json!("");
    let mut wrong = review();
    wrong["request"]["uid"] = json!(7);
    let long = format!("{}{}", " ".repeat(3 << 20), whole);
    for (body, status, wanted) in [
        ("", 400, "want an AdmissionReview"),
        ("\u{0}\u{1}garbage", 400, "want an AdmissionReview"),
        (&whole[..whole.len() / 2], 400, "EOF"),
        (&"[".repeat(100_000), 400, "recursion limit"),
        ("{}", 400, "want an AdmissionReview"),
        ("{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}", 400, "got a Pod of v1"),
        (&old.to_string(), 400, "admission.k8s.io/v1beta1"),
        (
            "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\"}",
            400,
            "missing field `request`",
        ),
        (&nameless.to_string(), 400, "uid is empty"),
        (&wrong.to_string(), 400, "expected a string"),
        (&long, 413, "length limit"),
    ] {
        let begin: String = body.chars().take(60).collect();
        let (found, text) = serving.curl("/mutate", Some(body.as_bytes()));
        assert!(found == status && text.contains(wanted), "{begin}: {found} {text}");
    }
    assert_eq!(serving.curl("/mutate", None).0, 405);
    assert_eq!(serving.curl("/elsewhere", None).0, 404);
    // No TLS at all, and a client that says nothing.
    let _silent = TcpStream::connect(serving.address).unwrap();
    TcpStream::connect(serving.address).unwrap().write_all(b"POST /mutate HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(serving.ask(&review())["allowed"], true);
    assert_eq!(serving.metric("srv6_webhook_reviews_total{outcome=\"malformed\"}"), 11);
    assert_eq!(serving.curl("/healthz", None), (200, "ok".to_owned()));
    assert_eq!(serving.curl("/readyz", None), (200, "ok".to_owned()));
}

#[test]
fn its_metrics_are_the_documented_ones() {
    let serving = Serving::start(&[]);
    serving.ask(&review());
    let page = serving.curl("/metrics", None).1;
    let mut series: Vec<String> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once("=\"").unwrap().0.replace('{', " "))
        .collect();
    series.sort();
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/METRICS.md");
    let document = std::fs::read_to_string(document).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `srv6_webhook_"));
    let mut wanted: Vec<String> = rows
        .map(|row| row.split('`').step_by(2).take(2).collect::<Vec<_>>().join(" "))
        .map(|row| format!("srv6_webhook_{row}"))
        .collect();
    wanted.sort();
    assert_eq!(series, wanted);
}
