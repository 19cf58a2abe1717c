//! `cargo xtask cache` on a real registry with its garbage collection, and on a real engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{Digest, ImageRef};
use monoship_docker::attest;
use monoship_docker::manifest::{Document, Raw};
use monoship_docker::mark::Mark;
use monoship_docker::registry::Registry;
use serde_json::{Value, json};

use crate::harness::{cache_mounts, clone_on, clone_to_look_at, docker, record, second_engine, task, turn};
use support::engine::shared;
use support::image::{TestImage, push_signature};
use support::registry::{RegistryServer, anonymous};
use support::repo::Repo;
use support::tools::SKOPEO;

const DAY: Duration = Duration::from_hours(24);

/// Provenance as BuildKit writes it, of a build so many days ago.
fn provenance(days: u32) -> (&'static str, Value) {
    let time = humantime::format_rfc3339_seconds(SystemTime::now() - days * DAY).to_string();
    ("https://slsa.dev/provenance/v0.2", json!({"builder": {"id": ""}, "materials": [], "metadata": {"buildFinishedOn": time}}))
}

/// Thirty versions of api, one a day, for two platforms, each with attestations; layers are shared by all, by ten, and by none. Every
/// tenth is a release, every one has a content tag and a commit's.
fn thirty_versions(registry: &Registry, repository: &ImageRef) -> BTreeMap<u32, Raw> {
    (1..=30)
        .map(|day| {
            let image = TestImage {
                platforms: vec!["linux/amd64", "linux/arm64"],
                attestations: vec![provenance(day), ("https://spdx.dev/Document", json!({"packages": []}))],
                below: vec!["shared by all".to_owned(), format!("shared by ten {}", day / 10)],
                ..TestImage::new(&format!("day {day}"))
            };
            let tag = |text: String| repository.with_tag(text.parse().unwrap());
            let raw = image.push(registry, &tag(format!("in-{day:040}")));
            registry.put_manifest(&tag(format!("sha-{day:012}")), &raw).unwrap();
            if day % 10 == 0 {
                registry.put_manifest(&tag(format!("v1.{}.0", 30 - day)), &raw).unwrap();
            }
            (day, raw)
        })
        .collect()
}

/// Everything that the tags of a repository lead to, by a walk of the test's own.
fn reachable(registry: &Registry, repository: &ImageRef) -> BTreeSet<Digest> {
    let mut found = BTreeSet::new();
    let mut open: Vec<ImageRef> = registry.tags(repository).unwrap().into_iter().map(|tag| repository.with_tag(tag)).collect();
    while let Some(image) = open.pop() {
        let raw = registry.need_manifest(&image).unwrap();
        found.insert(raw.digest().clone());
        for child in raw.document().unwrap().children() {
            found.insert(child.digest.clone());
            if child.is_manifest() {
                open.push(repository.with_digest(child.digest.clone()));
            }
        }
    }
    found
}

/// Every tag of a repository copied whole (all platforms, attestations) by skopeo, which checks each digest, and each image pulled by the
/// engine; images have attestations that speak of them.
fn every_tag_pulls_and_verifies(registry: &Registry, repository: &ImageRef, dir: &std::path::Path) -> usize {
    let tags = registry.tags(repository).unwrap();
    let mut seen = BTreeSet::new();
    for tag in &tags {
        let image = repository.with_tag(tag.clone());
        let to = format!("dir:{}", dir.join(tag.as_str()).display());
        let copy = Invocation::new(SKOPEO.path()).args([
            "--insecure-policy",
            "copy",
            "--all",
            "--src-tls-verify=false",
            &format!("docker://{image}"),
            &to,
        ]);
        copy.read(&Shutdown::new()).unwrap_or_else(|error| panic!("{image}: {error}"));
        let raw = registry.need_manifest(&image).unwrap();
        if matches!(raw.document().unwrap(), Document::Index(_)) && seen.insert(raw.digest().clone()) {
            docker(shared(), &["pull", "--quiet", &image.to_string()]);
            docker(shared(), &["rmi", &image.to_string()]);
            for attested in attest::read(registry, &image, &raw).unwrap() {
                assert!(attested.provenance.is_some() && attested.subjects.contains(&attested.manifest), "{image}: {attested:?}");
            }
        }
    }
    tags.len()
}

/// Caches as BuildKit writes them, for these tags.
fn real_caches(repository: &ImageRef, tags: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), "FROM scratch\nCOPY text /\n").unwrap();
    for tag in tags {
        std::fs::write(dir.path().join("text"), format!("{repository}:{tag}")).unwrap();
        let to = format!("type=registry,ref={repository}:{tag},mode=max,image-manifest=true,oci-mediatypes=true");
        let build =
            shared().engine.buildx().args(["build", "--quiet", "--output=type=cacheonly", "--cache-to", &to]).arg(dir.path());
        build.read(&Shutdown::new()).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Marks caches as the repository's that wrote them.
fn mark(registry: &Registry, repository: &ImageRef, tags: &[&str]) {
    let mark = Mark { repository: TestImage::OWNER.to_owned(), fingerprint: None };
    for tag in tags {
        let cache = repository.with_tag(tag.parse().unwrap());
        let unmarked = registry.need_manifest(&cache).unwrap();
        registry.put_manifest(&cache, &mark.put_on(&unmarked).unwrap()).unwrap();
        // The collection keeps what an untagged manifest names.
        registry.delete_manifest(repository, unmarked.digest()).unwrap();
    }
}

fn publishing(server: &RegistryServer) -> Repo {
    clone_to_look_at().env("XTASK_IMAGES_REGISTRY", server.host()).env("XTASK_IMAGES_NAMESPACE", "org/shop")
}

#[test]
fn a_prune_of_thirty_versions_frees_what_it_says_and_every_tag_that_stays_still_pulls_and_verifies() {
    let _turn = turn();
    let (server, registry, dir) = (RegistryServer::plain(), anonymous(), tempfile::tempdir().unwrap());
    let image = |name: &str| -> ImageRef { format!("{}/org/{name}", server.host()).parse().unwrap() };
    let (api, caches) = (image("shop/api"), image("shop/cache"));
    let versions = thirty_versions(&registry, &api);
    let old = TestImage { attestations: vec![provenance(3)], ..TestImage::new("old") };
    old.push(&registry, &image("shop/old").with_tag("sha-0123456789ab".parse().unwrap()));
    old.push(&registry, &image("shop/old").with_tag("v1.0.0".parse().unwrap()));
    real_caches(&caches, &["api", "base", "old", "api-linux-amd64-linux-arm64", "theirs"]);
    mark(&registry, &caches, &["api", "base", "old", "api-linux-amd64-linux-arm64"]);
    server.collect_garbage();
    // Day 3 stays, day 20 stays for its release, day 9 goes.
    let signatures = [3, 20, 9].map(|day| push_signature(&registry, &api, versions[&day].digest()));
    let repo = publishing(&server);

    let dry = repo.xtask(&["cache", "prune", "--tier", "registry", "--max-count", "5", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(registry.tags(&api).unwrap().len(), 66, "a dry run removes nothing");
    let refused = repo.xtask(&["cache", "prune", "--tier", "registry", "--max-count", "5"]).exits(2);
    assert!(refused.stderr.contains("--yes") && refused.stdout.contains("more than the 5 newest"), "{}", refused.stderr);
    assert_eq!(registry.tags(&api).unwrap().len(), 66);

    let done = repo.xtask(&["cache", "prune", "--tier", "registry", "--max-count", "5", "--yes", "--json"]).exits(0).json();
    assert_eq!(done["removals"], dry["removals"]);
    // 27 without a release, of which 5 stay; old's cache and its unreleased tag, which is v1.0.0's image too and so stays.
    assert_eq!(done["removed"], 22 + 1, "{done:#}");
    let tags: BTreeSet<String> = registry.tags(&api).unwrap().iter().map(ToString::to_string).collect();
    let mut stay: BTreeSet<String> =
        [1, 2, 3, 4, 5, 10, 20, 30].iter().flat_map(|d| [format!("in-{d:040}"), format!("sha-{d:012}")]).collect();
    stay.extend(["v1.0.0", "v1.10.0", "v1.20.0"].map(str::to_owned));
    stay.extend([3, 20].map(|day| format!("sha256-{}.sig", versions[&day].digest().hex())));
    assert_eq!(tags, stay);
    let cache_tags: BTreeSet<String> = registry.tags(&caches).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(cache_tags, ["api", "api-linux-amd64-linux-arm64", "base", "theirs"].map(str::to_owned).into());

    let before = server.blobs();
    server.collect_garbage();
    let after = server.blobs();
    let freed: u64 = before.iter().filter(|(digest, _)| !after.contains_key(digest)).map(|(_, size)| size).sum();
    assert_eq!(Some(freed), done["freed-bytes"].as_u64(), "what was said is what the collection frees");
    let needed: BTreeSet<Digest> =
        [&api, &caches, &image("shop/old")].into_iter().flat_map(|r| reachable(&registry, r)).collect();
    assert_eq!(after.into_keys().collect::<BTreeSet<_>>(), needed, "nothing is left over, and nothing is missing");
    assert!(!needed.contains(signatures[2].digest()));
    assert_eq!(every_tag_pulls_and_verifies(&registry, &api, dir.path()), 21);
    assert_eq!(every_tag_pulls_and_verifies(&registry, &image("shop/old"), dir.path()), 2);

    let again = repo.xtask(&["cache", "prune", "--tier", "registry", "--max-count", "5", "--yes"]).exits(0);
    assert!(again.stdout.contains("nothing to remove"), "{}", again.stdout);
}

#[test]
fn what_a_prune_that_was_killed_left_behind_goes_with_the_next() {
    let (server, registry) = (RegistryServer::plain(), anonymous());
    let api: ImageRef = format!("{}/org/shop/api", server.host()).parse().unwrap();
    let tag = |text: &str| api.with_tag(text.parse().unwrap());
    TestImage::new("kept").push(&registry, &tag("v1.0.0"));
    let image = TestImage { attestations: vec![provenance(9)], ..TestImage::new("going") };
    let index = image.push(&registry, &tag("sha-0123456789ab"));
    let planned: Vec<Digest> = std::iter::once(index.digest().clone())
        .chain(index.document().unwrap().children().into_iter().map(|child| child.digest.clone()))
        .collect();
    // The moment after the index is gone: nothing in the registry names its manifests any more.
    registry.delete_manifest(&api, index.digest()).unwrap();
    let repo = publishing(&server);
    let note = json!({"version": 1, "manifests": {api.to_string(): planned}});
    repo.write("target/xtask/cache/unfinished.json", &note.to_string());
    assert_eq!(server.manifests("org/shop/api").len(), 4);
    let done = repo.xtask(&["cache", "prune", "--tier", "registry", "--yes", "--json"]).exits(0).json();
    assert_eq!((server.manifests("org/shop/api").len(), done["removed"].as_u64()), (2, Some(2)), "{done:#}");
    assert!(!repo.path().join("target/xtask/cache/unfinished.json").exists());
    assert_eq!(registry.tags(&api).unwrap().len(), 1);
}

#[test]
fn a_registry_that_does_not_delete_is_a_clear_failure_and_keeps_everything() {
    let server = RegistryServer::that_does_not_delete();
    let registry = anonymous();
    let api: ImageRef = format!("{}/org/shop/api", server.host()).parse().unwrap();
    let image = TestImage { attestations: vec![provenance(9)], ..TestImage::new("kept") };
    image.push(&registry, &api.with_tag("sha-0123456789ab".parse().unwrap()));
    let failed = publishing(&server).xtask(&["cache", "prune", "--tier", "registry", "--max-age", "1d", "--yes"]).exits(1);
    assert!(
        failed.stdout.contains("REGISTRY_STORAGE_DELETE_ENABLED") && failed.stdout.contains("removed 0 items"),
        "{}",
        failed.stdout
    );
    assert_eq!(registry.tags(&api).unwrap().len(), 1);
}

#[test]
fn the_engines_build_cache_is_pruned_by_size_and_by_age() {
    let _turn = turn();
    let (engine, repo) = (second_engine(), clone_on("second"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), "FROM scratch\nCOPY text /\n").unwrap();
    for text in ["one", "two", "three"] {
        std::fs::write(dir.path().join("text"), text).unwrap();
        let build = engine.engine.buildx().args(["build", "--quiet", "--output=type=cacheonly"]).arg(dir.path());
        build.read(&Shutdown::new()).unwrap_or_else(|error| panic!("{error}"));
    }
    let held = || {
        let listed = repo.xtask(&["cache", "ls", "--tier", "engine", "--json"]).exits(0).json();
        let scopes = listed["scopes"].as_array().unwrap().clone();
        scopes.iter().map(|scope| scope["bytes"].as_u64().unwrap()).sum::<u64>()
    };
    let all = held();
    assert!(all > 20_000, "{all}");
    let prune = ["cache", "prune", "--tier", "engine", "--yes", "--json"];
    repo.xtask(&[&prune[..], &["--max-size", "10kB"]].concat()).exits(0);
    // Which records that leaves is BuildKit's choice.
    assert!(held() <= 10_000, "{}", held());
    std::thread::sleep(Duration::from_millis(1_100));
    repo.xtask(&[&prune[..], &["--max-age", "1s"]].concat()).exits(0);
    assert_eq!(held(), 0);
}

#[test]
fn a_cache_is_warmed_listed_and_cleared_and_the_build_after_that_executes_every_step() {
    let _turn = turn();
    let server = RegistryServer::plain();
    let repo = publishing(&server);
    let scopes = |tier: &str| repo.xtask(&["cache", "ls", "--tier", tier, "--json"]).exits(0).json();
    assert_eq!(scopes("registry")["scopes"], json!([]));

    let warmed = record(repo.xtask(&["cache", "warm", "api", "--tier", "registry", "--json"]), 0);
    assert_eq!(
        (&task(&warmed, "api")["status"], &task(&warmed, "api")["why"]),
        (&json!("built"), &json!("a cache is filled with it"))
    );
    let listed = scopes("registry");
    let listed: BTreeMap<&str, &Value> =
        listed["scopes"].as_array().unwrap().iter().map(|scope| (scope["scope"].as_str().unwrap(), scope)).collect();
    let cache = |target: &str| listed[format!("{}/org/shop/cache:{target}", server.host()).as_str()];
    assert_eq!(listed.len(), 2, "{listed:#?}");
    assert_eq!(cache("api")["users"], json!(["api"]));
    assert_eq!(cache("base")["users"], json!(["api", "scheduler", "web", "worker"]));
    assert!(
        cache("api")["bytes"].as_u64() > cache("base")["bytes"].as_u64() && cache("api")["written"].is_string(),
        "{listed:#?}"
    );
    let engine = scopes("engine");
    assert!(engine["scopes"].as_array().unwrap().iter().any(|scope| scope["scope"] == "regular"), "{engine:#}");

    let built = record(repo.xtask(&["build", "api", "--json"]), 0);
    assert!(task(&built, "api")["steps"].as_array().unwrap().iter().all(|step| step["cached"] == true), "{built:#}");
    let after = scopes("registry");
    let of_api =
        after["scopes"].as_array().unwrap().iter().find(|s| s["scope"].as_str().unwrap().ends_with("/cache:api")).unwrap();
    assert!(of_api["used"].is_string(), "the build's hit is listed: {of_api:#}");
    assert_eq!(task(&record(repo.xtask(&["build", "api", "--json"]), 0), "api")["status"], "unchanged");

    let cleared = repo.xtask(&["cache", "clear", "api", "--yes", "--json"]).exits(0).json();
    assert_eq!((cleared["removed"].as_u64(), cleared["removals"][0]["name"].as_str()), (Some(1), Some("api")), "{cleared:#}");
    assert_eq!(scopes("registry")["scopes"].as_array().unwrap().len(), 1, "the base's stays");
    repo.xtask(&["cache", "clear", "base", "--tier", "registry", "--yes"]).exits(0);
    assert_eq!(scopes("registry")["scopes"], json!([]));
    let mounts = cache_mounts();
    let fresh = record(repo.xtask(&["build", "api", "--json"]), 0);
    drop(mounts);
    assert_eq!(task(&fresh, "api")["why"], "its caches were cleared");
    let steps = task(&fresh, "api")["steps"].as_array().unwrap();
    assert!(steps.len() > 5 && steps.iter().all(|step| step["cached"] != true), "{steps:#?}");
    assert_eq!(task(&record(repo.xtask(&["build", "api", "--json"]), 0), "api")["status"], "unchanged");
}
