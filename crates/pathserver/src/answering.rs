//! From a request to its response.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;

use crate::api::{MAX_TOPOLOGY, Service, replace_topology, reset_load};
use crate::faults::{Faults, cut};
use crate::http::{Addition, CROSS_ORIGIN, Call, Failure, Parameters, Reply, Target, json_response};

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) service: Service,
    pub(crate) faults: Mutex<Faults>,
    /// Requests for compatible calls so far, `/health` not counted.
    pub(crate) requests: AtomicU64,
}

/// Answers any request.
pub(crate) async fn respond(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let from_a_page = request.headers().contains_key(header::ORIGIN);
    let mut response = match Target::of(request.method(), request.uri().path()) {
        Target::Compatible(Call::Health) => answer(shared, Call::Health, request, None).await,
        Target::Compatible(call) => compatible(shared, call, request).await,
        Target::Added(_) if shared.service.options.read_only => {
            let detail = "this server is read-only: its topology and loads are changed by whoever runs it, or without --read-only";
            refuse(StatusCode::FORBIDDEN, detail).into_response()
        }
        Target::Added(addition) => added(shared, addition, request).await,
        Target::Redirect(path) => redirect(&request, &path),
        Target::Method(allowed) => {
            let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed").into_response();
            if let Ok(allowed) = HeaderValue::try_from(allowed.as_str()) {
                response.headers_mut().insert(header::ALLOW, allowed);
            }
            response
        }
        Target::Unknown => refuse(StatusCode::NOT_FOUND, "Not Found").into_response(),
    };
    if from_a_page {
        response.headers_mut().extend(CROSS_ORIGIN);
    }
    response
}

async fn compatible(shared: Arc<Shared>, call: Call, request: Request) -> Response<Body> {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let faults = shared.faults.lock().meet(request.uri().path());
    if !faults.delay.is_zero() {
        tokio::time::sleep(faults.delay).await;
    }
    let response = match &faults.reply {
        Some(reply) => reply.response(),
        None => answer(shared, call, request, faults.alter).await,
    };
    match faults.cut_after {
        None => response,
        Some(length) => {
            let (parts, body) = response.into_parts();
            // The whole body is in memory already, so reading it can't fail.
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            cut(Response::from_parts(parts, Body::empty()), body, length)
        }
    }
}

/// Works out an answer on another thread: a long search must not keep other requests waiting.
async fn answer(
    shared: Arc<Shared>,
    call: Call,
    request: Request,
    alter: Option<fn(&mut serde_json::Value)>,
) -> Response<Body> {
    work(move || {
        let parameters = Parameters::of(request.uri());
        let strict = shared.service.options.strict_compat;
        let mut reply = shared.service.answer(&call, parameters).unwrap_or_else(|f| f.into_reply(strict));
        let known = request.headers().get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
        if let (Some(known), Some(tag)) = (known, &reply.tag)
            && known.split(',').any(|k| k.trim().trim_start_matches("W/") == tag)
        {
            reply.status = StatusCode::NOT_MODIFIED;
        }
        if let Some(alter) = alter {
            alter(&mut reply.body);
        }
        reply.into_response()
    })
    .await
}

async fn added(shared: Arc<Shared>, addition: Addition, request: Request) -> Response<Body> {
    match addition {
        Addition::ResetLoad => work(move || reset_load(&shared.service).into_response()).await,
        Addition::ReplaceTopology => {
            let body = match topology_text(request).await {
                Ok(body) => body,
                Err(refusal) => return refusal.into_response(),
            };
            work(move || {
                replace_topology(&shared.service, &body)
                    .unwrap_or_else(|failure| failure.into_reply(false))
                    .into_response()
            })
            .await
        }
    }
}

/// The body of a topology replacement.
async fn topology_text(request: Request) -> Result<Bytes, Reply> {
    // A page from elsewhere can make a browser post any other type without asking first.
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type: want application/json"));
    }
    axum::body::to_bytes(request.into_body(), MAX_TOPOLOGY).await.map_err(|_| {
        refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("body: broken off, or above {MAX_TOPOLOGY} bytes"))
    })
}

async fn work(job: impl FnOnce() -> Response<Body> + Send + 'static) -> Response<Body> {
    tokio::task::spawn_blocking(job).await.unwrap_or_else(|error| {
        log::error!("a request was given up: {error}");
        json_response(
            StatusCode::INTERNAL_SERVER_ERROR,
            r#"{"detail":"the server failed on this request"}"#.to_owned(),
        )
    })
}

fn redirect(request: &Request, path: &str) -> Response<Body> {
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let query = request.uri().query().map(|q| format!("?{q}")).unwrap_or_default();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    if let Ok(location) = HeaderValue::try_from(format!("http://{host}{path}{query}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn refuse(status: StatusCode, detail: &str) -> Reply {
    Failure::Plain(status, detail.to_owned()).into_reply(false)
}
