//! What these tests share: a clone that builds on a given engine, the turn to build, and reading what a run reports.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use serde_json::{Value, json};

use support::engine::{TestEngine, environment_of, fresh_with_node, shared};
use support::repo::{Ran, Repo};
pub use support::turn::{cache_mounts, seat, turn};

/// The monorepo's services, in the order of every report.
pub const SERVICES: [&str; 4] = ["api", "scheduler", "web", "worker"];

/// A fresh clone that builds on the shared engine. Hold your turn meanwhile.
pub fn clone() -> Repo {
    forget_builds(shared());
    clone_on("shared")
}

/// The same for whoever builds nothing, or nothing that is called as it is there.
pub fn clone_to_look_at() -> Repo {
    shared();
    clone_on("shared")
}

/// A fresh clone that builds on the engine called `name`. Docker Hub is not asked: tests talk to nobody but package registries.
pub fn clone_on(name: &str) -> Repo {
    building_on(name, Repo::new())
}

/// A repository that builds on the engine called `name`.
pub fn building_on(name: &str, repo: Repo) -> Repo {
    let env = environment_of(name);
    repo.env("XTASK_ENGINE_DATA", env.get("XTASK_ENGINE_DATA").unwrap())
        .env("XTASK_BUILDERS_ENGINE", "embedded")
        .env("XTASK_BUILDERS_STAND_INS", "always")
}

/// A workspace of one app, `api`, that needs one package, on the shared engine: a build of it takes a second.
pub fn mini(dockerfile: &str) -> Repo {
    let repo = building_on("shared", Repo::empty());
    // No other test's image, and no earlier run's, is called like one of this.
    let name = repo.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_lowercase();
    repo.write("package.json", &format!(r#"{{"name":"{name}","private":true,"packageManager":"pnpm@10.34.9"}}"#));
    repo.write("pnpm-workspace.yaml", "packages:\n  - apps/*\n  - packages/*\n");
    let importers = "importers:\n\n  .: {}\n\n  apps/api:\n    dependencies:\n      lib:\n        specifier: workspace:*\n        \
                     version: link:../../packages/lib\n\n  packages/lib: {}\n";
    let settings = "settings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n";
    repo.write("pnpm-lock.yaml", &format!("lockfileVersion: '9.0'\n\n{settings}\n{importers}"));
    repo.write("apps/api/package.json", r#"{"name":"api","version":"1.0.0","dependencies":{"lib":"workspace:*"}}"#);
    repo.write("apps/api/src/main.ts", &format!("console.log({name:?})\n"));
    repo.write("packages/lib/package.json", r#"{"name":"lib","version":"1.0.0"}"#);
    repo.write("Dockerfile.monorepo-optimized", dockerfile);
    repo.write(".gitignore", "target/\nout/\n");
    repo.commit("start");
    repo
}

/// Takes the content tags of earlier tests' clones away: a clone of the same files would find their images, and build nothing.
fn forget_builds(engine: &TestEngine) {
    let listed = docker(engine, &["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
    let tags: Vec<&str> = listed.lines().filter(|name| name.starts_with("local/monorepo/") && name.contains(":in-")).collect();
    if !tags.is_empty() {
        // One that another test has taken away meanwhile is as gone.
        let _ = try_docker(engine, &[&["image", "rm"], &tags[..]].concat());
    }
}

/// Takes these images away, by a pattern for `docker image ls`, and the steps whose description matches: who fills gigabytes gives them back, or
/// the tests want more of the disk than many machines have.
pub fn give_back(engine: &TestEngine, images: &str, steps: &str) {
    let images = docker(engine, &["image", "ls", "--quiet", "--filter", &format!("reference={images}")]);
    let images: BTreeSet<&str> = images.lines().collect();
    docker(engine, &["image", "rm", "--force"].into_iter().chain(images).collect::<Vec<_>>());
    let prune = ["prune", "--all", "--force", "--filter", &format!("description~=\"{steps}\"")];
    engine.engine.buildx().args(prune).read(&Shutdown::new()).unwrap_or_else(|error| panic!("{error}"));
}

/// `docker` on an engine: what it prints.
#[track_caller]
pub fn docker(engine: &TestEngine, args: &[&str]) -> String {
    let call = engine.engine.docker().args(args.iter().copied());
    call.read(&Shutdown::new()).unwrap_or_else(|error| panic!("{error}"))
}

/// The same where it may fail: its exit code and what it prints.
pub fn try_docker(engine: &TestEngine, args: &[&str]) -> (Option<i32>, String) {
    let output = engine.engine.docker().args(args.iter().copied()).run(&Shutdown::new()).unwrap();
    (output.code, output.text())
}

/// Runs a command line in a shell, as a user who pastes it would.
#[track_caller]
pub fn sh(repo: &Repo, script: &str) -> String {
    let call = Invocation::new("sh").args(["-euc", script]).dir(repo.path());
    call.read(&Shutdown::new()).unwrap_or_else(|error| panic!("{error}"))
}

/// The entry of `service` in a run's record.
#[track_caller]
pub fn task<'a>(record: &'a Value, service: &str) -> &'a Value {
    let found = record["tasks"].as_array().unwrap().iter().find(|task| task["task"] == json!({"service": service}));
    found.unwrap_or_else(|| panic!("there is no {service} in {record:#}"))
}

/// How each service ended, in their order.
pub fn statuses(record: &Value) -> [&str; 4] {
    SERVICES.map(|service| task(record, service)["status"].as_str().unwrap())
}

/// The record of a run that printed it.
#[track_caller]
pub fn record(ran: Ran, code: i32) -> Value {
    ran.exits(code).json()
}

/// The files that a run's standard error names as logs.
pub fn named_logs(stderr: &str) -> Vec<PathBuf> {
    stderr.lines().filter_map(|line| Some(PathBuf::from(line.split_once("whole log:")?.1.trim()))).collect()
}

/// An engine that has the base image and nothing else: what the last caller left is thrown away. Hold your turn meanwhile.
pub fn second_engine() -> &'static TestEngine {
    static SECOND: OnceLock<TestEngine> = OnceLock::new();
    let engine = SECOND.get_or_init(|| fresh_with_node("second"));
    engine.forget();
    engine
}

/// Every step came from a cache, but for those of `edited` that an edit to its sources reaches.
#[track_caller]
pub fn unchanged_steps_are_cached(record: &Value, edited: &str) {
    let mut taken = 0;
    for service in SERVICES {
        for step in task(record, service)["steps"].as_array().unwrap() {
            let name = step["name"].as_str().unwrap();
            let reached = ["[sources ", "build-closure apps/", " /built/app /app"].iter().any(|part| name.contains(part));
            if service != edited || !reached {
                assert_eq!(step["cached"], true, "{service}: {name}: {:#}", task(record, service));
                taken += 1;
            }
        }
    }
    assert!(taken > 3 * SERVICES.len(), "only {taken} steps were looked at");
}

/// What a file holds.
pub fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

/// Waits until the run's display shows `text`.
pub fn wait_for(shown: &Path, child: &mut Child, text: &str) {
    let until = Instant::now() + Duration::from_mins(2);
    while !read(shown).contains(text) {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none() && Instant::now() < until, "no {text:?} ({ended:?}): {}", read(shown));
        std::thread::sleep(Duration::from_millis(20));
    }
}
