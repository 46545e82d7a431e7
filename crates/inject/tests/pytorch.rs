//! Groups of PyTorch's in manifests: who is which rank, and where rank 0 is.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a panic is the failure"
)]

use srv6_inject::{Options, Pytorch, State, check, inject, remove};

fn options(wait: bool) -> Options {
    Options { pytorch: Some(Pytorch { wait, ..Pytorch::default() }), ..Options::default() }
}

fn statefulset(name: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: {name}\n  namespace: ml\nspec:\n  replicas: {replicas}\n  \
         serviceName: train\n  selector:\n    matchLabels: {{app: train}}\n  template:\n    metadata:\n      labels: {{app: train}}\n    \
         spec:\n      containers:\n      - name: c\n        image: i\n        resources: {{limits: {{nvidia.com/gpu: 1}}}}\n"
    )
}

const INDEXED: &str = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: train\nspec:\n  completionMode: Indexed\n  completions: 4\n  \
                       parallelism: 4\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - name: c\n        \
                       image: i\n        resources: {limits: {nvidia.com/gpu: 1}}";

const VOLCANO: &str = "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nmetadata:\n  name: train\nspec:\n  plugins:\n    pytorch: []\n  \
                       tasks:\n  - name: master\n    replicas: 1\n    template:\n      spec:\n        containers:\n        - {name: c, \
                       resources: {limits: {nvidia.com/gpu: 1}}}\n  - name: worker\n    replicas: 2\n    template:\n      spec:\n        \
                       containers:\n        - {name: c, resources: {limits: {nvidia.com/gpu: 1}}}\n";

/// Injects and holds the result to what holds of every injection.
fn injected(text: &str, options: &Options) -> String {
    let new = inject(text, options).unwrap_or_else(|error| panic!("{error:?}")).text;
    assert_eq!(inject(&new, options).unwrap().text, new, "twice is once");
    assert_eq!(remove(&new).unwrap().0, text, "removal");
    assert!(check(&new, options).unwrap().iter().all(|(_, state)| *state == State::Current));
    new
}

fn parts(text: &str) -> Vec<String> {
    text.split("---\n").map(str::to_owned).collect()
}

fn refused(text: &str) -> String {
    let error = inject(text, &options(true)).unwrap_err();
    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[test]
fn one_statefulset_counts_its_pods_from_rank_0() {
    let new = injected(&statefulset("train", 3), &options(true));
    let parts = parts(&new);
    let [workload, service] = parts.as_slice() else { panic!("{new}") };
    assert!(workload.contains("- name: MASTER_ADDR\n          value: train-0.train\n"), "{new}");
    assert!(workload.contains("- name: WORLD_SIZE\n          value: \"3\"\n"), "{new}");
    assert_eq!(
        workload.matches("fieldPath: \"metadata.labels['apps.kubernetes.io/pod-index']\"").count(),
        2,
        "{new}"
    );
    assert!(workload.contains("name: pytorchjob-port\n          containerPort: 23456\n"), "{new}");
    assert!(!workload.contains("ordinals"), "{new}");
    for line in
        ["name: train", "namespace: ml", "clusterIP: None", "publishNotReadyAddresses: true", "app: train"]
    {
        assert!(service.contains(line), "{line}: {new}");
    }
    let with_service =
        format!("{}---\napiVersion: v1\nkind: Service\nmetadata: {{name: train}}\n", statefulset("train", 3));
    assert_eq!(injected(&with_service, &options(true)).matches("kind: Service").count(), 1);
}

#[test]
fn a_pair_of_statefulsets_counts_workers_from_1() {
    let pair = format!("{}---\n{}", statefulset("run-master", 1), statefulset("run-worker", 2));
    let new = injected(&pair, &options(true));
    let parts = parts(&new);
    let [master, worker, _service] = parts.as_slice() else { panic!("{new}") };
    assert!(master.contains("- name: RANK\n          value: \"0\"\n"), "{new}");
    assert!(!master.contains("wait-for-master") && !master.contains("ordinals:"), "{new}");
    assert!(worker.contains("  ordinals:\n    start: 1\n"), "{new}");
    for part in [master, worker] {
        assert!(
            part.contains("value: run-master-0.train\n")
                && part.contains("- name: WORLD_SIZE\n          value: \"3\"\n"),
            "{new}"
        );
    }
    assert!(worker.contains("- name: wait-for-master"), "{new}");
    // Without --pytorch, what it brought goes again.
    let plain = inject(&new, &Options::default()).unwrap().text;
    assert!(!plain.contains("ordinals") && !plain.contains("MASTER_ADDR"), "{plain}");
}

#[test]
fn the_service_of_a_pair_selects_the_master() {
    let named = |name: &str| statefulset(name, 1).replace("app: train", &format!("app: {name}"));
    let (master, worker) = (named("run-master"), named("run-worker"));
    let service = |text: &str| {
        let new = injected(text, &options(false));
        assert_eq!(new.matches("kind: Service").count(), 1, "{new}");
        new.split("kind: Service").nth(1).unwrap().to_owned()
    };
    for text in [format!("{master}---\n{worker}"), format!("{worker}---\n{master}")] {
        assert!(service(&text).contains("selector:\n    app: run-master\n"), "{}", service(&text));
    }
    let no_gpu = master.replace("nvidia.com/gpu", "cpu");
    assert!(service(&format!("{worker}---\n{no_gpu}")).contains("selector:\n    app: run-master\n"));
    // With names of their own, each has a Service of its own.
    let other = worker.replace("serviceName: train", "serviceName: workers");
    let new = injected(&format!("{other}---\n{master}"), &options(false));
    let services: Vec<_> = new.split("kind: Service\n").skip(1).collect();
    assert!(services[0].contains("  name: train\n") && services[0].contains("app: run-master\n"), "{new}");
    assert!(services[1].contains("  name: workers\n") && services[1].contains("app: run-worker\n"), "{new}");
    let nameless = master.replace("  serviceName: train\n", "");
    let error = refused(&format!("{worker}---\n{nameless}"));
    assert!(error.contains("\"run-master\" without spec.serviceName, so rank 0 has no name"), "{error}");
}

#[test]
fn an_indexed_job_has_its_ranks_and_names() {
    let new = injected(INDEXED, &options(true));
    for line in
        ["subdomain: train", "value: train-0.train", "kind: Service", "batch.kubernetes.io/job-name: train"]
    {
        assert!(new.contains(line), "{line}: {new}");
    }
    assert_eq!(
        new.matches("metadata.annotations['batch.kubernetes.io/job-completion-index']").count(),
        2,
        "{new}"
    );
    let command = new.split("name: wait-for-master").nth(1).unwrap();
    assert!(command.contains("- wait-master\n") && command.contains("- name: RANK\n"), "{new}");
}

#[test]
fn beside_volcanos_own_plugin_only_a_wait_is_added() {
    let none = injected(VOLCANO, &options(false));
    assert_eq!(none, inject(VOLCANO, &Options::default()).unwrap().text);
    let waits = injected(VOLCANO, &options(true));
    assert_eq!(waits.matches("name: wait-for-master").count(), 1, "the worker's: {waits}");
    assert!(!waits.contains("name: MASTER_ADDR") && waits.contains("- train-master-0.train\n"), "{waits}");
}

#[test]
fn the_wait_goes_by_the_jobs_own_arguments_of_the_plugin() {
    let arguments = "pytorch: [\"--master=boss\", \"--worker=hand\", \"--port=5000\"]";
    let job = VOLCANO.replace("pytorch: []", arguments).replace("name: master", "name: boss");
    let new = injected(&job.replace("name: worker", "name: hand"), &options(true));
    assert_eq!(new.matches("name: wait-for-master").count(), 1, "{new}");
    assert!(new.contains("- train-boss-0.train\n") && new.contains("- \"5000\"\n"), "{new}");
}

#[test]
fn what_a_job_shares_is_written_out_too() {
    let volumes = "  volumes:\n  - {mountPath: /data, volumeClaimName: data}\n  - mountPath: /out\n    volumeClaim: {accessModes: \
                   [ReadWriteMany]}\n";
    let text = format!("{}{volumes}", VOLCANO.replace("pytorch: []", "ssh: []"));
    let done = inject(&text, &options(false)).unwrap().text;
    assert_eq!(done.matches("kind: PersistentVolumeClaim").count(), 1, "{done}");
    for line in
        ["claimName: data\n", "claimName: train-volume-1\n", "mountPath: /data\n", "mountPath: /out\n"]
    {
        assert_eq!(done.matches(line).count(), 3, "{line}: {done}");
    }
}

#[test]
fn a_volcano_job_without_the_plugin_is_written_out_as_pods() {
    let text = format!("# mine\n---\n{}", VOLCANO.replace("pytorch: []", "ssh: []"));
    let done = inject(&text, &options(false)).unwrap();
    let note = &done.reports[0].1.notes[0];
    assert!(note.starts_with("written out as 3 pods and a Service"), "{note}");
    let parts = parts(&done.text);
    assert_eq!(parts.len(), 5, "{}", done.text);
    assert_eq!(parts[0], "# mine\n");
    for (part, (name, rank)) in parts[1..4].iter().zip([("master-0", 0), ("worker-0", 1), ("worker-1", 2)]) {
        assert!(part.contains(&format!("kind: Pod\nmetadata:\n  name: train-{name}\n")), "{part}");
        assert!(part.contains(&format!("- name: RANK\n          value: \"{rank}\"\n")), "{part}");
        assert!(part.contains("name: NCCL_NET_PLUGIN"), "{part}");
        assert!(part.contains("fieldPath: \"metadata.labels['volcano.sh/job-name']\""), "{part}");
    }
    assert_eq!(inject(&done.text, &options(false)).unwrap().text, done.text, "twice is once");
    let bare = remove(&done.text).unwrap().0;
    assert!(bare.contains("name: RANK") && !bare.contains("NCCL_NET_PLUGIN"), "{bare}");
}

#[test]
fn what_cannot_be_ranked_is_refused_with_what_would_do() {
    let cases = [
        (
            statefulset("run-master", 2),
            "StatefulSet/run-master: has 2 replicas, and each would be rank 0; want 1",
        ),
        (statefulset("run-worker", 2), "StatefulSet/run-worker: has no StatefulSet \"run-master\" beside it"),
        (statefulset("a", 2).replace("  serviceName: train\n", ""), "StatefulSet/a: has no spec.serviceName"),
        (
            statefulset("a", 2).replace("  replicas", "  ordinals: {start: 1}\n  replicas"),
            "StatefulSet/a: has pods that don't begin at 0",
        ),
        (
            INDEXED.replace("  completionMode: Indexed\n", ""),
            "Job/train: its pods have no index; want completionMode: Indexed",
        ),
        (INDEXED.replace("parallelism: 4", "parallelism: 2"), "Job/train: 2 of 4 pods run at once"),
        (
            VOLCANO.replace("name: master", "name: boss"),
            "Volcano Job/train: has no task \"master\", which would be rank 0",
        ),
    ];
    for (text, wanted) in cases {
        let error = refused(&text);
        assert!(error.starts_with(wanted), "{error}");
    }
}
