//! What a user can get wrong, and a machine that is not as it should be: each a clear error that says what to do.

use std::path::Path;

use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;

use crate::harness::{clone, clone_to_look_at, mini, sh, turn};
use support::repo::{Ran, Repo};

/// One error of that kind, with each of these in it, and nothing that looks like a crash.
#[track_caller]
fn says(ran: Ran, code: i32, parts: &[&str]) {
    let ran = ran.exits(code);
    for part in parts {
        assert!(ran.stderr.contains(part), "no {part:?} in: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("error: ") && !ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "", "{}", ran.stderr);
}

#[track_caller]
fn remove(repo: &Repo, file: &str) {
    std::fs::remove_file(repo.path().join(file)).unwrap();
}

#[test]
fn an_unknown_service_is_answered_with_the_nearest_one() {
    let repo = clone_to_look_at();
    says(repo.xtask(&["build", "wroker"]), 2, &["there is no service `wroker`", "did you mean `worker`?"]);
    says(repo.xtask(&["build", "api", "apps/web"]), 2, &["there is no service `apps/web`"]);
}

#[test]
fn a_stage_whose_name_is_mistyped_is_named_with_its_line_and_the_nearest_one() {
    let repo = mini("FROM scratch AS base\nFROM scratch AS built\nFROM bse AS api\nCOPY apps/api/src /app\n");
    says(repo.xtask(&["build"]), 2, &["Dockerfile.monorepo-optimized:3: there is no stage `bse`", "did you mean `base`?"]);
    repo.write(
        "Dockerfile.monorepo-optimized",
        "FROM scratch AS base\nFROM base AS built\nFROM base AS api\nCOPY --from=biult / /\n",
    );
    says(repo.xtask(&["build"]), 2, &["Dockerfile.monorepo-optimized:4: there is no stage `biult`", "did you mean `built`?"]);
}

#[test]
fn a_run_that_ends_before_its_plan_says_why_in_its_record_and_as_data() {
    let repo = mini("FROM scratch AS base\nFROM base AS api\nCOPY apps/api/src /app\n");
    let build = |host: &str| {
        let args = ["build", "--engine", "docker", "--json"];
        Ran::new(&args, &repo.command(&args).env("DOCKER_HOST", host).output().unwrap())
    };
    let record = build("tcp://127.0.0.1:1").exits(1).json();
    assert!(record["outcome"] == "failed" && record["error"].as_str().unwrap().contains("DOCKER_HOST"), "{record:#}");
    assert!(record["hint"].is_string(), "{record:#}");
    repo.edit("pnpm-lock.yaml", "importers:", "<<<<<<< HEAD\nimporters:");
    let record = build("tcp://127.0.0.1:1").exits(2).json();
    assert!(record["error"].as_str().unwrap().contains("pnpm-lock.yaml:7: merge conflict"), "{record:#}");
    let stats = repo.xtask(&["stats", "--json"]).exits(0).json();
    assert_eq!((&stats["runs"], &stats["failed"]), (&1.into(), &1.into()), "a file that is wrong says nothing of builds");
    let ci = repo.command(&["ci", "--json"]).env("CI_COMMIT_TAG", "v1.0.0").output().unwrap();
    let ci = Ran::new(&["ci", "--json"], &ci).exits(1).json();
    assert!(ci["error"].is_string() && ci["hint"].is_string(), "{ci:#}");
}

#[test]
fn what_is_affected_outside_of_git_is_answered_with_what_is_missing() {
    let repo = mini("FROM scratch AS base\nFROM base AS api\nCOPY apps/api/src /app\n");
    std::fs::remove_dir_all(repo.path().join(".git")).unwrap();
    says(repo.xtask(&["build", "--affected"]), 1, &["this folder is in no git repository"]);
}

#[test]
fn a_broken_configuration_is_shown_with_its_line() {
    let repo = clone_to_look_at();
    repo.write("xtask.toml", "[images]\n\nregistry = ghcr.io\n");
    says(repo.xtask(&["build"]), 2, &["xtask.toml:3: "]);
    repo.write("xtask.toml", "[images]\ndokcerfile = 'Dockerfile'\n");
    says(repo.xtask(&["build"]), 2, &["xtask.toml:2: unknown key `dokcerfile`", "did you mean `dockerfile`?"]);
}

#[test]
fn a_service_name_with_a_slash_is_refused_where_it_is_written() {
    let repo = clone_to_look_at();
    repo.write("xtask.toml", "[images]\ndockerfile = 'Dockerfile.monorepo-optimized'\n\n[[service]]\nname = 'team/api'\n");
    says(repo.xtask(&["build"]), 2, &["xtask.toml:5: ", "`team/api` is not a service name"]);
}

#[test]
fn a_missing_dockerfile_is_named() {
    let repo = clone_to_look_at();
    remove(&repo, "Dockerfile.monorepo-optimized");
    says(repo.xtask(&["build"]), 2, &["Dockerfile.monorepo-optimized", "hint: "]);
}

#[test]
fn a_missing_target_is_named_with_the_nearest_one() {
    let repo = clone_to_look_at();
    let images = "[images]\ndockerfile = 'Dockerfile.monorepo-optimized'\n";
    repo.write("xtask.toml", &format!("{images}[[service]]\nname = 'worker'\ntarget = 'wroker'\n"));
    says(repo.xtask(&["build"]), 2, &["`wroker`", "Dockerfile.monorepo-optimized", "did you mean `worker`?"]);
    repo.write("xtask.toml", &format!("{images}[base]\ntarget = 'bsae'\n"));
    says(repo.xtask(&["build"]), 2, &["`bsae`", "did you mean `base`?"]);
}

#[test]
fn a_missing_lockfile_is_named_with_the_command_that_makes_it() {
    let repo = clone_to_look_at();
    remove(&repo, "pnpm-lock.yaml");
    says(repo.xtask(&["build"]), 2, &["pnpm-lock.yaml", "pnpm install"]);
}

#[test]
fn a_daemon_that_does_not_answer_is_named_with_the_setting_that_points_at_it() {
    let socket = tempfile::tempdir().unwrap();
    let path = socket.path().join("closed.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let repo = clone_to_look_at().env("DOCKER_HOST", format!("unix://{}", path.display())).env("XTASK_BUILDERS_ENGINE", "docker");
    says(repo.xtask(&["build"]), 1, &["DOCKER_HOST", "hint: "]);
}

/// A file system of this size, gone with the value.
struct Small(tempfile::TempDir);

impl Small {
    fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mount = Invocation::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir.path());
        mount.read(&Shutdown::new()).unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Invocation::new("umount").arg(self.0.path()).read(&Shutdown::new());
        // A second panic would hide the first.
        assert!(unmounted.is_ok() || std::thread::panicking(), "{unmounted:?}");
    }
}

#[test]
fn a_full_disk_under_the_state_hides_no_failure() {
    let _turn = turn();
    let small = Small::new("64k");
    let repo = clone();
    repo.write("Dockerfile.monorepo-optimized", "FROM scratch AS base\nFROM scratch AS api\nCOPY apps/api/src /app\n");
    std::os::unix::fs::symlink(small.path(), repo.path().join("target")).unwrap();
    let mut told = 0;
    // Wherever the room ends: what cannot be written is the error, or the table says what became of the services.
    for pages in [2, 3] {
        std::fs::write(small.path().join("fill"), vec![1; (16 - pages) << 12]).unwrap();
        let ran = repo.xtask(&["build", "--force"]).fails();
        let is_told = ran.stderr.contains("no space left") && ran.stderr.contains("1 failed in ");
        assert!(is_told || ran.stderr.contains("error: cannot write "), "{}", ran.stderr);
        told += usize::from(is_told);
        sh(&repo, "rm -rf target/xtask target/fill");
    }
    assert!(told > 0);
}

#[test]
fn a_full_disk_under_the_cache_folder_is_named() {
    let small = Small::new("4m");
    let place = small.path().to_str().unwrap();
    let repo = clone_to_look_at().env("XTASK_CACHE_DIR", small.path()).env("XTASK_ENGINE_DATA", small.path().join("data"));
    says(repo.xtask(&["build"]), 1, &[place, "is full", "free some room"]);
}

#[test]
fn what_a_pruned_context_cannot_hold_is_said_before_anything_is_built() {
    let repo = mini(
        "FROM scratch AS base\nFROM scratch AS manifests\nFROM scratch AS sources\nFROM scratch AS api\nCOPY --from=sources / /app\n\
         COPY --from=manifests / /app\n",
    );
    std::os::unix::fs::symlink("/etc/hosts", repo.path().join("apps/api/hosts")).unwrap();
    let out = "the link `apps/api/hosts` leads out of the repository, to /etc/hosts";
    let looked = repo.xtask(&["plan"]).exits(0).stderr;
    assert!(looked.contains(out), "{looked}");
    says(repo.xtask(&["build"]), 2, &[out, "leave it out with .dockerignore"]);
    assert!(!repo.path().join("target/xtask/context").exists());
    remove(&repo, "apps/api/hosts");

    // Nobody wants a token in an image; but an install that goes without a registry is not to be silent.
    repo.write(".gitignore", "target/\n.npmrc\n");
    repo.write(".npmrc", "# ours\n@acme:registry=https://npm.acme.example/\n//npm.acme.example/:_authToken=abcdefgh12345678\n");
    let looked = repo.xtask(&["plan"]).exits(0).stderr;
    let unseen =
        "git ignores .npmrc, and installs in the builder go without what it says: @acme:registry, //npm.acme.example/:_authToken";
    assert!(looked.contains(unseen) && looked.contains("id=npmrc,src=.npmrc") && !looked.contains("abcdefgh"), "{looked}");
    repo.write("xtask.toml", "[images]\nsecrets = [\"id=npmrc,src=.npmrc\"]\n");
    let looked = repo.xtask(&["plan"]).exits(0).stderr;
    assert!(!looked.contains("git ignores .npmrc"), "{looked}");
}
