//! Starting servers and asking them.

use serde_json::{Value, json};
use srv6_fabric::Documents;
use srv6_pathserver::{Options, Running, Server};

/// The 4×4 fabric, as a JSON object of collections.
pub(crate) fn fabric4x4() -> Value {
    serde_json::from_str(include_str!("../../../../examples/fabrics/4x4.json")).unwrap()
}

pub(crate) fn documents(collections: &Value) -> Documents {
    Documents::parse([("test", collections.to_string().as_str())], "fabric_graph", "hosts").unwrap()
}

pub(crate) fn start(collections: &Value, options: Options) -> Running {
    let address = "127.0.0.1:0".parse().unwrap();
    Server::bind(address, &documents(collections), options).unwrap().spawn().unwrap()
}

/// A node document with one uN SID.
pub(crate) fn node(key: &str, sid: &str) -> Value {
    json!({"_key": key, "name": key, "sids": [{"srv6_sid": sid,
        "srv6_endpoint_behavior": {"endpoint_behavior": 48, "flag": 0, "algo": 0}}]})
}

pub(crate) fn host(key: &str, address: &str) -> Value {
    json!({"_key": key, "name": key, "ipv6_address": address})
}

/// Edges of both directions between pairs of ids.
pub(crate) fn links(pairs: &[(&str, &str)]) -> Vec<Value> {
    let key = |id: &str| id.replace('/', "_");
    let edge = |a: &str, b: &str| json!({"_key": format!("{}_{}", key(a), key(b)), "_from": a, "_to": b});
    pairs.iter().flat_map(|(a, b)| [edge(a, b), edge(b, a)]).collect()
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) text: String,
    pub(crate) headers: ureq::http::HeaderMap,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }
}

pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into()
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let headers = response.headers().clone();
    let content_type =
        headers.get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    let text = response.body_mut().read_to_string().unwrap();
    Answer { status: response.status().as_u16(), content_type, text, headers }
}

/// GET of a path such as `/health` or `/api/v1/graphs?x=y`.
pub(crate) fn get(server: &Running, path: &str) -> Answer {
    get_with(server, path, &[])
}

pub(crate) fn get_with(server: &Running, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = agent().get(format!("http://{}{path}", server.local_addr()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request.call().unwrap())
}

pub(crate) fn post(server: &Running, path: &str, content_type: &str, body: &str) -> Answer {
    let request = agent().post(format!("http://{}{path}", server.local_addr()));
    answer(request.header("content-type", content_type).send(body).unwrap())
}

/// GET of a call of `fabric_graph` such as `shortest_path`, with its query.
pub(crate) fn graph(server: &Running, call: &str) -> Value {
    let answer = get(server, &format!("/api/v1/graphs/fabric_graph/{call}"));
    assert_eq!(answer.status, 200, "{call}: {}", answer.text);
    answer.json()
}

/// Names of the vertices between source and destination.
pub(crate) fn through(path: &Value) -> Vec<String> {
    let entries = path.as_array().unwrap();
    let names: Vec<String> = entries
        .iter()
        .map(|e| e["vertex"]["_key"].as_str().unwrap().rsplit('_').next().unwrap().to_owned())
        .collect();
    names[1..names.len() - 1].to_vec()
}
