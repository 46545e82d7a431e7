//! The capabilities that the DaemonSet gives the agent: enough together, and each of them needed.

use std::path::Path;
use std::process::Command;

use crate::client::Client;
use crate::scene::{Scene, TO_HOST01, fabric};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("the_daemonsets_capabilities_are_enough", enough),
    ("without_one_of_the_daemonsets_capabilities_something_fails", each_is_needed),
    ("check_names_the_capability_that_is_missing", checked),
];

/// What the container of the DaemonSet may, by the names of Kubernetes: `NET_ADMIN` and the like.
fn granted() -> Vec<String> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes/components/agent/daemonset.yaml");
    let manifest = std::fs::read_to_string(&path).unwrap();
    let (_, list) = manifest.split_once(" add: [").expect("capabilities on one line");
    let (list, _) = list.split_once(']').unwrap();
    list.split(',').map(|name| name.trim().to_owned()).collect()
}

/// The agent with these capabilities and no other, as a container runtime starts it.
fn confined(capabilities: &[String]) -> Command {
    let set: String = capabilities.iter().map(|name| format!(",+{}", name.to_lowercase())).collect();
    let mut command = Command::new("setpriv");
    command.arg(format!("--bounding-set=-all{set}")).args(["--inh-caps=-all", "--no-new-privs"]);
    command.arg(env!("CARGO_BIN_EXE_srv6d"));
    command
}

fn enough() {
    let mut scene = Scene::without_agent();
    scene.start_agent_by(confined(&granted()), &["--srv6d-group", "0"]);
    scene.eventually("the agent listens", || Path::new(&scene.socket()).exists());
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.agent_pid())).unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    let effective = u64::from_str_radix(effective, 16).unwrap();
    assert_eq!(effective.count_ones() as usize, granted().len(), "{status}");

    // The client has rights that the agent lacks, as a pod's root has CAP_SETUID, and as a pod's user has another number.
    let client =
        Client::start(scene.host("host00"), &scene.socket(), &[TO_HOST01, &format!("lanes:{TO_HOST01}")]);
    assert!(client.ready(2).iter().any(|line| line.contains("2 lanes by mark")), "{}", scene.log());
    assert!(scene.routes("host00").contains("encap seg6"), "{}", scene.routes("host00"));
    client.leave();
    assert_eq!(scene.routes("host00"), "");
    let log = scene.log();
    assert!(!log.contains("not probed") && !log.contains("not permitted"), "{log}");
}

fn each_is_needed() {
    let (scene, client) = without("NET_ADMIN");
    let word = client.says();
    assert!(word.contains("failed") && word.contains("CAP_NET_ADMIN"), "{word}\n{}", scene.log());
    for (lacking, complaint) in [
        ("SYS_ADMIN", "enter network namespace"),
        ("SYS_PTRACE", "Permission denied"),
        ("NET_RAW", "not probed"),
    ] {
        let (scene, _client) = without(lacking);
        scene.eventually(&format!("{complaint}, without {lacking}"), || scene.log().contains(complaint));
    }
}

fn checked() {
    let check = |capabilities: &[String], scope: &str| {
        let fabric = fabric();
        let output = confined(capabilities)
            .args(["--check", "--srv6d-scope", scope, "--srv6-topology", fabric.to_str().unwrap()])
            .args(["--srv6-agent-socket", "/nonexistent/agent.sock"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let failed: Vec<String> =
            text.lines().filter(|line| line.starts_with("FAILED")).map(str::to_owned).collect();
        assert_eq!(output.status.success(), failed.is_empty(), "{text}");
        failed
    };
    let all = granted();
    assert_eq!(check(&all, "host"), Vec::<String>::new());
    for lacking in ["NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE", "NET_RAW"] {
        let fewer: Vec<_> = all.iter().filter(|name| *name != lacking).cloned().collect();
        let failed = check(&fewer, "host");
        assert!(failed.iter().any(|line| line.contains(&format!("CAP_{lacking}:"))), "{lacking}: {failed:?}");
    }
    assert_eq!(check(&["NET_ADMIN".to_owned()], "pod"), Vec::<String>::new());
}

/// An agent that lacks one of them, and a client that asks it for a flow.
fn without(lacking: &str) -> (Scene, Client) {
    let all = granted();
    let fewer: Vec<_> = all.iter().filter(|name| *name != lacking).cloned().collect();
    assert_eq!(fewer.len() + 1, all.len(), "the DaemonSet doesn't give {lacking}: {all:?}");
    let mut scene = Scene::without_agent();
    scene.start_agent_by(confined(&fewer), &[]);
    let client = Client::start(scene.host("host00"), &scene.socket(), &[TO_HOST01]);
    (scene, client)
}
