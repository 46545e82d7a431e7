//! Slurm's scripts, run as slurmd runs them, with a stand-in for srv6ctl.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::{read, root};

/// A folder with a `srv6ctl` of this text, and the settings and libraries that scripts find there.
fn machine(srv6ctl: &str, settings: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write("srv6ctl", &format!("#!/bin/sh\necho \"$@\" >> \"${{0%/*}}/calls\"\n{srv6ctl}\n"));
    write("settings", settings);
    write("libnccl-net-srv6.so", "");
    let program = folder.path().join("srv6ctl");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    folder
}

fn script(name: &str, machine: &Path, environment: &[(&str, &str)]) -> Output {
    Command::new(root().join("deploy/slurm").join(name))
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", machine.display()))
        .env("SLURM_JOB_ID", "4711")
        .env("srv6_slurm_settings", machine.join("settings"))
        .env("srv6_libraries", machine)
        .envs(environment.iter().copied())
        .output()
        .expect("the script runs")
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn calls(machine: &Path) -> String {
    std::fs::read_to_string(machine.join("calls")).expect("a call")
}

#[test]
fn the_prolog_waits_for_the_agent() {
    // The second question is the first that is answered.
    let machine = machine("[ \"$(wc -l < \"${0%/*}/calls\")\" -ge 2 ]", "required=yes\npatience_s=60\n");
    let output = script("prolog", machine.path(), &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(calls(machine.path()), "agent status\nagent status\n");
}

#[test]
fn without_an_agent_the_prolog_fails_only_if_one_is_required() {
    let dead = "echo 'no agent at /run/srv6/agent.sock' >&2; exit 1";
    for (settings, status) in [("patience_s=0\n", 0), ("patience_s=0\nrequired=yes\n", 1)] {
        let machine = machine(dead, settings);
        let output = script("prolog", machine.path(), &[]);
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        let wanted = "srv6 prolog: job 4711: no agent after 0 s: no agent at /run/srv6/agent.sock\n";
        assert_eq!(said(&output), wanted);
    }
}

#[test]
fn the_epilog_collects_garbage_and_never_fails() {
    let works = machine("echo '0 removed, 3 in use'", "");
    let output = script("epilog", works.path(), &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(calls(works.path()), "gc\n");
    let fails = machine("echo 'not allowed' >&2; exit 1", "");
    let output = script("epilog", fails.path(), &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said(&output), "srv6 epilog: job 4711: not allowed\n");
}

#[test]
fn the_task_prolog_lets_nccl_find_the_plugin() {
    let machine = machine("exit 1", "");
    let libraries = machine.path().to_str().expect("text");
    let exports = |environment: &[(&str, &str)]| -> BTreeMap<String, String> {
        let output = script("task-prolog", machine.path(), environment);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        let export =
            |line: &str| line.strip_prefix("export ")?.split_once('=').map(|(n, v)| (n.into(), v.into()));
        text.lines().map(|line| export(line).expect("an export")).collect()
    };
    let wanted = |path: &str| {
        let pairs =
            [("NCCL_NET_PLUGIN", "srv6"), ("NCCL_NET_PLUGIN_REF_COUNT", "1"), ("LD_LIBRARY_PATH", path)];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    };
    assert_eq!(exports(&[]), wanted(libraries));
    let path = [("LD_LIBRARY_PATH", "/opt/cuda/lib64"), ("NCCL_NET_PLUGIN", "srv6")];
    assert_eq!(exports(&path), wanted(&format!("{libraries}:/opt/cuda/lib64")));
    let own = exports(&[("NCCL_NET_PLUGIN_REF_COUNT", "0")]);
    assert_eq!(own["NCCL_NET_PLUGIN_REF_COUNT"], "0", "what the user set stays");
    assert_eq!(exports(&[("NCCL_NET_PLUGIN", "none")]), BTreeMap::new());
    assert_eq!(exports(&[("srv6_libraries", "/nowhere")]), BTreeMap::new());
}

#[test]
fn scripts_call_what_srv6ctl_has() {
    for name in ["prolog", "epilog"] {
        let text = read(&format!("deploy/slurm/{name}"));
        let code = text.lines().filter(|line| !line.starts_with('#'));
        let called: Vec<_> = code
            .flat_map(|line| line.split("srv6ctl ").skip(1))
            .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next())
            .collect();
        assert!(!called.is_empty(), "{name} calls nothing");
        for command in called {
            assert!(
                root().join(format!("crates/ctl/src/{command}.rs")).is_file(),
                "{name}: srv6ctl {command}"
            );
        }
    }
}
