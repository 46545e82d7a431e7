//! Answers and refusals.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// A status and a JSON body.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    /// Text of the entity tag, with its quotes.
    pub(crate) tag: Option<String>,
}

impl Reply {
    pub(crate) fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body, tag: None }
    }

    /// Turns into what goes over the wire.
    pub(crate) fn into_response(self) -> Response<Body> {
        let body =
            if self.status == StatusCode::NOT_MODIFIED { String::new() } else { self.body.to_string() };
        let mut response = json_response(self.status, body);
        if let Some(tag) = self.tag.and_then(|t| HeaderValue::try_from(t).ok()) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// A response with a JSON text.
pub(crate) fn json_response(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Why a request isn't answered. Each kind is worded as the original words it.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// Parameters of the wrong form: 422 and a list with one object per parameter.
    Parameters(Vec<Value>),
    /// A status and its detail, as they are.
    Plain(StatusCode, String),
    /// A status and detail that the original raises inside a handler, whose own net catches it and answers 500,
    /// with an empty detail in the versions it pins and "STATUS: DETAIL" in later ones.
    Wrapped(StatusCode, String),
    /// The database's refusal: 500 and its text.
    Database(String),
}

impl Failure {
    /// A collection that isn't there, in the calls that hide it behind a 500.
    pub(crate) fn no_collection(name: &str) -> Self {
        Self::Wrapped(StatusCode::NOT_FOUND, format!("Collection {name} not found"))
    }

    /// A collection that isn't there, found out by the database.
    pub(crate) fn unknown_to_database(name: &str) -> Self {
        Self::Database(format!(
            "[HTTP 404][ERR 1203] AQL: collection or view not found: {name} (while parsing)"
        ))
    }

    /// A query text that the database can't parse.
    pub(crate) fn syntax(near: &str) -> Self {
        Self::Database(format!("[HTTP 400][ERR 1501] AQL: syntax error, unexpected '{near}' (while parsing)"))
    }

    /// The answer; `strict` keeps the empty detail.
    pub(crate) fn into_reply(self, strict: bool) -> Reply {
        let (status, detail) = match self {
            Self::Parameters(list) => (StatusCode::UNPROCESSABLE_ENTITY, Value::Array(list)),
            Self::Plain(status, detail) => (status, detail.into()),
            Self::Wrapped(..) if strict => (StatusCode::INTERNAL_SERVER_ERROR, "".into()),
            Self::Wrapped(status, detail) => {
                (StatusCode::INTERNAL_SERVER_ERROR, format!("{}: {detail}", status.as_u16()).into())
            }
            Self::Database(text) => (StatusCode::INTERNAL_SERVER_ERROR, text.into()),
        };
        Reply { status, body: json!({ "detail": detail }), tag: None }
    }
}

/// Headers that let a page from anywhere read an answer, as the original's do.
pub(crate) const CROSS_ORIGIN: [(HeaderName, HeaderValue); 2] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_refusal_is_empty_only_when_strict() {
        let strict = Failure::no_collection("x").into_reply(true);
        assert_eq!((strict.status.as_u16(), strict.body), (500, json!({"detail": ""})));
        let open = Failure::no_collection("x").into_reply(false);
        assert_eq!(
            (open.status.as_u16(), open.body),
            (500, json!({"detail": "404: Collection x not found"}))
        );
    }
}
