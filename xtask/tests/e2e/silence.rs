//! What would else be left out, ignored or written over without a word.

use std::path::Path;

use crate::harness::{mini, seat};
use support::engine::shared;
use support::repo::{Repo, git};

const DOCKERFILE: &str = "FROM scratch AS base\n\nFROM scratch AS api\nCOPY apps/api/src /app\n";

#[track_caller]
fn refused(repo: &Repo, args: &[&str], parts: &[&str]) {
    let ran = repo.xtask(args).exits(2);
    for part in parts {
        assert!(ran.stderr.contains(part), "{args:?}: no {part:?} in: {}", ran.stderr);
    }
}

#[test]
fn a_service_that_lost_its_folder_or_its_target_is_named_by_a_plan_and_stops_a_release() {
    let _seat = seat();
    shared();
    let repo = mini(&format!("{DOCKERFILE}\nFROM scratch AS worker\nCOPY apps/api/src /app\n"));
    repo.write("apps/toiler/package.json", "{\"name\":\"toiler\",\"version\":\"1.0.0\"}");
    repo.edit("pnpm-lock.yaml", "  packages/lib: {}", "  apps/toiler: {}\n\n  packages/lib: {}");
    repo.commit("renamed on one side");
    git(repo.path(), &["tag", "v1.0.0"]);
    let planned = repo.xtask(&["plan"]).exits(0);
    for lost in ["target worker (Dockerfile line 6) has no folder apps/worker", "apps/toiler has no target in the Dockerfile"] {
        assert!(planned.stderr.contains(lost), "{}", planned.stderr);
    }
    let images = "[images]\nregistry = '127.0.0.1:9'\nnamespace = 'a/b'\n";
    repo.write("xtask.toml", images);
    repo.commit("somewhere to");
    git(repo.path(), &["tag", "v1.0.1"]);
    // Whether the engine has a stand-in for the scanner, which a release refuses too, is another test's doing.
    let look = ["release", "v1.0.1", "--dry-run", "--allow-stand-ins"];
    refused(&repo, &look, &["target worker", "a release would leave it out", "not-services"]);
    repo.write("xtask.toml", "[images]\nnot-services = ['worker', 'apps/toiler']\n");
    assert!(!repo.xtask(&["plan"]).exits(0).stderr.contains("warning:"));
}

#[test]
fn what_others_pull_is_not_built_on_stand_ins_unless_told() {
    let _seat = seat();
    shared();
    let repo = mini("FROM node:24-bookworm-slim AS base\n\nFROM base AS api\nCOPY apps/api/src /app\n");
    let rest = "namespace = 'a/b'\n[attest]\nsbom = false\n";
    // It is refused before anybody of this name is asked.
    repo.write("xtask.toml", &format!("[images]\nregistry = 'registry.invalid'\n{rest}"));
    let ran = repo.xtask(&["build", "--push"]).exits(1);
    let why = "what is pushed for others cannot be built on stand-in base images";
    assert!(ran.stderr.contains(why) && ran.stderr.contains("or pass --allow-stand-ins"), "{}", ran.stderr);
    // A registry on this machine is for this machine, but not what is released.
    repo.write("xtask.toml", &format!("[images]\nregistry = '127.0.0.1:9'\n{rest}"));
    repo.commit("here");
    git(repo.path(), &["tag", "v1.0.0"]);
    let ran = repo.xtask(&["build", "--push"]).exits(1);
    assert!(!ran.stderr.contains("stand-in base images") && ran.stderr.contains("127.0.0.1:9"), "{}", ran.stderr);
    let ran = repo.xtask(&["release", "v1.0.0"]).exits(1);
    assert!(ran.stderr.contains("a release cannot be built on stand-in base images"), "{}", ran.stderr);
}

#[test]
fn flags_and_keys_that_would_be_ignored_are_refused() {
    let repo = mini(DOCKERFILE);
    for (args, part) in [
        (&["build", "--platform", "linux/arm46"][..], "did you mean `linux/arm64`?"),
        (&["build", "--sbom", "x"], "--push"),
        (&["build", "--provenance", "min"], "--push"),
        (&["build", "--output", "type=cacheonly", "--tag", "x"], "--tag"),
        (&["build", "--locked"], "there is no xtask.lock"),
        (&["build", "--overwrite"], "--output"),
        (&["stats", "--engine", "docker"], "`--engine` means nothing for `stats`"),
        (&["completions", "bash", "--config", "x"], "`--config` means nothing"),
        (&["layers", "a/b:c", "--tag", "d"], "`--tag d` goes with a service"),
        (&["layers", "--top", "3", "--json"], "--top"),
        (&["cache", "prune", "--tier", "gha", "--max-size", "1GB"], "`--max-size` means nothing for the tier gha"),
        (&["cache", "prune", "--tier", "engine", "--only", "old-indexes"], "`--only` means nothing"),
        (&["ci", "workflow", "--json"], "`--json` means nothing"),
        (&["release", "v1.0.0", "--notes-only", "--keep-checkout"], "--keep-checkout"),
    ] {
        refused(&repo, args, &[part]);
    }
    for (config, part) in [
        ("registry = 'ghcr.io'", "add `namespace = \"org/repo\"`"),
        ("namespace = 'a/b'", "add `registry = \"ghcr.io\"`"),
        ("registry = 'https://ghcr.io'\nnamespace = 'a/b'", "leave `https://` out"),
        ("platforms = ['linux/arm46']", "did you mean `linux/arm64`?"),
        ("allow = ['network.hots']", "did you mean `network.host`?"),
    ] {
        repo.write("xtask.toml", &format!("[images]\n{config}\n"));
        refused(&repo, &["plan"], &[part]);
    }
}

#[test]
fn an_output_writes_over_nothing_that_it_did_not_write() {
    let _seat = seat();
    shared();
    let repo = mini(DOCKERFILE);
    repo.write("out/api/thesis.txt", "precious");
    let output = ["build", "--output", "type=local,dest=out/{service}"];
    refused(&repo, &output, &["out/api holds files that `--output` did not write", "--overwrite"]);
    repo.xtask(&[&output[..], &["--overwrite"]].concat()).exits(0);
    assert_eq!(repo.read("out/api/thesis.txt"), "precious");
    repo.xtask(&output).exits(0);
    repo.write("image.tar", "precious");
    refused(&repo, &["build", "--output", "type=tar,dest=image.tar"], &["image.tar is a file that `--output` did not write"]);
    assert_eq!(repo.read("image.tar"), "precious");
    for _ in 0..2 {
        repo.xtask(&["build", "--output", "type=tar,dest=new/folder/fresh.tar"]).exits(0);
    }
    repo.write("apps/web/package.json", "{\"name\":\"web\",\"version\":\"1.0.0\"}");
    repo.edit("pnpm-lock.yaml", "  packages/lib: {}", "  apps/web: {}\n\n  packages/lib: {}");
    repo.write("Dockerfile.monorepo-optimized", &format!("{DOCKERFILE}\nFROM scratch AS web\nCOPY apps/api/src /app\n"));
    refused(&repo, &["build", "--output", "foo"], &["is one place for 2 services", "{service}"]);
    assert!(!repo.path().join("foo").exists());
}

#[test]
fn a_page_of_statistics_says_where_it_is() {
    let repo = mini(DOCKERFILE);
    let ran = repo.xtask(&["stats", "--html", "no/such/page.html"]).exits(0);
    let page = repo.path().canonicalize().unwrap().join("no/such/page.html");
    assert!(page.is_file() && ran.stderr.contains("wrote ") && ran.stderr.contains("no/such/page.html"), "{}", ran.stderr);
}

#[test]
fn an_engine_neither_starts_in_nor_empties_a_folder_of_somebody_else() {
    let dir = tempfile::tempdir().unwrap();
    let precious = dir.path().join("docker/volumes/precious");
    std::fs::create_dir_all(precious.parent().unwrap()).unwrap();
    std::fs::write(&precious, "precious").unwrap();
    let repo = mini(DOCKERFILE).env("XTASK_ENGINE_DATA", dir.path());
    refused(&repo, &["engine", "reset"], &["has no mark of the embedded engine", "`docker`", "touch "]);
    refused(&repo, &["engine", "up"], &["holds `docker`, which the embedded engine did not write", "XTASK_ENGINE_DATA"]);
    assert_eq!(read(&precious), "precious");
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}
