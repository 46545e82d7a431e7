//! A certificate authority, and certificates of its in a folder that changes as a Kubernetes secret volume does.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The name that the API server knows the webhook by.
pub(crate) const NAME: &str = "srv6-webhook.srv6-system.svc";

/// A folder with `tls.crt` and `tls.key`, links into what `..data` leads to.
pub(crate) struct Secret {
    folder: tempfile::TempDir,
    version: AtomicU32,
}

/// A certificate and its key, in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .output()
        .expect("openssl, which scripts/install-tools installs");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

impl Secret {
    /// With a certificate for [`NAME`].
    pub(crate) fn new() -> Self {
        let secret = Self { folder: tempfile::tempdir().unwrap(), version: AtomicU32::new(0) };
        let (ca, key) = (secret.path("ca.crt"), secret.path("ca.key"));
        let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let own = ["-days", "2", "-subj", "/CN=test CA", "-out", ca.to_str().unwrap()];
        openssl(&[&["req", "-x509"][..], &ec, &own, &["-keyout", key.to_str().unwrap()]].concat());
        let first = secret.issue();
        secret.swap(&first);
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), secret.path(name)).unwrap();
        }
        secret
    }

    /// A file of the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Another certificate for [`NAME`], with a key of its own.
    pub(crate) fn issue(&self) -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (request, key, certificate) = (path("csr"), path("key"), path("crt"));
        let alternative = format!("subjectAltName=DNS:{NAME}");
        openssl(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=webhook",
            "-addext",
            &alternative,
            "-keyout",
            &key,
            "-out",
            &request,
        ]);
        let (ca, ca_key) = (self.path("ca.crt"), self.path("ca.key"));
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            ca.to_str().unwrap(),
            "-CAkey",
            ca_key.to_str().unwrap(),
            "-days",
            "2",
            "-copy_extensions",
            "copy",
            "-out",
            &certificate,
        ]);
        Pair { certificate: text(Path::new(&certificate)), key: text(Path::new(&key)) }
    }

    /// Puts this pair into the folder, both files at once, and removes the former one, as kubelet does.
    pub(crate) fn swap(&self, pair: &Pair) {
        let version = self.version.fetch_add(1, Ordering::Relaxed);
        let name = format!("..version_{version}");
        std::fs::create_dir(self.path(&name)).unwrap();
        std::fs::write(self.path(&name).join("tls.crt"), &pair.certificate).unwrap();
        std::fs::write(self.path(&name).join("tls.key"), &pair.key).unwrap();
        symlink(&name, self.path("..data_tmp")).unwrap();
        std::fs::rename(self.path("..data_tmp"), self.path("..data")).unwrap();
        if let Some(former) = version.checked_sub(1) {
            std::fs::remove_dir_all(self.path(&format!("..version_{former}"))).unwrap();
        }
    }
}
