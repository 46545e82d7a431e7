//! What the original doesn't have.

use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use srv6_pathserver::{Options, Running, Server};

use crate::client::{documents, fabric4x4, get, get_with, graph, host, links, node, post, start, through};

const LOAD: &str = "shortest_path/load?source=hosts/host00&destination=hosts/host01";

fn spine(server: &Running) -> String {
    through(&graph(server, LOAD)["path"])[1].clone()
}

#[test]
fn resetting_loads_starts_the_rotation_anew() {
    let server = start(&fabric4x4(), Options::default());
    assert_eq!([spine(&server), spine(&server), spine(&server)], ["spine00", "spine01", "spine02"]);
    let before = get(&server, "/api/v1/collections/fabric_graph").text;
    let answer = post(&server, "/srv6/v1/load/reset", "application/json", "");
    assert_eq!((answer.status, answer.json()), (200, json!({"edges": 40})));
    assert_ne!(get(&server, "/api/v1/collections/fabric_graph").text, before);
    assert_eq!([spine(&server), spine(&server)], ["spine00", "spine01"]);
}

#[test]
fn a_server_that_is_read_only_refuses_both_and_answers_on() {
    let server = start(&fabric4x4(), Options { read_only: true, ..Options::default() });
    assert_eq!([spine(&server), spine(&server)], ["spine00", "spine01"]);
    let before = get(&server, "/api/v1/collections/fabric_graph").text;
    for (path, body) in [("load/reset", String::new()), ("topology", fabric4x4().to_string())] {
        let answer = post(&server, &format!("/srv6/v1/{path}"), "application/json", &body);
        assert_eq!(answer.status, 403, "{}", answer.text);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("read-only"), "{detail}");
    }
    assert_eq!(get(&server, "/api/v1/collections/fabric_graph").text, before);
    assert_eq!(spine(&server), "spine02");
}

#[test]
fn replacing_the_topology_is_all_or_nothing() {
    let server = start(&fabric4x4(), Options::default());
    spine(&server);
    let loaded = get(&server, "/api/v1/graphs/fabric_graph/topology").text;
    let small = json!({
        "hosts": [host("a", "fd00::1"), host("b", "fd00::2")],
        "fabric_node": [node("s", "fc00:0:5::")],
        "fabric_graph": links(&[("hosts/a", "fabric_node/s"), ("fabric_node/s", "hosts/b")]),
    });
    let refused = |content_type: &str, body: &str, status: u16| {
        let answer = post(&server, "/srv6/v1/topology", content_type, body);
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(get(&server, "/api/v1/graphs/fabric_graph/topology").text, loaded, "all as before");
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    let mut broken = small.clone();
    broken["fabric_graph"][3]["_to"] = json!("hosts/c");
    let detail = refused("application/json", &broken.to_string(), 422);
    assert_eq!(detail, "fabric_graph/hosts_b_fabric_node_s: _to hosts/c is no vertex of this topology");
    assert!(refused("application/json", "{", 422).contains("not JSON"));
    assert!(refused("text/plain", &small.to_string(), 415).contains("application/json"));

    let answer = post(&server, "/srv6/v1/topology", "application/json", &small.to_string());
    assert_eq!(answer.json(), json!({"collections": {"fabric_graph": 4, "fabric_node": 1, "hosts": 2}}));
    let path = graph(&server, "shortest_path?source=hosts/a&destination=hosts/b");
    assert_eq!(path["srv6_data"]["srv6_usid"], "fc00:0:5::");
    assert_eq!(graph(&server, LOAD)["found"], false, "the old hosts are gone");

    server.replace(&documents(&fabric4x4())).unwrap();
    assert_eq!(spine(&server), "spine00", "with nothing written");
}

#[test]
fn a_topology_is_sent_once() {
    let server = start(&fabric4x4(), Options::default());
    let path = "/api/v1/graphs/fabric_graph/topology";
    let first = get(&server, path);
    let tag = first.header("etag").unwrap().to_owned();
    let again = get_with(&server, path, &[("if-none-match", &tag)]);
    assert_eq!((again.status, again.text.as_str(), again.header("etag")), (304, "", Some(tag.as_str())));
    let listed = format!("\"other\", W/{tag}");
    assert_eq!(get_with(&server, path, &[("if-none-match", &listed)]).status, 304);
    spine(&server);
    let changed = get_with(&server, path, &[("if-none-match", &tag)]);
    assert_eq!(changed.status, 200, "a load was written");
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
    let other_run = start(&fabric4x4(), Options::default());
    assert_eq!(get_with(&other_run, path, &[("if-none-match", &tag)]).status, 200);
}

#[test]
fn a_dropped_server_is_gone() {
    let server = start(&fabric4x4(), Options::default());
    let address = server.local_addr();
    assert_eq!(server.url(), format!("http://{address}/api/v1"));
    let idle = TcpStream::connect(address).unwrap();
    drop(server);
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(idle.peek(&mut [0]).unwrap_or(0), 0, "open connections are closed");
}

#[test]
fn what_cannot_be_served_is_refused_at_once() {
    let address = "127.0.0.1:0".parse().unwrap();
    let mut fabric = fabric4x4();
    fabric["hosts"][0]["prefix_len"] = Value::from(129);
    let error = Server::bind(address, &documents(&fabric), Options::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "hosts/host00: field prefix_len: 129; want 0 to 128 (IPv6), 0 to 32 (IPv4)"
    );
    let running = start(&fabric4x4(), Options::default());
    let taken = Server::bind(running.local_addr(), &documents(&fabric4x4()), Options::default()).unwrap_err();
    assert_eq!(taken.to_string(), format!("listen on {}", running.local_addr()));
}

#[test]
fn a_signal_stops_a_server_in_the_foreground() {
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(address, &documents(&fabric4x4()), Options::default()).unwrap();
    let address = server.local_addr();
    let (tell, told) = mpsc::channel();
    let foreground = thread::spawn(move || server.serve(|| tell.send(()).unwrap()));
    told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(TcpStream::connect(address).is_ok());
    let kill = Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status().unwrap();
    assert!(kill.success());
    foreground.join().unwrap().unwrap();
    assert!(TcpStream::connect(address).is_err());
}
