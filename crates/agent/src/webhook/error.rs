//! Why the webhook can't be served.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustls::pki_types::pem;

/// A failure to start, or a certificate that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// No socket there.
    #[error("--listen {address}")]
    Listen {
        /// The wanted address.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file that can't be read.
    #[error("{flag} {}", path.display())]
    Read {
        /// `--cert` or `--key`.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file of something else.
    #[error("{flag} {}: want {wanted} in PEM", path.display())]
    Pem {
        /// `--cert` or `--key`.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
        /// What is wrong.
        #[source]
        source: pem::Error,
    },
    /// A certificate that isn't one, or another key's.
    #[error("the certificate of {} can't be served with the key of {}", certificate.display(), key.display())]
    Pair {
        /// The certificates' file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// TLS can't be set up at all.
    #[error("setting up TLS")]
    Tls(#[source] rustls::Error),
}
