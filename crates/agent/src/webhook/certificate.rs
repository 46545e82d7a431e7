//! The certificate that the webhook shows: read again while it serves, and kept when the new one can't be used.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use srv6_fabric::chain;

use super::WebhookError;
use super::counts::Counts;

/// How often the files are compared with what is served. Their content is: a Kubernetes secret volume changes by swapping a
/// symbolic link two folders up, and a notification for the files themselves never comes.
const PERIOD: Duration = Duration::from_secs(2);

/// A pair that is served from now on.
const TAKEN: &str = "taken";

/// Certificate and key of two files, as they were when they last belonged together.
pub(super) struct Certificates {
    files: Files,
    provider: Arc<CryptoProvider>,
    current: RwLock<Pair>,
    counts: Counts,
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// The files' bytes, and what came of them.
struct Pair {
    bytes: Bytes,
    key: Arc<CertifiedKey>,
}

#[derive(PartialEq, Eq)]
struct Bytes {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificates {
    /// Reads both files.
    ///
    /// # Errors
    /// One can't be read, isn't PEM, or the key isn't the certificate's.
    pub(super) fn read(
        certificate: PathBuf,
        key: PathBuf,
        counts: Counts,
    ) -> Result<Arc<Self>, WebhookError> {
        let files = Files { certificate, key };
        let provider = Arc::new(ring::default_provider());
        let bytes = files.bytes()?;
        let key = files.pair(&bytes, &provider)?;
        counts.certificate(TAKEN);
        Ok(Arc::new(Self { files, provider, current: RwLock::new(Pair { bytes, key }), counts }))
    }

    /// TLS that shows, at each handshake, the pair that is current then.
    ///
    /// # Errors
    /// None of the provider's cipher suites can be used.
    pub(super) fn tls(self: &Arc<Self>) -> Result<ServerConfig, WebhookError> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        let mut tls = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(WebhookError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        // A resumed session would go on under the certificate that it began with.
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(tls)
    }

    /// Follows the files, for ever.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut last: Option<String> = None;
        let mut told = false;
        loop {
            tokio::time::sleep(PERIOD).await;
            let certificates = Arc::clone(&self);
            // An error means that the event loop ends.
            let Ok(looked) = tokio::task::spawn_blocking(move || certificates.look()).await else { return };
            let fault = looked.err().map(|error| chain(&error));
            // Seen once it may be half of a change: the certificate is new, and the key was read before it was.
            let lasting = fault.is_some() && fault == last;
            if lasting && !told {
                self.counts.certificate("refused");
                log::error!(
                    "the new certificate is not used, the old one goes on: {}",
                    fault.as_deref().unwrap_or_default()
                );
            }
            told = lasting;
            last = fault;
        }
    }
}

impl Certificates {
    /// Takes over what the files have now, if that is something else. Blocks on the disk.
    fn look(&self) -> Result<(), WebhookError> {
        let bytes = self.files.bytes()?;
        if self.current.read().bytes == bytes {
            return Ok(());
        }
        let key = self.files.pair(&bytes, &self.provider)?;
        *self.current.write() = Pair { bytes, key };
        self.counts.certificate(TAKEN);
        log::info!("cert={} taken over", self.files.certificate.display());
        Ok(())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().key))
    }
}

impl fmt::Debug for Certificates {
    // The key is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("certificate", &self.files.certificate).finish_non_exhaustive()
    }
}

impl Files {
    fn bytes(&self) -> Result<Bytes, WebhookError> {
        let read = |flag, path: &Path| {
            std::fs::read(path).map_err(|source| WebhookError::Read { flag, path: path.to_owned(), source })
        };
        Ok(Bytes { certificate: read("--cert", &self.certificate)?, key: read("--key", &self.key)? })
    }

    /// The certificate with those that vouch for it, and its key.
    fn pair(&self, bytes: &Bytes, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, WebhookError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&bytes.certificate)
            .collect::<Result<_, _>>()
            .and_then(
                |chain: Vec<_>| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) },
            )
            .map_err(|source| WebhookError::Pem {
                flag: "--cert",
                path: self.certificate.clone(),
                wanted: "one or more certificates",
                source,
            })?;
        let key = PrivateKeyDer::from_pem_slice(&bytes.key).map_err(|source| WebhookError::Pem {
            flag: "--key",
            path: self.key.clone(),
            wanted: "a private key",
            source,
        })?;
        CertifiedKey::from_der(chain, key, provider).map(Arc::new).map_err(|source| WebhookError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        })
    }
}
