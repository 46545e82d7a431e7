//! The path server that the agent asks: dead, slow, lying, and with a fabric that shrinks.

use std::time::{Duration, Instant};

use serde_json::Value;
use srv6_fabric::Documents;
use srv6_pathserver::{Faults, FaultyReply, Running};

use crate::client::Client;
use crate::crowd::server;
use crate::scene::{Scene, TO_HOST01, TO_HOST02, fabric};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_path_server_that_fails_takes_no_flow_along", fails),
    ("flows_leave_what_the_fabric_has_lost_and_come_back", shrinks),
    ("the_fabric_is_read_once_a_period_for_all_namespaces", once),
];

/// Reads the fabric each second, and gives an unanswered question up soon.
const SOON: [&str; 4] = ["--srv6d-refresh-s", "1", "--srv6-connect-timeout-ms", "1000"];

/// What the agent is told of the fabric while nothing of it is true.
fn empty(value: &mut Value) {
    match value {
        Value::Array(entries) => entries.clear(),
        Value::Object(members) => members.values_mut().for_each(empty),
        _ => {}
    }
}

/// Waits until the server was asked so many times more.
fn asked(scene: &Scene, server: &Running, times: u64) {
    let before = server.requests();
    scene.eventually("the fabric is read again", || server.requests() >= before + times);
}

fn fails() {
    let server = server();
    let scene = Scene::asking(&server, &SOON);
    let client = Client::start(scene.host("host00"), &scene.socket(), &[TO_HOST01]);
    client.ready(1);
    let shown = scene.routes("host00");
    assert_eq!(shown.lines().count(), 1, "{shown}");
    for faults in [
        Faults { reply: Some(FaultyReply::database_down()), ..Faults::default() },
        Faults { delay: Duration::from_secs(3600), ..Faults::default() },
        Faults { cut_after: Some(10), ..Faults::default() },
        Faults { alter: Some(empty), ..Faults::default() },
    ] {
        server.set_faults(faults.clone());
        asked(&scene, &server, 4);
        assert_eq!(scene.routes("host00"), shown, "{faults:?}");
    }
    server.set_faults(Faults::default());
    let other = Client::start(scene.host("host00"), &scene.socket(), &[TO_HOST02]);
    other.ready(1);
    assert_eq!(scene.routes("host00").lines().count(), 2);
    client.leave();
    other.leave();
    assert_eq!(scene.routes("host00"), "");
}

/// The fabric without the links of a switch.
fn without(switch: &str) -> Documents {
    let mut documents: Value = serde_json::from_str(&std::fs::read_to_string(fabric()).unwrap()).unwrap();
    let touches = |edge: &Value| {
        ["_from", "_to"].iter().any(|end| edge[end].as_str().is_some_and(|name| name.ends_with(switch)))
    };
    documents["fabric_graph"].as_array_mut().unwrap().retain(|edge| !touches(edge));
    Documents::parse([("4x4", documents.to_string().as_str())], "fabric_graph", "hosts").unwrap()
}

fn shrinks() {
    let server = server();
    let scene = Scene::asking(&server, &SOON);
    let client = Client::start(scene.host("host00"), &scene.socket(), &[TO_HOST01]);
    let said = client.ready(1).remove(0);
    let spine = said.split('>').find(|hop| hop.starts_with("spine")).unwrap().to_owned();
    let own = scene.routes("host00");
    server.replace(&without(&spine)).unwrap();
    let elsewhere = client.says();
    assert!(elsewhere.contains(">spine") && !elsewhere.contains(&spine), "{elsewhere}");
    assert_ne!(scene.routes("host00"), own);
    // Nothing between the two hosts at all is more likely a mistake than true.
    server.replace(&without("leaf01")).unwrap();
    asked(&scene, &server, 4);
    assert_eq!(scene.routes("host00").lines().count(), 1);
    server.replace(&without("no switch")).unwrap();
    scene.eventually("the flow is back", || scene.routes("host00") == own);
    client.leave();
}

fn once() {
    let server = server();
    let scene = Scene::asking(&server, &SOON);
    let clients = ["host00", "host01", "host02", "host03"].map(|host| {
        let source = host.trim_start_matches("host0");
        let to = if source == "3" { "2" } else { "3" };
        let flow = format!("2001:db8:100{source}::2,2001:db8:100{to}::2");
        let client = Client::start(scene.host(host), &scene.socket(), &[&flow]);
        client.ready(1);
        client
    });
    let readings = || scene.ask(r#"{"command":"status"}"#)[0]["topologies_read"].as_u64().unwrap();
    let (before, started) = (readings(), Instant::now());
    scene.eventually("the fabric was read five times", || readings() >= before + 5);
    let read = readings() - before;
    // A second, less a fifth, between two of them; by itself each of the four would read as often.
    let most = started.elapsed().as_secs_f64() / 0.8 + 2.0;
    assert!(f64::from(u32::try_from(read).unwrap()) <= most, "{read} times in {:?}", started.elapsed());
    clients.into_iter().for_each(Client::leave);
}
