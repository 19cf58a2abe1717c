//! Caches and packages through the REST API: every page is read, and what is deleted is gone.

use std::time::Duration;

use crate::releases::Trial;
use crate::support::actions_cache::CacheStore;
use crate::support::github_api::{PackageVersion, READ_TOKEN, TOKEN};
use xtask::github::caches::{CacheKey, Filter};
use xtask::github::packages::Owner;
use xtask::name::Digest;

#[test]
fn caches_are_listed_to_the_last_page_and_by_ref_and_key() {
    let store = CacheStore::default();
    for n in 0..250 {
        let age = Duration::from_secs(n);
        store.put(
            if n % 2 == 0 { "refs/heads/main" } else { "refs/pull/7/merge" },
            &format!("index-s{n}-1-f921bd05#1"),
            b"xy",
            age,
        );
    }
    let trial = Trial::with_caches(store.clone());
    let (api, _) = trial.api(TOKEN);
    let all = api.caches(Filter::default()).unwrap();
    assert_eq!((all.len(), api.cache_usage().unwrap().bytes, api.cache_usage().unwrap().count), (250, 500, 250));
    assert_eq!(CacheKey::parse(&all[0].key), CacheKey::parse("index-s0-1-f921bd05#1"));
    let filter = Filter { key: Some("index-s1"), git_ref: Some("refs/pull/7/merge") };
    let some = api.caches(filter).unwrap();
    assert!(some.len() == 56 && some.iter().all(|c| c.git_ref == filter.git_ref.unwrap()), "{}", some.len());
    assert!(api.delete_cache(all[0].id).unwrap() && !api.delete_cache(all[0].id).unwrap());
    assert_eq!(store.entries().len(), 249);
    let error = trial.api(READ_TOKEN).0.delete_cache(all[1].id).unwrap_err();
    assert!(error.to_string().contains("403"), "{error}");
}

#[test]
fn package_versions_are_read_with_their_tags_and_deleted_by_number() {
    let trial = Trial::with_caches(CacheStore::default());
    let version = |id: u64, tags: &[&str]| PackageVersion {
        id,
        digest: Digest::of(&id.to_be_bytes()).to_string(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        updated_at: "2026-01-02T03:04:05Z".into(),
    };
    let mut versions: Vec<_> = (1..150).map(|id| version(id, &[])).collect();
    versions.push(version(150, &["v1.2.3", "latest"]));
    trial.fake.state().packages.insert("repo/api".into(), versions);
    let (api, _) = trial.api(TOKEN);
    let (owner, listed) = api.package_versions("repo/api").unwrap().unwrap();
    assert_eq!((owner, listed.len(), listed[149].tags.len()), (Owner::Organization, 150, 2));
    assert!(api.delete_package_version(owner, "repo/api", 1).unwrap());
    assert!(!api.delete_package_version(owner, "repo/api", 1).unwrap());
    let error = api.delete_package_version(owner, "repo/api", 150).unwrap_err();
    assert!(error.to_string().contains("last tagged version"), "{error}");
    assert!(api.package_versions("repo/none").unwrap().is_none());
}

#[test]
fn branches_and_open_pull_requests_are_known() {
    let trial = Trial::with_caches(CacheStore::default());
    trial.fake.state().open_pulls = (1..=130).collect();
    trial.fake.state().branches = vec!["main".into(), "feat/x".into()];
    let (api, _) = trial.api(TOKEN);
    assert_eq!(
        (api.open_pull_requests().unwrap().len(), api.branches().unwrap()),
        (130, vec!["main".into(), "feat/x".to_owned()])
    );
}
