//! scripts/webhook-certificate: a certificate for the webhook without cert-manager.

use std::path::Path;
use std::process::{Command, Output};

use crate::rendered::{kustomize, one, path};

fn run(arguments: &[&str]) -> Output {
    Command::new(path("scripts/webhook-certificate")).args(arguments).output().unwrap()
}

/// What openssl says of a certificate made in a folder.
fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_component_brings_a_certificate_that_the_api_server_trusts() {
    let scratch = std::env::temp_dir().join(format!("srv6-certificate-{}", std::process::id()));
    let folder = scratch.join("certificate");
    let output = run(&[folder.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let check =
        ["verify", "-CAfile", "ca.crt", "-verify_hostname", "srv6-webhook.srv6-system.svc", "tls.crt"];
    assert_eq!(openssl(&folder, &check).trim(), "tls.crt: OK");
    let authority = std::fs::read(folder.join("ca.crt")).unwrap();
    let certificate = std::fs::read(folder.join("tls.crt")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(folder.join("tls.key")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);

    let up = "../".repeat(scratch.canonicalize().unwrap().components().count());
    let deploy = path("deploy/kubernetes").canonicalize().unwrap().display().to_string();
    let deploy = deploy.trim_start_matches('/');
    let text = format!(
        "resources: [{up}{deploy}/base]\ncomponents: [{up}{deploy}/components/webhook, certificate]\n"
    );
    std::fs::write(scratch.join("kustomization.yaml"), text).unwrap();
    let documents = kustomize(&scratch);
    let secret = one(&documents, "Secret", "srv6-webhook-tls");
    assert_eq!(secret["type"], "kubernetes.io/tls");
    assert_eq!(secret["metadata"]["namespace"], "srv6-system");
    let mut keys: Vec<_> = secret["data"].as_object().unwrap().keys().collect();
    keys.sort();
    // The authority's key stays with whoever made it.
    assert_eq!(keys, ["tls.crt", "tls.key"]);
    let hook = &one(&documents, "MutatingWebhookConfiguration", "srv6-webhook")["webhooks"][0];
    let bundle = hook["clientConfig"]["caBundle"].as_str().unwrap();
    assert_eq!(openssl(&folder, &["base64", "-A", "-in", "ca.crt"]).trim(), bundle);

    // Again: another certificate by the same authority.
    assert!(run(&[folder.to_str().unwrap()]).status.success());
    assert_eq!(std::fs::read(folder.join("ca.crt")).unwrap(), authority);
    assert_ne!(std::fs::read(folder.join("tls.crt")).unwrap(), certificate);
    assert_eq!(openssl(&folder, &check).trim(), "tls.crt: OK");
    std::fs::remove_dir_all(&scratch).unwrap();
}

#[test]
fn it_says_what_it_wants() {
    for (arguments, wanted) in [
        (&[][..], "want DIR [NAMESPACE], got 0 arguments"),
        (&["x", "a b"][..], "'a b', want a namespace's name"),
    ] {
        let output = run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(wanted), "{said}");
    }
}
