//! How nodes are reached, and what is sent to them: TLS with certificates on both sides, several places in one builder, contexts of which
//! only what changed travels.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::nodes::{Machines, copied, node, second, task};
use support::engine::shared;
use support::registry::RegistryServer;
use support::relay::Relay;
use support::turn::turn;
use support::x509::{Authority, Draft, Key};

/// A certificate's days, beside today.
pub type Days = (i64, i64);

pub const VALID: Days = (-1, 1);
const EXPIRED: Days = (-2, -1);

fn draft(name: &str, (from, to): Days) -> Draft {
    let day = |days: i64| {
        let time = Duration::from_hours(24 * days.unsigned_abs());
        if days < 0 { SystemTime::now() - time } else { SystemTime::now() + time }
    };
    Draft::new(name).valid(day(from), day(to))
}

/// A server whom clients of this authority may call.
pub fn server(authority: &Authority, days: Days) -> Arc<ServerConfig> {
    let (key, mut roots) = (Key::generate(), RootCertStore::empty());
    roots.add(CertificateDer::from(authority.certificate.der.clone())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let certificate = authority.issue(&key.public(), &draft("node", days).address([127, 0, 0, 1]));
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from(certificate.der)];
    let key = PrivateKeyDer::Pkcs8(key.der().to_vec().into());
    let mut config = config.with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// What somebody has who may call.
pub struct Certificate {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// A client's certificate, which lies in `folder`.
pub fn certificate(folder: &Path, name: &str, authority: &Authority, days: Days) -> Certificate {
    let key = Key::generate();
    let certificate = authority.issue(&key.public(), &draft(name, days));
    let write = |file: &str, text: String| {
        let path = folder.join(format!("{name}-{file}"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let (ca, cert) = (write("ca.pem", authority.certificate.pem()), write("cert.pem", certificate.pem()));
    Certificate { ca, cert, key: write("key.pem", key.pem()) }
}

/// What buildx is told of it.
fn client(folder: &Path, name: &str, authority: &Authority, days: Days) -> String {
    let Certificate { ca, cert, key } = certificate(folder, name, authority, days);
    format!("cacert={},cert={},key={},servername=127.0.0.1", ca.display(), cert.display(), key.display())
}

#[test]
fn a_node_behind_tls_is_built_on_and_one_whose_certificate_has_expired_is_lost_at_once() {
    let _turn = turn();
    let (registry, authority, keys) = (RegistryServer::plain(), Authority::new("a fleet"), tempfile::tempdir().unwrap());
    let mut machines = Machines::new(&[]);
    let socket = shared().layout().socket();
    for (name, of_server, of_client) in [("good", VALID, VALID), ("old-node", EXPIRED, VALID), ("old-client", VALID, EXPIRED)] {
        let options = client(keys.path(), name, &authority, of_client);
        machines.add(name, Relay::with_tls(&socket, server(&authority, of_server)), &["--driver-opt", &options]);
    }
    let platforms = ["linux/amd64", "linux/arm64", "linux/s390x"];
    let repo = machines.fleet(copied(&registry.host()), &platforms);
    let built = repo.xtask(&["build", "--push", "--json", "--platform", "linux/amd64"]).exits(0);
    assert_eq!(node(&built.json(), "api"), "good");
    for (platform, name, why) in [
        ("linux/arm64", "old-node", "x509: certificate has expired or is not yet valid"),
        ("linux/s390x", "old-client", "tls: expired certificate"),
    ] {
        let lost = repo.xtask(&["build", "--push", "--platform", platform]).exits(1);
        assert!(lost.stderr.contains(&format!("the node {name} is lost: ")) && lost.stderr.contains(why), "{}", lost.stderr);
        assert!(lost.stderr.contains("no node of the fleet is left to build it"), "{}", lost.stderr);
    }
    let record = std::fs::read_to_string(newest(repo.path()).join("run.json")).unwrap();
    assert!(!record.contains(keys.path().to_str().unwrap()), "where the keys lie is in the record");
}

/// The newest run's folder.
fn newest(root: &Path) -> PathBuf {
    let runs = std::fs::read_dir(root.join("target/xtask/runs")).unwrap();
    runs.map(|run| run.unwrap().path()).filter(|path| path.is_dir()).max().unwrap()
}

#[test]
fn several_places_of_one_builder_are_one_node_that_has_the_platforms_of_all() {
    let _turn = turn();
    let registry = RegistryServer::plain();
    let mut machines = Machines::new(&[]);
    machines.add("pair", Relay::to(&shared().layout().socket()), &["--platform", "linux/amd64"]);
    machines.add("pair", Relay::to(&second().layout().socket()), &["--append", "--platform", "linux/arm64"]);
    let fleet = "[{ builder = 'pair', platforms = ['linux/amd64', 'linux/arm64'] }]";
    let repo = machines.fleet(copied(&registry.host()), &[]).env("XTASK_BUILDERS_FLEET", fleet);
    let platforms = ["--platform", "linux/amd64,linux/arm64"];
    let before = [machines.all[0].relay.sent(), machines.all[1].relay.sent()];
    let record = repo.xtask(&[&["build", "--push", "--json"][..], &platforms].concat()).exits(0).json();
    assert_eq!(task(&record, "api")["nodes"].as_array().unwrap().len(), 2, "{record:#}");
    for (machine, before) in machines.all.iter().zip(before) {
        assert!(machine.relay.sent() > before + 2_000, "one of the places was not built on");
    }
    let findings = repo.xtask(&["doctor", "--json"]).json();
    let of_fleet: Vec<_> = findings["findings"].as_array().unwrap().iter().filter(|finding| finding["area"] == "fleet").collect();
    assert!(of_fleet.len() == 1 && of_fleet[0]["code"] == "ok", "{of_fleet:#?}");
}

#[test]
fn contexts_are_sent_once_and_then_only_what_changed() {
    let _turn = turn();
    let (registry, machines) = (RegistryServer::plain(), Machines::new(&[("one", second())]));
    let repo = machines.fleet(copied(&registry.host()), &["linux/amd64"]);
    let mut random = support::random::Random(7);
    let large: String = (0..2_000_000).map(|_| char::from(b'0' + u8::try_from(random.below(64)).unwrap())).collect();
    repo.write("apps/api/src/large", &large);
    repo.commit("a large file");
    let sent = |what: &str| {
        repo.write("apps/api/src/small", what);
        let before = machines.relay("one").sent();
        repo.xtask(&["build", "--push"]).exits(0);
        machines.relay("one").sent() - before
    };
    let (first, then) = (sent("first\n"), sent("then\n"));
    assert!(first > 2_000_000 && then < 200_000, "{first} bytes, then {then}");
}
