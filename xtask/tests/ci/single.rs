//! The layout of one job, through everything that happens to a repository.

use std::time::Duration;

use monoship_github::workflow::Layout;
use serde_json::json;

use crate::forge::{Forge, SERVICES, only, output};
use support::actions_runner::Event;
use support::github_api::TOKEN;
use support::repo::git;

const MAIN: &str = "refs/heads/main";
const NONE: &str = "0000000000000000000000000000000000000000";

#[test]
fn a_push_builds_pushes_and_writes_caches_and_the_next_one_only_what_changed() {
    let forge = Forge::small(Layout::Single);
    let runner = forge.runner(MAIN);
    let ran = runner.run(&forge.push(NONE));
    let first = only(&ran, "images", "success");
    assert!(first.log.contains("push to main: build every service, push it\ncaches are read and written\n"), "{}", first.log);
    assert!(first.log.contains("gha cache: writes refs/heads/main, reads "), "{}", first.log);
    assert_eq!((output(first, "affected"), first.output("changed")), (json!(SERVICES), "true"));
    assert!(!first.log.contains(TOKEN) && !first.summary.contains(TOKEN), "a secret is shown");
    assert!(first.log.contains("::group::api: built in ") && first.log.contains("::endgroup::"), "{}", first.log);
    let sha = format!("sha-{}", &forge.id("main")[..12]);
    for service in SERVICES {
        let tags = forge.tags(service);
        assert_eq!(output(first, "digests")[service], tags["main"], "{tags:?}");
        assert_eq!(tags["main"], tags[&sha]);
        assert!(first.output("tags").lines().any(|line| line.ends_with(&format!("/{service}:main"))), "{}", first.output("tags"));
    }
    let scopes: Vec<String> = forge.cache.store().scopes().into_iter().collect();
    assert_eq!(scopes, ["monorepo-api", "monorepo-base", "monorepo-web"]);
    assert_eq!(forge.tags("cache").keys().collect::<Vec<_>>(), ["api", "base", "web"]);
    for part in ["## ✅ push to main: succeeded in ", "| api | ✅ built | ", "| Cache tier | Verdict | Reading | Writing |"] {
        assert!(first.summary.contains(part), "no {part:?} in {}", first.summary);
    }
    for tier in ["gha", "registry"] {
        let row = first.summary.lines().find(|line| line.starts_with(&format!("| {tier} | "))).unwrap();
        assert!(row.ends_with("s |"), "nothing is said of what writing {tier} took: {row}");
    }

    let before = forge.id("main");
    forge.change("web", "second");
    let ran = runner.run(&forge.push(&before));
    let second = only(&ran, "images", "success");
    assert_eq!(output(second, "affected"), json!(["web"]));
    for part in ["| api | ⏭️ unchanged | inputs unchanged |", "| web | ✅ built | file apps/web/src/more.ts added |"] {
        assert!(second.summary.contains(part), "no {part:?} in {}", second.summary);
    }
    assert_eq!(output(second, "digests")["api"], output(first, "digests")["api"]);
    assert_eq!(forge.tags("web")["main"], output(second, "digests")["web"]);

    let ran = runner.run(&forge.push(&before));
    let third = only(&ran, "images", "success");
    assert_eq!((output(third, "affected"), third.output("changed")), (json!([]), "false"));
}

#[test]
fn a_push_that_is_run_again_later_takes_nothing_back_from_the_ones_that_followed() {
    let forge = Forge::small(Layout::Single);
    let runner = forge.runner(MAIN);
    let first = forge.push(NONE);
    only(&runner.run(&first), "images", "success");
    forge.change("web", "second");
    let second = forge.push(&first.sha);
    only(&runner.run(&second), "images", "success");
    let now = forge.tags("web");

    let ran = runner.run(&first);
    let again = only(&ran, "images", "success");
    let said = format!("`main` stays where it is: {}, which is newer on `main`, is published", &second.sha[..12]);
    assert!(again.log.contains(&said), "no {said} in {}", again.log);
    assert_eq!(forge.tags("web"), now);

    // One that nobody published holds nothing, and a branch that was made anew holds its tag.
    forge.change("web", "third");
    only(&runner.run(&second), "images", "success");
    assert_eq!(forge.tags("web")["main"], now["main"]);
    git(forge.origin.path(), &["reset", "--quiet", "--hard", &first.sha]);
    forge.change("web", "another second");
    let other = forge.push(&second.sha);
    only(&runner.run(&other), "images", "success");
    let now = forge.tags("web");
    only(&runner.run(&second), "images", "success");
    assert_eq!(forge.tags("web"), now);
}

#[test]
fn requests_and_queues_build_what_they_change_push_nothing_and_write_no_cache_whoever_sends_them() {
    let forge = Forge::small(Layout::Single);
    only(&forge.runner(MAIN).run(&forge.push(NONE)), "images", "success");
    let (writes, tags) = (forge.cache_writes(), SERVICES.map(|service| forge.tags(service)));

    git(forge.origin.path(), &["checkout", "--quiet", "-b", "feature"]);
    forge.change("web", "feature");
    let head = forge.id("HEAD");
    let event = forge.pull_request("org/repo");
    let ran = forge.runner("refs/pull/7/merge").run(&event);
    let ours = only(&ran, "check", "success");
    assert_eq!(output(ours, "affected"), json!(["web"]), "{}", ours.log);
    assert!(ours.log.contains("caches are read: a pull request only reads caches"), "{}", ours.log);
    assert!(ours.summary.contains("| gha | read only: a pull request only reads caches |"), "{}", ours.summary);
    assert!(ours.summary.contains("> not affected, and not built: api"), "{}", ours.summary);

    git(forge.origin.path(), &["checkout", "--quiet", "feature"]);
    let event = forge.pull_request("someone/fork");
    let ran = forge.forks_runner("refs/pull/7/merge").run(&event);
    let theirs = only(&ran, "check", "success");
    assert!(theirs.log.contains("pull request 7 from a fork: build what changed since the merge base"), "{}", theirs.log);
    assert!(theirs.log.contains("gha cache: reads refs/pull/7/merge, refs/heads/main, writes nothing"), "{}", theirs.log);
    assert_eq!(output(theirs, "affected"), json!(["web"]));

    let group = json!({"head_sha": head, "base_sha": forge.id("main"), "base_ref": MAIN});
    let payload = json!({"action": "checks_requested", "merge_group": group});
    let queue = Event { name: "merge_group", payload, git_ref: "refs/heads/feature".into(), sha: head };
    let ran = forge.runner("refs/heads/feature").run(&queue);
    assert_eq!(output(only(&ran, "check", "success"), "affected"), json!(["web"]));

    assert_eq!(forge.cache_writes(), writes, "{:#?}", forge.cache.store().log());
    assert_eq!(SERVICES.map(|service| forge.tags(service)), tags);
}

#[test]
fn a_release_and_a_dispatch_publish_the_tag_with_notes_and_one_broken_service_is_shown_at_its_line() {
    let forge = Forge::small(Layout::Single);
    let ran = forge.runner("refs/tags/v1.0.0").run(&forge.release("v1.0.0"));
    let released = only(&ran, "images", "success");
    for service in SERVICES {
        let tags = forge.tags(service);
        assert_eq!([&tags["v1.0.0"], &tags["1"], &tags["latest"]], [&output(released, "digests")[service]; 3]);
        assert!(forge.github.body("v1.0.0").contains(&tags["v1.0.0"]), "{}", forge.github.body("v1.0.0"));
    }
    assert!(forge.github.body("v1.0.0").starts_with("By hand."));
    assert!(released.summary.contains("\nRelease [v1.0.0](https://"), "{}", released.summary);

    git(forge.origin.path(), &["tag", "v1.0.1"]);
    forge.github.release("v1.0.1", "");
    let payload = json!({"inputs": {"tag": "v1.0.1"}, "ref": MAIN});
    let event = Event { name: "workflow_dispatch", payload, git_ref: MAIN.into(), sha: forge.id("main") };
    let ran = forge.runner(MAIN).run(&event);
    let dispatched = only(&ran, "images", "success");
    assert_eq!(output(dispatched, "affected"), json!([]), "an unchanged tree is carried forward");
    assert_eq!(forge.tags("api")["v1.0.1"], forge.tags("api")["v1.0.0"]);

    forge.origin.write("apps/web/src/broken.ts", "");
    forge.origin.commit("break web");
    let ran = forge.runner("refs/tags/v2.0.0").run(&forge.release("v2.0.0"));
    let broken = only(&ran, "images", "failure");
    let line = 1 + forge.origin.read("Dockerfile.monorepo-optimized").lines().position(|l| l.contains("web/src")).unwrap() + 1;
    let annotation = format!("::error file=Dockerfile.monorepo-optimized,line={line},title=web failed at [web-build ");
    assert!(broken.log.contains(&annotation), "no {annotation} in {}", broken.log);
    for part in ["## ❌ release v2.0.0 published: failed after ", "| web | ❌ failed |", "### web: \\[web-build "] {
        assert!(broken.summary.contains(part), "no {part:?} in {}", broken.summary);
    }
    assert!(!forge.tags("api").contains_key("v2.0.0") && !forge.github.body("v2.0.0").contains("sha256:"));
}

#[test]
fn a_wrong_line_of_the_configuration_or_the_dockerfile_is_shown_beside_it_and_in_the_summary() {
    let forge = Forge::small(Layout::Single);
    let wrong = [
        ("xtask.toml", "[images]\n", "[images]\nregsitry = 'x'\n", "xtask.toml,line=2", "unknown key `regsitry`"),
        (
            "Dockerfile.monorepo-optimized",
            "CMD ",
            "CMDD ",
            "Dockerfile.monorepo-optimized,line=12",
            "there is no instruction `CMDD`",
        ),
    ];
    for (file, right, wrong, place, message) in wrong {
        let before = forge.origin.read(file);
        forge.origin.edit(file, right, wrong);
        forge.origin.commit("a slip");
        let ran = forge.runner(MAIN).run(&forge.push(NONE));
        let failed = only(&ran, "images", "failure");
        let annotation = format!("::error file={place},title=cargo xtask::{message}%0Ahint: did you mean `");
        assert!(failed.log.contains(&annotation), "no {annotation} in {}", failed.log);
        let line = format!("> {}: {}", place.replace(",line=", ":"), message.replace('`', "\\`"));
        assert!(failed.summary.contains(&line), "no {line} in {}", failed.summary);
        forge.origin.write(file, &before);
    }
}

#[test]
fn the_schedule_keeps_the_caches_and_a_token_that_cannot_write_costs_nothing_but_the_tier() {
    let forge = Forge::small(Layout::Single);
    let old = forge.cache.store().put(MAIN, "index-monorepo-api-1-f921bd05#1", b"x", Duration::from_mins(150));
    forge.cache.store().put(MAIN, "index-monorepo-api-1-f921bd05#2", b"x", Duration::from_mins(1));
    forge.github.state().branches = vec!["main".into()];
    let event =
        Event { name: "schedule", payload: json!({"schedule": "17 3 * * 1"}), git_ref: MAIN.into(), sha: forge.id("main") };
    let ran = forge.runner(MAIN).run(&event);
    let kept = only(&ran, "upkeep", "success");
    let left: Vec<u64> = forge.cache.store().entries().iter().map(|entry| entry.id).collect();
    assert!(left.len() == 1 && !left.contains(&old), "{left:?}: {}", kept.log);
    let row = "| gha: refs/heads/main | index-monorepo-api-1-f921bd05#<!-- -->1 | 1 B | a newer export replaced it |";
    for part in ["## ✅ scheduled: succeeded in ", row, "> removed 1 item, 1 B"] {
        assert!(kept.summary.contains(part), "no {part:?} in {}", kept.summary);
    }

    let tokens = [
        (
            forge.runtime(&[(MAIN, 3)], -60),
            "gha cache: the runner's token expired 6",
            "| gha | left out: the runner's token expired",
        ),
        (Vec::new(), "gha cache: no step has exported ACTIONS_RUNTIME_TOKEN", "| gha | left out: no step has exported"),
    ];
    for (number, (runtime, line, row)) in tokens.into_iter().enumerate() {
        forge.change("api", &format!("change {number}"));
        let ran = support::actions_runner::ActionsRunner { runtime, ..forge.runner(MAIN) }.run(&forge.push(NONE));
        let job = only(&ran, "images", "success");
        assert!(job.log.contains(line), "no {line:?} in {}", job.log);
        assert!(job.summary.contains(row), "no {row:?} in {}", job.summary);
        assert!(job.summary.contains("| registry | "), "{}", job.summary);
    }
    assert_eq!(forge.cache_writes(), 0);
}

#[test]
fn a_run_that_would_pass_the_cache_services_budget_writes_the_registrys_cache_instead() {
    let forge = Forge::small(Layout::Single);
    let tiers = |forge: &Forge| {
        let mut command = forge.origin.command(&["build", "web", "--push", "--dry-run"]);
        command.envs(forge.variables("shared")).envs(forge.runtime(&[(MAIN, 3)], 3_600));
        let ran = support::repo::Ran::new(&["build"], &command.output().unwrap()).exits(0);
        let lines = ran.stdout.lines().filter(|line| line.contains("cache gha") || line.contains("cache registry"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(tiers(&forge).iter().any(|line| line.contains("cache gha       used ")), "{:?}", tiers(&forge));
    let many = "RUN true\n".repeat(201);
    forge.origin.edit("Dockerfile.monorepo-optimized", "FROM base AS web-build\n", &format!("FROM base AS web-build\n{many}"));
    let shown = tiers(&forge);
    let over = "cache gha       read only: about 206 uploads are more than the 200 a minute that GitHub takes; the registry's cache is written instead";
    assert!(shown.iter().any(|line| line.contains(over)), "{shown:#?}");
    assert!(shown.iter().any(|line| line.contains("cache registry  write only")), "{shown:#?}");
}
