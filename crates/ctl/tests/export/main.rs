//! `srv6ctl export`: what it writes is read back and compared with what a lab would be made of.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

mod containerlab;
mod frr;
mod golden;
mod guides;
mod sonic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use srv6_lab::{NodePlan, Options, Plan, Role};

/// Every fabric of the examples.
const FABRICS: [&str; 4] = ["4x4", "3x3", "2x2-dual-stack", "2x4x4"];

fn topology(fabric: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fabrics").join(format!("{fabric}.json"))
}

/// What `srv6ctl lab up` makes of a fabric.
fn plan(fabric: &str) -> Plan {
    let (_, topology) = srv6_paths::read_topology(&topology(fabric), "fabric_graph", "hosts").unwrap();
    Plan::new(&topology, &Options::default()).unwrap()
}

fn nodes(plan: &Plan, role: Role) -> Vec<(usize, &NodePlan)> {
    plan.nodes.iter().enumerate().filter(|(_, n)| n.role == role).collect()
}

fn export(arguments: &[&str], topology: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_srv6ctl"));
    command.arg("export").args(arguments).arg("--topology").arg(topology).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The files that an export prints, by name.
fn exported(arguments: &[&str], topology: &Path) -> BTreeMap<String, String> {
    let output = export(arguments, topology);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    let printed = text(&output.stdout);
    let pieces = printed.strip_prefix("==> ").unwrap().split("\n==> ");
    let mut files = BTreeMap::new();
    for piece in pieces {
        let (name, text) = piece.split_once(" <==\n").unwrap();
        let text = format!("{}\n", text.strip_suffix('\n').unwrap_or(text));
        assert_eq!(files.insert(name.to_owned(), text), None, "{name} twice");
    }
    files
}

fn refused(arguments: &[&str], topology: &Path) -> String {
    let output = export(arguments, topology);
    assert!(!output.status.success() && output.stdout.is_empty(), "{}", text(&output.stdout));
    text(&output.stderr)
}

/// A fabric with one text replaced, as a file of this test's own.
fn changed(fabric: &str, from: &str, to: &str) -> PathBuf {
    let original = std::fs::read_to_string(topology(fabric)).unwrap();
    let text = original.replace(from, to);
    assert_ne!(text, original, "{from} is not in {fabric}");
    let name = format!("export-{}-{:?}.json", std::process::id(), std::thread::current().id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn files_are_written_as_they_are_printed() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("export-{}", std::process::id()));
    let _absent = std::fs::remove_dir_all(&folder);
    let printed = exported(&["frr"], &topology("3x3"));
    for _again in 0..2 {
        let output = export(&["frr", "-o", folder.to_str().unwrap()], &topology("3x3"));
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), format!("{} files are in {}\n", printed.len(), folder.display()));
        for (name, wanted) in &printed {
            assert_eq!(&std::fs::read_to_string(folder.join(name)).unwrap(), wanted, "{name}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn names_that_no_platform_takes_are_refused() {
    for (name, platform) in [("../../etc", "frr"), ("a b", "sonic"), ("", "containerlab"), ("-x", "frr")] {
        let file = changed("3x3", "\"name\": \"spine00\"", &format!("\"name\": \"{name}\""));
        let error = refused(&[platform], &file);
        assert!(error.contains(&format!("node {name:?}: want 1 to 63 of")), "{error}");
        std::fs::remove_file(file).unwrap();
    }
}
