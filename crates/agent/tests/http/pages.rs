//! The pages, of an agent whose flows are known.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;
use srv6_agent::{HintClaim, Namespace};
use srv6_hints::Key;
use srv6_steer::Status;

use crate::serving::{PATIENCE, Serving, eventually, flow};

/// Series and values of a page of metrics.
fn series(text: &str) -> BTreeMap<&str, f64> {
    assert!(text.ends_with("# EOF\n"), "{text}");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

/// The page, once it isn't an older one any more.
fn fresh(serving: &Serving, path: &str, so: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    eventually("the page shows it", || {
        text = serving.get(path).1;
        so(&text)
    });
    text
}

#[test]
fn metrics_are_of_the_flows_that_there_are() {
    let serving = Serving::start(&[("SRV6D_METRIC_FLOWS", "2")]);
    let empty = serving.get("/metrics").1;
    assert_eq!(series(&empty)["srv6d_flows{state=\"clear\"}"], 0.0);
    let holds = serving.flows(3);
    let text = fresh(&serving, "/metrics", |text| series(text)["srv6d_flows{state=\"clear\"}"] > 2.0);
    let all = series(&text);
    assert_eq!(all["srv6d_flows{state=\"bad\"}"] + all["srv6d_flows{state=\"absent\"}"], 0.0);
    let own = |prefix: &str| all.keys().filter(|name| name.starts_with(prefix)).count();
    assert_eq!((own("srv6d_flow_carrier{"), all["srv6d_flows_without_series"]), (2, 1.0));
    assert_eq!(own("srv6d_flow_connections{"), 3, "two flows and the others");
    let others = "srv6d_flow_connections{job=\"others\",rank=\"\",src=\"others\",dst=\"others\",slot=\"\"}";
    assert_eq!(all[others], 1.0);
    let paths: f64 =
        all.iter().filter(|(name, _)| name.starts_with("srv6d_path_flows{")).map(|(_, n)| n).sum();
    assert_eq!(paths, 3.0);
    let carrier = all.keys().find(|name| name.starts_with("srv6d_flow_carrier{")).unwrap();
    assert!(
        carrier.contains("src=\"2001:db8:1000::2\"") && carrier.contains("path=\"host00>leaf00>"),
        "{carrier}"
    );
    assert!(all["srv6d_source_questions_total"] >= 1.0 && all["srv6d_fabric_reads_total"] >= 1.0);
    drop(holds);
    fresh(&serving, "/metrics", |text| series(text)["srv6d_flows{state=\"clear\"}"] == 0.0);
}

#[test]
fn hints_are_counted() {
    let serving = Serving::start(&[]);
    let key = |n| Key { namespace: 1, flow: flow(n) };
    let claims: Vec<HintClaim> = (1..=2).filter_map(|n| serving.agent.hinting().claim(key(n))).collect();
    serving.agent.hinting().set(srv6_agent::Kind::Paths, srv6_agent::Which::Slot(1), "1,2").unwrap();
    let all = serving.get("/metrics").1;
    let all = series(&all);
    assert_eq!((all["srv6d_hint_slots"], all["srv6d_hint_slots_set"]), (2.0, 1.0));
    assert_eq!(claims.len(), 2);
}

#[test]
fn listings_say_where_flows_go() {
    let serving = Serving::start(&[]);
    let _holds = serving.flows(3);
    let text = fresh(&serving, "/v1/flows", |text| text.matches("\"carrier\"").count() == 3);
    let flows: Value = serde_json::from_str(&text).unwrap();
    let one = &flows["flows"][0];
    assert_eq!((one["src"].as_str(), one["connections"].as_u64()), (Some("2001:db8:1000::2"), Some(1)));
    assert_eq!((one["hops"][0].as_str(), one["hops"].as_array().unwrap().len()), (Some("host00"), 5));
    assert_eq!((one["bad"].as_bool(), one["slot"].is_null()), (Some(false), true));
    let paths: Value =
        serde_json::from_str(&fresh(&serving, "/v1/paths", |text| text.contains("carrier"))).unwrap();
    let flows: u64 =
        paths["paths"].as_array().unwrap().iter().map(|path| path["flows"].as_u64().unwrap()).sum();
    assert_eq!(flows, 3);
}

#[test]
fn readiness_is_told_from_health() {
    let serving = Serving::start(&[]);
    assert_eq!(serving.get("/healthz").0, 200);
    let (status, body) = serving.get("/readyz");
    let body: Value = serde_json::from_str(&body).unwrap();
    // Nobody has asked for the fabric yet, unless the agent has by itself meanwhile.
    assert_eq!((body["ready"] == true, body["ready"].clone()), (status == 200, body["fabric_known"].clone()));
    let _holds = serving.flows(1);
    eventually("ready with a fabric", || serving.get("/readyz").0 == 200);
    assert_eq!(serving.get("/nothing").0, 404);
}

#[test]
fn clients_that_stall_stop_nobody_and_are_let_go() {
    let serving = Serving::start(&[]);
    let mut stalled: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(serving.address).unwrap()).collect();
    for stream in &mut stalled {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x").unwrap();
    }
    assert_eq!(serving.get("/healthz").0, 200);
    for mut stream in stalled {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut told = Vec::new();
        let _closed = stream.read_to_end(&mut told);
        assert!(told.is_empty() || told.starts_with(b"HTTP/1.1 408"), "{told:?}");
    }
}

#[test]
fn a_page_that_nobody_reads_is_given_up() {
    let serving = Serving::start(&[]);
    let mut streams: Vec<TcpStream> =
        (0..128).map(|_| TcpStream::connect(serving.address).unwrap()).collect();
    for stream in &mut streams {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    // All places are taken, and there is one again when the idle connections have had their time.
    assert_eq!(serving.get("/healthz").0, 200);
    drop(streams);
}

#[test]
fn a_namespace_that_vanishes_takes_no_counts_along() {
    let serving = Serving::start(&[]);
    let address = "ip address add 2001:db8:1000::2/128 dev lo nodad && ip route add fc00:0::/32 dev lo";
    let mut pod = Command::new("unshare")
        .args(["--net", "sh", "-c", &format!("ip link set lo up && {address} && echo up && exec cat")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    pod.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
    let host = serving.agent.hosts().enter(Namespace::of_process(pod.id()).unwrap()).unwrap();
    let hold = host.steer().request(flow(1));
    eventually("the flow is steered", || matches!(hold.status(), Status::Ready(_)));
    let count = |text: &str| series(text)["srv6d_source_questions_total"];
    let text = fresh(&serving, "/metrics", |text| count(text) >= 1.0);
    assert_eq!(series(&text)["srv6d_namespaces"], 2.0);
    let before = count(&text);
    drop((hold, host));
    pod.kill().unwrap();
    pod.wait().unwrap();
    let text = fresh(&serving, "/metrics", |text| series(text)["srv6d_namespaces"] == 1.0);
    assert_eq!(count(&text), before);
    assert_eq!(serving.get("/healthz").0, 200);
}
