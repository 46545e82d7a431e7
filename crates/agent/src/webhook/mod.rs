//! `srv6d webhook`: what the Kubernetes API server asks, over HTTPS, how a labelled pod is to be steered.
//!
//! It needs no right, no file but certificate and key, and speaks to nobody: a pod comes in, a patch goes out. A pod is never
//! refused for a fault of ours or of its owner's, except where its owner asked for that (`strict`); a webhook that doesn't
//! answer is what the cluster's `failurePolicy` is for.

mod certificate;
mod counts;
mod error;
mod review;
mod seats;
mod wishes;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use srv6_inject::Options;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

pub use error::WebhookError;

use crate::WebhookConfig;
use crate::listening::{Door, listen};
use crate::throttle::Throttle;
use certificate::Certificates;
use counts::Counts;
use seats::{Limits, Seat, Seats};

/// Who may have what. All connections together fit into 1024 descriptors, which many runtimes give; an API server opens one per
/// review under way, and has no more than 200 by default. Bodies take no more than 192 MiB, and the API server sends one at once.
const LIMITS: Limits = Limits { connections: 768, per_peer: 512, bodies: 64, grace: Duration::from_secs(1) };
/// Connections that were dismissed and have not ended.
const LEAVING: usize = 64;
/// A longer body is refused. The API server takes no larger object from anybody.
const LARGEST: usize = 3 << 20;
/// How long TLS may take, then a first request, and then a body. The API server asks at once, so who takes longer is somebody else.
const PROMPT: Duration = Duration::from_secs(10);
/// How long a connection that has asked may be idle, where nobody needs its place. Longer than the API server's 90 s: where the
/// server closes first, a review that is on its way then is lost.
const IDLE: Duration = Duration::from_secs(120);
/// How long a review may wait for its turn; the API server waits no longer for any webhook.
const PATIENCE: Duration = Duration::from_secs(30);

/// A socket on which nothing is answered yet, and the certificate for it.
#[derive(Debug)]
pub struct Webhook {
    listener: TcpListener,
    address: SocketAddr,
    config: WebhookConfig,
    certificates: Arc<Certificates>,
    counts: Counts,
}

/// What requests share.
struct Shared {
    injection: Options,
    counts: Counts,
    warnings: Mutex<Throttle>,
    /// Told to stop: answers go on, but this is no longer the place to ask.
    leaving: AtomicBool,
}

impl Webhook {
    /// Reads the certificate and listens; port 0 takes any free one.
    ///
    /// # Errors
    /// Certificate or key can't be used; the address isn't this host's, or is in use.
    pub fn bind(config: WebhookConfig) -> Result<Self, WebhookError> {
        let counts = Counts::default();
        let certificates =
            Certificates::read(config.certificate.clone(), config.key.clone(), counts.clone())?;
        let refused = |source| WebhookError::Listen { address: config.listen, source };
        let listener = listen(config.listen).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address, config, certificates, counts })
    }

    /// The address listened on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` ends, then for `linger` longer, while the cluster learns that this server goes; then finishes what is
    /// under way.
    ///
    /// # Errors
    /// TLS can't be set up, or the event loop can't take the socket.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), WebhookError> {
        let tls = TlsAcceptor::from(Arc::new(self.certificates.tls()?));
        let door =
            Door::new(self.listener, LIMITS.connections + LEAVING, format!("webhook={}", self.address))
                .map_err(|source| WebhookError::Listen { address: self.address, source })?;
        let following = tokio::spawn(self.certificates.follow());
        let linger = self.config.linger;
        let shared = Arc::new(Shared {
            injection: self.config.injection,
            counts: self.counts,
            warnings: Mutex::default(),
            leaving: AtomicBool::new(false),
        });
        let router = Router::new()
            .route("/mutate", post(mutate))
            .route("/healthz", get(async || "ok"))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .layer(DefaultBodyLimit::max(LARGEST))
            .with_state(Arc::clone(&shared));
        let leave = async {
            stop.await;
            shared.leaving.store(true, Ordering::Relaxed);
            tokio::time::sleep(linger).await;
        };
        let mut leave = std::pin::pin!(leave);
        let graceful = GracefulShutdown::new();
        let seats = Seats::new(LIMITS);
        loop {
            tokio::select! {
                (stream, place) = door.next() => {
                    // A peer that is gone again has no address.
                    let Ok(peer) = stream.peer_addr() else { continue };
                    let Some(seat) = seats.take(peer.ip()).map(Arc::new) else {
                        let text = format!("peer={} refused: it has {} connections", peer.ip(), LIMITS.per_peer);
                        shared.warnings.lock().warn(&text);
                        continue;
                    };
                    let (tls, shared) = (tls.clone(), Arc::clone(&shared));
                    let router = router.clone().layer(Extension(Arc::clone(&seat)));
                    let watcher = graceful.watcher();
                    tokio::spawn(async move {
                        tokio::select! {
                            () = connection(tls, stream, router, watcher, (&shared, &seat)) => {}
                            () = seat.dismissed() => {
                                let text = format!("peer={} dismissed: its place is needed", seat.peer());
                                shared.warnings.lock().warn(&text);
                            }
                        }
                        drop(place);
                    });
                }
                () = &mut leave => break,
            }
        }
        drop(door);
        if tokio::time::timeout(PATIENCE, graceful.shutdown()).await.is_err() {
            log::warn!("connections were cut that had not ended in {} s", PATIENCE.as_secs());
        }
        following.abort();
        Ok(())
    }
}

/// Serves one connection. A client that goes away or stalls is its own affair.
async fn connection(
    tls: TlsAcceptor,
    stream: TcpStream,
    router: Router,
    watcher: Watcher,
    (shared, seat): (&Shared, &Seat),
) {
    let stream = match tokio::time::timeout(PROMPT, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        // An API server that doesn't trust the certificate says so here, and only here.
        Ok(Err(error)) => return shared.warnings.lock().warn(&format!("TLS: {error}")),
        Err(_) => return,
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let silent = async {
        tokio::time::sleep(PROMPT).await;
        if seat.has_asked() {
            std::future::pending().await
        }
    };
    tokio::select! {
        _ended = watcher.watch(connection) => {}
        () = silent => {}
    }
}

async fn mutate(
    State(shared): State<Arc<Shared>>,
    Extension(seat): Extension<Arc<Seat>>,
    request: Request,
) -> Response {
    let read = async {
        let reading = tokio::time::timeout(PATIENCE, seat.reading()).await?;
        let body = tokio::time::timeout(PROMPT, Bytes::from_request(request, &())).await;
        drop(reading);
        body
    };
    let mut response = match read.await {
        Ok(Ok(body)) => reviewed(&shared, &body),
        Ok(Err(refused)) => malformed(&shared, refused.into_response()),
        Err(_) => malformed(&shared, StatusCode::REQUEST_TIMEOUT.into_response()),
    };
    if shared.leaving.load(Ordering::Relaxed) {
        response.headers_mut().insert(CONNECTION, CLOSE);
    }
    response
}

fn reviewed(shared: &Shared, body: &[u8]) -> Response {
    match review::review(body, &shared.injection) {
        Ok(reviewed) => {
            shared.counts.review(reviewed.outcome.name());
            ([(CONTENT_TYPE, "application/json")], reviewed.answer.to_string()).into_response()
        }
        Err(error) => {
            shared.warnings.lock().warn(&format!("no admission review: {error}"));
            malformed(shared, (StatusCode::BAD_REQUEST, error.to_string()).into_response())
        }
    }
}

/// The answer to what can't be reviewed, on a connection that isn't the API server's and so isn't kept.
fn malformed(shared: &Shared, mut response: Response) -> Response {
    shared.counts.review("malformed");
    response.headers_mut().insert(CONNECTION, CLOSE);
    response
}

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Whether the cluster should send reviews here.
async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    if shared.leaving.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping").into_response();
    }
    "ok".into_response()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], shared.counts.text()).into_response()
}
