//! GitHub's cache service, a fake of it, under real builds.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{clone, clone_on, mini, record, seat, second_engine, statuses, task, turn, unchanged_steps_are_cached};
use support::actions_cache::{ActionsCache, READ, WRITE, runtime_token};
use support::engine::shared;
use support::faulty_proxy::FaultyProxy;
use support::repo::Repo;

/// The clone, run by a job whose token has these rights to main's caches.
fn in_job(repo: Repo, cache: &ActionsCache, rights: u32) -> Repo {
    repo.env("ACTIONS_RESULTS_URL", cache.url())
        .env("ACTIONS_CACHE_SERVICE_V2", "True")
        .env("ACTIONS_RUNTIME_TOKEN", runtime_token(&[("refs/heads/main", rights)], 3_600))
}

/// The newest index of each scope.
fn indexes(cache: &ActionsCache) -> BTreeMap<String, Vec<u8>> {
    let entries = cache.store().entries().into_iter();
    let indexes = entries.filter_map(|e| Some((e.key.strip_prefix("index-")?.rsplit_once("-1-")?.0.to_owned(), e.data)));
    indexes.collect()
}

#[test]
fn warming_the_actions_cache_writes_the_named_services_scope_and_no_other_tier() {
    let _turn = turn();
    let cache = ActionsCache::start();
    let repo = in_job(clone(), &cache, READ | WRITE);
    record(repo.xtask(&["cache", "warm", "api", "--tier", "gha", "--json"]), 0);
    assert_eq!(indexes(&cache).into_keys().collect::<Vec<_>>(), ["monorepo-api", "monorepo-base"]);
    let reader = in_job(clone(), &cache, READ);
    let failed = reader.xtask(&["cache", "warm", "api", "--tier", "gha"]).exits(1);
    assert!(failed.stderr.contains("error: the tier gha cannot be filled: "), "{}", failed.stderr);
    assert!(!failed.stderr.contains("to build"), "{}", failed.stderr);
}

#[test]
fn a_laptop_does_not_wait_for_a_registrys_caches_that_do_not_answer_and_ci_does() {
    let _seat = seat();
    let proxy = FaultyProxy::start(&shared().registry());
    let asked = |ci: &str| {
        proxy.heal();
        proxy.go_dark(|_| true);
        let repo = mini("FROM scratch AS base\n\nFROM base AS api\nCOPY apps/api/src /app\n")
            .env("XTASK_IMAGES_REGISTRY", proxy.host())
            .env("XTASK_IMAGES_NAMESPACE", "acme/shop")
            .env("CI", ci);
        let shown = repo.xtask(&["build", "--dry-run"]).exits(0).stdout;
        assert!(shown.contains("cache registry  unreachable"), "{shown}");
        proxy.log().len()
    };
    let (laptop, ci) = (asked("false"), asked("true"));
    assert!(laptop > 0 && ci == 5 * laptop, "{laptop} and {ci}: {:#?}", proxy.log());
}

#[test]
fn scopes_of_the_actions_cache_do_not_overwrite_each_other_and_a_read_only_token_writes_nothing_and_fails_nothing() {
    let _turn = turn();
    let cache = ActionsCache::start();
    let writer = in_job(clone(), &cache, READ | WRITE);
    let first = record(writer.xtask(&["build", "--json"]), 0);
    assert_eq!(statuses(&first), ["built"; 4]);
    let before = indexes(&cache);
    let scopes = ["monorepo-api", "monorepo-base", "monorepo-scheduler", "monorepo-web", "monorepo-worker"];
    assert_eq!(before.keys().map(String::as_str).collect::<Vec<_>>(), scopes);

    writer.edit("apps/worker/src/main.ts", "'working'", "'at work'");
    record(writer.xtask(&["build", "worker", "--json"]), 0);
    let after = indexes(&cache);
    assert_ne!(after["monorepo-worker"], before["monorepo-worker"]);
    for other in ["monorepo-api", "monorepo-scheduler", "monorepo-web"] {
        assert_eq!(after[other], before[other], "{other}");
    }

    // A pull request from a fork, on a machine that knows nothing.
    let _engine = second_engine();
    let reader = in_job(clone_on("second"), &cache, READ);
    reader.edit("apps/worker/src/main.ts", "'working'", "'at play'");
    let (entries, calls) = (cache.store().entries().len(), cache.store().log().len());
    let read = record(reader.xtask(&["build", "--json"]), 0);
    assert_eq!(statuses(&read), ["built"; 4]);
    unchanged_steps_are_cached(&read, "worker");
    assert_eq!(cache.store().entries().len(), entries);
    let log = cache.store().log();
    assert!(log[calls..].iter().all(|call| !call.starts_with("CreateCacheEntry")), "{:#?}", &log[calls..]);
    let tiers = task(&read, "api")["tiers"].as_array().unwrap();
    assert!(tiers.iter().any(|tier| tier["tier"] == "gha" && tier["verdict"] == "read-only"), "{tiers:#?}");

    // That the hits came from there is told by the layers that had to be fetched: none the next time, when the engine has them.
    let fetches = |record: &Value| {
        let phases = task(record, "api")["phases"].as_array().unwrap();
        phases.iter().filter(|phase| phase["kind"] == "cache-fetch").count()
    };
    let ascribed = || -> Vec<String> {
        let stats = reader.xtask(&["stats", "--json"]).exits(0).json();
        let tiers = stats["tiers"].as_array().unwrap().iter().filter(|tier| tier["hit-rate"].is_number());
        tiers.map(|tier| tier["tier"].as_str().unwrap().to_owned()).collect()
    };
    assert!(fetches(&read) > 0 && ascribed() == ["gha"], "{:?} {read:#}", ascribed());
    let again = record(reader.xtask(&["build", "api", "--force", "--json"]), 0);
    assert_eq!((fetches(&again), ascribed()), (0, vec!["gha".to_owned(), "local".to_owned()]), "{again:#}");
}
