//! Each thing that can be broken in a repository or on its machine, with the finding it must give.

use monoship_core::error::Error;
use monoship_core::event::{Status, Task};
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::stamp::stamped;
use monoship_doctor::{Checkup, Finding};
use monoship_report::record::{Outcome, RunRecord, Runs, TaskRecord};

use crate::repository::{DOCKERFILE, Repository, examined_at};

/// A finding's code, and the examination of something that must give it.
pub type Case = (&'static str, fn() -> Vec<Finding>);

/// Breaks a repository with `break_it`, and examines it.
fn broken(break_it: impl FnOnce(&Repository)) -> Vec<Finding> {
    let repository = Repository::new();
    break_it(&repository);
    repository.examined(&[])
}

/// A file with other content.
fn with(file: &str, text: &str) -> Vec<Finding> {
    broken(|repository| repository.write(file, text))
}

/// A file with one text replaced.
fn edited(file: &str, from: &str, to: &str) -> Vec<Finding> {
    broken(|repository| repository.edit(file, from, to))
}

/// Makes of the ignore file one that a version of the library wrote.
fn written_by(repository: &Repository, version: &str) {
    let rules = std::fs::read_to_string(repository.path().join(".dockerignore")).unwrap();
    repository.write(".dockerignore", &stamped(&rules, 0, version));
}

pub const CASES: &[Case] = &[
    ("not-in-a-workspace", || {
        let repository = Repository::new();
        let nowhere = Err(Error::usage("nowhere").hint("go home"));
        Checkup::new(&repository.env(&[]), nowhere, None, &Shutdown::new()).unwrap().findings()
    }),
    ("configuration-wrong", || with("xtask.toml", "[imagse]\n")),
    ("generated-older", || broken(|repository| written_by(repository, "0.0.1"))),
    ("generated-newer", || broken(|repository| written_by(repository, "999.0.0"))),
    ("git-refuses", || broken(|repository| std::fs::write(repository.path().join(".git/index"), "torn").unwrap())),
    ("no-git", || broken(|repository| std::fs::remove_dir_all(repository.path().join(".git")).unwrap())),
    ("shallow-clone", || {
        let repository = Repository::new();
        repository.write("docs/more.md", "more\n");
        repository.commit();
        let url = format!("file://{}", repository.path().display());
        let clone = repository.home().join("clone");
        repository.git(&["clone", "--quiet", "--depth", "1", &url, clone.to_str().unwrap()]);
        examined_at(&clone, &repository.env(&[]))
    }),
    ("submodule-missing", || {
        broken(|repository| {
            let commit = repository.git(&["rev-parse", "HEAD"]);
            repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},vendor/lib")]);
        })
    }),
    ("odd-file-name", || {
        broken(|repository| {
            use std::os::unix::ffi::OsStrExt as _;
            let name = std::ffi::OsStr::from_bytes(b"odd-\xff");
            std::fs::write(repository.path().join(name), "x").unwrap();
        })
    }),
    ("sparse-checkout", || broken(|repository| drop(repository.git(&["sparse-checkout", "set", "apps"])))),
    ("workspace-unreadable", || broken(|repository| repository.remove("pnpm-lock.yaml"))),
    ("pnpm-not-pinned", || with("package.json", "{\"name\": \"shop\"}\n")),
    ("not-pnpm", || edited("package.json", "pnpm@10.34.9", "yarn@4.0.0")),
    ("pnpm-older-than-lock", || edited("package.json", "pnpm@10.34.9", "pnpm@8.15.0")),
    ("pnpm-versions-differ", || edited(DOCKERFILE, "AS base\n", "AS base\nARG PNPM_VERSION=9.0.0\n")),
    ("lock-of-another-pnpm", || edited("pnpm-lock.yaml", "'9.0'", "'5.4'")),
    ("lock-not-understood", || edited("pnpm-lock.yaml", "importers:", "surprise: true\n\nimporters:")),
    ("lock-out-of-date", || edited("apps/api/package.json", "\"1.0.0\"", "\"1.0.0\", \"dependencies\": {\"zod\": \"^4.0.0\"}")),
    ("dockerfile-unreadable", || with(DOCKERFILE, "FRM scratch\n")),
    ("no-base-target", || with(DOCKERFILE, "FROM scratch AS api\n")),
    ("service-without-target", || with("xtask.toml", "[[service]]\nname = \"api\"\ntarget = \"aip\"\n")),
    ("app-without-target", || with("apps/web/package.json", "{\"name\": \"@shop/web\"}\n")),
    ("inline-cache-argument", || with("xtask.toml", "[images.build-args]\nBUILDKIT_INLINE_CACHE = \"1\"\n")),
    ("pins-unreadable", || with("xtask.lock", "version = \"none\"\n")),
    ("base-not-pinned", || edited(DOCKERFILE, "FROM base AS api", "FROM node:24 AS api")),
    ("base-not-pinned", || edited(DOCKERFILE, "FROM scratch AS base", "# syntax=docker/dockerfile:1\nFROM scratch AS base")),
    ("base-not-pinned", || broken(|repository| repository.remove("xtask.lock"))),
    ("copies-before-install", || own("FROM node:24\nCOPY . .\nRUN pnpm install\n")),
    ("install-without-cache-mount", || own("FROM node:24\nCOPY package.json .\nRUN pnpm install\n")),
    ("copies-node-modules", || own("FROM node:24\nCOPY node_modules node_modules\n")),
    ("copy-without-link", || own("FROM node:24 AS build\nFROM node:24\nCOPY --from=build /a /a\n")),
    ("base-without-version", || own("FROM node\n")),
    ("pnpm-fetched-at-start", || own("FROM node:24\nRUN corepack enable\nCMD pnpm start\n")),
    ("pnpm-without-version", || own("FROM node:24\nRUN npm install -g pnpm\n")),
    ("dockerfile-changed", || edited(DOCKERFILE, "AS api\n", "AS api\nLABEL a=b\n")),
    ("no-ignore-file", || broken(|repository| repository.remove(".dockerignore"))),
    ("ignore-file-wrong", || with(".dockerignore", "[a\n")),
    ("hides-needed", || edited(".dockerignore", "**/.env", "**/*.js\n**/.env")),
    ("ships-secret", || {
        broken(|repository| {
            repository.edit(".dockerignore", "**/.env\n", "");
            repository.write(".env", "TOKEN=x\n");
        })
    }),
    ("ships-needless", || edited(".dockerignore", "**/node_modules\n", "")),
    ("no-engine", || Repository::new().examined(&[("XTASK_BUILDERS_ENGINE", "docker"), ("DOCKER_CONFIG", "/nonexistent")])),
    ("npm-missing", || Repository::new().examined(&[("XTASK_BUILDERS_ENGINE", "embedded"), ("PATH", "/nowhere")])),
    ("engine-not-started", || Repository::new().examined(&[("XTASK_BUILDERS_ENGINE", "embedded")])),
    ("engine-unreachable", || Repository::new().examined(&[("DOCKER_HOST", "unix:///nowhere/docker.sock")])),
    ("disk-full", || on_a_disk_of("16m")),
    ("disk-low", || on_a_disk_of("3g")),
    ("not-writable", || on_a_disk_of("8g,ro")),
    ("no-cache-tier", || with("xtask.toml", "[cache]\ngha = false\nregistry = false\ninline = false\n")),
    ("notes-not-written", || with("target/xtask/release/v1.0.0.md", "notes\n")),
    ("cache-errors", || {
        after(|task| {
            let error = Some("403 Forbidden".to_owned());
            task.cache_exports.push(monoship_docker::rawjson::CacheTransfer { name: "registry".to_owned(), took_ms: 1, error });
        })
    }),
    ("last-run-failed", || after(|task| task.status = Status::Failed)),
    ("publication-unfinished", || {
        let digest = format!("sha256:{}", "0".repeat(64));
        let begun = serde_json::json!({"source": "ghcr.io/acme/shop/api:in-0", "digest": digest, "tags": []});
        let journal = serde_json::json!({"schema": 1, "name": "v1.0.0", "complete": false, "services": {"api": begun}});
        with("target/xtask/publish/v1.0.0.json", &journal.to_string())
    }),
];

/// A service with a Dockerfile of its own.
fn own(dockerfile: &str) -> Vec<Finding> {
    broken(|repository| {
        repository.write("apps/api/Dockerfile", dockerfile);
        let settings =
            "[[service]]\nname = \"api\"\npackage = \"apps/api\"\ndockerfile = \"apps/api/Dockerfile\"\ncontext = \".\"\n";
        repository.write("xtask.toml", settings);
    })
}

/// The cache folder on a small disk of its own.
fn on_a_disk_of(size: &str) -> Vec<Finding> {
    let repository = Repository::new();
    let disk = repository.home().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let root = |call: Invocation| call.arg(&disk).read(&Shutdown::new()).unwrap();
    root(Invocation::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]));
    let found = repository.examined(&[("XTASK_CACHE_DIR", disk.join("cache").to_str().unwrap())]);
    root(Invocation::new("umount"));
    found
}

/// A repository whose last run ended with this task.
fn after(change: impl FnOnce(&mut TaskRecord)) -> Vec<Finding> {
    broken(|repository| {
        let started = std::time::SystemTime::now();
        let run = Runs::new(&repository.path().join("target/xtask")).begin(started).unwrap();
        let mut record = RunRecord::new(run.id.clone(), started, "build");
        let mut task = TaskRecord::new(Task::Service("api".parse().unwrap()), Status::Built);
        change(&mut task);
        record.outcome = if task.status == Status::Failed { Outcome::Failed } else { Outcome::Succeeded };
        record.tasks.push(task);
        run.write(&record).unwrap();
    })
}
