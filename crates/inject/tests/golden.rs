//! Manifests as people write them, and what becomes of them: injected, injected again, checked, and taken out again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

use std::fs;
use std::path::Path;

use srv6_inject::{Mode, Options, State, check, inject, names, remove};

/// Injects `manifests/NAME.in.yaml` and compares with `manifests/NAME.out.yaml`. Gives the notes.
fn golden(name: &str, options: &Options) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let input = fs::read_to_string(folder.join(format!("{name}.in.yaml"))).unwrap();
    let injected = inject(&input, options).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let wanted = fs::read_to_string(folder.join(format!("{name}.out.yaml"))).unwrap_or_default();
    let wanted = wanted.replace("@VERSION@", names::VERSION);
    if injected.text != wanted {
        let actual = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.out.yaml"));
        fs::write(&actual, injected.text.replace(names::VERSION, "@VERSION@")).unwrap();
        panic!("{name}: not as it should be; what came is in {}", actual.display());
    }
    assert_eq!(inject(&injected.text, options).unwrap(), injected, "{name}: twice is once");
    let states = check(&injected.text, options).unwrap();
    assert!(states.iter().all(|(_, state)| *state == State::Current), "{name}: {states:?}");
    let states = check(&input, options).unwrap();
    assert!(states.iter().all(|(_, state)| *state == State::Missing), "{name}: {states:?}");
    assert_eq!(remove(&injected.text).unwrap(), (input, states.len()), "{name}: removal");
    injected.reports.into_iter().flat_map(|(_, report)| report.notes).collect()
}

#[test]
fn a_volcano_job_with_comments_lists_at_their_key_and_a_preload_of_its_own() {
    let notes = golden("volcano", &Options { shim: true, ..Options::default() });
    assert_eq!(notes, [""; 0]);
}

#[test]
fn a_statefulset_with_a_sidecar_and_empty_collections() {
    let options = Options {
        mode: Mode::Sidecar,
        path_api: Some("http://[2001:db8::5]:30800".to_owned()),
        config_map: Some("srv6".to_owned()),
        agent_env: vec![("SRV6_POLICY".to_owned(), "load".to_owned())],
        ..Options::default()
    };
    golden("statefulset", &options);
}

#[test]
fn json_stays_json() {
    golden("list", &Options::default());
}

#[test]
fn values_are_replaced_by_force_only_and_come_back_as_they_were_spelled() {
    let forced = Options { strict: true, force: true, ..Options::default() };
    let notes = golden("kubeflow", &forced);
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(
        note.contains("-x NCCL_NET_PLUGIN -x NCCL_NET_PLUGIN_REF_COUNT -x NCCL_NET -x SRV6_STRICT"),
        "{note}"
    );

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let input = fs::read_to_string(folder.join("kubeflow.in.yaml")).unwrap();
    let injected = inject(&input, &Options { force: false, ..forced.clone() }).unwrap();
    let notes = &injected.reports[0].1.notes;
    assert_eq!(
        *notes,
        [
            "container pytorch: keeps its own NCCL_NET=IB",
            "container pytorch: keeps its own SRV6_MODE=local\n"
        ]
    );
    assert!(injected.text.contains("value: \"IB\"   # for speed"), "{}", injected.text);
    // From forced to not forced: the job's own values are there again.
    let fell_back =
        inject(&inject(&input, &forced).unwrap().text, &Options { force: false, ..forced }).unwrap();
    assert!(fell_back.text.contains("value: IB   # for speed"), "{}", fell_back.text);
    assert_eq!(fell_back.reports, injected.reports);
}

#[test]
fn anchors_of_what_stays_are_no_hindrance() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let input = fs::read_to_string(folder.join("anchors.in.yaml")).unwrap();
    let error = inject(&input, &Options::default()).unwrap_err();
    assert_eq!(
        format!("{error}"),
        "line 3: an anchor on what has to change; want it written out",
        "metadata gets annotations"
    );
    let input = input.replace(" &meta", "");
    let injected = inject(&input, &Options::default()).unwrap();
    assert!(injected.text.contains("image: *image") && injected.text.contains("&image pytorch"));
    assert_eq!(remove(&injected.text).unwrap().0, input);
}
