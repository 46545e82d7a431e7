//! `srv6ctl inject` as it is typed: files, standard input, in place, differences and exit statuses.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a panic is the failure")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const POD: &str = "# mine\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n    - name: c # the one\n      \
                   image: i\n      resources: {limits: {nvidia.com/gpu: 1}}\n";

fn srv6ctl(arguments: &[&str], input: &str, folder: &Path) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_srv6ctl"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments doesn't read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn printed(output: &Output) -> (bool, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn standard_input_is_injected_and_taken_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let (good, injected, told) = printed(&srv6ctl(&["inject", "-f", "-", "--strict"], POD, folder.path()));
    assert!(good && told.contains("Pod/p: steered: c"), "{told}");
    assert!(injected.starts_with("# mine\n") && injected.contains("name: NCCL_NET\n"), "{injected}");
    let (good, removed, told) =
        printed(&srv6ctl(&["inject", "-f", "-", "--remove"], &injected, folder.path()));
    assert!(good && removed == POD, "{told}\n{removed}");
}

#[test]
fn files_are_changed_in_place_all_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(file("a.yaml"), POD).unwrap();
    fs::write(file("b.yaml"), POD.replace("containers:", "hostNetwork: true\n  containers:")).unwrap();
    fs::set_permissions(file("a.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    let (good, _, told) =
        printed(&srv6ctl(&["inject", "-i", "-f", "a.yaml", "-f", "b.yaml"], "", folder.path()));
    assert!(!good && told.contains("b.yaml: document 1 (Pod/p): hostNetwork: true"), "{told}");
    assert_eq!(fs::read_to_string(file("a.yaml")).unwrap(), POD, "one is wrong, so nothing is written");

    let state = |expected: &str| {
        let (good, words, told) =
            printed(&srv6ctl(&["inject", "--check", "-f", "a.yaml"], "", folder.path()));
        assert_eq!(words, format!("a.yaml: Pod/p: {expected}\n"), "{told}");
        good
    };
    assert!(!state("not injected"));
    let (good, _, told) = printed(&srv6ctl(&["inject", "-i", "-f", "a.yaml"], "", folder.path()));
    assert!(good, "{told}");
    assert!(state("injected"));
    assert_eq!(fs::metadata(file("a.yaml")).unwrap().permissions().mode() & 0o777, 0o640);
    let (good, _, told) = printed(&srv6ctl(&["inject", "-i", "--remove", "-f", "a.yaml"], "", folder.path()));
    assert!(good, "{told}");
    assert_eq!(fs::read_to_string(file("a.yaml")).unwrap(), POD);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left there");
}

#[test]
fn a_difference_only_adds_lines() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), POD).unwrap();
    let (good, diff, told) = printed(&srv6ctl(&["inject", "--diff", "-f", "a.yaml"], "", folder.path()));
    assert!(good && diff.starts_with("--- a.yaml\n+++ a.yaml\n@@"), "{told}\n{diff}");
    let gone: Vec<_> = diff.lines().skip(2).filter(|line| line.starts_with('-')).collect();
    // Only the flow mapping, which gets annotations between its braces.
    assert_eq!(gone, ["-metadata: {name: p}"]);
    assert_eq!(fs::read_to_string(folder.path().join("a.yaml")).unwrap(), POD);
}

#[test]
fn several_files_become_one_stream() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), POD).unwrap();
    fs::write(folder.path().join("b.yaml"), format!("---\n{}", POD.trim_end())).unwrap();
    let arguments = ["inject", "-f", "a.yaml", "-f", "b.yaml", "-f", "a.yaml", "-o", "all.yaml"];
    let (good, _, told) = printed(&srv6ctl(&arguments, "", folder.path()));
    assert!(good, "{told}");
    let all = fs::read_to_string(folder.path().join("all.yaml")).unwrap();
    assert_eq!(all.lines().filter(|line| *line == "---").count(), 2);
    let (good, _, told) = printed(&srv6ctl(&["inject", "-f", "all.yaml", "--check"], "", folder.path()));
    assert!(good, "{told}");
}

#[test]
fn arguments_of_volcanos_plugin_are_taken_as_it_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let job = "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nmetadata: {name: j}\nspec:\n  tasks:\n  - name: chief\n    replicas: 1\n    \
               template: {spec: {containers: [{name: c, resources: {limits: {nvidia.com/gpu: 1}}}]}}\n";
    let arguments =
        ["inject", "-f", "-", "--pytorch", "--master=chief", "--port=5000", "--wait-master-enabled=true"];
    let (good, pods, told) = printed(&srv6ctl(&arguments, job, folder.path()));
    assert!(good && told.contains("written out as a pod and a Service"), "{told}");
    assert!(pods.contains("value: j-chief-0.j\n") && pods.contains("value: \"5000\"\n"), "{pods}");
    let (good, _, told) = printed(&srv6ctl(&["inject", "-f", "-", "--port=5000"], job, folder.path()));
    assert!(!good && told.contains("--pytorch"), "{told}");
    let (good, _, told) =
        printed(&srv6ctl(&["inject", "-f", "-", "--env", "SRV6_STRIKT=1"], POD, folder.path()));
    assert!(!good && told.contains("--env SRV6_STRIKT: no such setting"), "{told}");
}

#[test]
fn the_wait_that_is_put_in_is_one_that_this_program_takes() {
    let folder = tempfile::tempdir().unwrap();
    let set = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: t}\nspec:\n  serviceName: t\n  replicas: 2\n  template:\n    \
               spec:\n      containers:\n      - name: c\n        resources: {limits: {nvidia.com/gpu: 1}}\n";
    let ask = |timeout: &str| {
        let timeout = format!("--wait-master-timeout={timeout}");
        let flags = ["inject", "-f", "-", "--pytorch", "--port=5000", "--wait-master-enabled", &timeout];
        printed(&srv6ctl(&flags, set, folder.path()))
    };
    let (good, injected, told) = ask("604800");
    assert!(good, "{told}");
    let document: serde_json::Value =
        serde_saphyr::from_str(injected.split("---\n").next().unwrap()).unwrap();
    let init = document["spec"]["template"]["spec"]["initContainers"].as_array().unwrap();
    let wait = init.iter().find(|one| one["name"] == "wait-for-master").unwrap();
    let words: Vec<&str> =
        wait["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words[0], "/usr/bin/srv6ctl");
    assert!(words.windows(2).any(|pair| pair == ["--port", "5000"]), "{words:?}");
    // Rank 0 needn't wait, so all that can go wrong is how it is called.
    let output =
        Command::new(env!("CARGO_BIN_EXE_srv6ctl")).args(&words[1..]).env("RANK", "0").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let (good, _, told) = ask("604801");
    assert!(!good && told.contains("604801 is not in 1..=604800"), "{told}");
}

#[test]
fn what_is_overridden_unseen_is_told_by_check_too() {
    let folder = tempfile::tempdir().unwrap();
    let pod = POD.replace("image: i\n", "image: i\n      envFrom: [{configMapRef: {name: nccl}}]\n");
    let (_, injected, told) = printed(&srv6ctl(&["inject", "-f", "-"], &pod, folder.path()));
    assert!(told.contains("ConfigMap nccl (envFrom)"), "{told}");
    let (good, state, told) = printed(&srv6ctl(&["inject", "--check", "-f", "-"], &injected, folder.path()));
    assert!(
        good && state.ends_with("injected\n") && told.contains("ConfigMap nccl (envFrom)"),
        "{state}{told}"
    );
}
