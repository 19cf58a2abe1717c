//! Workspaces in folders of their repository: each has a pair of workflow files of its own at the root, and its jobs build it alone, whether one
//! crate is for all of them or each has one in its folder.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::forge::{Forge, only, output};
use crate::matrix::{MAIN, NONE, job, results};
use support::actions_runner::{ActionsRunner, JobRun};
use support::repo::{Ran, Repo, git, xtask};
use support::turn::seat;
use support::two::{WORKSPACES, write};

/// Where the crates lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crates {
    /// At the root, for every workspace.
    One,
    /// In each workspace's folder.
    OneEach,
}

const EITHER: [Crates; 2] = [Crates::One, Crates::OneEach];

/// Runs the tool for a workspace as it is called there: with a flag, or in its folder.
fn call(repo: &Repo, crates: Crates, folder: &str, args: &[&str]) -> Ran {
    match crates {
        Crates::One => repo.xtask(&[&["--workspace", folder], args].concat()),
        Crates::OneEach => xtask(&repo.path().join(folder), args),
    }
}

/// Two workspaces that have adopted the tool, each with its workflow of this layout.
fn adopted(crates: Crates, layout: &str) -> Repo {
    let repo = Repo::empty();
    write(&repo);
    let init = |dir: &str| drop(repo.xtask(&["init", "--dir", dir, "--from", "crates-io=0.1"]).exits(0));
    match crates {
        Crates::One => init("."),
        Crates::OneEach => WORKSPACES.into_iter().for_each(|(folder, _)| init(folder)),
    }
    let namespace = Forge::namespace_of(&repo);
    for (folder, _) in WORKSPACES {
        let file = format!("{folder}/xtask.toml");
        repo.edit(&file, "# registry", "registry");
        repo.edit(&file, "# namespace = \"org/repo\"", &format!("namespace = \"{namespace}/{folder}\""));
        repo.write(&file, &(repo.read(&file) + "\n[attest]\nsbom = false\nprovenance = false\n"));
        call(&repo, crates, folder, &["ci", "workflow", "--layout", layout]).exits(0);
    }
    repo.commit("adopted");
    repo
}

/// A runner of one workspace's workflow, whose images have the namespace that its settings say.
fn runner(forge: &Forge, folder: &'static str, git_ref: &str) -> ActionsRunner {
    let variables = forge.variables("shared").into_iter().filter(|(name, _)| name != "XTASK_IMAGES_NAMESPACE");
    let variables: Vec<(String, String)> = variables.collect();
    ActionsRunner { word: folder, env: Box::new(move |_| variables.clone()), ..forge.runner(git_ref) }
}

/// The services that a run had to build. No job of it failed.
#[track_caller]
fn built(ran: &[JobRun], layout: &str) -> serde_json::Value {
    let log = ran.iter().map(|job| job.log.as_str()).collect::<Vec<_>>().join("\n");
    assert!(ran.iter().all(|job| job.result != "failure"), "{:?}: {log}", results(ran));
    output(job(ran, if layout == "single" { "images" } else { "plan" }), "affected")
}

/// The workflow files that are there.
fn files(repo: &Repo) -> BTreeSet<String> {
    let there = std::fs::read_dir(repo.path().join(".github/workflows")).into_iter().flatten().flatten();
    there.map(|file| file.file_name().into_string().unwrap()).collect()
}

#[test]
fn each_workspace_is_built_by_its_own_workflow_wherever_its_crate_lies_and_however_the_work_is_spread() {
    for (crates, layout) in EITHER.into_iter().flat_map(|crates| [(crates, "single"), (crates, "matrix")]) {
        let forge = Forge::of(adopted(crates, layout), seat());
        for (folder, service) in WORKSPACES {
            let ran = runner(&forge, folder, MAIN).run(&forge.push(NONE));
            assert_eq!(built(&ran, layout), json!([service]), "{crates:?}, {layout}");
            let last = job(&ran, if layout == "single" { "images" } else { "update-release" });
            assert_eq!(output(last, "digests"), json!({service: forge.tags(&format!("{folder}/{service}"))["main"]}));
        }
        // An edit of one is nothing to the other, which is started by it all the same.
        let (before, backend) = (forge.id("main"), forge.tags("backend/api"));
        forge.origin.edit("frontend/apps/web/src/main.js", "console", "// edited\nconsole");
        forge.origin.commit("an edit");
        for (folder, affected) in [("backend", json!([])), ("frontend", json!(["web"]))] {
            let ran = runner(&forge, folder, MAIN).run(&forge.push(&before));
            assert_eq!(built(&ran, layout), affected, "{crates:?}, {layout}");
        }
        assert_eq!(forge.tags("backend/api")["main"], backend["main"]);
        let scopes: Vec<String> = forge.cache.store().scopes().into_iter().collect();
        assert!(scopes.iter().any(|scope| scope.starts_with("monorepo.backend.")), "{scopes:?}");
        assert!(scopes.iter().all(|scope| scope.starts_with("monorepo.")), "{scopes:?}");
    }
}

#[test]
fn a_release_has_the_notes_of_every_workspace_a_request_is_checked_by_each_and_a_slip_is_shown_at_its_file() {
    for crates in EITHER {
        let forge = Forge::of(adopted(crates, "single"), seat());
        let event = forge.release("v1.0.0");
        for (folder, service) in WORKSPACES {
            let ran = runner(&forge, folder, "refs/tags/v1.0.0").run(&event);
            assert_eq!(output(only(&ran, "images", "success"), "affected"), json!([service]), "{crates:?}");
            assert!(forge.github.body("v1.0.0").contains(&forge.tags(&format!("{folder}/{service}"))["v1.0.0"]));
        }
        let body = forge.github.body("v1.0.0");
        for part in ["By hand.", "Docker Images of backend", "Docker Images of frontend"] {
            assert!(body.contains(part), "no {part:?} in {body}");
        }

        git(forge.origin.path(), &["checkout", "--quiet", "-b", "feature"]);
        forge.origin.edit("backend/apps/api/src/main.js", "console", "// edited\nconsole");
        forge.origin.commit("an edit");
        let event = forge.pull_request("org/repo");
        for (folder, affected) in [("backend", json!(["api"])), ("frontend", json!([]))] {
            let ran = runner(&forge, folder, "refs/pull/7/merge").run(&event);
            assert_eq!(output(only(&ran, "check", "success"), "affected"), affected, "{crates:?}");
        }

        for (file, right, wrong, what) in [
            ("backend/xtask.toml", "[images]\n", "[images]\nregsitry = 'x'\n", "unknown key `regsitry`"),
            ("backend/Dockerfile.monorepo-optimized", "COPY ", "COPPY ", "there is no instruction `COPPY`"),
        ] {
            let before = forge.origin.read(file);
            forge.origin.edit(file, right, wrong);
            forge.origin.commit("a slip");
            let ran = runner(&forge, "backend", MAIN).run(&forge.push(NONE));
            let failed = only(&ran, "images", "failure");
            let line =
                forge.origin.read(file).lines().position(|line| wrong.lines().last() == Some(line) || line.starts_with(wrong));
            let place = (file, line.unwrap() + 1);
            let annotation = format!("::error file={},line={},title=cargo xtask::{what}", place.0, place.1);
            assert!(failed.log.contains(&annotation), "{crates:?}: no {annotation} in {}", failed.log);
            let line = format!("> {}:{}: {}", place.0, place.1, what.replace('`', "\\`"));
            assert!(failed.summary.contains(&line), "{crates:?}: no {line} in {}", failed.summary);
            only(&runner(&forge, "frontend", MAIN).run(&forge.push(NONE)), "images", "success");
            forge.origin.write(file, &before);
            forge.origin.commit("mended");
        }
    }
}

#[test]
fn each_workspaces_files_are_written_checked_and_refreshed_without_a_look_at_the_others() {
    for crates in EITHER {
        let repo = adopted(crates, "single");
        let pairs = ["images-backend.yml", "images-frontend.yml", "xtask-backend.yml", "xtask-frontend.yml"];
        assert_eq!(files(&repo), pairs.map(str::to_owned).into());
        let check = |folder: &str| call(&repo, crates, folder, &["ci", "workflow", "--check"]);
        for (folder, _) in WORKSPACES {
            check(folder).exits(0);
        }

        let file = ".github/workflows/xtask-frontend.yml";
        let written = repo.read(file);
        repo.edit(file, "persist-credentials: false", "persist-credentials: true");
        check("backend").exits(0);
        let found = check("frontend").exits(1);
        assert!(found.stdout.starts_with(&format!("{file}\n")) && !found.stdout.contains("images-frontend"), "{}", found.stdout);
        assert!(found.stderr.contains("run `cargo xtask ci workflow` in frontend/ and commit"), "{}", found.stderr);
        assert!(call(&repo, crates, "frontend", &["ci", "workflow"]).exits(0).stdout.contains(&format!("wrote {file}\n")));
        assert_eq!(repo.read(file), written);

        // What one was written with is its own.
        call(&repo, crates, "frontend", &["ci", "workflow", "--branch", "trunk", "--layout", "matrix"]).exits(0);
        check("frontend").exits(0);
        check("backend").exits(0);
        assert!(repo.read(".github/workflows/images-frontend.yml").contains("branches: [trunk]\n"));

        // An older version wrote one: its workspace is told of it, by the way from there, and it alone writes it anew.
        let file = ".github/workflows/images-backend.yml";
        let written = repo.read(file);
        repo.edit(file, &format!("# monoship: {}", env!("CARGO_PKG_VERSION")), "# monoship: 0.0.1");
        let older = |folder: &str| {
            let doctor = call(&repo, crates, folder, &["doctor", "--json"]).json();
            let older = doctor["findings"].as_array().unwrap().iter().filter(|finding| finding["code"] == "generated-older");
            older.map(|finding| finding["what"].as_str().unwrap().split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((older("frontend"), older("backend")), (vec![], vec![format!("../{file}")]));
        repo.xtask(&["init", "--refresh", "--dir", "frontend"]).exits(0);
        assert_ne!(repo.read(file), written);
        let told = repo.xtask(&["init", "--refresh", "--dir", "backend"]).exits(0).stdout;
        assert!(told.contains(&format!("write        ../{file}\n")), "{told}");
        assert_eq!(repo.read(file), written);
        assert_eq!(files(&repo), pairs.map(str::to_owned).into());

        let somebodys = "name: somebody's own\n";
        repo.write(file, somebodys);
        let refused = call(&repo, crates, "backend", &["ci", "workflow"]).exits(2);
        let what = format!("`{file}` was not written by this command\n");
        assert!(refused.stderr.contains(&what) && refused.stderr.contains("--overwrite"), "{}", refused.stderr);
        assert_eq!(repo.read(file), somebodys);
        call(&repo, crates, "backend", &["ci", "workflow", "--overwrite"]).exits(0);
        assert_eq!(repo.read(file), written);
    }
}

#[test]
fn the_roots_files_are_as_without_others_and_two_folders_of_one_word_do_not_write_over_each_other() {
    let alone = Repo::of(&[("pnpm-workspace.yaml", "packages: []\n"), ("package.json", "{}\n")]);
    alone.xtask(&["ci", "workflow"]).exits(0);
    let repo = Repo::of(&[("pnpm-workspace.yaml", "packages: []\n"), ("package.json", "{}\n")]);
    let below = ["services/my-web", "services-my/web", "services/other"];
    for folder in below {
        repo.write(&format!("{folder}/pnpm-workspace.yaml"), "packages: []\n");
    }
    repo.xtask(&["--workspace", below[0], "ci", "workflow", "--layout", "matrix", "--branch", "trunk"]).exits(0);
    repo.xtask(&["ci", "workflow"]).exits(0);
    for file in [".github/workflows/images.yml", ".github/workflows/xtask.yml"] {
        assert_eq!(repo.read(file), alone.read(file));
    }
    let of_first = repo.read(".github/workflows/images-services-my-web.yml");
    let refused = repo.xtask(&["--workspace", below[1], "ci", "workflow"]).exits(2);
    assert!(refused.stderr.contains("is the workflow of another folder than services-my/web/"), "{}", refused.stderr);
    let told = repo.xtask(&["init", "--refresh", "--dir", below[1]]).exits(0).stdout;
    assert!(!told.contains("images-services-my-web.yml"), "{told}");
    assert_eq!(repo.read(".github/workflows/images-services-my-web.yml"), of_first);
    // From within the workspace, however deep, as with the flag.
    let within = repo.path().join(below[2]).join("apps/api");
    std::fs::create_dir_all(&within).unwrap();
    xtask(Path::new(&within), &["ci", "workflow"]).exits(0);
    repo.xtask(&["--workspace", below[2], "ci", "workflow", "--check"]).exits(0);
    assert!(files(&repo).contains("xtask-services-other.yml"), "{:?}", files(&repo));
}
