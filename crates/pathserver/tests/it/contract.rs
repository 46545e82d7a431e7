//! Refusals, listings and oddities.

use serde_json::{Value, json};
use srv6_pathserver::{Faults, FaultyReply, Options};

use crate::client::{agent, fabric4x4, get, get_with, graph, post, start};

const ENDS: &str = "source=hosts/host00&destination=hosts/host01";

#[test]
fn refusals_say_what_is_wrong_unless_strict() {
    let open = start(&fabric4x4(), Options::default());
    let strict = start(&fabric4x4(), Options { strict_compat: true, ..Options::default() });
    let cases = [
        (format!("graphs/nosuch/shortest_path?{ENDS}"), "404: Collection nosuch not found"),
        (
            format!("graphs/fabric_graph/shortest_path/load?{ENDS}&direction=up"),
            "400: Direction must be 'outbound', 'inbound', or 'any'",
        ),
        ("collections/nosuch".to_owned(), "404: Collection nosuch not found"),
        ("collections/nosuch/keys".to_owned(), "404: Collection nosuch not found"),
        ("graphs/nosuch/topology".to_owned(), "404: Collection nosuch not found"),
        ("graphs/nosuch/edges".to_owned(), "404: Collection nosuch not found"),
        ("graphs/nosuch/vertices".to_owned(), "404: Collection nosuch not found"),
        (
            "graphs/fabric_graph/vertices/summary?vertex_collection=gpus".to_owned(),
            "400: Vertex collection 'gpus' not found in graph. Available collections: ['fabric_node', 'hosts']",
        ),
    ];
    for (call, detail) in cases {
        let path = format!("/api/v1/{call}");
        let answer = get(&open, &path);
        assert_eq!((answer.status, answer.json()), (500, json!({ "detail": detail })), "{call}");
        let answer = get(&strict, &path);
        assert_eq!((answer.status, answer.json()), (500, json!({ "detail": "" })), "{call}");
    }
    for (call, status, detail) in [
        ("graphs/nosuch", 404, "Graph collection nosuch not found"),
        ("graphs/nosuch/info", 404, "Graph collection nosuch not found"),
        ("graphs/hosts", 400, "Collection hosts is not a graph collection"),
    ] {
        let answer = get(&strict, &format!("/api/v1/{call}"));
        assert_eq!((answer.status, answer.json()), (status, json!({ "detail": detail })), "{call}");
    }
}

#[test]
fn the_database_refuses_with_its_numbers() {
    let server = start(&fabric4x4(), Options { strict_compat: true, ..Options::default() });
    let refused = |call: &str| {
        let answer = get(&server, &format!("/api/v1/{call}"));
        assert_eq!(answer.status, 500, "{call}: {}", answer.text);
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    let paths = "graphs/fabric_graph/shortest_path";
    assert!(refused(&format!("{paths}?source=gpus/x&destination=hosts/host01")).contains("ERR 1203"));
    assert!(refused(&format!("{paths}/best-paths?{ENDS}&direction=up")).contains("ERR 1501"));
    assert!(refused(&format!("{paths}/best-paths?{ENDS}&limit=-1")).contains("ERR 1501"));
    assert!(
        refused(&format!("{paths}/next-best-path?source=hosts/host00&destination=hosts/x")).contains("depth")
    );
    assert!(
        refused(&format!("{paths}/best-paths?source=hosts/host00'&destination=hosts/x")).contains("ERR 1501")
    );
    assert!(refused(&format!("graphs/hosts/shortest_path?{ENDS}")).contains("ERR 1218"));
    assert!(refused("graphs/nosuch/vertices/summary").contains("ERR 1203"));
    assert!(refused("collections/hosts?skip=1").contains("ERR 1501"), "no paging");
    assert!(refused("collections/hosts?limit=-1").contains("ERR 1501"));
}

#[test]
fn parameters_are_refused_as_a_list() {
    let server = start(&fabric4x4(), Options::default());
    let refused = |call: &str| {
        let answer = get(&server, &format!("/api/v1/graphs/nosuch/{call}"));
        assert_eq!(answer.status, 422, "{call}: {}", answer.text);
        let list = answer.json()["detail"].as_array().unwrap().clone();
        list.iter()
            .map(|r| format!("{} {}", r["type"].as_str().unwrap(), r["loc"][1].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        refused("shortest_path/sovereignty?algo=x"),
        ["missing source", "missing destination", "missing excluded_countries", "int_parsing algo"]
    );
    assert_eq!(refused(&format!("shortest_path/best-paths?{ENDS}&limit=four")), ["int_parsing limit"]);
    assert_eq!(refused(&format!("shortest_path?{ENDS}&algo=")), ["int_parsing algo"]);
    assert_eq!(refused("topology?include_all_fields=maybe"), ["bool_parsing include_all_fields"]);
    assert_eq!(refused("edges/detail?limit=1e3"), ["int_parsing limit"]);
}

#[test]
fn not_found_has_several_forms() {
    let server = start(&fabric4x4(), Options::default());
    let none = json!({"found": false, "message": "No path found between specified nodes"});
    for source in [
        "hosts/nosuch",
        "host00",
        "hosts/",
        "/host00",
        "hosts/a/b",
        "",
        "%00",
        "hosts/%FF%FE",
        "%F0%9F%90%8D",
    ] {
        for variant in ["", "/latency", "/utilization", "/load"] {
            let call = format!("shortest_path{variant}?source={source}&destination=hosts/host01");
            assert_eq!(graph(&server, &call), none, "{call}");
        }
    }
    let several = graph(&server, &format!("shortest_path/best-paths?{ENDS}&limit=0"));
    assert_eq!(several, json!({"found": false, "message": "No paths found between specified nodes"}));
    let none = graph(&server, &format!("shortest_path/next-best-path?{ENDS}&same_hop_limit=0"));
    assert_eq!((&none["found"], &none["same_hopcount_paths"]), (&json!(true), &json!([])));
}

#[test]
fn huge_and_odd_requests_are_answered() {
    let server = start(&fabric4x4(), Options::default());
    let all = graph(&server, &format!("shortest_path/best-paths?{ENDS}&limit=999999999"));
    // Every loop-free way of the fabric: by 1, 2, 3 spines (with 0, 1, 2 other leaves between), as many as exist.
    let ways = 4 + 4 * 3 * 2 + 4 * 3 * 2 * 2;
    assert_eq!(all["total_paths_found"], ways);
    let long = "x".repeat(30_000);
    let answer =
        get(&server, &format!("/api/v1/graphs/fabric_graph/shortest_path?source={long}&destination={long}"));
    assert_eq!((answer.status, answer.json()["found"].clone()), (200, json!(false)));
    let many = "a=b&".repeat(10_000);
    assert_eq!(get(&server, &format!("/api/v1/instances?{many}")).status, 200);
    let twice = graph(&server, &format!("shortest_path?source=nosuch&{ENDS}"));
    assert_eq!(twice["found"], true, "of two values the last counts");
}

#[test]
fn routes_methods_and_slashes() {
    let server = start(&fabric4x4(), Options::default());
    for path in
        ["/", "/instances", "/api/v1", "/api/v1/collection/hosts", "/api/v1/graphs/fabric_graph/nosuch"]
    {
        let answer = get(&server, path);
        assert_eq!((answer.status, answer.json()), (404, json!({"detail": "Not Found"})), "{path}");
    }
    let answer = post(&server, "/api/v1/graphs/fabric_graph/edges", "application/json", "{}");
    assert_eq!((answer.status, answer.json()), (405, json!({"detail": "Method Not Allowed"})));
    assert_eq!(answer.header("allow"), Some("GET"));
    let answer = get(&server, "/api/v1/graphs/?x=y");
    assert_eq!(answer.status, 307);
    assert_eq!(
        answer.header("location").unwrap(),
        format!("http://{}/api/v1/graphs?x=y", server.local_addr())
    );
    let from_a_page = get_with(&server, "/api/v1/instances", &[("origin", "http://ui")]);
    assert_eq!(from_a_page.header("access-control-allow-origin"), Some("*"));
    assert_eq!(get(&server, "/health").header("access-control-allow-origin"), None);
}

#[test]
fn collections_with_their_quirks() {
    let server = start(&fabric4x4(), Options::default());
    let names = |query: &str| {
        let list = get(&server, &format!("/api/v1/collections{query}")).json();
        let names: Vec<String> = list["collections"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect();
        (names.join(" "), list["filter_applied"].as_str().unwrap().to_owned())
    };
    assert_eq!(names("?filter_graphs=true"), ("fabric_graph".to_owned(), "graphs".to_owned()));
    assert_eq!(names("?filter_graphs=no"), ("fabric_node hosts".to_owned(), "non_graphs".to_owned()));
    let contents = |query: &str| get(&server, &format!("/api/v1/collections/hosts{query}")).json();
    assert_eq!(contents("?limit=2")["count"], 2);
    assert_eq!(contents("?limit=0&skip=0&filter_key=")["count"], 4, "0 and nothing count as not given");
    let keys = contents("/keys");
    assert_eq!(
        keys,
        json!({"collection": "hosts", "key_count": 4, "keys": ["host00", "host01", "host02", "host03"]})
    );
    let info = contents("/info");
    assert_eq!(
        (&info["name"], &info["count"], &info["properties"]["type"]),
        (&json!("hosts"), &json!(4), &json!(2))
    );
}

#[test]
fn graphs_vertices_and_edges() {
    let server = start(&fabric4x4(), Options::default());
    let at = |path: &str| get(&server, &format!("/api/v1/graphs{path}")).json();
    assert_eq!(
        at(""),
        json!({"collections": [{"name": "fabric_graph", "type": "edge", "status": "loaded", "count": 40}],
            "total_count": 1})
    );
    assert_eq!(at("/fabric_graph"), json!({"name": "fabric_graph", "type": 3, "status": 3, "count": 40}));
    let info = at("/fabric_graph/info");
    let fields: Vec<&String> = info.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["name", "properties", "statistics", "vertex_collections"]);

    let keys = at("/fabric_graph/vertices/keys");
    assert_eq!((&keys["vertex_count"], &keys["vertex_keys"][0]), (&json!(12), &json!("10.0.0.0_spine00")));
    let ids = at("/fabric_graph/vertices/ids");
    assert_eq!(ids["vertices"][11], json!({"_id": "hosts/host03", "_key": "host03"}));
    let summary = at("/fabric_graph/vertices/summary?limit=1&vertex_collection=fabric_node");
    assert_eq!(
        summary,
        json!({"graph": "fabric_graph", "vertex_collections": ["fabric_node", "hosts"],
            "filtered_collection": "fabric_node", "total_vertices": 1,
            "vertices": [{"collection": "fabric_node", "_key": "10.0.0.0_spine00",
                "_id": "fabric_node/10.0.0.0_spine00", "name": "spine00", "sids": ["fc00:0:1000::"], "asn": 65000}]})
    );
    assert_eq!(at("/fabric_graph/vertices/summary")["filtered_collection"], Value::Null);
    let edges = at("/fabric_graph/edges");
    assert_eq!(edges["edge_count"], 40);
    assert_eq!(
        edges["edges"][0],
        json!({"_from": "fabric_node/10.0.0.200_leaf00", "_to": "fabric_node/10.0.0.0_spine00"})
    );
    let shown =
        |limit: &str| at(&format!("/fabric_graph/edges/detail?limit={limit}"))["returned_edges"].clone();
    assert_eq!([shown("0"), shown("3"), shown("-3"), shown("999")], [40, 3, 37, 40].map(Value::from));
    let nodes = at("/fabric_graph/topology/nodes?include_all_fields=false");
    assert_eq!((&nodes["total_edges"], &nodes["total_vertices"]), (&json!(32), &json!(8)));
}

#[test]
fn fault_switches() {
    let server = start(&fabric4x4(), Options::default());
    let call = format!("/api/v1/graphs/fabric_graph/shortest_path/load?{ENDS}");
    let garbage = FaultyReply { status: 200, content_type: "text/html".to_owned(), body: b"<html>".to_vec() };
    server.set_faults(Faults {
        only: Some("/load".to_owned()),
        times: Some(1),
        reply: Some(garbage),
        ..Faults::default()
    });
    let before = server.requests();
    assert_eq!(get(&server, "/api/v1/instances").status, 200);
    let answer = get(&server, &call);
    assert_eq!((answer.content_type.as_str(), answer.text.as_str()), ("text/html", "<html>"));
    assert_eq!(get(&server, &call).json()["average_load"], 0, "the first was not carried out");
    assert_eq!(server.requests() - before, 3);

    server.set_faults(Faults {
        alter: Some(|body| body["srv6_data"]["srv6_usid"] = json!("fc00:0:bad::")),
        ..Faults::default()
    });
    assert_eq!(get(&server, &call).json()["srv6_data"]["srv6_usid"], "fc00:0:bad::");

    server.set_faults(Faults { cut_after: Some(100), ..Faults::default() });
    let mut response = agent().get(format!("http://{}{call}", server.local_addr())).call().unwrap();
    assert!(response.headers()["content-length"].to_str().unwrap().parse::<u32>().unwrap() > 1000);
    assert!(response.body_mut().read_to_string().is_err(), "the body breaks off");

    server.set_faults(Faults::default());
    assert_eq!(get(&server, &call).status, 200);
}
