//! Pushes to a real registry, read back over plain HTTP, and the caches they leave for an engine that knows nothing.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::SystemTime;

use serde_json::Value;

use crate::harness::{
    SERVICES, clone, clone_on, read, record, second_engine, statuses, task, turn, unchanged_steps_are_cached, wait_for,
};
use support::engine::shared;
use support::repo::{Repo, git};

/// What one push of everything left. Made once, for all tests here.
struct Pushed {
    registry: String,
    /// The first part of every repository's name: this run's own, for the registry is kept between runs.
    org: String,
    record: Value,
}

impl Pushed {
    fn get() -> &'static Self {
        static PUSHED: OnceLock<Pushed> = OnceLock::new();
        PUSHED.get_or_init(|| {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let (registry, org) = (shared().registry(), format!("e2e-{}", since.as_millis()));
            let mut pushed = Self { registry, org, record: Value::Null };
            pushed.record = record(pushed.publishing(clone()).xtask(&["build", "--push", "--json"]), 0);
            pushed
        })
    }

    /// The clone, with this registry to push to.
    fn publishing(&self, repo: Repo) -> Repo {
        repo.env("XTASK_IMAGES_REGISTRY", &self.registry).env("XTASK_IMAGES_NAMESPACE", format!("{}/shop", self.org))
    }

    /// Something of the registry, as anybody gets it.
    fn read(&self, repository: &str, what: &str) -> Value {
        let url = format!("http://{}/v2/{}/{repository}/{what}", self.registry, self.org);
        let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
        let mut answer = ureq::get(&url).header("accept", accept).call().unwrap_or_else(|error| panic!("{url}: {error}"));
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }
}

fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

fn layers(manifest: &Value) -> BTreeSet<&str> {
    manifest["layers"].as_array().unwrap().iter().map(digest).collect()
}

#[test]
fn a_push_leaves_content_tags_both_attestations_and_a_whole_cache_in_the_registry() {
    let _turn = turn();
    let pushed = Pushed::get();
    assert_eq!(statuses(&pushed.record), ["built"; 4]);
    for (service, package) in SERVICES.iter().zip(["fastify", "croner", "hono", "zod"]) {
        let entry = task(&pushed.record, service);
        let name = entry["images"][0].as_str().unwrap();
        let (repository, tag) = name.rsplit_once(':').unwrap();
        assert_eq!(repository, format!("{}/{}/shop/{service}", pushed.registry, pushed.org));
        let repository = format!("shop/{service}");
        let index = pushed.read(&repository, &format!("manifests/{tag}"));
        // The branch and the commit name the same image.
        let tags = pushed.read(&repository, "tags/list");
        let named: Vec<&str> = tags["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        let commit = named.iter().find(|tag| tag.starts_with("sha-")).unwrap_or_else(|| panic!("no commit in {named:?}"));
        assert_eq!(
            ["main", *commit].map(|tag| pushed.read(&repository, &format!("manifests/{tag}"))),
            [index.clone(), index.clone()]
        );
        assert_eq!(index, pushed.read(&repository, &format!("manifests/{}", entry["digest"].as_str().unwrap())));

        let manifests = index["manifests"].as_array().unwrap();
        let (attested, images): (Vec<&Value>, Vec<&Value>) =
            manifests.iter().partition(|m| m["annotations"]["vnd.docker.reference.type"] == "attestation-manifest");
        assert_eq!((attested.len(), images.len()), (1, 1), "{index:#}");
        assert_eq!(attested[0]["annotations"]["vnd.docker.reference.digest"], images[0]["digest"]);
        let statement = |kind: &str| {
            let manifest = pushed.read(&repository, &format!("manifests/{}", digest(attested[0])));
            let layers = manifest["layers"].as_array().unwrap().clone();
            let of_kind = |layer: &&Value| layer["annotations"]["in-toto.io/predicate-type"].as_str().unwrap().starts_with(kind);
            let layer = layers.iter().find(of_kind).unwrap_or_else(|| panic!("no {kind}: {manifest:#}")).clone();
            pushed.read(&repository, &format!("blobs/{}", digest(&layer)))
        };
        let provenance = statement("https://slsa.dev/provenance/");
        assert!(provenance.to_string().contains(&format!("\"target\":\"{service}\"")), "{provenance:#}");
        let sbom = statement("https://spdx.dev/Document");
        let packages = sbom["predicate"]["packages"].as_array().unwrap();
        assert!(packages.iter().any(|found| found["name"] == package), "{service}: no {package}");

        let image = pushed.read(&repository, &format!("manifests/{}", digest(images[0])));
        assert!(image["layers"].as_array().unwrap().iter().all(|l| l["mediaType"].as_str().unwrap().ends_with("tar+zstd")));
        let cache = pushed.read("shop/cache", &format!("manifests/{service}"));
        assert_eq!(cache["config"]["mediaType"], "application/vnd.buildkit.cacheconfig.v0");
        // A mode=min cache holds the image's own layers only.
        assert!(layers(&cache).difference(&layers(&image)).count() > 1, "{cache:#}");
    }

    // Content tags hold for every machine: another clone has nothing to do.
    let again = record(pushed.publishing(clone()).xtask(&["build", "--push", "--json"]), 0);
    assert_eq!(statuses(&again), ["unchanged"; 4]);
    for service in SERVICES {
        assert_eq!(task(&again, service)["digest"], task(&pushed.record, service)["digest"]);
    }
}

#[test]
fn a_changed_tree_takes_its_branchs_tag_alone_and_a_detached_one_its_commits() {
    let _turn = turn();
    let repo = Pushed::get().publishing(clone());
    let tags = || -> BTreeSet<String> {
        let listed = Pushed::get().read("shop/web", "tags/list");
        listed["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
    };
    git(repo.path(), &["switch", "--quiet", "--create", "docs/read-me"]);
    // Of no image: nothing is built.
    repo.write("README.md", "read me\n");
    repo.commit("read me");
    repo.write("README.md", "not committed\n");
    let before = tags();
    let push = || {
        assert_eq!(statuses(&record(repo.xtask(&["build", "--push", "--json"]), 0)), ["unchanged"; 4]);
        tags().difference(&before).cloned().collect::<Vec<_>>()
    };
    assert_eq!(push(), ["docs-read-me"]);
    git(repo.path(), &["restore", "README.md"]);
    git(repo.path(), &["switch", "--quiet", "--detach"]);
    let commit = format!("sha-{}", &git(repo.path(), &["rev-parse", "HEAD"])[..12]);
    assert_eq!(push(), ["docs-read-me", commit.as_str()]);
}

#[test]
fn a_file_edited_while_the_base_is_built_goes_into_no_image_of_the_plan_before() {
    let _turn = turn();
    let pushed = Pushed::get();
    let repo = pushed.publishing(clone()).env("XTASK_IMAGES_NAMESPACE", format!("{}/edited", pushed.org));
    // The base goes first, where caches are read: long enough to edit something.
    repo.edit("Dockerfile.monorepo-optimized", " AS base\n", &format!(" AS base\nRUN sleep 5 # {}\n", pushed.org));
    let shown = tempfile::NamedTempFile::new().unwrap();
    let mut command = repo.command(&["build", "worker", "--push", "--progress", "plain"]);
    let mut child = command.stdout(Stdio::null()).stderr(shown.reopen().unwrap()).spawn().unwrap();
    wait_for(shown.path(), &mut child, "target base");
    repo.edit("apps/worker/src/main.ts", "'working'", "'not in the plan'");
    assert_eq!(child.wait().unwrap().code(), Some(1), "{}", read(shown.path()));
    let told = read(shown.path());
    assert!(told.contains("`apps/worker/src/main.ts` was edited while the run was under way"), "{told}");
    let url = format!("http://{}/v2/{}/edited/worker/tags/list", pushed.registry, pushed.org);
    assert!(matches!(ureq::get(&url).call(), Err(ureq::Error::StatusCode(404))), "something was pushed: {told}");
}

#[test]
fn an_engine_without_state_takes_every_unchanged_step_from_the_registrys_cache() {
    let _turn = turn();
    let pushed = Pushed::get();
    let _engine = second_engine();
    let repo = pushed.publishing(clone_on("second"));
    repo.edit("apps/worker/src/main.ts", "'working'", "'at work'");
    let built = record(repo.xtask(&["build", "--json"]), 0);
    assert_eq!(statuses(&built), ["built"; 4]);
    unchanged_steps_are_cached(&built, "worker");
}

#[test]
fn a_release_of_what_was_pushed_builds_nothing_and_its_real_attestations_verify() {
    let _turn = turn();
    let pushed = Pushed::get();
    let repo = pushed.publishing(clone());
    git(repo.path(), &["tag", "v1.0.0"]);
    let released = record(repo.xtask(&["release", "v1.0.0", "--allow-stand-ins", "--json"]), 0);
    assert_eq!(statuses(&released), ["unchanged"; 4]);
    let verified = repo.xtask(&["verify", "v1.0.0", "--allow-stand-ins", "--json"]).exits(0).json();
    let packages = verified["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == "packages");
    let found: Vec<&str> = packages.map(|finding| finding["detail"].as_str().unwrap()).collect();
    assert_eq!(found.len(), SERVICES.len(), "{verified:#}");
    // Not `0 of 50 locked`: the scanner saw what the lock says.
    assert!(found.iter().all(|detail| detail.split(' ').next().unwrap().parse::<usize>().unwrap() > 1), "{found:?}");
}

/// The manifest of an image for its platform: the index around it holds the provenance, which tells of this very build.
fn platform_manifest(index: &Value) -> &str {
    let manifests = index["manifests"].as_array().unwrap();
    digest(manifests.iter().find(|manifest| manifest["platform"]["os"] == "linux").unwrap_or_else(|| panic!("{index:#}")))
}

#[test]
fn two_clones_on_two_engines_make_the_same_images() {
    let _turn = turn();
    let pushed = Pushed::get();
    let _engine = second_engine();
    // The first engine's images and caches must not help: the second one's images go elsewhere and come from nothing.
    let repo = pushed.publishing(clone_on("second")).env("XTASK_IMAGES_NAMESPACE", format!("{}/again", pushed.org));
    let services = ["api", "web"];
    let from_nothing = ["build", "--push", "--cache-from", "none", "--cache-to", "none", "--json"];
    let again = record(repo.xtask(&[&from_nothing[..], &services].concat()), 0);
    for service in services {
        let (first, second) = (task(&pushed.record, service), task(&again, service));
        assert_eq!(second["status"], "built", "{service}");
        assert_eq!(first["fingerprint"], second["fingerprint"], "{service}");
        let tag = first["images"][0].as_str().unwrap().rsplit_once(':').unwrap().1;
        let first = pushed.read(&format!("shop/{service}"), &format!("manifests/{tag}"));
        let second = pushed.read(&format!("again/{service}"), &format!("manifests/{tag}"));
        assert_eq!(platform_manifest(&first), platform_manifest(&second), "{service}: {first:#} {second:#}");
    }
}
