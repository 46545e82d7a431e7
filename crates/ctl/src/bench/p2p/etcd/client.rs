//! etcd's JSON gateway (etcd 3.4 and later, `/v3/…`): keys with leases, over one of several endpoints.

use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use ureq::Agent;

/// Where etcd answers: `http://HOST:PORT`, one or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Endpoints(Vec<String>);

/// A connection to whichever endpoint answers.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    endpoints: Endpoints,
    /// The one that answered last.
    current: usize,
}

/// An etcd lease id; the gateway writes 64-bit numbers as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease(String);

/// A key that is there, and who put it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
}

impl Endpoints {
    /// From a list such as `http://10.0.0.1:2379,10.0.0.2:2379`.
    ///
    /// # Errors
    /// If one is empty or wants TLS.
    pub(in super::super) fn parse(text: &str) -> anyhow::Result<Self> {
        let endpoints = text.split(',').map(|one| {
            let one = one.trim();
            ensure!(
                !one.starts_with("https://"),
                "etcd endpoint {one:?}: TLS is not supported, wanted http://"
            );
            let address = one.strip_prefix("http://").unwrap_or(one).trim_end_matches('/');
            let url = format!("http://{address}");
            let parsed: Result<ureq::http::Uri, _> = url.parse();
            let usable = parsed.is_ok_and(|uri| {
                uri.host().is_some_and(|host| !host.is_empty()) && uri.path().trim_matches('/').is_empty()
            });
            ensure!(usable, "etcd endpoint {one:?}: wanted http://HOST:PORT");
            // etcd's own default.
            let port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            Ok(if port { url } else { format!("{url}:2379") })
        });
        Ok(Self(endpoints.collect::<anyhow::Result<_>>()?))
    }
}

impl std::fmt::Display for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

impl Client {
    pub(super) fn new(endpoints: Endpoints) -> Self {
        let config = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(1)))
            .timeout_global(Some(Duration::from_secs(3)))
            // etcd's reason is in the body.
            .http_status_as_error(false)
            .build();
        Self { agent: config.new_agent(), endpoints, current: 0 }
    }

    /// A lease of so many seconds.
    ///
    /// # Errors
    /// If no endpoint grants it.
    pub(super) fn grant(&mut self, seconds: u64) -> anyhow::Result<Lease> {
        let answer = self.call("/v3/lease/grant", &json!({ "TTL": seconds }))?;
        let id = answer.get("ID").and_then(Value::as_str).context("etcd granted a lease without an id")?;
        Ok(Lease(id.to_owned()))
    }

    /// Prolongs a lease; whether it was still there.
    ///
    /// # Errors
    /// If no endpoint answers.
    pub(super) fn keep_alive(&mut self, lease: &Lease) -> anyhow::Result<bool> {
        let answer = self.call("/v3/lease/keepalive", &json!({ "ID": lease.0 }))?;
        let left = answer.pointer("/result/TTL").and_then(Value::as_str);
        Ok(left.and_then(|left| left.parse::<i64>().ok()).is_some_and(|left| left > 0))
    }

    /// Ends a lease, and with it its keys.
    ///
    /// # Errors
    /// If no endpoint does it.
    pub(super) fn revoke(&mut self, lease: &Lease) -> anyhow::Result<()> {
        self.call("/v3/lease/revoke", &json!({ "ID": lease.0 })).map(drop)
    }

    /// Puts a key that isn't there yet; what is there, if it is.
    ///
    /// # Errors
    /// If no endpoint does it.
    pub(super) fn put_new(
        &mut self,
        key: &str,
        value: &[u8],
        lease: &Lease,
    ) -> anyhow::Result<Option<Stored>> {
        let (key64, value64) = (BASE64.encode(key), BASE64.encode(value));
        let answer = self.call(
            "/v3/kv/txn",
            &json!({
                "compare": [{ "key": key64, "target": "CREATE", "result": "EQUAL", "create_revision": "0" }],
                "success": [{ "request_put": { "key": key64, "value": value64, "lease": lease.0 } }],
                "failure": [{ "request_range": { "key": key64 } }],
            }),
        )?;
        if answer.get("succeeded") == Some(&Value::Bool(true)) {
            return Ok(None);
        }
        let there = answer.pointer("/responses/0/response_range").map(stored).transpose()?;
        let there = there.and_then(|all| all.into_iter().next());
        // Between comparing and reading is nothing: a transaction is one step.
        Ok(Some(there.context("etcd refused a new key and shows no old one")?))
    }

    /// All keys that begin so.
    ///
    /// # Errors
    /// If no endpoint answers.
    pub(super) fn with_prefix(&mut self, prefix: &str) -> anyhow::Result<Vec<Stored>> {
        let answer = self.call(
            "/v3/kv/range",
            &json!({ "key": BASE64.encode(prefix), "range_end": BASE64.encode(after(prefix.as_bytes())) }),
        )?;
        stored(&answer)
    }

    /// Asks the endpoints in turn, the one that answered last first.
    fn call(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let count = self.endpoints.0.len();
        let mut reasons = Vec::new();
        for turn in 0..count {
            let at = (self.current + turn) % count.max(1);
            let Some(endpoint) = self.endpoints.0.get(at) else { continue };
            match self.ask(&format!("{endpoint}{path}"), body) {
                Ok(answer) => {
                    self.current = at;
                    return Ok(answer);
                }
                Err(error) => reasons.push(format!("{endpoint}: {error:#}")),
            }
        }
        Err(anyhow!("etcd does not answer: {}", reasons.join("; ")))
    }

    fn ask(&self, url: &str, body: &Value) -> anyhow::Result<Value> {
        let mut response = self.agent.post(url).send(body.to_string())?;
        let status = response.status();
        let text = response.body_mut().read_to_string().context("reading the answer")?;
        let answer: Value = match serde_json::from_str(&text) {
            Ok(answer) => answer,
            Err(_) if !status.is_success() => bail!("HTTP status {status}"),
            Err(error) => return Err(error).context("the answer is no JSON (is this etcd 3.4 or later?)"),
        };
        if !status.is_success() {
            let reason = answer.get("error").or_else(|| answer.get("message")).and_then(Value::as_str);
            bail!("{} (HTTP status {status})", reason.unwrap_or("no reason given"));
        }
        Ok(answer)
    }
}

/// The keys of a range answer; there is no list if there are none.
fn stored(answer: &Value) -> anyhow::Result<Vec<Stored>> {
    let keys = answer.get("kvs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let text = |entry: &Value, name: &str| {
        let text = entry.get(name).and_then(Value::as_str).unwrap_or_default();
        BASE64.decode(text).with_context(|| format!("etcd's {name} is no base64: {text:?}"))
    };
    keys.iter()
        .map(|entry| {
            let key = String::from_utf8_lossy(&text(entry, "key")?).into_owned();
            Ok(Stored { key, value: text(entry, "value")? })
        })
        .collect()
}

/// The first key behind all that begin with `prefix`, which ends in a slash.
fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_with_and_without_scheme_and_port() {
        let parse = |text| Endpoints::parse(text).map(|all| all.0).map_err(|error| error.to_string());
        assert_eq!(parse("http://a:1, b:2/,c").unwrap(), ["http://a:1", "http://b:2", "http://c:2379"]);
        assert_eq!(parse("http://[::1]:5").unwrap(), ["http://[::1]:5"]);
        assert_eq!(parse("[::1]").unwrap(), ["http://[::1]:2379"]);
        assert_eq!(
            parse("https://a:1").unwrap_err(),
            "etcd endpoint \"https://a:1\": TLS is not supported, wanted http://"
        );
        for text in ["", "a:1,", "http://", "http://a:1/v3"] {
            assert!(parse(text).unwrap_err().contains("wanted http://HOST:PORT"), "{text}");
        }
    }

    #[test]
    fn a_range_without_keys_and_one_with() {
        assert_eq!(stored(&json!({ "header": {} })).unwrap(), []);
        let answer = json!({ "kvs": [{ "key": "L2EvYg==", "value": "eA==" }], "count": "1" });
        assert_eq!(stored(&answer).unwrap(), [Stored { key: "/a/b".into(), value: b"x".to_vec() }]);
        assert!(stored(&json!({ "kvs": [{ "key": "?" }] })).is_err());
        assert_eq!(after(b"/nixl/"), b"/nixl0");
    }

    #[test]
    fn each_endpoint_is_named_when_none_answers() {
        let mut client = Client::new(Endpoints::parse("127.0.0.1:1,127.0.0.1:2").unwrap());
        let error = client.with_prefix("/x/").unwrap_err().to_string();
        assert!(error.starts_with("etcd does not answer: http://127.0.0.1:1: "), "{error}");
        assert!(error.contains("; http://127.0.0.1:2: "), "{error}");
    }
}
