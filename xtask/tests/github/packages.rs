//! Pruning GitHub's registry: manifests as a real registry holds them, listed and deleted as its Packages API does it, where children,
//! attestations and signatures of live images look untagged.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::releases::Trial;
use monoship_core::event::Events;
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{Digest, ImageRef};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_docker::registry::Registry;
use monoship_github::api::Api;
use monoship_plan::config::Upkeep;
use monoship_plan::templates::TagTemplates;
use monoship_plan::upkeep::{Action, Known, registry::decide};
use monoship_report::record::Unfinished;
use monoship_steps::upkeep::{Held, TierReader};
use support::actions_cache::CacheStore;
use support::github_api::{PackageVersion, TOKEN};
use support::image::{TestImage, push_referrer, push_signature};
use support::registry::{RegistryServer, anonymous};
use support::tools::SKOPEO;

fn known(policy: &Upkeep) -> Known<'_> {
    Known {
        now: SystemTime::now(),
        policy,
        services: SortedSet::from(["api".to_owned()]),
        gha_prefix: "monorepo-".to_owned(),
        pulls: Some(SortedSet::from([7])),
        branches: Some(SortedSet::from(["main".to_owned()])),
        former_branches: SortedSet::new(),
        release_tags: TagTemplates::parse(&["v{version}", "latest"]).unwrap(),
        tag_rules: monoship_plan::tags::Tags::default(),
        owner: TestImage::OWNER.to_owned(),
        named: Some(monoship_core::sorted::SortedSet::new()),
    }
}

/// Tiers at a registry that deletes by itself; notes of what is unfinished lie in `dir`.
fn reader<'a>(registry: &'a Registry, api: &'a Api, events: &'a Events, prefix: &'a ImageRef, dir: &Path) -> TierReader<'a> {
    let unfinished = Unfinished::new(dir);
    TierReader { registry, api: Ok(api), events, prefix: Some(prefix), caches: None, unfinished, packages: false }
}

/// What a repository holds, as the Packages API lists it: everything, a month old but for `young`.
fn listed(server: &RegistryServer, registry: &Registry, image: &ImageRef, young: &[Digest]) -> Vec<PackageVersion> {
    let mut tags: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for tag in registry.tags(image).unwrap() {
        let digest = registry.resolve(&image.with_tag(tag.clone())).unwrap().unwrap().digest;
        tags.entry(digest).or_default().push(tag.to_string());
    }
    let time = |age: Duration| humantime::format_rfc3339_seconds(SystemTime::now() - age).to_string();
    let version = |(id, digest): (u64, Digest)| PackageVersion {
        id,
        tags: tags.get(&digest).cloned().unwrap_or_default(),
        updated_at: time(if young.contains(&digest) { Duration::ZERO } else { Duration::from_hours(30 * 24) }),
        digest: digest.to_string(),
    };
    (1..).zip(server.manifests(image.repository())).map(version).collect()
}

/// An image's index, its platform manifests and their attestations.
fn family(registry: &Registry, image: &ImageRef, index: &Digest) -> Vec<Digest> {
    let document = registry.need_manifest(&image.with_digest(index.clone())).unwrap().document().unwrap();
    std::iter::once(index.clone()).chain(document.children().into_iter().map(|child| child.digest.clone())).collect()
}

#[test]
fn children_attestations_and_signatures_of_live_images_are_untagged_there_and_none_is_touched() {
    let (server, registry) = (RegistryServer::plain(), anonymous());
    let prefix: ImageRef = format!("{}/org/repo", server.host()).parse().unwrap();
    let api: ImageRef = format!("{prefix}/api").parse().unwrap();
    let push = |marker: &str, tag: &str| {
        let predicate = json!({"builder": {"id": ""}});
        let attestations = vec![("https://slsa.dev/provenance/v0.2", predicate)];
        let image = TestImage { platforms: vec!["linux/amd64", "linux/arm64"], attestations, ..TestImage::new(marker) };
        image.push(&registry, &api.with_tag(tag.parse().unwrap()))
    };
    let (live, open, closed) = (push("live", "v1.0.0"), push("open", "pr-7"), push("closed", "pr-8"));
    // An index that lost its tag to a newer one, and one whose tag is still to come.
    let (lost, pushing) = (push("lost", "main"), push("pushing", "main"));
    push("main", "main");
    let signature = push_signature(&registry, &api, live.digest());
    let child = family(&registry, &api, live.digest())[1].clone();
    let about_child = push_referrer(&registry, &api, &registry.need_manifest(&api.with_digest(child)).unwrap());
    let about_closed = push_referrer(&registry, &api, &closed);
    let young = family(&registry, &api, pushing.digest());

    let (trial, dir) = (Trial::with_caches(CacheStore::default()), tempfile::tempdir().unwrap());
    let versions = listed(&server, &registry, &api, &young);
    let untagged = versions.iter().filter(|version| version.tags.is_empty()).count();
    assert_eq!((versions.len(), untagged), (6 * 5 + 3, 26 + 2), "{versions:#?}");
    trial.fake.state().packages.insert("repo/api".into(), versions);
    let (github, events) = trial.api(TOKEN);
    let reader = reader(&registry, &github, &events, &prefix, dir.path());
    let reader = TierReader { packages: true, ..reader };
    let policy = Upkeep::default();
    let mut packages = SortedMap::new();
    let repositories = reader.repositories(&known(&policy), &mut packages).unwrap();
    let removals = decide(&repositories, &known(&policy));
    let held = Held { gha: Err(String::new()), registry: Ok(repositories), engine: Err(String::new()), packages };
    let mut again = SortedMap::new();
    for removal in &removals {
        let Action::Manifests { repository, digests } = &removal.action else { panic!("{removal:?}") };
        reader.delete(&held, &mut again, repository, digests).unwrap();
    }

    let before: SortedSet<Digest> = server.manifests(api.repository()).into_iter().collect();
    let after = trial.fake.state().packages["repo/api"].clone();
    let after: SortedSet<Digest> = after.iter().map(|version| version.digest.parse().unwrap()).collect();
    let mut expected: SortedSet<Digest> = family(&registry, &api, closed.digest()).into_iter().collect();
    expected.extend(family(&registry, &api, lost.digest()));
    expected.insert(about_closed.digest().clone());
    assert_eq!(before.difference(&after).cloned().collect::<SortedSet<_>>(), expected);
    for kept in [live.digest(), open.digest(), signature.digest(), about_child.digest()] {
        assert!(after.contains(kept));
    }

    // The same deletions on the real registry: what is left pulls.
    for digest in &expected {
        registry.delete_manifest(&api, digest).unwrap();
    }
    server.collect_garbage();
    for tag in registry.tags(&api).unwrap() {
        let to = format!("dir:{}", dir.path().join(tag.as_str()).display());
        let copy = Invocation::new(SKOPEO.path()).args([
            "--insecure-policy",
            "copy",
            "--all",
            "--src-tls-verify=false",
            &format!("docker://{api}:{tag}"),
            &to,
        ]);
        copy.read(&Shutdown::new()).unwrap_or_else(|error| panic!("{tag}: {error}"));
    }
}

#[test]
fn a_tag_that_is_moved_between_two_deletions_keeps_its_image() {
    let (server, registry) = (RegistryServer::plain(), anonymous());
    let prefix: ImageRef = format!("{}/org/repo", server.host()).parse().unwrap();
    let api: ImageRef = format!("{prefix}/api").parse().unwrap();
    let tag = |text: &str| api.with_tag(text.parse().unwrap());
    let [first, second] = ["pr-8", "pr-9"].map(|name| TestImage::new(name).push(&registry, &tag(name)));
    TestImage::new("main").push(&registry, &tag("main"));
    let (trial, dir) = (Trial::with_caches(CacheStore::default()), tempfile::tempdir().unwrap());
    let (github, events) = trial.api(TOKEN);
    let reader = reader(&registry, &github, &events, &prefix, dir.path());
    let policy = Upkeep::default();
    let repositories = reader.repositories(&known(&policy), &mut SortedMap::new()).unwrap();
    let removals = decide(&repositories, &known(&policy));
    assert_eq!(removals.len(), 2);
    let held =
        Held { gha: Err(String::new()), registry: Ok(repositories), engine: Err(String::new()), packages: SortedMap::new() };
    let mut now = SortedMap::new();
    let mut gone = 0;
    for removal in &removals {
        let Action::Manifests { repository, digests } = &removal.action else { panic!("{removal:?}") };
        reader.delete(&held, &mut now, repository, digests).unwrap();
        gone += digests.len();
        if gone == 2 {
            // A revert: a tag that there was all along comes to the image that is next.
            let next = if digests.contains(first.digest()) { &second } else { &first };
            registry.put_manifest(&tag("main"), next).unwrap();
        }
    }
    let left = registry.need_manifest(&tag("main")).unwrap();
    assert!([first.digest(), second.digest()].contains(&left.digest()), "the image that `main` names by now is whole");
    for child in left.document().unwrap().children() {
        registry.need_manifest(&api.with_digest(child.digest.clone())).unwrap();
    }
}

#[test]
fn images_that_another_workflow_put_below_the_prefix_are_left_alone() {
    let (server, registry) = (RegistryServer::plain(), anonymous());
    let prefix: ImageRef = format!("{}/org/repo", server.host()).parse().unwrap();
    let docs: ImageRef = format!("{prefix}/docs").parse().unwrap();
    for (name, mark) in [("sha-abc1234", None), ("pr-12", None), ("pr-13", Some("github.com/org/another"))] {
        TestImage { mark, ..TestImage::new(name) }.push(&registry, &docs.with_tag(name.parse().unwrap()));
    }
    let (trial, dir) = (Trial::with_caches(CacheStore::default()), tempfile::tempdir().unwrap());
    let said = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let heard = std::sync::Arc::clone(&said);
    let events = Events::new(move |event| heard.lock().unwrap().push_str(&format!("{event:?}")));
    let (github, _) = trial.api(TOKEN);
    let reader = reader(&registry, &github, &events, &prefix, dir.path());
    let policy = Upkeep { max_count: Some(0), ..Upkeep::default() };
    let repositories = reader.repositories(&known(&policy), &mut SortedMap::new()).unwrap();
    assert_eq!(decide(&repositories, &known(&policy)), []);
    let said = said.lock().unwrap();
    assert!(said.contains("org/repo/docs: 3 images without the mark of org/shop"), "it is said what is left: {said}");
}

#[test]
fn a_tag_that_is_put_between_the_plan_and_the_deletion_keeps_its_image() {
    let (server, registry) = (RegistryServer::plain(), anonymous());
    let prefix: ImageRef = format!("{}/org/repo", server.host()).parse().unwrap();
    let api: ImageRef = format!("{prefix}/api").parse().unwrap();
    let closed = TestImage::new("closed").push(&registry, &api.with_tag("pr-8".parse().unwrap()));
    let (trial, dir) = (Trial::with_caches(CacheStore::default()), tempfile::tempdir().unwrap());
    let (github, events) = trial.api(TOKEN);
    let reader = reader(&registry, &github, &events, &prefix, dir.path());
    let policy = Upkeep::default();
    let repositories = reader.repositories(&known(&policy), &mut SortedMap::new()).unwrap();
    let removals = decide(&repositories, &known(&policy));
    let Action::Manifests { repository, digests } = &removals[0].action else { panic!("{removals:?}") };
    assert_eq!(digests.len(), 2);
    let held =
        Held { gha: Err(String::new()), registry: Ok(repositories), engine: Err(String::new()), packages: SortedMap::new() };
    registry.put_manifest(&api.with_tag("v2.0.0".parse().unwrap()), &closed).unwrap();
    reader.delete(&held, &mut SortedMap::new(), repository, digests).unwrap();
    assert_eq!(server.manifests(api.repository()).len(), 2);
}

#[test]
fn parts_of_a_shared_history_are_deleted_there_by_their_number() {
    let (server, registry) = (RegistryServer::plain(), anonymous());
    let prefix: ImageRef = format!("{}/org/repo", server.host()).parse().unwrap();
    let part = |tag: &str| TestImage::new(tag).push(&registry, &prefix.with_tag(tag.parse().unwrap()));
    let (whole, part) = (part("xtask-history"), part("xtask-history-0123456789abcdef"));
    let (trial, dir) = (Trial::with_caches(CacheStore::default()), tempfile::tempdir().unwrap());
    trial.fake.state().packages.insert("repo".into(), listed(&server, &registry, &prefix, &[]));
    let (github, events) = trial.api(TOKEN);
    let reader = TierReader { packages: true, ..reader(&registry, &github, &events, &prefix, dir.path()) };
    reader.delete_all(&prefix, std::slice::from_ref(part.digest())).unwrap();
    let left = trial.fake.state().packages["repo"].clone();
    let tagged: Vec<&str> =
        left.iter().filter(|version| !version.tags.is_empty()).map(|version| version.digest.as_str()).collect();
    assert_eq!(tagged, [whole.digest().as_str()]);
    // The registry's own way is not tried where it does not work.
    let blind = TierReader { api: Err("GITHUB_TOKEN is not set"), ..reader };
    let error = blind.delete_all(&prefix, std::slice::from_ref(whole.digest())).unwrap_err();
    assert!(error.to_string().contains("only through GitHub's API"), "{error}");
}
