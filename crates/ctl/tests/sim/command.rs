//! What is printed, and what is refused with which words.

use std::process::Command;

use serde_json::Value;

use crate::example;

fn sim(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_srv6ctl")).arg("sim").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn json(arguments: &[&str]) -> Value {
    let (fine, out, said) = sim(&[arguments, &["--json"]].concat());
    assert!(fine, "{arguments:?}: {said}");
    assert_eq!(said, "", "nothing but the result where nobody watches");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn the_largest_fabric_ends_with_the_documented_object() {
    let result = json(&["--preset", "mrc-131072", "--channels", "1", "--policy", "spread,all"]);
    assert_eq!((result["gpus"].as_u64(), result["flows"].as_u64()), (Some(131_072), Some(131_072)));
    assert_eq!(result["worst_link_load"], serde_json::json!({"spread": 1.0, "all": 1.0}));
    assert!(result["seconds"].as_f64().unwrap() > 0.0);
    let memory = result["max_rss_mib"].as_f64().unwrap();
    assert!((10.0..8192.0).contains(&memory), "{memory} MiB");
    // 1 GiB in and out per rank, over eight ports of 100 Gbit/s.
    let ideal = result["ideal_ms"].as_f64().unwrap();
    assert!((ideal - 2.0 * 8.0 * 1.073_741_824 / 0.8).abs() < 0.01, "{ideal} ms");
    assert_eq!(result["policies"][0]["paths"], 8, "one per plane where nothing else is said");
}

#[test]
fn a_table_compares_the_policies() {
    let arguments = ["--preset", "2x4x4", "--channels", "1", "--trials", "500", "--policy", "ecmp,spread:1"];
    let (fine, table, said) = sim(&arguments);
    assert!(fine, "{said}");
    let row = |policy: &str| -> Vec<String> {
        let line = table.lines().find(|l| l.split_whitespace().next() == Some(policy)).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(&row("spread:1")[..4], ["spread:1", "1", "1.00", "1.00-1.00"]);
    let ecmp = row("ecmp");
    assert!(ecmp[2].parse::<f64>().unwrap() >= 2.0 && ecmp[3] == "1.00-4.00", "{table}");
    let again = sim(&arguments).1;
    let without_time = |text: &str| text.lines().take(7).collect::<Vec<_>>().join("\n");
    assert_eq!(without_time(&table), without_time(&again), "the same seed, the same result");
}

#[test]
fn dead_parts_are_named_as_the_topology_names_them() {
    let file = example("2x4x4.json").display().to_string();
    let fail = ["--topology", &file, "--channels", "1", "--policy", "spread,tiers", "--fail"];
    let spine = json(&[&fail[..], &["spine02"]].concat());
    let policy = &spine["policies"][1];
    assert_eq!(policy["worst_link_load"]["median"], 2.0);
    assert_eq!((&policy["hit_share"], &policy["moved_share"]), (&Value::from(0.25), &Value::from(0.0)));
    let link = json(&[&fail[..], &["leaf00-spine02", "--links"]].concat());
    let links = link["policies"][0]["links"].as_array().unwrap();
    assert_eq!(links.len(), 32);
    let load = |from: &str, to: &str| {
        links.iter().find(|l| l["from"] == from && l["to"] == to).unwrap()["load"].as_f64().unwrap()
    };
    assert_eq!((load("leaf00", "spine02"), load("spine02", "leaf01")), (0.0, 0.0));
    assert_eq!(load("host00", "leaf00"), 1.0);
    let three = example("3x3.json").display().to_string();
    let host = json(&["--topology", &three, "--fail", "srv6-pytorch-0-leaf00", "--policy", "load"]);
    // Of the ring's three pairs two have that host.
    assert_eq!(host["policies"][0]["cut_off_flows"], 2 * 8);
}

#[test]
fn a_single_path_cannot_use_eight_planes() {
    let result = json(&["--preset", "planes-1024", "--policy", "spread:1,spread:8,tiers:1"]);
    let worst = &result["worst_link_load"];
    assert_eq!((&worst["spread:1"], &worst["spread:8"]), (&Value::from(8.0), &Value::from(1.0)));
    assert_eq!(result["policies"][0]["worst_link"]["kind"], "host-leaf");
}

#[test]
fn what_cannot_be_simulated_is_refused_by_name() {
    let refused = |arguments: &[&str]| {
        let (fine, _, said) = sim(arguments);
        assert!(!fine, "{arguments:?}");
        said
    };
    let none = "no fabric: want --preset NAME, --topology FILE, or --leaves, --spines and --hosts-per-leaf";
    assert!(refused(&[]).contains(none));
    assert!(refused(&["--leaves", "4", "--spines", "2"]).contains("want --hosts-per-leaf too"));
    assert!(refused(&["--preset", "mrc"]).contains("preset \"mrc\": want one of 4x4, 2x4x4"));
    assert!(refused(&["--preset", "4x4", "--tiers", "3"]).contains("--tiers 3: want --cores too"));
    assert!(refused(&["--preset", "4x4", "--policy", "best"]).contains("policy \"best\": want ecmp, spread"));
    let lost = refused(&["--preset", "4x4", "--fail", "spine9"]);
    assert!(lost.contains("--fail: \"spine9\" can't fail: want a node (host0, leaf0, spine0)"), "{lost}");
    let group = refused(&["--preset", "4x4", "--workload", "all-to-all", "--group", "3"]);
    assert!(group.contains("group 3: want 2 or more that divide the job size 4"), "{group}");
    assert!(refused(&["--preset", "4x4", "--size", "0"]).contains("--size 0: want more than 0 MiB"));
    assert!(refused(&["--preset", "mrc-131072", "--links", "--json"]).contains("want at most 200000"));
    assert!(refused(&["--topology", "/nonexistent.json"]).contains("/nonexistent.json"));
}
