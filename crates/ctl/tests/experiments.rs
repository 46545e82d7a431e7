//! The experiments in small: that they run, check what they carry and write what they promise. No time is judged.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is the failure"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// A folder for what a test writes, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn plugin() -> String {
    let plugin = std::env::current_exe().unwrap().with_file_name("libnccl_net_srv6.so");
    plugin.to_str().unwrap().to_owned()
}

/// One experiment at a time: two would wait for each other's processors, and take longer than one after the other.
static TURN: Mutex<()> = Mutex::new(());

fn bench(arguments: &[&str]) -> Output {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(env!("CARGO_BIN_EXE_srv6ctl"));
    command.arg("bench").args(arguments).current_dir(root()).output().unwrap()
}

fn printed(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Keys of the object that is printed last.
const KEYS: [&str; 11] = [
    "ecmp_median",
    "ecmp_min",
    "spread",
    "multipath",
    "iperf3_ratio",
    "cpu_s_per_gb",
    "failover_ms_p50",
    "failover_ms_p99",
    "lost_bytes",
    "unequal_fraction",
    "heal_ms",
];

#[test]
fn unequal_paths_and_many_connections_end_with_the_headline() {
    let folder = Folder::new("unequal");
    let (plugin, json, plots) = (plugin(), folder.file("all.json"), folder.file("plots"));
    let only = ["multipath", "--quick", "--rounds", "1", "--only", "unequal,many", "--rate", "50"];
    let files = ["--plugin", &plugin, "--json", &json, "--plots", &plots];
    let said = printed(&bench(&[&only[..], &files].concat()));
    assert!(folder.text("plots/unequal-shares.svg").contains("spine02"));
    assert_eq!(folder.json("plots/unequal-shares.json").as_array().unwrap().len(), 12);
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let keys: Vec<&str> = last.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, KEYS);
    let fraction = last["unequal_fraction"].as_f64().unwrap();
    assert!(fraction > 0.0 && fraction <= 1.05, "{fraction}");
    assert!(last["spread"].is_null(), "not run");
    let all = folder.json("all.json");
    let shares = all["unequal"]["equal"]["shares"].as_object().unwrap();
    assert_eq!(shares.len(), 4, "{shares:?}");
    // Each of four connections began on another path. Where the machine is so busy that one looks dead, it moves on.
    let shares: Vec<f64> = shares.values().map(|share| share.as_f64().unwrap()).collect();
    assert!(shares.iter().all(|share| *share > 0.0), "{shares:?}");
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{shares:?}");
    let sender = &all["many"]["sender"];
    assert!(sender["descriptors"].as_u64().unwrap() >= 64, "{sender}");
    assert!(sender["resident"].as_u64() > sender["resident_before"].as_u64(), "{sender}");
}

#[test]
fn failures_are_survived_and_drawn() {
    let folder = Folder::new("failures");
    let (plugin, json, plots) = (plugin(), folder.file("all.json"), folder.file("plots"));
    let only = ["multipath", "--quick", "--runs", "1", "--only", "failures", "--rate", "50"];
    let files = ["--plugin", &plugin, "--json", &json, "--plots", &plots];
    let said = printed(&bench(&[&only[..], &files].concat()));
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(last["lost_bytes"], 0, "{said}");
    assert!(last["failover_ms_p50"].as_f64().unwrap() >= 0.0, "{last}");
    let all = folder.json("all.json");
    let kinds: Vec<&str> =
        all["failures"]["kinds"].as_array().unwrap().iter().map(|k| k["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["spine-dies", "link-flaps", "path-loses"]);
    for kind in ["spine-dies", "link-flaps", "path-loses-5"] {
        for what in ["throughput", "paths"] {
            let name = format!("plots/failure-{kind}-{what}");
            assert!(folder.text(&format!("{name}.svg")).contains("<polyline"), "{name}");
            let lines = folder.json(&format!("{name}.json"))["lines"].as_array().unwrap().len();
            assert_eq!(lines, if what == "paths" { 4 } else { 2 }, "{name}");
        }
    }
}

#[test]
fn a_fabric_is_compared_and_reported() {
    let folder = Folder::new("fabric");
    // On a busy machine a path may look dead in the middle of a run, and its flow moves on to another's.
    let alike = (0..4).any(|_| {
        let rows = compare(&folder);
        let spread = rows.iter().find(|r| r["workload"] == "ring" && r["routing"] == "spread").unwrap();
        spread["jain_links"].as_f64().unwrap() > 0.9
    });
    assert!(alike, "a ring steered by spread loads all links between switches alike");
    let page = folder.text("fabric.html");
    assert_eq!(page.matches("<svg").count(), 14, "distribution, throughput, 12 heat maps");
    assert!(page.trim_end().ends_with("</html>"));
}

/// Rows of a whole comparison, which are what they should be however fast it ran.
fn compare(folder: &Folder) -> Vec<Value> {
    let (plugin, json, html) = (plugin(), folder.file("fabric.json"), folder.file("fabric.html"));
    let arguments = ["fabric", "--quick", "--trials", "1", "--rate", "50", "--plugin", &plugin];
    let said = printed(&bench(&[&arguments[..], &["--json", &json, "--html", &html]].concat()));
    for routing in ["ecmp", "spread", "load", "multipath"] {
        let rows = said.lines().filter(|line| line.contains(&format!(" {routing} "))).count();
        assert_eq!(rows, 3, "one for each workload: {said}");
    }
    let document = folder.json("fabric.json");
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 12);
    for row in rows {
        assert!(row["fraction_median"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["worst_link"].as_f64().unwrap() >= row["mean_link"].as_f64().unwrap(), "{row}");
    }
    rows.clone()
}

#[test]
fn what_cannot_be_run_is_refused_with_the_remedy() {
    let missing = bench(&["multipath", "--plugin", "/nowhere/libx.so"]);
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(!missing.status.success() && said.contains("no plugin at /nowhere/libx.so; build it"), "{said}");
    let fast = bench(&["fabric", "--plugin", &plugin(), "--rate", "0"]);
    let said = String::from_utf8_lossy(&fast.stderr).into_owned();
    assert!(!fast.status.success() && said.contains("rate \"0\": want 1 to 400000"), "{said}");
    let unknown = bench(&["multipath", "--only", "everything"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("possible values: unshaped, shaped, unequal"));
}
