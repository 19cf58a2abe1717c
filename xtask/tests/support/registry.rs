//! A real registry server on loopback: the distribution project's, from the engine's packages, with a configuration of the
//! test's: plain, with names and passwords, or with token auth; with TLS of a private authority where asked for.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use monoship_core::env::Env;
use monoship_core::event::Events;
use monoship_core::execute::http::{Http, Limits};
use monoship_core::execute::retry::Policy;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::Digest;
use monoship_docker::credentials::Credentials;
use monoship_docker::registry::{Options, Registry};
use monoship_engine::EngineOptions;
use monoship_engine::packages::Packages;
use monoship_plan::config::Suite;

use super::token_server::TokenServer;
use super::x509::{Authority, Draft, Key};

/// Who may log in where names and passwords are asked for, with bcrypt hashes of `right` and `look` at the lowest cost.
const HTPASSWD: &str = "writer:$2b$04$qEdZdK/dJa1qOoVGmM.in.zgUOl7dYogdK0q2rlP7Lo9/BERxsfrO\n\
                        reader:$2b$04$wbv/81iKuoHwxVE0W35/x.4DQViRHHtw87qRvWqf2WU1vDh49W98e\n";

/// How the server knows its clients.
pub enum Auth<'a> {
    None,
    /// `writer:right` and `reader:look`.
    Basic,
    Token(&'a TokenServer),
}

/// A running registry; dropping it stops it and removes what it holds.
pub struct RegistryServer {
    child: Child,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

impl RegistryServer {
    /// Without auth and TLS.
    pub fn plain() -> Self {
        Self::start(&Auth::None, None)
    }

    /// The same, as it is installed: it does not delete.
    pub fn that_does_not_delete() -> Self {
        Self::starting(&Auth::None, None, false)
    }

    /// With this auth and, where given, TLS by a certificate of this authority for 127.0.0.1.
    pub fn start(auth: &Auth<'_>, authority: Option<&Authority>) -> Self {
        Self::starting(auth, authority, true)
    }

    fn starting(auth: &Auth<'_>, authority: Option<&Authority>, deletes: bool) -> Self {
        // A port that is free now can be taken by another test before the server binds it.
        for _ in 0..5 {
            if let Some(server) = Self::try_start(auth, authority, deletes) {
                return server;
            }
        }
        panic!("the registry does not start");
    }

    #[expect(clippy::disallowed_methods, reason = "a test's server, ended with the test")]
    fn try_start(auth: &Auth<'_>, authority: Option<&Authority>, deletes: bool) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a folder for the registry");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a loopback port is free");
        let mut config = serde_json::json!({
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": dir.path().join("data")}, "delete": {"enabled": deletes}},
            "http": {"addr": address.to_string()},
        });
        match auth {
            Auth::None => {}
            Auth::Basic => {
                let file = dir.path().join("htpasswd");
                std::fs::write(&file, HTPASSWD).expect("write htpasswd");
                config["auth"] = serde_json::json!({"htpasswd": {"realm": "test", "path": file}});
            }
            Auth::Token(server) => {
                let file = dir.path().join("token.pem");
                std::fs::write(&file, server.certificate()).expect("write the token certificate");
                config["auth"] = serde_json::json!({"token": {
                    "realm": server.realm(), "service": TokenServer::SERVICE, "issuer": TokenServer::ISSUER, "rootcertbundle": file,
                }});
            }
        }
        if let Some(authority) = authority {
            let key = Key::generate();
            let certificate = authority.issue(&key.public(), &Draft::new("a registry").address([127, 0, 0, 1]));
            let (certificate_file, key_file) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
            std::fs::write(&certificate_file, certificate.pem()).expect("write the certificate");
            std::fs::write(&key_file, key.pem()).expect("write the key");
            config["http"]["tls"] = serde_json::json!({"certificate": certificate_file, "key": key_file});
        }
        let file = dir.path().join("config.yml");
        // JSON is YAML.
        std::fs::write(&file, config.to_string()).expect("write the configuration");
        let log = std::fs::File::create(dir.path().join("log")).expect("a log file");
        let child = Command::new(program()).arg("serve").arg(&file).stdout(Stdio::null()).stderr(log).spawn();
        let mut server = Self { child: child.expect("the registry program runs"), address, dir };
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && server.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if TcpStream::connect(address).is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        eprintln!("{}", std::fs::read_to_string(server.dir.path().join("log")).unwrap_or_default());
        None
    }

    /// `127.0.0.1:port`, as it stands in an image reference.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Lets the server's own garbage collection remove every blob that no manifest needs. Nobody may push meanwhile.
    #[expect(clippy::disallowed_methods, reason = "a test's own call of the server's program")]
    pub fn collect_garbage(&self) {
        let output = Command::new(program()).arg("garbage-collect").arg(self.dir.path().join("config.yml")).output();
        let output = output.expect("the registry program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Every blob that is stored, manifests included, with its length.
    pub fn blobs(&self) -> BTreeMap<Digest, u64> {
        let root = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        let folders =
            std::fs::read_dir(root).into_iter().flatten().flat_map(|group| std::fs::read_dir(group.unwrap().path()).unwrap());
        let blobs = folders.filter_map(|folder| {
            let folder = folder.unwrap();
            let length = std::fs::metadata(folder.path().join("data")).ok()?.len();
            Some((format!("sha256:{}", folder.file_name().to_str()?).parse().ok()?, length))
        });
        blobs.collect()
    }

    /// Every manifest of a repository, tagged or not.
    pub fn manifests(&self, repository: &str) -> Vec<Digest> {
        let root =
            self.dir.path().join("data/docker/registry/v2/repositories").join(repository).join("_manifests/revisions/sha256");
        let kept = |entry: &std::fs::DirEntry| entry.path().join("link").is_file();
        let entries = std::fs::read_dir(root).unwrap().map(Result::unwrap).filter(kept);
        entries.map(|entry| format!("sha256:{}", entry.file_name().to_str().unwrap()).parse().unwrap()).collect()
    }

    /// Every tag of a repository whose manifest is there, as it lies on the server's disk.
    pub fn tags(&self, repository: &str) -> BTreeMap<String, Digest> {
        let root = self.dir.path().join("data/docker/registry/v2/repositories").join(repository).join("_manifests");
        let entries = std::fs::read_dir(root.join("tags")).into_iter().flatten().map(Result::unwrap);
        let tags = entries.filter_map(|entry| {
            let digest: Digest = std::fs::read_to_string(entry.path().join("current/link")).ok()?.parse().ok()?;
            let there = root.join("revisions/sha256").join(digest.hex()).join("link").is_file();
            there.then(|| (entry.file_name().into_string().unwrap(), digest))
        });
        tags.collect()
    }

    /// Lets one repository hold what another does, without a request: the server's files only point to blobs.
    pub fn copy_repository(&self, from: &str, to: &str) {
        fn copy(from: &Path, to: &Path) {
            std::fs::create_dir_all(to).unwrap();
            for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
                let (path, into) = (entry.path(), to.join(entry.file_name()));
                if path.is_dir() { copy(&path, &into) } else { _ = std::fs::copy(&path, &into).unwrap() }
            }
        }
        let root = self.dir.path().join("data/docker/registry/v2/repositories");
        copy(&root.join(from), &root.join(to));
    }

    /// What a registry client needs and nothing else may see.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The registry program among the engine's packages: those of the machine's cache, which a first build fills, else fetched here.
fn program() -> PathBuf {
    static PACKAGES: LazyLock<Packages> = LazyLock::new(|| {
        #[expect(clippy::disallowed_methods, reason = "tests have no `main` that reads it for them")]
        let env = Env::new("/", std::env::vars());
        let cache = EngineOptions::new(&env, Suite::Testing).cache_dir;
        Packages::ensure(&cache, Suite::Testing, &Events::none(), &Shutdown::new()).expect("the engine's packages")
    });
    PACKAGES.registry()
}

/// Three tries within a tenth of a second, and two seconds of patience with a server that says when.
pub const QUICK: Policy = Policy {
    attempts: 3,
    first: Duration::from_millis(20),
    ceiling: Duration::from_millis(40),
    patience: Duration::from_secs(2),
};

/// Limits that a busy machine keeps, and a [`HANG`] does not.
pub const SHORT: Limits =
    Limits { connect: Duration::from_secs(10), idle: Duration::from_secs(4), whole: Duration::from_mins(1) };

/// Longer than [`SHORT`] waits.
pub const HANG: Duration = Duration::from_secs(6);

/// A client that sees only this environment.
pub fn client(env: &Env) -> Registry {
    let shutdown = Shutdown::new();
    let options = Options { policy: QUICK, ..Options::default() };
    Registry::new(&Http::new(env, SHORT, &shutdown), &Credentials::new(env, &shutdown), options)
}

/// One without credentials, with these limits, that this switch stops.
pub fn stoppable(limits: Limits, shutdown: &Shutdown) -> Registry {
    let env = Env::new("/", []);
    let options = Options { policy: QUICK, ..Options::default() };
    Registry::new(&Http::new(&env, limits, shutdown), &Credentials::new(&env, shutdown), options)
}

/// A client without credentials.
pub fn anonymous() -> Registry {
    client(&Env::new("/", []))
}
