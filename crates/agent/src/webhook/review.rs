//! One review: the API server's question in, its answer out. Pure, so that asking for a dry run changes nothing about it.
//!
//! The format is `admission.k8s.io/v1` `AdmissionReview`; the patch is a JSON Patch (RFC 6902) in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use srv6_fabric::chain;
use srv6_inject::{Options, Report, names};

use super::wishes::{self, Wishes};

/// The version of reviews that is spoken.
const VERSION: &str = "admission.k8s.io/v1";

/// A body that isn't a review.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    /// No JSON, or a member is missing or of another type.
    #[error("want an AdmissionReview of {VERSION} with a request: {0}")]
    Json(#[from] serde_json::Error),
    /// Some other document.
    #[error("got a {kind} of {version}; want an AdmissionReview of {VERSION}")]
    Other {
        /// Its kind.
        kind: String,
        /// Its version.
        version: String,
    },
    /// Nothing to answer to.
    #[error("the request's uid is empty; want the API server's")]
    Uid,
}

/// What came of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It will be steered.
    Injected,
    /// It doesn't ask for anything, or has it already.
    Untouched,
    /// It asked for what can't be done, and goes as it is, with a warning.
    Passed,
    /// It asked for what can't be done, and not to go without.
    Denied,
}

impl Outcome {
    /// As metrics say it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Untouched => "untouched",
            Self::Passed => "passed",
            Self::Denied => "denied",
        }
    }
}

/// A review that has an answer.
#[derive(Debug)]
pub(super) struct Reviewed {
    /// An `AdmissionReview` with the response.
    pub(super) answer: Value,
    /// In one word.
    pub(super) outcome: Outcome,
}

#[derive(Deserialize)]
struct Review {
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    kind: Kind,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    namespace: String,
    operation: String,
    #[serde(default)]
    object: Value,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    group: String,
    kind: String,
}

/// Answers a review; `defaults` is how pods are injected that don't say it themselves.
///
/// # Errors
/// The body is no review.
pub(super) fn review(body: &[u8], defaults: &Options) -> Result<Reviewed, Malformed> {
    // Kind and version first: a document of another kind lacks what a review has, and that would be a poor complaint.
    let document: Value = serde_json::from_slice(body)?;
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, version) = (text("kind"), text("apiVersion"));
    if kind != "AdmissionReview" || version != VERSION {
        return Err(Malformed::Other { kind, version });
    }
    let Review { request } = serde_json::from_value(document)?;
    if request.uid.is_empty() {
        return Err(Malformed::Uid);
    }
    let decision = decide(&request, defaults);
    decision.log(&request);
    Ok(Reviewed { outcome: decision.outcome(), answer: decision.answer(&request.uid) })
}

/// What to do with a pod.
enum Decision {
    Leave,
    Inject { patch: json_patch::Patch, report: Report },
    Pass { reasons: Vec<String> },
    Deny { reasons: Vec<String> },
}

fn decide(request: &Request, defaults: &Options) -> Decision {
    let pod = &request.object;
    let is_new_pod = request.kind.group.is_empty()
        && request.kind.kind == "Pod"
        && request.operation == "CREATE"
        && request.sub_resource.is_empty();
    let asks =
        || pod.pointer("/metadata/labels").and_then(|labels| labels.get(names::INJECT_LABEL)?.as_str());
    // The API server asks again after other webhooks have had the pod, and templates may be injected already.
    if !is_new_pod || asks() != Some("true") || wishes::annotation(pod, names::INJECTED_VERSION).is_some() {
        return Decision::Leave;
    }
    let Wishes { options, mistakes } = wishes::read(pod, defaults);
    let mut injected = pod.clone();
    let reasons = if mistakes.is_empty() {
        match srv6_inject::inject_pod(&mut injected, &options) {
            Ok(report) => return Decision::Inject { patch: json_patch::diff(pod, &injected), report },
            Err(error) => vec![chain(&error)],
        }
    } else {
        mistakes
    };
    if options.strict { Decision::Deny { reasons } } else { Decision::Pass { reasons } }
}

impl Decision {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Leave => Outcome::Untouched,
            Self::Inject { .. } => Outcome::Injected,
            Self::Pass { .. } => Outcome::Passed,
            Self::Deny { .. } => Outcome::Denied,
        }
    }

    fn log(&self, request: &Request) {
        let Request { uid, namespace, dry_run, .. } = request;
        let text = |member: &str| request.object.pointer(member).and_then(Value::as_str);
        // Pods of a workload have no name before they are stored.
        let name = text("/metadata/name").or_else(|| text("/metadata/generateName")).unwrap_or_default();
        let who = format!("pod={namespace}/{name} review={uid} dry_run={dry_run}");
        match self {
            Self::Leave => log::debug!("{who} left alone"),
            Self::Inject { report, .. } => {
                log::info!("{who} injected containers={}", report.containers.join(","));
            }
            Self::Pass { reasons } => log::warn!("{who} not injected: {}", reasons.join("; ")),
            Self::Deny { reasons } => log::warn!("{who} denied: {}", reasons.join("; ")),
        }
    }

    fn answer(self, uid: &str) -> Value {
        let warnings = |texts: Vec<String>, what: &str| -> Vec<String> {
            texts.into_iter().map(|text| format!("nccl-net-srv6: {what}{text}")).collect()
        };
        let response = match self {
            Self::Leave => json!({ "uid": uid, "allowed": true }),
            Self::Inject { patch, report } => json!({
                "uid": uid,
                "allowed": true,
                "patchType": "JSONPatch",
                "patch": STANDARD.encode(json!(patch).to_string()),
                "warnings": warnings(report.notes, ""),
            }),
            Self::Pass { reasons } => json!({
                "uid": uid,
                "allowed": true,
                "warnings": warnings(reasons, "not injected, connections go unsteered: "),
            }),
            Self::Deny { reasons } => json!({
                "uid": uid,
                "allowed": false,
                "status": { "code": 403, "message": format!("can't be injected: {}", reasons.join("; ")) },
            }),
        };
        json!({ "apiVersion": VERSION, "kind": "AdmissionReview", "response": response })
    }
}
