//! `cargo xtask doctor`: every finding it has is reached by something really broken, and a healthy repository is told so at once.

mod broken;
mod outside;
mod repository;

use std::collections::BTreeSet;
use std::path::Path;

use rayon::prelude::*;
use serde_json::json;

use crate::repository::Repository;
use support::engine::{environment_of, shared};

/// The codes that the checks' sources can give: the first literal after each maker of a finding.
fn in_sources() -> BTreeSet<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/doctor/src");
    let mut codes = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let makers = text
            .split("Finding::")
            .filter(|rest| ["note(", "warning(", "problem(", "error("].iter().any(|m| rest.starts_with(m)));
        codes.extend(makers.filter_map(|rest| Some(rest.split('"').nth(1)?.to_owned())));
    }
    assert!(codes.len() > 40, "{codes:?}");
    codes
}

/// The codes in the table of docs/troubleshooting.md.
fn documented() -> BTreeSet<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md")).unwrap();
    let table = text.split("## What doctor finds").nth(1).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.flat_map(|row| row.split(" |").next().unwrap().split('`').step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .filter(|code| !code.trim_matches([',', ' ']).is_empty())
        .collect()
}

#[test]
fn every_finding_is_documented_and_reached_by_something_that_is_broken() {
    let cases: Vec<_> = broken::CASES.iter().chain(outside::CASES).collect();
    let looked = cases.par_iter().map(|(code, examine)| {
        let found = examine();
        match found.iter().find(|finding| finding.code == *code) {
            None => Err(format!("`{code}` is not among {found:#?}")),
            Some(finding) if finding.fix.is_none() => Err(format!("{finding:?} has no fix")),
            Some(finding) => Ok(finding.code.to_owned()),
        }
    });
    let (reached, wrong): (Vec<_>, Vec<_>) = looked.collect::<Vec<_>>().into_iter().partition(Result::is_ok);
    let wrong: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What depends on which programs the machine has is reached by the engine check's own test.
    let reached: BTreeSet<String> = reached.into_iter().filter_map(Result::ok).chain(["buildx-missing".to_owned()]).collect();
    assert_eq!(reached, in_sources(), "reached, and what the sources have");
    assert_eq!(documented(), in_sources(), "documented, and what the sources have");
}

#[test]
fn every_row_of_the_troubleshooting_tables_names_findings_that_there_are() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md")).unwrap();
    let (tables, _) = text.split_once("## A service fails").unwrap();
    let rows: Vec<Vec<&str>> = tables
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| check "))
        .map(|row| row.split(" | ").nth(1).unwrap().split('`').skip(1).step_by(2).collect())
        .collect();
    let known = in_sources();
    // The reference has three symptoms with four solutions each.
    assert!(rows.len() >= 12, "{rows:?}");
    for codes in rows {
        assert!(!codes.is_empty() && codes.iter().all(|code| known.contains(*code)), "{codes:?}");
    }
}

#[test]
fn a_healthy_repository_with_engine_and_registry_is_told_so() {
    let repository = Repository::new();
    let engine = environment_of("shared").get("XTASK_ENGINE_DATA").unwrap().to_owned();
    let settings = [
        ("XTASK_ENGINE_DATA", engine.as_str()),
        ("XTASK_BUILDERS_ENGINE", "embedded"),
        ("XTASK_IMAGES_REGISTRY", &shared().registry()),
        ("XTASK_IMAGES_NAMESPACE", "doctor/shop"),
        ("XTASK_CACHE_REGISTRY", "false"),
    ];
    let ran = repository.xtask(&["doctor", "--json"], &settings);
    let told = ran.json();
    let findings = told["findings"].as_array().unwrap();
    let (disk, bad): (Vec<_>, Vec<_>) =
        findings.iter().filter(|finding| finding["severity"] != "good").partition(|finding| finding["area"] == "disk");
    // A test has no GitHub repository, and the machine it runs on may be short of room.
    assert_eq!(bad.iter().map(|finding| &finding["code"]).collect::<Vec<_>>(), ["github-token-missing"], "{bad:#?}");
    assert_eq!(told["version"], 1);
    let text = repository.xtask(&["doctor"], &settings).stdout;
    assert!(text.contains("✓ ok       engine      embedded: engine "), "{text}");
    if disk.is_empty() {
        assert_eq!((ran.code, &told["verdict"]), (0, &json!("note")));
        assert!(text.ends_with("\nall is well: 1 note\n"), "{text}");
    }
}

#[test]
fn a_package_that_no_service_needs_may_be_hidden_from_builds() {
    let repository = Repository::new();
    repository.edit("pnpm-workspace.yaml", "apps/*", "\"*/*\"");
    repository.edit("pnpm-lock.yaml", "  apps/api: {}\n", "  apps/api: {}\n\n  phone/app: {}\n");
    repository.write("phone/app/package.json", "{\"name\": \"@shop/phone\"}\n");
    repository.write("phone/app/main.js", "\n");
    repository.edit(".dockerignore", "**/.env", "phone\n**/.env");
    repository.commit();
    let found = repository.examined(&[]);
    assert!(!found.iter().any(|finding| finding.code == "hides-needed"), "{found:#?}");
}

#[test]
fn where_everything_is_broken_at_once_each_thing_is_still_found_and_the_exit_code_tells() {
    let repository = Repository::new();
    repository.write("xtask.toml", "[imagse]\n");
    repository.write("Dockerfile.monorepo-optimized", "FRM x\n");
    repository.write("pnpm-lock.yaml", "");
    std::fs::write(repository.path().join(".git/index"), "torn").unwrap();
    let ran = repository.xtask(&["doctor"], &[("DOCKER_HOST", "unix:///nowhere/docker.sock")]).exits(1);
    for code in ["configuration-wrong", "git-refuses", "dockerfile-unreadable", "engine-unreachable"] {
        assert!(ran.stdout.contains(&format!("[{code}]")), "{code}: {}", ran.stdout);
    }
    assert!(ran.stdout.contains("fix: did you mean `images`?") && ran.stdout.contains("\na run will fail: "), "{}", ran.stdout);
}

#[test]
fn outside_of_any_repository_the_machine_is_looked_at_all_the_same_and_no_engine_is_started() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("engine");
    let mut command = Repository::command(dir.path(), &["doctor", "--json"]);
    command.env("XTASK_ENGINE_DATA", &data);
    let ran = support::repo::Ran::new(&["doctor"], &command.output().unwrap()).exits(1);
    let told = ran.json();
    let codes: Vec<&str> = told["findings"].as_array().unwrap().iter().filter_map(|finding| finding["code"].as_str()).collect();
    assert!(["not-in-a-workspace", "no-registry", "clock-not-compared"].iter().all(|code| codes.contains(code)), "{codes:?}");
    assert!(!data.exists(), "the doctor made an engine's folder");
}
