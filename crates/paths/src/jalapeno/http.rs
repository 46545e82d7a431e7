//! One GET with a deadline, retries and errors that mean something.

use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;

use crate::ApiError;

/// Largest answer that is read. A topology of 100 000 edges is about 30 MB.
const MAX_BODY: u64 = 256 << 20;

#[derive(Debug)]
pub(super) struct Http {
    agent: Agent,
    /// As configured, without `/api/v1` and trailing slashes.
    root: String,
    /// Whether routes live under `/api/v1`, once that is known.
    prefixed: Option<bool>,
    request_timeout: Duration,
}

impl Http {
    pub(super) fn new(endpoint: &str, request_timeout: Duration) -> Result<Self, ApiError> {
        let trimmed = endpoint.trim().trim_end_matches('/');
        let wrong = || ApiError::Endpoint { given: endpoint.to_owned() };
        let uri: ureq::http::Uri = trimmed.parse().map_err(|_| wrong())?;
        if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
            return Err(wrong());
        }
        let root = trimmed.strip_suffix("/api/v1").unwrap_or(trimmed).trim_end_matches('/').to_owned();
        // No proxy: the path API is a service of the cluster, and a proxy variable meant for downloads would
        // send its questions out of it.
        let config = Agent::config_builder().http_status_as_error(false).proxy(None).max_redirects(0);
        Ok(Self { agent: config.build().into(), root, prefixed: None, request_timeout })
    }

    /// GETs a route such as `/instances`, as JSON. Passing faults are retried until the deadline.
    pub(super) fn get(
        &mut self,
        route: &str,
        query: &[(&str, &str)],
        deadline: Instant,
    ) -> Result<Value, ApiError> {
        let mut pause = Duration::from_millis(50);
        loop {
            let error = match self.attempt(route, query, deadline) {
                Err(error) if error.is_passing() => error,
                other => return other,
            };
            let wait = jittered(pause);
            if Instant::now() + wait >= deadline {
                return Err(error);
            }
            log::debug!("retrying {route} in {} ms: {error}", wait.as_millis());
            std::thread::sleep(wait);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    fn attempt(&mut self, route: &str, query: &[(&str, &str)], deadline: Instant) -> Result<Value, ApiError> {
        let prefixed = match self.prefixed {
            Some(prefixed) => prefixed,
            None => self.probe(deadline)?,
        };
        let (status, body) = self.send(prefixed, route, query, deadline)?;
        self.judge(route, status, body)
    }

    /// Finds out whether routes live under `/api/v1`: deployments' settings disagree on who adds it.
    fn probe(&mut self, deadline: Instant) -> Result<bool, ApiError> {
        let mut last = 0;
        for prefixed in [true, false] {
            let (status, body) = self.send(prefixed, "/instances", &[], deadline)?;
            let list = status == 200 && body.as_ref().is_ok_and(Value::is_array);
            last = status;
            match self.judge("/instances", status, body) {
                // A database that is down proves the route as well as a list does.
                Err(ApiError::DatabaseDown { .. }) => {}
                _ if list => {}
                // Says nothing about the route: a gateway without its server, say.
                Err(error @ ApiError::Status { status: 500.., .. }) => return Err(error),
                _ => continue,
            }
            self.prefixed = Some(prefixed);
            return Ok(prefixed);
        }
        Err(ApiError::NotJalapeno { endpoint: self.root.clone(), status: last })
    }

    fn send(
        &self,
        prefixed: bool,
        route: &str,
        query: &[(&str, &str)],
        deadline: Instant,
    ) -> Result<(u16, Result<Value, String>), ApiError> {
        let prefix = if prefixed { "/api/v1" } else { "" };
        let timeout = deadline.saturating_duration_since(Instant::now()).min(self.request_timeout);
        if timeout.is_zero() {
            return Err(self.timed_out(timeout));
        }
        let started = Instant::now();
        let fault = |error: ureq::Error| match error {
            ureq::Error::Timeout(_) => self.timed_out(started.elapsed()),
            other => ApiError::Unreachable { endpoint: self.root.clone(), reason: other.to_string() },
        };
        let request = self
            .agent
            .get(format!("{}{prefix}{route}", self.root))
            .query_pairs(query.iter().copied())
            .config()
            .timeout_global(Some(timeout))
            .build();
        let mut response = request.call().map_err(fault)?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(MAX_BODY).read_to_string().map_err(fault)?;
        let body = serde_json::from_str(&text).map_err(|e| format!("{e} in {:?}", shortened(&text)));
        Ok((status, body))
    }

    fn judge(&self, route: &str, status: u16, body: Result<Value, String>) -> Result<Value, ApiError> {
        if (200..300).contains(&status) {
            return body.map_err(|reason| ApiError::Garbage { request: route.to_owned(), reason });
        }
        let detail = match &body {
            Ok(body) => body.get("detail").map_or_else(|| body.to_string(), detail_text),
            Err(reason) => reason.clone(),
        };
        let detail = shortened(&detail).to_owned();
        Err(match status {
            422 => ApiError::Refused { detail },
            // python-arango's and requests' words for a database that isn't there.
            500 if detail.contains("Can't connect to host") || detail.contains("Connection refused") => {
                ApiError::DatabaseDown { detail }
            }
            _ => ApiError::Status { status, detail },
        })
    }

    fn timed_out(&self, waited: Duration) -> ApiError {
        ApiError::TimedOut { endpoint: self.root.clone(), waited }
    }
}

/// FastAPI's `detail`: text, or a list of `{loc, msg}`.
fn detail_text(detail: &Value) -> String {
    match detail {
        Value::String(text) => text.clone(),
        Value::Array(faults) => faults
            .iter()
            .map(|fault| {
                let place = fault.get("loc").map(ToString::to_string).unwrap_or_default();
                format!("{place}: {}", fault.get("msg").and_then(Value::as_str).unwrap_or("?"))
            })
            .collect::<Vec<_>>()
            .join("; "),
        other => other.to_string(),
    }
}

fn shortened(text: &str) -> &str {
    text.char_indices().nth(300).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}

/// Between half of and the whole pause: the ranks of a job all start, and fail, at the same moment.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0u8; 1];
    let share = match getrandom::fill(&mut byte) {
        Ok(()) => u32::from(byte[0]),
        Err(_) => 128,
    };
    pause / 2 + pause / 2 * share / 255
}
