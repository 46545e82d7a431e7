//! Metrics, health and listings over HTTP. Only reading: what changes something goes over the agent's socket.

mod listings;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::sync::Mutex;

use crate::listening::{Door, listen};
use crate::metrics::Metrics;
use crate::{Agent, Snapshot};

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 128;
/// How long a client may take for the head of a request.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection lasts at most, so that one that reads nothing gives its place back.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long a snapshot serves further requests, so that many scrapes ask the steering threads once.
const FRESH: Duration = Duration::from_millis(500);
/// How long the steering threads have to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A socket on which nothing is answered yet.
#[derive(Debug)]
pub struct Http {
    listener: TcpListener,
    address: SocketAddr,
}

/// What requests share.
struct Shared {
    agent: Arc<Agent>,
    latest: Mutex<Option<(Instant, Arc<Snapshot>)>>,
}

impl Http {
    /// Listens; port 0 takes any free one. The socket belongs to the calling thread's network namespace.
    ///
    /// # Errors
    /// The address isn't this host's, or is in use.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = listen(address)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address listened on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests, for ever.
    ///
    /// # Errors
    /// The event loop can't take the socket.
    pub async fn serve(self, agent: Arc<Agent>) -> io::Result<()> {
        let door = Door::new(self.listener, CONNECTIONS, format!("http={}", self.address))?;
        let shared = Arc::new(Shared { agent, latest: Mutex::default() });
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(health))
            .route("/readyz", get(ready))
            .route("/v1/flows", get(flows))
            .route("/v1/paths", get(paths))
            .with_state(shared);
        loop {
            let (stream, place) = door.next().await;
            let service = TowerToHyperService::new(router.clone());
            tokio::spawn(async move {
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEAD);
                let connection = http.serve_connection(TokioIo::new(stream), service);
                // A client that goes away or stalls is its own affair.
                let _ended = tokio::time::timeout(LIFETIME, connection).await;
                drop(place);
            });
        }
    }
}

impl Shared {
    /// What is so now, or was half a second ago. Requests wait for each other, so that one of them asks.
    async fn snapshot(&self) -> Result<Arc<Snapshot>, Unavailable> {
        let mut latest = self.latest.lock().await;
        if let Some((at, snapshot)) = &*latest
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(snapshot));
        }
        let agent = Arc::clone(&self.agent);
        let taken = tokio::task::spawn_blocking(move || Snapshot::take(&agent, PATIENCE)).await;
        let snapshot = Arc::new(taken.map_err(|_| Unavailable)?);
        *latest = Some((Instant::now(), Arc::clone(&snapshot)));
        Ok(snapshot)
    }
}

/// The snapshot could not be taken: the event loop ends, or it panicked, which is in the log.
struct Unavailable;

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, "the agent's state can't be read").into_response()
    }
}

type Answer = Result<Response, Unavailable>;

async fn metrics(State(shared): State<Arc<Shared>>) -> Answer {
    let metrics = Metrics::new(shared.snapshot().await?, shared.agent.config().metric_flows);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, content_type)], metrics.text()).into_response())
}

/// Whether every steering thread answers.
async fn health(State(shared): State<Arc<Shared>>) -> Answer {
    let silent: Vec<u64> = shared.snapshot().await?.silent().collect();
    let status = if silent.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(json!({ "healthy": silent.is_empty(), "silent_namespaces": silent }))).into_response())
}

/// Whether flows can be steered: the fabric is known, and the kernel has what is wanted.
async fn ready(State(shared): State<Arc<Shared>>) -> Answer {
    let snapshot = shared.snapshot().await?;
    let fabric = shared.agent.paths().known().is_some();
    let incomplete: Vec<u64> =
        snapshot.reports().filter(|(_, report)| report.incomplete).map(|(namespace, _)| namespace).collect();
    let silent: Vec<u64> = snapshot.silent().collect();
    let ready = fabric && incomplete.is_empty() && silent.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ready": ready,
        "fabric_known": fabric,
        "incomplete_namespaces": incomplete,
        "silent_namespaces": silent,
    });
    Ok((status, Json(body)).into_response())
}

async fn flows(State(shared): State<Arc<Shared>>) -> Answer {
    Ok(Json(listings::flows(&*shared.snapshot().await?)).into_response())
}

async fn paths(State(shared): State<Arc<Shared>>) -> Answer {
    Ok(Json(listings::paths(&*shared.snapshot().await?)).into_response())
}
