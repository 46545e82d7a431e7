//! Answers of the original, asked for again.
//!
//! tests/captures holds bodies that the original's unmodified route code (of January 2026) gave on the 4×4 fabric.
//! They must come out the same: every field, in the same order, whole numbers whole. Revisions (`_rev`) differ.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use srv6_pathserver::{Faults, FaultyReply, Options, Running};

use crate::client::{fabric4x4, get, node, start, through};

#[derive(Debug)]
struct Capture {
    path: String,
    status: u16,
    content_type: String,
    body: Value,
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures"))
}

fn file(name: &str) -> Value {
    let path = folder().join(format!("{name}.json"));
    serde_json::from_str(&fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        .unwrap()
}

fn capture(name: &str) -> Capture {
    let file = file(name);
    let query: Vec<String> = file["request"]["query"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(k, v)| format!("{k}={}", v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
        .collect();
    let path = file["request"]["path"].as_str().unwrap();
    Capture {
        path: if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) },
        status: file["status"].as_u64().unwrap().try_into().unwrap(),
        content_type: file["content_type"].as_str().unwrap().to_owned(),
        body: file["body"].clone(),
    }
}

/// Compares field by field, order of fields included, and says where they differ.
fn same(at: &str, want: &Value, got: &Value) {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => {
            let keys = |m: &Map<String, Value>| m.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(want), keys(got), "fields of {at}");
            want.iter().for_each(|(key, value)| {
                let at = format!("{at}.{key}");
                if key == "_rev" {
                    assert!(got[key].is_string(), "{at}: {}", got[key]);
                } else {
                    same(&at, value, &got[key]);
                }
            });
        }
        (Value::Array(want), Value::Array(got)) => {
            assert_eq!(want.len(), got.len(), "length of {at}");
            for (i, (want, got)) in want.iter().zip(got).enumerate() {
                same(&format!("{at}[{i}]"), want, got);
            }
        }
        // As text, because 10 and 10.0 are equal as numbers.
        _ => assert_eq!(want.to_string(), got.to_string(), "{at}"),
    }
}

/// Sorts what the original has in the order of a Python set, which is another in every run.
fn sort_sets(body: &mut Value) {
    for field in ["vertices", "vertices_by_collection"] {
        if let Some(Value::Object(set)) = body.get_mut(field) {
            set.sort_keys();
        }
    }
    if let Some(Value::Array(set)) = body.get_mut("vertex_collections") {
        set.sort_by_key(Value::to_string);
    }
}

fn replay(server: &Running, name: &str) {
    let want = capture(name);
    let got = get(server, &want.path);
    assert_eq!((got.status, &got.content_type), (want.status, &want.content_type), "{name}");
    let (mut want, mut got) = (want.body, got.json());
    if matches!(name, "topology" | "topology_brief" | "vertices") {
        sort_sets(&mut want);
        sort_sets(&mut got);
    }
    same(name, &want, &got);
}

fn strict() -> Options {
    Options { strict_compat: true, ..Options::default() }
}

/// Captures of calls that change nothing, on the fabric as it is.
const STILL: [&str; 24] = [
    "best_paths",
    "best_paths_limit1",
    "best_paths_limit8",
    "best_paths_not_found",
    "collection_fabric_graph",
    "collection_hosts",
    "collection_hosts_key",
    "collection_hosts_key_missing",
    "collections",
    "edges_detail",
    "instances",
    "latency",
    "next_best_path",
    "shortest_path",
    "shortest_path_bad_direction",
    "shortest_path_missing_param",
    "shortest_path_no_prefix_404",
    "shortest_path_unknown_collection",
    "shortest_path_unknown_key",
    "topology",
    "topology_brief",
    "utilization",
    "vertices",
    "vertices_algo0",
];

/// Captures replayed by a test of their own.
const OTHERS: [&str; 13] = [
    "db_down_shortest_path",
    "health",
    "load_1",
    "load_2",
    "load_3",
    "load_4",
    "load_5",
    "load_6",
    "load_sequences",
    "loads_after_six",
    "sid_missing_on_spine",
    "sovereignty",
    "usid_six",
];

#[test]
fn no_capture_is_forgotten() {
    let files: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|f| f.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let replayed: BTreeSet<String> = STILL.iter().chain(&OTHERS).map(|&s| s.to_owned()).collect();
    assert_eq!(files, replayed);
}

#[test]
fn calls_that_change_nothing() {
    let server = start(&fabric4x4(), strict());
    STILL.iter().for_each(|name| replay(&server, name));
}

#[test]
fn six_loads_and_what_they_leave_behind() {
    let server = start(&fabric4x4(), strict());
    for number in 1..=6 {
        replay(&server, &format!("load_{number}"));
    }
    // Edges are listed in order of last write, so this is the order that decides later ties.
    let listed = get(&server, "/api/v1/collections/fabric_graph").json();
    let loads: Map<String, Value> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| {
            (edge["_key"].as_str().unwrap().to_owned(), edge.get("load").cloned().unwrap_or(Value::Null))
        })
        .collect();
    same("loads", &file("loads_after_six"), &loads.into());
    replay(&server, "sovereignty");
}

#[test]
fn health_has_the_same_fields() {
    let server = start(&fabric4x4(), Options::default());
    let (want, got) = (capture("health"), get(&server, "/health"));
    assert_eq!((got.status, got.content_type.as_str()), (200, "application/json"));
    let got = got.json();
    assert_eq!(got["status"], want.body["status"]);
    let fields = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&got), fields(&want.body));
}

#[test]
fn a_database_that_is_down() {
    let server = start(&fabric4x4(), Options::default());
    server.set_faults(Faults { reply: Some(FaultyReply::database_down()), ..Faults::default() });
    replay(&server, "db_down_shortest_path");
    assert_eq!(get(&server, "/health").status, 200, "as the original's, it doesn't look");
}

#[test]
fn a_spine_without_sids() {
    let mut fabric = fabric4x4();
    fabric["fabric_node"][0].as_object_mut().unwrap().shift_remove("sids");
    replay(&start(&fabric, Options::default()), "sid_missing_on_spine");
}

#[test]
fn six_usids_make_text_that_is_no_address() {
    let mut fabric = fabric4x4();
    let chain: Vec<String> = (0..5).map(|i| format!("x{i}")).collect();
    for (key, sid) in chain.iter().zip(["2000", "2100", "2200", "2300", "2400"]) {
        fabric["fabric_node"].as_array_mut().unwrap().push(node(key, &format!("fc00:0:{sid}::")));
    }
    let mut from = "fabric_node/10.0.0.200_leaf00".to_owned();
    for (i, key) in chain.iter().enumerate() {
        let to = format!("fabric_node/{key}");
        let edge = json!({"_key": format!("c{i}"), "_from": from, "_to": to});
        fabric["fabric_graph"].as_array_mut().unwrap().push(edge);
        from = to;
    }
    replay(&start(&fabric, Options::default()), "usid_six");
}

/// Asks `/load` as often as the original was asked, and compares which way each answer goes.
fn sequence(server: &Running, name: &str) {
    for (number, want) in file("load_sequences")[name].as_array().unwrap().iter().enumerate() {
        let path =
            "/api/v1/graphs/fabric_graph/shortest_path/load?source=hosts/host00&destination=hosts/host01";
        let got = get(server, path).json();
        let got = json!({
            "hopcount": got["hopcount"],
            "through": through(&got["path"]),
            "srv6_usid": got["srv6_data"]["srv6_usid"],
            "average_load": got["average_load"],
        });
        same(&format!("{name}, answer {}", number + 1), want, &got);
    }
}

#[test]
fn loads_on_a_healthy_fabric_stay_on_the_shortest_paths() {
    sequence(&start(&fabric4x4(), Options::default()), "healthy");
}

#[test]
fn loads_with_a_link_down_lead_through_valleys() {
    let mut fabric = fabric4x4();
    let down = "10.0.0.0_spine00_10.0.0.201_leaf01";
    fabric["fabric_graph"].as_array_mut().unwrap().retain(|edge| edge["_key"] != down);
    sequence(&start(&fabric, Options::default()), "one_link_down");
}
