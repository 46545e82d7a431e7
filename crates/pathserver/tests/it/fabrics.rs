//! Other fabrics than the captured one.

use serde_json::{Value, json};
use srv6_pathserver::{Generation, Options};

use crate::client::{get, graph, host, links, node, start, through};

fn carrier(answer: &Value) -> &str {
    answer["srv6_data"]["srv6_usid"].as_str().unwrap()
}

/// h0 - l0 - s0 - l1 - h1, one switch after the other.
fn line() -> Value {
    let links = links(&[
        ("hosts/h0", "fabric_node/l0"),
        ("fabric_node/l0", "fabric_node/s0"),
        ("fabric_node/s0", "fabric_node/l1"),
        ("fabric_node/l1", "hosts/h1"),
    ]);
    json!({
        "hosts": [host("h0", "fd00:0:0:1::2"), host("h1", "fd00:0:0:2::2")],
        "fabric_node": [node("l0", "fcbb:0:a::"), node("s0", "fcbb:0:b::"), node("l1", "fcbb:0:c::")],
        "fabric_graph": links,
    })
}

#[test]
fn the_3x3_lab_in_three_generations() {
    let fabric: Value = serde_json::from_str(include_str!("../../../../examples/fabrics/3x3.json")).unwrap();
    let key = |i: usize| fabric["hosts"][i]["_key"].as_str().unwrap();
    let call = format!("shortest_path?source=hosts/{}&destination=hosts/{}", key(0), key(1));
    let in_generation = |generation| {
        let server = start(&fabric, Options { generation, ..Options::default() });
        graph(&server, &call)
    };
    assert_eq!(carrier(&in_generation(Generation::C)), "fcbb:0:1004:1000:1005:fe06::");
    assert_eq!(carrier(&in_generation(Generation::B)), "fcbb:0:fe06:1004:1000:1005:fe06::");
    let first = in_generation(Generation::A);
    assert_eq!(carrier(&first), "fc00:0:::");
    assert!(first.get("algo").is_none(), "the first generation knows no algorithms");
    let fields: Vec<&String> = first["srv6_data"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["srv6_sid_list", "srv6_usid"]);
}

#[test]
fn a_line_has_one_path_each_way() {
    let server = start(&line(), Options::default());
    let there = graph(&server, "shortest_path/best-paths?source=hosts/h0&destination=hosts/h1&limit=9");
    assert_eq!(there["total_paths_found"], 1);
    assert_eq!(carrier(&there["paths"][0]), "fcbb:0:a:b:c::");
    let back = graph(&server, "shortest_path?source=hosts/h0&destination=hosts/h1&direction=Inbound");
    assert_eq!(back["direction"], "Inbound", "as it was given");
    assert_eq!(back["path"][1]["edge"]["_from"], "fabric_node/l0", "the edge against which it goes");
    assert_eq!(carrier(&back), "fcbb:0:a:b:c::");
    let fewer =
        graph(&server, "shortest_path/next-best-path?source=hosts/h0&destination=hosts/h1&direction=any");
    // Each of four links has two documents, and `any` takes either.
    assert_eq!(fewer["summary"]["same_hopcount_alternatives"], 4);
    let all =
        "shortest_path/next-best-path?source=hosts/h0&destination=hosts/h1&direction=any&same_hop_limit=99";
    assert_eq!(graph(&server, all)["summary"]["same_hopcount_alternatives"], 16);
}

#[test]
fn from_a_host_to_itself() {
    let server = start(&line(), Options::default());
    let call = |variant: &str| {
        graph(&server, &format!("shortest_path{variant}?source=hosts/h0&destination=hosts/h0"))
    };
    let plain = call("");
    assert_eq!(
        (&plain["found"], &plain["hopcount"], &plain["vertex_count"]),
        (&json!(true), &json!(0), &json!(1))
    );
    assert_eq!((&plain["path"][0]["edge"], carrier(&plain)), (&Value::Null, "fc00:0:::"));
    assert_eq!(call("/latency")["total_latency"].to_string(), "0");
    assert_eq!(call("/utilization")["average_utilization"], Value::Null);
    let load = call("/load");
    assert_eq!(load["average_load"], Value::Null);
    assert_eq!(load["load_data"]["average_load"].to_string(), "0");
    assert_eq!(load["load_data"]["highest_load"], json!({"edge_key": null, "load_value": 0}));
    assert_eq!(call("/best-paths")["total_paths_found"], 1);
}

#[test]
fn weights_lead_around() {
    let mut fabric = line();
    fabric["fabric_node"].as_array_mut().unwrap().push(node("s1", "fcbb:0:d::"));
    let detour = links(&[("fabric_node/l0", "fabric_node/s1"), ("fabric_node/s1", "fabric_node/l1")]);
    fabric["fabric_graph"].as_array_mut().unwrap().extend(detour);
    let edges = fabric["fabric_graph"].as_array_mut().unwrap();
    for edge in edges.iter_mut() {
        let key = edge["_key"].as_str().unwrap().to_owned();
        if key.contains("_s0") && !key.starts_with("hosts") {
            edge["latency"] = json!(2.5);
            edge["percent_util_out"] = json!("busy");
        }
        if key.contains("_s1") {
            edge["latency"] = json!(0);
            edge["percent_util_out"] = json!(0.25);
        }
    }
    let server = start(&fabric, Options::default());
    let ends = "source=hosts/h0&destination=hosts/h1";
    assert_eq!(through(&graph(&server, &format!("shortest_path?{ends}"))["path"]), ["l0", "s0", "l1"]);
    let latency = graph(&server, &format!("shortest_path/latency?{ends}"));
    assert_eq!((through(&latency["path"])[1].as_str(), &latency["total_latency"]), ("s1", &json!(0)));
    let utilization = graph(&server, &format!("shortest_path/utilization?{ends}"));
    assert_eq!(
        (through(&utilization["path"])[1].as_str(), &utilization["average_utilization"]),
        ("s1", &json!(0.25))
    );
}

#[test]
fn parallel_links_are_paths_of_their_own() {
    let mut fabric = line();
    let twin = json!({"_key": "twin", "_from": "fabric_node/l0", "_to": "fabric_node/s0", "country_codes": ["FRA", "DEU"]});
    fabric["fabric_graph"].as_array_mut().unwrap().push(twin);
    let server = start(&fabric, Options::default());
    let found = graph(&server, "shortest_path/best-paths?source=hosts/h0&destination=hosts/h1");
    assert_eq!(found["total_paths_found"], 2);
    assert_eq!(found["paths"][0]["path"], found["paths"][1]["path"], "the same vertices");
    assert_eq!(found["paths"][0]["countries_traversed"], json!([[], [], [], []]));
    assert_eq!(found["paths"][1]["countries_traversed"], json!([[], ["FRA", "DEU"], [], []]));

    // One after the other: the link used last is the heavier one.
    let used = |server| {
        let call = "shortest_path/load?source=hosts/h0&destination=hosts/h1";
        graph(server, call)["path"][2]["edge"]["_key"].as_str().unwrap().to_owned()
    };
    assert_eq!([used(&server), used(&server)], ["fabric_node_l0_fabric_node_s0", "twin"]);
}

#[test]
fn countries_are_avoided() {
    let mut fabric = line();
    fabric["fabric_graph"][2]["country_codes"] = json!(["FRA"]);
    let server = start(&fabric, Options::default());
    let avoiding = |countries: &str| {
        let ends = "source=hosts/h0&destination=hosts/h1";
        graph(&server, &format!("shortest_path/sovereignty?{ends}&excluded_countries={countries}"))
    };
    let around = avoiding("%20usa%20,deu");
    assert_eq!((&around["found"], &around["excluded_countries"]), (&json!(true), &json!(["USA", "DEU"])));
    assert_eq!(around["countries_traversed"][1], json!(["FRA"]));
    let none = json!({"found": false, "message": "No path found between specified nodes avoiding countries: usa,fra"});
    assert_eq!(avoiding("usa,fra"), none);
    assert_eq!(avoiding("")["found"], false, "no name is part of every name");
}

#[test]
fn algorithms_filter_routers_and_shift_edges() {
    let router = |key: &str, algos: &[u8]| {
        let sids: Vec<Value> = algos
            .iter()
            .map(|a| {
                json!({"srv6_sid": format!("fc00:{a}:{}::", &key[1..]),
                "srv6_endpoint_behavior": {"endpoint_behavior": 48, "flag": 0, "algo": a}})
            })
            .collect();
        json!({"_key": key, "name": key, "sids": sids})
    };
    let fabric = json!({
        "hosts": [host("h0", "fd00::1"), host("h1", "fd00::2")],
        "igp_node": [router("r1", &[0]), router("r2", &[128, 0]), router("r3", &[128])],
        "fabric_graph": links(&[
            ("hosts/h0", "igp_node/r1"), ("igp_node/r1", "hosts/h1"),
            ("hosts/h0", "igp_node/r2"), ("igp_node/r2", "igp_node/r3"), ("igp_node/r3", "hosts/h1"),
        ]),
    });
    let server = start(&fabric, Options::default());
    let with = |variant: &str, algo: i64| {
        graph(&server, &format!("shortest_path{variant}?source=hosts/h0&destination=hosts/h1&algo={algo}"))
    };
    assert_eq!((carrier(&with("", 0)), through(&with("", 0)["path"])), ("fc00:0:1::", vec!["r1".to_owned()]));
    let flexible = with("", 128);
    assert_eq!((carrier(&flexible), &flexible["algo"]), ("fc00:128:2:3::", &json!(128)));
    assert_eq!(flexible["path"][0]["edge"]["_to"], "igp_node/r2", "the edge out of the vertex");
    assert_eq!(flexible["path"][3]["edge"], Value::Null, "the last has none");
    assert_eq!(with("/best-paths", 128)["total_paths_found"], 1);
    assert_eq!(with("/load", 128)["load_data"]["edge_count"], 3);
    assert_eq!(with("", 129)["found"], false);
    let participants = graph(&server, "vertices/algo?algo=128");
    assert_eq!(participants["total_vertices"], 2);
    assert_eq!(participants["vertices_by_collection"]["igp_node"][0]["sids"].as_array().unwrap().len(), 1);
}

#[test]
fn any_algorithm_passes_a_fabric_without_routers() {
    let server = start(&line(), Options::default());
    let path = graph(&server, "shortest_path?source=hosts/h0&destination=hosts/h1&algo=128");
    assert_eq!((&path["found"], carrier(&path)), (&json!(true), "fc00:0:::"));
}

#[test]
fn an_edge_to_nowhere() {
    let mut fabric = line();
    for (from, to) in [("fabric_node/l0", "fabric_node/gone"), ("fabric_node/gone", "hosts/h1")] {
        let edge = json!({"_key": format!("{}_", from.replace('/', "_")), "_from": from, "_to": to});
        fabric["fabric_graph"].as_array_mut().unwrap().push(edge);
    }
    let server = start(&fabric, Options { unchecked: true, ..Options::default() });
    let ends = "source=hosts/h0&destination=hosts/h1";
    let path = graph(&server, &format!("shortest_path?{ends}"));
    assert_eq!(path["path"][2]["vertex"]["_id"], Value::Null);
    assert_eq!(carrier(&path), "fcbb:0:a::");
    let alternatives = graph(&server, &format!("shortest_path/next-best-path?{ends}"));
    let first = &alternatives["same_hopcount_paths"][0];
    assert_eq!(first["path"][2]["vertex"], Value::Null);
    assert_eq!(first["srv6_data"]["error"], "argument of type 'NoneType' is not iterable");
    assert_eq!(graph(&server, "topology")["total_vertices"], 5, "without the one that isn't there");
}

#[test]
fn a_load_that_is_null_stops_the_update() {
    let mut fabric = line();
    fabric["fabric_graph"][0]["load"] = Value::Null;
    let server = start(&fabric, Options::default());
    let call = "shortest_path/load?source=hosts/h0&destination=hosts/h1";
    let answer = graph(&server, call);
    assert_eq!(answer["found"], true);
    let data = &answer["load_data"];
    assert_eq!(data["error"], "unsupported operand type(s) for +: 'NoneType' and 'int'");
    assert_eq!((&data["updated_edges"], &data["total_load"]), (&json!([]), &json!(0)));
    assert_eq!(graph(&server, call)["average_load"], Value::Null, "nothing was written");
}

#[test]
fn two_graphs_over_the_same_vertices() {
    let mut fabric = line();
    fabric["ipv6_graph"] = fabric["fabric_graph"].clone();
    let server = start(&fabric, Options::default());
    assert_eq!(get(&server, "/api/v1/instances").json(), json!(["fabric_graph", "ipv6_graph"]));
    let load = "shortest_path/load?source=hosts/h0&destination=hosts/h1";
    graph(&server, load);
    let other = get(&server, &format!("/api/v1/graphs/ipv6_graph/{load}")).json();
    assert_eq!(other["average_load"], Value::Null, "loads are each graph's own");
    // A name that the original knows as a graph's is listed with its vertices, all of them.
    let listed = get(&server, "/api/v1/collections/ipv6_graph?limit=1").json();
    let fields: Vec<&String> = listed.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["collection", "type", "edge_count", "vertex_count", "edges", "vertices"]);
    assert_eq!((&listed["edge_count"], &listed["vertex_count"]), (&json!(1), &json!(5)));
}
