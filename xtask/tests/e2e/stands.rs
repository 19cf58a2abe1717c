//! An image that was built once from these inputs stands in the engine, whatever names it has now.

use serde_json::Value;

use std::process::Stdio;

use crate::harness::{docker, mini, record, seat, try_docker, wait_for};
use support::engine::shared;
use support::repo::{Repo, git, xtask_command};

const DOCKERFILE: &str = "FROM scratch AS base\n\nFROM scratch AS api\nCOPY apps/api/src /app\n";

fn built(repo: &Repo) -> (String, String, String) {
    let record = record(repo.xtask(&["build", "--json"]), 0);
    let tasks = record["tasks"].as_array().unwrap();
    let api = tasks.iter().find(|task| task["task"]["service"] == "api").unwrap();
    let text = |field: &str| api[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("why"), text("digest"))
}

#[test]
fn an_undone_edit_and_another_working_tree_take_the_image_that_stands() {
    let _seat = seat();
    let engine = shared();
    let repo = mini(DOCKERFILE);
    let (status, _, first) = built(&repo);
    assert_eq!(status, "built");
    let source = repo.read("apps/api/src/main.ts");
    repo.write("apps/api/src/main.ts", "console.log('edited')\n");
    let (status, why, second) = built(&repo);
    assert_eq!((status.as_str(), why.as_str()), ("built", "file apps/api/src/main.ts changed"));
    assert_ne!(first, second);

    // What is only there or not because of the branch is said to be so.
    git(repo.path(), &["switch", "--quiet", "--create", "smoke"]);
    repo.write("apps/api/src/main.ts", "console.log('smoke')\n");
    let planned = repo.xtask(&["plan"]).exits(0).stdout;
    assert!(
        planned.contains("file apps/api/src/main.ts changed since your last build, ") && planned.contains(" ago on main"),
        "{planned}"
    );
    let explained = repo.xtask(&["plan", "--explain"]).exits(0).stdout;
    assert!(explained.contains("build, since your last build, "), "{explained}");
    assert_eq!(repo.xtask(&["plan", "--json"]).exits(0).json()["services"][0]["last-build"]["branch"], "main");
    git(repo.path(), &["switch", "--quiet", "main"]);

    repo.write("apps/api/src/main.ts", &source);
    let planned = repo.xtask(&["plan"]).exits(0).stdout;
    assert!(planned.contains("  unchanged  ") && planned.contains("built before; tagged again"), "{planned}");
    let tagged = || docker(engine, &["inspect", "--format", "{{.Id}}", &repo.image("api:dev")]);
    assert_eq!(tagged(), second, "a plan tags nothing");
    let (status, why, digest) = built(&repo);
    assert_eq!((status.as_str(), why.as_str(), &digest), ("unchanged", "built before; tagged again", &first));
    assert_eq!(tagged(), first);
    assert_eq!(built(&repo).1, "inputs unchanged");
    // Under another name it is not gone: it never was there.
    let elsewhere = [("XTASK_IMAGES_REGISTRY", "localhost:1"), ("XTASK_IMAGES_NAMESPACE", "elsewhere")];
    let output = repo.command(&["plan"]).envs(elsewhere).output().unwrap();
    let why = format!("put to localhost:1/elsewhere/api, and the last build to {}", repo.image("api"));
    assert!(String::from_utf8_lossy(&output.stdout).contains(&why), "{output:?}");

    // A clone that has never built, and a branch in a second working tree.
    let other = tempfile::tempdir().unwrap();
    git(repo.path(), &["clone", "--quiet", ".", other.path().to_str().unwrap()]);
    let mut command = xtask_command(other.path(), &["build", "--json", "--tag", "other"]);
    let output = command.envs(repo.variables()).output().unwrap();
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["tasks"].as_array().unwrap().last().unwrap()["status"], "unchanged", "{record:#}");
    assert_eq!(docker(engine, &["inspect", "--format", "{{.Id}}", &repo.image("api:other")]), first);

    // Asked for, it is built; and where its last name is gone, it is gone.
    assert_eq!(record_of(&repo, &["build", "--force", "--json"]), "built");
    repo.write("apps/api/src/main.ts", "console.log('edited')\n");
    let content = repo.xtask(&["build", "--dry-run", "--json", "--force"]).exits(0).json();
    let output = content["commands"].as_array().unwrap().last().unwrap()["command"].to_string();
    let tag = &output[output.find("in-").unwrap()..][..43];
    docker(engine, &["image", "rm", &repo.image(&format!("api:{tag}"))]);
    assert_ne!(try_docker(engine, &["inspect", &repo.image(&format!("api:{tag}"))]).0, Some(0));
    assert_eq!(record_of(&repo, &["build", "--json"]), "built");
}

fn record_of(repo: &Repo, args: &[&str]) -> String {
    record(repo.xtask(args), 0)["tasks"].as_array().unwrap().last().unwrap()["status"].as_str().unwrap().to_owned()
}

#[test]
fn only_so_many_builds_of_a_service_are_kept_in_the_engine() {
    let _seat = seat();
    let engine = shared();
    let repo = mini(&DOCKERFILE.replace("AS api", "AS kept").replace("apps/api", "apps/kept"));
    std::fs::rename(repo.path().join("apps/api"), repo.path().join("apps/kept")).unwrap();
    repo.edit("pnpm-lock.yaml", "apps/api", "apps/kept");
    for round in 0..10 {
        repo.write("apps/kept/src/main.ts", &format!("console.log({round})\n"));
        repo.xtask(&["build"]).exits(0);
    }
    let tags = docker(engine, &["images", "--format", "{{.Tag}}", &repo.image("kept")]);
    assert_eq!(tags.lines().filter(|tag| tag.starts_with("in-")).count(), 8, "{tags}");
}

#[test]
fn a_check_build_says_that_nothing_of_it_is_kept() {
    let _seat = seat();
    shared();
    let repo = mini(DOCKERFILE);
    let check = ["build", "--output", "type=cacheonly", "--json"];
    repo.xtask(&check).exits(0);
    let record = record(repo.xtask(&check), 0);
    assert_eq!(record["tasks"].as_array().unwrap().last().unwrap()["why"], "check build: nothing is kept", "{record:#}");
}

#[test]
fn two_runs_of_a_working_tree_do_not_build_from_each_others_contexts() {
    let _seat = seat();
    let engine = shared();
    engine.stand_ins(&["node:24-bookworm-slim"]);
    let repo = mini("");
    let unique = repo.path().display().to_string();
    let copies = "COPY --from=sources /apps /app";
    let stages = format!("FROM base AS api\nRUN sleep 3 # {unique}\n{copies}\nFROM base AS web\n{copies}\n");
    let base = "FROM node:24-bookworm-slim AS base\nFROM scratch AS sources\nCOPY apps apps\n";
    repo.write("Dockerfile.monorepo-optimized", &format!("{base}{stages}"));
    repo.write("apps/web/package.json", r#"{"name":"web","version":"1.0.0"}"#);
    repo.edit("pnpm-lock.yaml", "  packages/lib: {}\n", "  apps/web: {}\n\n  packages/lib: {}\n");
    repo.write("apps/web/word", "one\n");
    let shown = tempfile::NamedTempFile::new().unwrap();
    let mut first = repo.command(&["build", "--jobs", "1", "--progress", "plain"]);
    let mut first = first.stdout(Stdio::null()).stderr(shown.reopen().unwrap()).spawn().unwrap();
    wait_for(shown.path(), &mut first, "target api");
    repo.write("apps/web/word", "two\n");
    let second = repo.xtask(&["build", "web"]).exits(0);
    assert!(second.stderr.contains("another run in this working tree builds web: waiting for it"), "{}", second.stderr);
    assert!(first.wait().unwrap().success(), "{}", std::fs::read_to_string(shown.path()).unwrap());
    let word = || docker(engine, &["run", "--rm", &repo.image("web:dev"), "cat", "/app/web/word"]);
    assert_eq!(word(), "two");
    repo.write("apps/web/word", "one\n");
    let stands = repo.xtask(&["build", "web"]).exits(0);
    assert!(stands.stderr.contains("built before; tagged again"), "{}", stands.stderr);
    assert_eq!(word(), "one");
}
