//! Caches and packages through the REST API: every page is read, and what is deleted is gone.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::releases::Trial;
use monoship_core::name::{Digest, ImageRef};
use monoship_github::caches::{CacheKey, Filter};
use monoship_github::packages::Owner;
use monoship_plan::upkeep::{Action, Removal, Tier};
use monoship_steps::upkeep::apply::Applied;
use support::actions_cache::CacheStore;
use support::github_api::{GithubApi, PackageVersion, READ_TOKEN, TOKEN};
use support::http::Response;
use support::image::TestImage;
use support::registry::{RegistryServer, anonymous};
use support::repo::{Repo, git};

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
fn branches_of_forks_are_not_ours_and_notes_of_every_release_are_read() {
    let trial = Trial::with_caches(CacheStore::default());
    trial.fake.state().closed_pull_branches = vec!["feat/old".to_owned()];
    trial.fake.state().closed_fork_branches = vec!["prod".to_owned(), "staging".to_owned()];
    let (api, _) = trial.api(TOKEN);
    assert_eq!(api.closed_pull_branches().unwrap(), ["feat/old"]);
    let digests: Vec<Digest> = (0..120_u8).map(|n| Digest::of(&[n])).collect();
    for (n, digest) in digests.iter().enumerate() {
        trial.fake.release(&format!("v1.0.{n}"), &format!("deployed as ghcr.io/org/repo/api@{digest}"));
    }
    assert_eq!(api.named_digests().unwrap(), digests.into_iter().collect());
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
    // It is no trouble of ours: an upkeep ends well, and says it.
    let ends = |error| {
        let removal = Removal {
            tier: Tier::Registry,
            place: "repo/api".into(),
            name: "latest".into(),
            why: String::new(),
            bytes: 1,
            action: Action::CacheEntry(1),
        };
        Applied { failed: vec![(removal, error)], ..Applied::default() }.is_well()
    };
    assert!(ends(error));
    trial.fake.fail_next("DELETE", "versions/2", Response::json(400, &json!({"message": "Problems parsing JSON"})));
    assert!(!ends(api.delete_package_version(owner, "repo/api", 2).unwrap_err()));
    assert!(api.package_versions("repo/none").unwrap().is_none());
}

#[test]
fn the_actions_caches_are_listed_by_scope_and_pruned_of_what_nobody_can_restore() {
    let store = CacheStore::default();
    let index = |scope: &str, n: u32| format!("index-{scope}-1-f921bd05#{n}");
    let layer = |n: u8| format!("buildkit-blob-1-{}", Digest::of(&[n]));
    let (main, hour) = ("refs/heads/main", Duration::from_hours(1));
    for (git_ref, key, hours) in [
        (main, index("monorepo-api", 1), 9),
        (main, index("monorepo-api", 2), 2),
        (main, index("monorepo-base", 7), 2),
        (main, index("monorepo-retired", 1), 3),
        (main, layer(1), 400),
        ("refs/pull/7/merge", index("monorepo-api", 1), 1),
        ("refs/pull/8/merge", index("monorepo-api", 1), 1),
        ("refs/pull/8/merge", layer(2), 1),
        ("refs/heads/feat/gone", layer(3), 1),
        (main, "node-modules-Linux".to_owned(), 99),
    ] {
        store.put(git_ref, &key, b"0123456789", hours * hour);
    }
    let fake = GithubApi::start("org/repo", store.clone());
    fake.state().open_pulls = vec![7];
    fake.state().branches = vec!["main".into()];
    let repo = Repo::new().env("GITHUB_API_URL", fake.url()).env("GITHUB_REPOSITORY", "org/repo").env("GITHUB_TOKEN", TOKEN);
    let listed = repo.xtask(&["cache", "ls", "--tier", "gha", "--json"]).exits(0).json();
    let scopes = listed["scopes"].as_array().unwrap();
    let of = |scope: &str, git_ref: &str| scopes.iter().find(|s| s["scope"] == scope && s["git-ref"] == git_ref).unwrap();
    let api = of("monorepo-api", main);
    assert_eq!((api["count"].as_u64(), api["bytes"].as_u64(), &api["users"]), (Some(2), Some(20), &json!(["api"])), "{api:#}");
    assert_eq!(of("monorepo-base", main)["users"], json!(["api", "scheduler", "web", "worker"]));
    assert_eq!(of("layers of all scopes", "refs/pull/8/merge")["what"], "layer");
    assert!(api["used"].as_str() > of("monorepo-retired", main)["used"].as_str());

    let prune = ["cache", "prune", "--tier", "gha", "--yes", "--json"];
    let done = repo.xtask(&[&prune[..], &["--only", "old-indexes"]].concat()).exits(0).json();
    assert_eq!((done["removed"].as_u64(), store.entries().len()), (Some(1), 9), "{done:#}");
    let done = repo.xtask(&prune).exits(0).json();
    assert_eq!((done["removed"].as_u64(), done["freed-bytes"].as_u64()), (Some(4), Some(40)), "{done:#}");
    let left: Vec<(String, String)> = store.entries().into_iter().map(|entry| (entry.git_ref, entry.key)).collect();
    let expected = [
        (main, index("monorepo-api", 2)),
        (main, index("monorepo-base", 7)),
        (main, layer(1)),
        ("refs/pull/7/merge", index("monorepo-api", 1)),
        (main, "node-modules-Linux".to_owned()),
    ];
    assert_eq!(left, expected.map(|(git_ref, key)| (git_ref.to_owned(), key)));

    let cleared = repo.xtask(&["cache", "clear", "api", "--tier", "gha", "--yes", "--json"]).exits(0).json();
    assert_eq!((cleared["removed"].as_u64(), store.entries().len()), (Some(2), 3), "{cleared:#}");
    let reader = repo.env("GITHUB_TOKEN", READ_TOKEN);
    let failed = reader.xtask(&["cache", "clear", "--tier", "gha", "--yes"]).exits(1);
    assert!(failed.stdout.contains("may not do this") && failed.stdout.contains("removed 0 items"), "{}", failed.stdout);
    assert_eq!(store.entries().len(), 3);
}

/// Runs a command line of `xtask` on a terminal, `script`'s, where somebody types `answer`.
#[expect(clippy::disallowed_methods, reason = "a test runs the binary as a user would")]
fn on_a_terminal(repo: &Repo, args: &[&str], answer: &str) -> (Option<i32>, String) {
    let command = repo.command(args);
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_str().unwrap());
    let line = words.collect::<Vec<_>>().join(" ");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(repo.path());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            script.env(name, value)
        } else {
            script.env_remove(name)
        };
    }
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut typed = child.stdin.take().unwrap();
    typed.write_all(answer.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(typed);
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn on_a_terminal_somebody_is_asked_and_only_a_yes_removes() {
    let store = CacheStore::default();
    store.put("refs/pull/8/merge", "index-monorepo-api-1-f921bd05#1", b"x", Duration::from_hours(1));
    let fake = GithubApi::start("org/repo", store.clone());
    let repo = Repo::new().env("GITHUB_API_URL", fake.url()).env("GITHUB_REPOSITORY", "org/repo").env("GITHUB_TOKEN", TOKEN);
    let prune = ["cache", "prune", "--tier", "gha"];
    let (code, said) = on_a_terminal(&repo, &prune, "n\n");
    assert!(code == Some(1) && said.contains("Remove 1 item? [y/N]") && said.contains("nothing was removed"), "{code:?} {said}");
    assert_eq!(store.entries().len(), 1);
    let (code, said) = on_a_terminal(&repo, &prune, "y\n");
    assert!(code == Some(0) && said.contains("removed 1 item"), "{code:?} {said}");
    assert!(store.entries().is_empty());
}

#[test]
fn a_tier_that_was_asked_for_and_cannot_be_reached_is_a_failure_and_another_is_left_out() {
    let repo = Repo::new();
    let failed = repo.xtask(&["cache", "ls", "--tier", "gha"]).exits(1);
    assert!(failed.stderr.contains("no GitHub repository is known"), "{}", failed.stderr);
    let listed = repo.env("XTASK_ENGINE_DATA", tempfile::tempdir().unwrap().path()).env("XTASK_BUILDERS_ENGINE", "embedded");
    let listed = listed.xtask(&["cache", "ls", "--json"]).exits(0).json();
    assert_eq!(listed["scopes"], json!([]));
    let left_out: Vec<&String> = listed["left-out"].as_object().unwrap().keys().collect();
    assert_eq!(left_out, ["engine", "gha", "registry"]);
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

/// A clone of `remote` whose images lie at the registry, and one of them there, unreleased, with the mark of `owner`.
fn with_an_image(server: &RegistryServer, remote: &str, owner: &'static str, tag: &str) -> (Repo, ImageRef, Digest) {
    let repo = Repo::new().env("XTASK_IMAGES_REGISTRY", server.host()).env("XTASK_IMAGES_NAMESPACE", "org/shop");
    git(repo.path(), &["remote", "add", "origin", remote]);
    let api: ImageRef = format!("{}/org/shop/api", server.host()).parse().unwrap();
    let image = TestImage { mark: Some(owner), ..TestImage::new("one") };
    let digest = image.push(&anonymous(), &api.with_tag(tag.parse().unwrap())).digest().clone();
    (repo, api, digest)
}

#[test]
fn an_image_that_notes_name_stays_also_while_github_cannot_be_asked_for_them() {
    let server = RegistryServer::plain();
    let content = format!("in-{:040}", 1);
    let (repo, api, digest) = with_an_image(&server, "git@github.com:org/shop.git", "github.com/org/shop", &content);
    let fake = GithubApi::start("org/shop", CacheStore::default());
    fake.release("v1.0.0", &format!("deployed as {api}@{digest}"));
    let prune = ["cache", "prune", "--tier", "registry", "--max-count", "0", "--yes"];
    let left = || anonymous().tags(&api).unwrap().len();
    let blind = repo.xtask(&prune).exits(0);
    assert!(left() == 1 && blind.stderr.contains("no image goes, which notes of a release may name"), "{}", blind.stderr);
    let repo = repo.env("GITHUB_API_URL", fake.url()).env("GITHUB_TOKEN", TOKEN);
    repo.xtask(&prune).exits(0);
    assert_eq!(left(), 1, "the notes name it");
    fake.state().releases.clear();
    repo.xtask(&prune).exits(0);
    assert_eq!(left(), 0, "nothing else keeps it");
}

#[test]
fn what_is_called_alike_at_github_says_nothing_of_a_repository_elsewhere() {
    let server = RegistryServer::plain();
    let (repo, api, _) = with_an_image(&server, "git@gitlab.com:org/shop.git", "gitlab.com/org/shop", "pr-12");
    let fake = GithubApi::start("org/shop", CacheStore::default());
    let repo = repo.env("GITHUB_API_URL", fake.url()).env("GITHUB_TOKEN", TOKEN);
    repo.xtask(&["cache", "prune", "--tier", "registry", "--yes"]).exits(0);
    assert_eq!(anonymous().tags(&api).unwrap().len(), 1, "nobody knows whether 12 is open");
    // An empty folder for the user's things: nothing but GitHub could be asked.
    let home = tempfile::tempdir().unwrap();
    repo.env("HOME", home.path()).env("XTASK_BUILDERS_STAND_INS", "always").xtask(&["doctor"]);
    let asked = fake.state().log.clone();
    assert!(asked.iter().all(|line| !line.contains("/repos/")), "{asked:?}");
}
