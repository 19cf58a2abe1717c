//! Which certificate authorities a host is trusted by: the machine's, and those Docker keeps for one registry in its `certs.d`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use crate::collect::Collect as _;
use crate::env::Env;

/// Where the roots come from. The machine's are read on the first https request: plain http on loopback, which the skip
/// check uses on a laptop, does not pay for parsing a bundle of 150 certificates.
#[derive(Debug)]
pub(super) struct Roots {
    file: Option<PathBuf>,
    dir: Option<PathBuf>,
    /// `certs.d` folders, each with one folder a registry.
    registries: Vec<PathBuf>,
    machine: OnceLock<Vec<Certificate<'static>>>,
}

impl Roots {
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the machine's bundle, as for every tool that knows them. Docker's
    /// `certs.d` lies in `/etc/docker`, for a rootless engine in `$XDG_CONFIG_HOME/docker`.
    pub(super) fn from_env(env: &Env) -> Self {
        let path = |name| env.get(name).map(|value| env.cwd.join(value));
        let config = path("XDG_CONFIG_HOME").or_else(|| env.home().map(|home| home.join(".config")));
        let rootless = config.map(|config| config.join("docker/certs.d"));
        Self {
            file: path("SSL_CERT_FILE"),
            dir: path("SSL_CERT_DIR"),
            registries: std::iter::once(PathBuf::from("/etc/docker/certs.d")).chain(rootless).into_vec(),
            machine: OnceLock::new(),
        }
    }

    /// The roots for `authority` (`host` or `host:port`, as in the name of its `certs.d` folder).
    pub(super) fn of(&self, authority: &str) -> RootCerts {
        let own = self.registries.iter().flat_map(|dir| certificates_in(&dir.join(authority)));
        self.machine().iter().cloned().chain(own).into()
    }

    fn machine(&self) -> &[Certificate<'static>] {
        self.machine.get_or_init(|| {
            // Certificates that cannot be read are left out: whoever needed one gets a TLS error that says so.
            let found = if self.file.is_some() || self.dir.is_some() {
                rustls_native_certs::load_certs_from_paths(self.file.as_deref(), self.dir.as_deref())
            } else {
                rustls_native_certs::load_native_certs()
            };
            found.certs.iter().map(|cert| Certificate::from_der(cert).to_owned()).into_vec()
        })
    }
}

/// The certificates in a folder's `*.crt` files; none where there is no such folder, which is the usual case.
fn certificates_in(dir: &Path) -> Vec<Certificate<'static>> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let files = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.extension() == Some("crt".as_ref()));
    let texts = files.filter_map(|path| std::fs::read(path).ok());
    let items = texts.flat_map(|pem| parse_pem(&pem).filter_map(Result::ok).into_vec());
    items.filter_map(|item| if let PemItem::Certificate(certificate) = item { Some(certificate) } else { None }).into_vec()
}
