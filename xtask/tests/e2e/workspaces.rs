//! Several workspaces in one repository: each is planned, built, pruned and looked after by itself, from the repository's root.

use crate::harness::{building_on, record, seat, task};
use support::engine::shared;
use support::registry::RegistryServer;
use support::repo::{Repo, git};
use support::two::{WORKSPACES, write};

fn repo() -> Repo {
    let repo = building_on("shared", Repo::empty());
    write(&repo);
    repo
}

#[test]
fn init_finds_all_of_them_and_each_is_planned_built_and_cut_by_itself() {
    let _seat = seat();
    shared();
    let repo = repo();
    let lost = repo.xtask(&["plan"]).exits(2);
    assert!(lost.stderr.contains("there are some in backend/, frontend/"), "{}", lost.stderr);
    assert!(lost.stderr.contains("--workspace backend"), "{}", lost.stderr);

    let written = repo.xtask(&["init", "--from", "crates-io=0.1"]).exits(0).stdout;
    for line in ["workspace    backend", "workspace    frontend", "service      api in apps/api", "service      web in apps/web"]
    {
        assert!(written.contains(line), "no {line:?}: {written}");
    }
    assert!(written.contains("next: cargo xtask --workspace backend doctor"), "{written}");
    for file in ["xtask/Cargo.toml", "Cargo.toml", ".cargo/config.toml", "backend/xtask.toml", "frontend/xtask.toml"] {
        assert!(repo.path().join(file).is_file(), "{file}");
    }
    assert!(!repo.path().join("backend/xtask").exists(), "one crate is enough");
    let again = repo.xtask(&["init", "--dir", "frontend", "--dry-run"]).exits(0).stdout;
    assert!(again.contains("keep         ../xtask: it is for every workspace"), "{again}");
    repo.commit("adopted");

    for (folder, service) in WORKSPACES {
        let plan = repo.xtask(&["--workspace", folder, "plan", "--json"]).exits(0).json();
        assert_eq!(plan["services"].as_array().unwrap().len(), 1, "{plan:#}");
        let built = record(repo.xtask(&["build", "--workspace", folder, "--json"]), 0);
        let image = task(&built, service)["images"][0].as_str().unwrap().to_owned();
        assert_eq!(image, format!("docker.io/local/root-{folder}/{service}:dev"), "both are called alike");
        assert!(repo.path().join(folder).join("target/xtask").is_dir());
        let out = repo.path().join("target/out").join(folder);
        let cut =
            repo.xtask(&["prune", service, "--workspace", folder, "--out", out.to_str().unwrap(), "--json"]).exits(0).json();
        assert_eq!(cut["package"], service, "{cut:#}");
    }
    assert!(!repo.path().join("target/xtask").exists(), "nothing is the root's");

    // What one has is nothing to the other.
    repo.edit("frontend/apps/web/src/main.js", "console", "// edited\nconsole");
    let since = |folder: &str| repo.xtask(&["--workspace", folder, "plan", "--since", "HEAD", "--json"]).exits(0).json();
    assert_eq!(since("frontend")["services"][0]["reasons"][0]["path"], "apps/web/src/main.js");
    assert_eq!(
        (since("backend")["services"].as_array().unwrap().len(), &since("backend")["since"]["unaffected"][0]),
        (0, &"api".into())
    );
    let unchanged = record(repo.xtask(&["--workspace", "backend", "build", "--json"]), 0);
    assert_eq!(task(&unchanged, "api")["status"], "unchanged");

    let refused = repo.xtask(&["--workspace", "backend/apps", "plan"]).exits(2);
    assert!(refused.stderr.contains("is not the root of a pnpm workspace"), "{}", refused.stderr);
}

#[test]
fn none_takes_the_images_of_another_for_leftovers_of_its_own() {
    let _seat = seat();
    let server = RegistryServer::plain();
    let repo = repo();
    git(repo.path(), &["remote", "add", "origin", "https://github.com/acme/shop.git"]);
    // Without a word they have different namespaces; here somebody gave them one.
    let dry = repo.xtask(&["--workspace", "backend", "build", "--dry-run"]).exits(0).stdout;
    assert!(dry.contains("ghcr.io/acme/shop/backend/api:"), "{dry}");
    assert!(dry.contains("(monorepo.backend.api)"), "{dry}");
    let repo = repo.env("XTASK_IMAGES_REGISTRY", server.host()).env("XTASK_IMAGES_NAMESPACE", "acme/shop");
    for (folder, _) in WORKSPACES {
        repo.xtask(&["--workspace", folder, "build", "--push"]).exits(0);
    }
    let pruned = |folder: &str| {
        let args = ["--workspace", folder, "cache", "prune", "--tier", "registry", "--max-count", "0", "--dry-run", "--json"];
        repo.xtask(&args).exits(0).json().to_string()
    };
    assert!(!pruned("backend").contains("there is no service web"), "{}", pruned("backend"));
    assert!(!pruned("frontend").contains("there is no service api"), "{}", pruned("frontend"));
}
