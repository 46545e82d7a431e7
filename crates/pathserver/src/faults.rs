//! Faults that a test may switch on in a running server, to see what its client does.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;

/// What goes wrong with the answers under `/api/v1`. The default is nothing.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Only requests whose path contains this text; every one where there is none.
    pub only: Option<String>,
    /// Only so many requests, after which all is well again; all where there is none.
    pub times: Option<u32>,
    /// How long each answer is held back. Other requests are served meanwhile.
    pub delay: Duration,
    /// What is sent in place of the answer. The request is then not carried out: loads stay as they are.
    pub reply: Option<FaultyReply>,
    /// Changes the body of an answer: a server that lies.
    pub alter: Option<fn(&mut Value)>,
    /// Sends so many bytes of the body and then breaks the connection.
    pub cut_after: Option<usize>,
}

/// An answer that the server didn't mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultyReply {
    /// HTTP status; anything that isn't one is sent as 500.
    pub status: u16,
    /// Value of the `content-type` header; anything that can't be one leaves the header out.
    pub content_type: String,
    /// The body, JSON or not.
    pub body: Vec<u8>,
}

impl FaultyReply {
    /// What the original answers while its database is down.
    pub fn database_down() -> Self {
        Self {
            status: 500,
            content_type: "application/json".to_owned(),
            body: br#"{"detail":"Can't connect to host(s) within limit (3)"}"#.to_vec(),
        }
    }

    pub(crate) fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Ok(kind) = HeaderValue::try_from(&self.content_type) {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        response
    }
}

impl Faults {
    /// The faults of one request, which counts as one of `times` if it has any.
    pub(crate) fn meet(&mut self, path: &str) -> Self {
        let concerned = self.only.as_ref().is_none_or(|text| path.contains(text.as_str()));
        if !concerned || self.times == Some(0) {
            return Self::default();
        }
        if let Some(times) = &mut self.times {
            *times -= 1;
        }
        self.clone()
    }
}

/// A response whose body stops after `length` bytes, though the header announces all of them.
pub(crate) fn cut(response: Response<Body>, body: Bytes, length: usize) -> Response<Body> {
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let part = body.slice(..length.min(body.len()));
    let broken = async {
        // Header and part are sent only when the rest keeps them waiting.
        tokio::task::yield_now().await;
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut by a fault switch"))
    };
    let pieces = stream::once(async { Ok(part) }).chain(stream::once(broken));
    Response::from_parts(parts, Body::from_stream(pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_end_after_their_times_and_spare_other_paths() {
        let mut faults = Faults {
            only: Some("/load".to_owned()),
            times: Some(2),
            delay: Duration::from_secs(1),
            ..Faults::default()
        };
        let mut delay = |path: &str| faults.meet(path).delay.as_secs();
        assert_eq!(delay("/api/v1/instances"), 0);
        assert_eq!([delay("/x/load"), delay("/x/load"), delay("/x/load")], [1, 1, 0]);
    }
}
