//! Clients of the webhook: curl, for one request, and a connection of a test's own.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::secret::NAME;
use crate::serving::Serving;

/// A review of the file, for a test to change.
pub(crate) fn review() -> Value {
    serde_json::from_str(include_str!("review.json")).unwrap()
}

impl Serving {
    /// What curl gets for a body, or without one: status and text. The certificate must be of this authority and for this name.
    pub(crate) fn curl(&self, path: &str, body: Option<&[u8]>) -> (u16, String) {
        let url = format!("https://{NAME}:{}{path}", self.address.port());
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--noproxy",
            "*",
            "--write-out",
            "\n%{http_code}",
        ])
        .args(["--resolve", &format!("{NAME}:{}:{}", self.address.port(), self.address.ip())])
        .arg("--cacert")
        .arg(self.secret.path("ca.crt"));
        if body.is_some() {
            curl.args(["--header", "Content-Type: application/json", "--data-binary", "@-"]);
        }
        let mut curl = curl
            .arg(url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A server that refuses a body by its length doesn't read it.
        let _sent = curl.stdin.take().unwrap().write_all(body.unwrap_or_default());
        let output = curl.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (text, status) = text.rsplit_once('\n').unwrap();
        let status: u16 = status.parse().unwrap();
        assert!(status != 0, "curl: {}", String::from_utf8_lossy(&output.stderr));
        (status, text.to_owned())
    }

    /// The response to a review that must be answered, with the question's uid.
    pub(crate) fn ask(&self, review: &Value) -> Value {
        let (status, text) = self.curl("/mutate", Some(review.to_string().as_bytes()));
        assert_eq!(status, 200, "{text}");
        response(review, &text)
    }

    /// A value of the page of metrics, 0 where it isn't there yet.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let (status, page) = self.curl("/metrics", None);
        assert!(status == 200 && page.ends_with("# EOF\n"), "{page}");
        page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap_or(0)
    }

    /// TLS that trusts the webhook's authority.
    pub(crate) fn tls(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.secret.path("ca.crt")).unwrap()).unwrap();
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(tls))
    }

    /// A connection to the webhook.
    pub(crate) async fn connect(&self, tls: &TlsConnector) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        tls.connect(ServerName::try_from(NAME).unwrap(), stream).await.unwrap()
    }
}

/// The certificate that the server has shown.
pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// A connection that asks more than once, as the API server's do.
pub(crate) struct Asking {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Asking {
    pub(crate) async fn over(stream: TlsStream<TcpStream>) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    /// The response to a review.
    pub(crate) async fn ask(&mut self, review: &Value) -> Value {
        let request = Request::post("/mutate").header("host", NAME);
        let request = request.body(Full::new(Bytes::from(review.to_string()))).unwrap();
        self.sender.ready().await.unwrap();
        let answer = self.sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        response(review, std::str::from_utf8(&body).unwrap())
    }

    pub(crate) async fn end(self) {
        drop(self.sender);
        self.connection.await.unwrap().unwrap();
    }
}

/// The response within an answer to this review.
pub(crate) fn response(review: &Value, text: &str) -> Value {
    let answer: Value = serde_json::from_str(text).unwrap();
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    answer["response"].clone()
}
