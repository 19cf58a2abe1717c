//! `plan --since` and `--affected`: which services a change between two revisions touches, with real git. Nothing is built, so that
//! every reason is the comparison's.

use serde_json::Value;
use support::engine::{environment_of, shared};
use support::repo::{Ran, Repo, git};

/// A clone whose plans are made on the shared engine.
fn clone() -> Repo {
    shared();
    let env = environment_of("shared");
    Repo::new()
        .env("XTASK_ENGINE_DATA", env.get("XTASK_ENGINE_DATA").unwrap())
        .env("XTASK_BUILDERS_ENGINE", "embedded")
        .env("XTASK_BUILDERS_STAND_INS", "always")
}

/// Each affected service with its reasons, as a plan's text has them.
fn lines(ran: &Ran) -> Vec<String> {
    ran.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn an_edit_affects_the_services_whose_closure_it_is_in_and_a_revert_affects_none() {
    let repo = clone();
    let start = git(repo.path(), &["rev-parse", "HEAD"]);
    let short = &start[..12];
    repo.edit("apps/worker/src/main.ts", "'working'", "'at work'");
    repo.commit("worker says it differently");
    let unaffected = |name: &str| format!("{name} unchanged not affected since {short}");
    let committed = repo.xtask(&["plan", "--since", "HEAD~1"]).exits(0);
    let worker = "worker build file apps/worker/src/main.ts changed".to_owned();
    assert_eq!(lines(&committed), [unaffected("api"), unaffected("scheduler"), unaffected("web"), worker.clone()]);

    // What is not committed yet counts too, and a new file that only one service has.
    repo.write("apps/web/src/new.ts", "export {};\n");
    let dirty = repo.xtask(&["plan", "--since", &start]).exits(0);
    assert_eq!(
        lines(&dirty),
        [unaffected("api"), unaffected("scheduler"), "web build file apps/web/src/new.ts added".into(), worker]
    );
    let json = repo.xtask(&["plan", "web", "worker", "--since", &start, "--json"]).exits(0).json();
    let affected: Vec<&str> = json["services"].as_array().unwrap().iter().map(|s| s["service"].as_str().unwrap()).collect();
    assert_eq!((affected, &json["since"]["commit"]), (vec!["web", "worker"], &start.clone().into()));
    assert_eq!(json["services"][0]["reasons"][0]["path"], "apps/web/src/new.ts");

    git(repo.path(), &["clean", "--quiet", "--force", "apps/web/src/new.ts"]);
    repo.edit("apps/worker/src/main.ts", "'at work'", "'working'");
    let json = repo.xtask(&["plan", "--since", &start, "--json"]).exits(0).json();
    assert_eq!(json["services"], Value::Array(Vec::new()));
    assert_eq!(names(&json["since"]["unaffected"]), ["api", "scheduler", "web", "worker"]);
    let dry = repo.xtask(&["build", "--since", &start, "--dry-run"]).exits(0).stdout;
    assert!(dry.contains(&format!("# web: nothing to build, not affected since {short}")), "{dry}");
    let dry = repo.xtask(&["build", "--since", &start, "--dry-run", "--json"]).exits(0).json();
    assert_eq!(names(&dry["unchanged"]), ["api", "scheduler", "web", "worker"]);
    // And nothing is built of nothing.
    let built = repo.xtask(&["build", "--since", &start, "--json"]).exits(0);
    assert!(built.stderr.contains(&format!("since {short} not affected: api, scheduler, web, worker")), "{}", built.stderr);
    assert!(built.stderr.contains("nothing to do"), "{}", built.stderr);
    let tasks: Vec<Value> = built.json()["tasks"].as_array().unwrap().iter().map(|task| task["task"].clone()).collect();
    assert_eq!((tasks, &built.json()["since"]), (vec!["plan".into()], &start.into()));
}

#[test]
fn a_package_counts_whatever_it_is_called() {
    let repo = clone();
    for file in git(repo.path(), &["grep", "--files-with-matches", "@monorepo/contract"]).lines() {
        let text = repo.read(file).replace("'@monorepo/contract'", "shared").replace("@monorepo/contract", "shared");
        repo.write(file, &text);
    }
    repo.commit("the contract is called as files that no package has once were");
    repo.write("packages/contract/src/new.ts", "export {};\n");
    let planned = repo.xtask(&["plan", "--since", "HEAD"]).exits(0);
    let affected: Vec<String> = lines(&planned).into_iter().filter(|line| !line.contains("unchanged")).collect();
    assert!(affected.contains(&"api build file packages/contract/src/new.ts added".to_owned()), "{}", planned.stdout);
}

#[test]
fn what_joins_and_leaves_the_services_is_told_with_the_closure_of_both_sides() {
    let repo = clone();
    // `worker` moves, image, target and folder: to git it is one service gone and one come. `scheduler` loses a dependency.
    git(repo.path(), &["mv", "apps/worker", "apps/toiler"]);
    for file in ["Dockerfile.monorepo-optimized", "apps/toiler/package.json", "pnpm-lock.yaml", "tsconfig.json"] {
        let text = repo.read(file).replace("worker", "toiler");
        repo.write(file, &text);
    }
    repo.commit("worker is toiler now");
    let json = repo.xtask(&["plan", "--since", "HEAD~1", "--json"]).exits(0).json();
    assert_eq!(names(&json["since"]["deleted"]), ["worker"]);
    assert_eq!(names(&json["since"]["unaffected"]), ["api", "scheduler", "web"]);
    assert_eq!(json["services"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&json["services"][0]["service"], &json["services"][0]["reasons"][0]["reason"]),
        (&"toiler".into(), &"new".into())
    );
    let back = repo.xtask(&["plan", "toiler", "--since", "HEAD~1"]).exits(0);
    assert!(lines(&back)[0].starts_with("toiler build new since "), "{}", back.stdout);

    // A configuration of its own on each side: a build argument, and a service of another name.
    repo.write(
        "xtask.toml",
        "[[service]]\nname = \"second\"\ntarget = \"api\"\npackage = \"apps/api\"\nbuild-args = { PORT = \"1\" }\n",
    );
    let json = repo.xtask(&["plan", "--since", "HEAD", "--json"]).exits(0).json();
    assert_eq!((json["services"].as_array().unwrap().len(), &json["services"][0]["service"]), (1, &"second".into()));
}

#[test]
fn a_revision_that_is_no_monorepo_affects_everything_and_one_that_is_not_known_is_refused() {
    let repo = clone();
    let lock = repo.read("pnpm-lock.yaml");
    git(repo.path(), &["rm", "--quiet", "pnpm-lock.yaml"]);
    repo.commit("the lock is lost");
    repo.write("pnpm-lock.yaml", &lock);
    repo.commit("the lock is back");
    let ran = repo.xtask(&["plan", "--since", "HEAD~1", "--json"]).exits(0);
    assert_eq!(ran.json()["services"].as_array().unwrap().len(), 4);
    assert!(ran.stderr.contains("there is no pnpm lock file"), "{}", ran.stderr);
    let unknown = repo.xtask(&["plan", "--since", "nowhere"]).exits(2);
    assert!(unknown.stderr.contains("git knows no commit `nowhere`"), "{}", unknown.stderr);
    let both = repo.xtask(&["plan", "--since", "HEAD", "--affected"]).exits(2);
    assert!(both.stderr.contains("cannot be used together"), "{}", both.stderr);
}

/// A pull request as CI checks it out: the merge commit alone, one commit deep, on no branch.
#[test]
fn a_shallow_clone_is_deepened_to_where_the_branch_left_and_refused_where_it_cannot_be() {
    let origin = clone();
    let identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"];
    git(origin.path(), &["switch", "--quiet", "--create", "topic"]);
    for word in ["'at work'", "'busy'"] {
        origin.edit("apps/worker/src/main.ts", "working", word.trim_matches('\''));
        origin.commit("worker");
        origin.edit("apps/worker/src/main.ts", word.trim_matches('\''), "working");
    }
    origin.edit("apps/worker/src/main.ts", "working", "hard at work");
    origin.commit("worker at last");
    git(origin.path(), &["switch", "--quiet", "main"]);
    origin.edit("apps/api/src/main.ts", "import", "// main went on\nimport");
    origin.commit("api on main");
    git(origin.path(), &["switch", "--quiet", "--detach"]);
    git(origin.path(), &[&identity[..], &["merge", "--quiet", "--no-ff", "--message", "merge", "topic"]].concat());
    git(origin.path(), &["update-ref", "refs/pull/1/merge", "HEAD"]);
    git(origin.path(), &["switch", "--quiet", "main"]);
    let url = format!("file://{}", origin.path().display());

    let checked_out = || {
        let repo = clone();
        let path = repo.path();
        // Tracked files are all there is in it.
        git(path, &["rm", "--quiet", "-r", "."]);
        std::fs::remove_dir_all(path.join(".git")).unwrap();
        git(path, &["init", "--quiet"]);
        git(path, &["remote", "add", "origin", &url]);
        git(path, &["fetch", "--quiet", "--no-tags", "--depth=1", "origin", "+refs/pull/1/merge:refs/remotes/pull/1/merge"]);
        git(path, &["checkout", "--quiet", "--detach", "refs/remotes/pull/1/merge"]);
        repo
    };
    let repo = checked_out();
    let ran = repo.xtask(&["plan", "--affected", "--json"]).exits(0);
    let json = ran.json();
    // The merge commit's own base is the tip of main: what main did is not the pull request's doing.
    assert_eq!(json["since"]["commit"], git(origin.path(), &["rev-parse", "main"]));
    assert_eq!((json["services"].as_array().unwrap().len(), &json["services"][0]["service"]), (1, &"worker".into()));
    // A revision that the clone has not got is fetched.
    let before = git(origin.path(), &["rev-parse", "main~1"]);
    let ran = checked_out().xtask(&["plan", "--since", &before, "--json"]).exits(0);
    assert_eq!(ran.json()["services"].as_array().unwrap().len(), 2, "{}", ran.stdout);

    let lost = checked_out();
    git(lost.path(), &["remote", "set-url", "origin", "file:///nonexistent"]);
    for flags in [&["--since", "HEAD~1"][..], &["--since", &before]] {
        let refused = lost.xtask(&[&["plan"], flags].concat()).fails();
        assert!(refused.stderr.contains("this clone is too shallow"), "{}", refused.stderr);
        assert!(refused.stderr.contains("fetch-depth: 0"), "{}", refused.stderr);
    }
    lost.xtask(&["plan", "--affected"]).fails();
}
