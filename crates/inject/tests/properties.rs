//! What holds of every manifest that injection takes: the rest stays, twice is once, removal gives back the text.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

use proptest::prelude::*;
use srv6_inject::{Mode, Options, Pytorch, State, check, inject, remove};

/// A pod's spec and metadata in one of the many ways in which people write them.
#[derive(Debug, Clone)]
struct Written {
    /// Lists are indented under their key.
    indented: bool,
    comments: bool,
    env: usize,
    mounts: usize,
    metadata: usize,
    volumes: usize,
    init: usize,
    /// What the container ends with.
    tail: usize,
    containers: usize,
}

fn written() -> impl Strategy<Value = Written> {
    (
        any::<(bool, bool)>(),
        0..5_usize,
        0..3_usize,
        0..5_usize,
        0..4_usize,
        0..4_usize,
        0..5_usize,
        1..3_usize,
    )
        .prop_map(|((indented, comments), env, mounts, metadata, volumes, init, tail, containers)| {
            Written { indented, comments, env, mounts, metadata, volumes, init, tail, containers }
        })
}

const ENV: [&str; 5] = [
    "",
    "env: []\n",
    "env: [{name: NCCL_DEBUG, value: INFO}, ]  # c\n",
    "env: # e\n- name: NCCL_NET # n\n  value: 'IB'\n# before\n- {name: LD_PRELOAD, value: \"/a b.so\"}\n",
    "env:\n- {\"name\": \"A\", \"value\": \"x: y # z\"}\n- name: SRV6_MODE\n  value: >-\n    local\n\n",
];
const MOUNTS: [&str; 3] = [
    "",
    "volumeMounts: [ ]\n",
    "volumeMounts:\n- mountPath: /dev/shm\n  name: shm\n- {name: d, mountPath: /d}\n",
];
const METADATA: [&str; 5] = [
    "",
    "metadata: {}\n",
    "metadata:\n  labels: {a: b}   # l\n",
    "metadata:\n  annotations:\n    x: \"1\"\n    # y\n",
    "metadata: {annotations: {}, labels: {\n  job-name: j }}\n",
];
const VOLUMES: [&str; 4] = [
    "",
    "volumes: []\n",
    "volumes:\n- name: d\n  emptyDir: {}\n",
    "volumes: [{name: d, emptyDir: {}},\n  {name: shm, emptyDir: {medium: Memory}}]\n",
];
const INIT: [&str; 4] = [
    "",
    "initContainers: []\n",
    "# i\ninitContainers:\n\n# first\n- name: i\n  image: \"\\u00e9 \u{e9}\"\n",
    "initContainers: [{name: i}]\n",
];
const TAIL: [&str; 5] = [
    "",
    "args: [a,\n  b]\n",
    "command:\n- sh\n- |\n  x\n   y\n\n  # no comment\n\n",
    "args:\n- >+\n  kept\n\n\n",
    "# a comment at the end\n",
];

fn shifted(text: &str, by: usize) -> String {
    text.split_inclusive('\n')
        .map(|line| if line == "\n" { line.to_owned() } else { format!("{}{line}", " ".repeat(by)) })
        .collect()
}

/// List items under a key, the first line of each with its dash.
fn items(items: &[String], indented: bool) -> String {
    let items: String = items.iter().map(|item| format!("- {}", shifted(item, 2).trim_start())).collect();
    shifted(&items, if indented { 2 } else { 0 })
}

fn workload(version: &str, kind: &str, lines: &str, template: &str) -> String {
    let template = shifted(template, 4);
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: w\nspec:\n{lines}  template:\n{template}"
    )
}

fn replicas(kind: &str, key: &str, roles: [&str; 2], template: &str) -> String {
    let role = |role: &str| format!("    {role}:\n      template:\n{}", shifted(template, 8));
    let [first, second] = roles.map(role);
    format!(
        "apiVersion: kubeflow.org/v1\nkind: {kind}\nmetadata:\n  name: w\nspec:\n  {key}:\n{first}{second}"
    )
}

impl Written {
    fn template(&self) -> String {
        let containers: Vec<String> = (0..self.containers)
            .map(|number| {
                let comment = if self.comments { "# above\nimage: i:1 # image\n" } else { "image: i:1\n" };
                format!(
                    "name: c{number}\n{comment}{}resources:\n  limits: {{nvidia.com/gpu: 8}}\n{}{}",
                    ENV[self.env], MOUNTS[self.mounts], TAIL[self.tail]
                )
            })
            .collect();
        let containers = format!("containers:\n{}", items(&containers, self.indented));
        let spec = format!("{containers}{}restartPolicy: Never\n{}", INIT[self.init], VOLUMES[self.volumes]);
        format!("{}spec:\n{}", METADATA[self.metadata], shifted(&spec, 2))
    }

    fn document(&self, kind: usize) -> String {
        let template = self.template();
        match kind {
            0 => format!("apiVersion: v1\nkind: Pod\n{template}"),
            1 => format!("apiVersion: batch/v1\nkind: Job\nspec:\n  template:\n{}", shifted(&template, 4)),
            2 => {
                let task = format!("name: worker\nreplicas: 2\ntemplate:\n{}", shifted(&template, 2));
                let tasks = items(&[task.clone(), task.replace("worker", "other")], self.indented);
                format!(
                    "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nspec:\n  tasks:\n{}",
                    shifted(&tasks, 2)
                )
            }
            3 => workload("apps/v1", "Deployment", "", &template),
            4 => workload("apps/v1", "StatefulSet", "  serviceName: s\n  replicas: 2\n", &template),
            5 => workload(
                "batch/v1",
                "Job",
                "  completionMode: Indexed\n  completions: 2\n  parallelism: 2\n",
                &template,
            ),
            6 => replicas("PyTorchJob", "pytorchReplicaSpecs", ["Master", "Worker"], &template),
            7 => replicas("MPIJob", "mpiReplicaSpecs", ["Launcher", "Worker"], &template),
            _ => {
                let item = format!("apiVersion: v1\nkind: Pod\n{template}");
                format!("apiVersion: v1\nkind: List\nitems:\n{}", items(&[item.clone(), item], self.indented))
            }
        }
    }
}

const OTHERS: [&str; 3] = [
    "# only a comment\n",
    "apiVersion: v1\nkind: ConfigMap\ndata: {a:   1, b: [ ] }\n",
    "apiVersion: v1\nkind: Service # of ours\nspec:\n    clusterIP:    None\n",
];

fn options() -> impl Strategy<Value = Options> {
    let switches = any::<(bool, bool, bool, bool, bool)>();
    let rest = (any::<(bool, bool, bool)>(), any::<bool>());
    (switches, rest).prop_map(|((sidecar, shim, strict, force, library_path), (texts, env))| Options {
        mode: if sidecar { Mode::Sidecar } else { Mode::Node },
        shim,
        strict,
        force,
        library_path,
        path_api: texts.0.then(|| "http://[2001:db8::5]:30800".to_owned()),
        config_map: texts.1.then(|| "srv6".to_owned()),
        agent_env: Vec::from_iter(texts.2.then(|| ("SRV6_POLICY".to_owned(), "load: # x".to_owned()))),
        env: Vec::from_iter(env.then(|| ("NCCL_DEBUG".to_owned(), "INFO".to_owned()))),
        ..Options::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn injection_adds_and_removal_takes_away(
        (one, other) in (written(), written()),
        (kind, second) in (0..9_usize, 0..9_usize),
        others in (0..3_usize, 0..3_usize),
        (crlf, open) in any::<(bool, bool)>(),
        options in options(),
    ) {
        let (before, after) = (OTHERS[others.0], OTHERS[others.1]);
        let mut text = format!("{before}---\n{}---\n{after}--- # second\n{}", one.document(kind), other.document(second));
        if open {
            // A text without a line break at its end, unless that break is part of a value.
            text.truncate(text.trim_end_matches('\n').len());
            prop_assume!(other.volumes != 0 || other.tail < 2);
        }
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        let injected = inject(&text, &options).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
        prop_assert_eq!(&inject(&injected.text, &options).unwrap(), &injected);
        prop_assert_eq!(remove(&injected.text).unwrap().0, text.clone());
        prop_assert!(check(&injected.text, &options).unwrap().iter().all(|(_, state)| *state == State::Current));

        let newline = if crlf { "\r\n" } else { "\n" };
        prop_assert!(injected.text.starts_with(&before.replace('\n', newline)));
        let rest = format!("---\n{after}--- # second\n").replace('\n', newline);
        prop_assert!(injected.text.contains(&rest));
        let bare = injected.text.replace("\r\n", "");
        prop_assert!(!crlf || !bare.contains('\n'), "line ends are mixed");
        // With other options it is as if those had been there from the first.
        let plain = Options::default();
        let switched = inject(&injected.text, &plain).unwrap();
        prop_assert_eq!(remove(&switched.text).unwrap().1, injected.reports.len());
        prop_assert!(check(&switched.text, &plain).unwrap().iter().all(|(_, state)| *state == State::Current));
    }

    #[test]
    fn ranks_are_added_and_taken_away(
        one in written(),
        kind in 4..8_usize,
        (wait, crlf) in any::<(bool, bool)>(),
        port in 1_u16..,
        options in options(),
    ) {
        let text = one.document(kind);
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        let options = Options { pytorch: Some(Pytorch { wait, port, ..Pytorch::default() }), ..options };
        let injected = inject(&text, &options).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
        prop_assert_eq!(&inject(&injected.text, &options).unwrap(), &injected);
        prop_assert!(check(&injected.text, &options).unwrap().iter().all(|(_, state)| *state == State::Current));
        prop_assert_eq!(remove(&injected.text).unwrap().0, text);
        let ranked = kind < 6;
        prop_assert_eq!(injected.text.matches("kind: Service").count(), usize::from(ranked));
        prop_assert_eq!(injected.text.contains("wait-for-master"), ranked && wait);
    }

    #[test]
    fn garbage_is_an_error_and_no_panic(text in "[ \\-a-c:{}\\[\\]&*|>'\"#,\n]{0,60}", at in 0..200_usize) {
        let pod = Written { indented: true, comments: true, env: 3, mounts: 2, metadata: 2, volumes: 2, init: 2, tail: 2, containers: 1 };
        let pod = pod.document(0);
        let at = (0..=at.min(pod.len())).rev().find(|at| pod.is_char_boundary(*at)).unwrap();
        let text = format!("{}{text}{}", &pod[..at], &pod[at..]);
        if let Ok(injected) = inject(&text, &Options::default()) {
            prop_assert_eq!(remove(&injected.text).unwrap().0, text);
        }
    }
}
