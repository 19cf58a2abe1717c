//! The Docker of another host, reached as people reach one: over ssh (a real sshd) and over TCP with certificates on both sides, by
//! `DOCKER_HOST` and by a context, which is a builder of that name to buildx.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;

use super::connections::{VALID, certificate, server};
use super::nodes::{copied, node, second, task};
use support::engine::{environment, shared};
use support::registry::RegistryServer;
use support::relay::Relay;
use support::repo::Repo;
use support::ssh::SshHost;
use support::turn::turn;
use support::x509::Authority;

/// Somebody's machine that has the clients and no Docker of its own.
struct Caller {
    config: tempfile::TempDir,
    path: String,
}

impl Caller {
    /// `host`: whose keys it has.
    fn of(host: &SshHost) -> Self {
        let config = tempfile::tempdir().unwrap();
        std::fs::create_dir(config.path().join("cli-plugins")).unwrap();
        symlink(&shared().engine.buildx, config.path().join("cli-plugins/docker-buildx")).unwrap();
        let clients: PathBuf = shared().engine.docker.parent().unwrap().to_owned();
        let path = format!("{}:{}:{}", host.clients().display(), clients.display(), environment().get("PATH").unwrap());
        Self { config, path }
    }

    fn context(&self, name: &str, docker: &str) {
        let call = Invocation::new(&shared().engine.docker).args(["context", "create", name, "--docker", docker]);
        let call = call.env("DOCKER_CONFIG", self.config.path().to_str().unwrap()).env("PATH", &self.path);
        call.read(&Shutdown::new()).unwrap_or_else(|error| panic!("{error}"));
    }

    fn repo(&self, repo: Repo) -> Repo {
        let repo = repo.env("XTASK_BUILDERS_ENGINE", "docker").env("PATH", &self.path);
        repo.env("DOCKER_CONFIG", self.config.path()).env("BUILDX_CONFIG", self.config.path().join("buildx"))
    }
}

#[test]
fn a_docker_behind_ssh_builds_and_keeps_the_images_like_one_on_this_machine() {
    let _turn = turn();
    let (registry, host) = (RegistryServer::plain(), SshHost::of(second()));
    let caller = Caller::of(&host);
    let repo = caller.repo(copied(&registry.host())).env("DOCKER_HOST", host.url());
    let built = repo.xtask(&["build", "--json"]).exits(0).json();
    assert_eq!(task(&built, "api")["status"], "built", "{built:#}");
    let image = format!("{}/org/shop/api:dev", registry.host());
    let kept = second_has(&image);
    assert!(kept, "{image} is not in the engine behind ssh");
    let again = repo.xtask(&["build", "--json"]).exits(0).json();
    assert_eq!(task(&again, "api")["status"], "unchanged", "{again:#}");
    let pushed = repo.xtask(&["build", "--push", "--json"]).exits(0).json();
    assert_eq!(task(&pushed, "api")["status"], "built", "{pushed:#}");
    assert!(registry.tags("org/shop/api").contains_key("main"));
    host.kill();
    repo.write("apps/api/src/code", "more\n");
    let gone = repo.xtask(&["build"]).exits(1);
    assert!(gone.stderr.contains(&format!("`DOCKER_HOST` is set, but the engine at {} does not answer", host.url())));
}

fn second_has(image: &str) -> bool {
    // Not emptied, as by `second`.
    let engine = super::nodes::second_as_it_is();
    engine.engine.docker().args(["image", "inspect", image]).run(&Shutdown::new()).unwrap().success()
}

#[test]
fn dockers_of_other_hosts_are_nodes_by_their_contexts_over_ssh_and_over_tls() {
    let _turn = turn();
    let (registry, authority, keys) = (RegistryServer::plain(), Authority::new("a fleet"), tempfile::tempdir().unwrap());
    let (host, tls) = (SshHost::of(second()), Relay::of_docker(&shared().layout().socket(), server(&authority, VALID)));
    let caller = Caller::of(&host);
    caller.context("far", &format!("host={}", host.url()));
    let files = certificate(keys.path(), "client", &authority, VALID);
    let shown = |file: &Path| file.display().to_string();
    let [ca, cert, key] = [&files.ca, &files.cert, &files.key].map(|file| shown(file));
    caller.context("near", &format!("host={},ca={ca},cert={cert},key={key}", tls.endpoint()));
    let node_of = |name: &str, platform: &str| format!("{{ builder = '{name}', platforms = ['{platform}'] }}");
    let fleet = format!("[{}, {}]", node_of("far", "linux/amd64"), node_of("near", "linux/arm64"));
    let repo = caller.repo(copied(&registry.host())).env("XTASK_BUILDERS_FLEET", fleet);
    let both = ["build", "--push", "--json", "--platform", "linux/amd64,linux/arm64"];
    let record = repo.xtask(&both).exits(0).json();
    let nodes: Vec<&str> =
        task(&record, "api")["nodes"].as_array().unwrap().iter().map(|one| one["builder"].as_str().unwrap()).collect();
    assert_eq!(nodes, ["far", "near"], "{record:#}");
    let findings = repo.xtask(&["doctor", "--json"]).json();
    let of_fleet = findings["findings"].as_array().unwrap().iter().filter(|finding| finding["area"] == "fleet");
    let codes: Vec<&str> = of_fleet.map(|finding| finding["code"].as_str().unwrap()).collect();
    // A Docker has its machine's own platform alone, and what is only copied needs no other.
    assert_eq!(codes, ["ok", "node-platforms"], "{findings:#}");

    // One is lost, and the other has its platform as well.
    let fleet = format!("[{}, {}]", node_of("far", "linux/amd64"), node_of("near", "linux/amd64"));
    let repo = repo.env("XTASK_BUILDERS_FLEET", fleet);
    host.kill();
    repo.write("apps/api/src/code", "more\n");
    let moved = repo.xtask(&["build", "--push", "--json"]).exits(0);
    assert!(moved.stderr.contains("the node far is lost: "), "{}", moved.stderr);
    assert_eq!(node(&moved.json(), "api"), "near");
}
