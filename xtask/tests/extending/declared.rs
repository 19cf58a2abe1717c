//! What is declared in Rust: services, tag rules, a stage after publish, somebody who is told, a verb.

use serde_json::{Value, json};

use crate::harness::{Shop, server};
use monoship_core::execute::shutdown::Shutdown;
use support::engine::shared;
use support::registry::anonymous;
use support::repo::{Ran, git};

#[test]
fn services_from_a_loop_are_built_each_with_its_arguments() {
    let shop = Shop::new("loop");
    let planned = shop.repo.example("services", &["plan", "--json"]).exits(0).json();
    let names: Vec<&str> = planned["services"].as_array().unwrap().iter().filter_map(|one| one["service"].as_str()).collect();
    assert_eq!(names, ["api", "web", "web-eu", "web-us"]);
    shop.repo.example("services", &["build", "web-eu", "web-us", "--push"]).exits(0);
    for (service, region) in [("web-eu", "eu"), ("web-us", "us")] {
        assert_eq!(shop.tags(service), ["main"]);
        let dry = shop.repo.example("services", &["build", service, "--force", "--dry-run"]).exits(0);
        assert!(dry.stdout.contains(&format!("REGION={region}")), "{}", dry.stdout);
        let env = "{{.Config.Env}}";
        let image = shop.image(service, "main");
        shared().engine.docker().args(["pull", "--quiet", &image]).read(&Shutdown::new()).unwrap();
        let inside = shared().engine.docker().args(["image", "inspect", "--format", env, &image]).read(&Shutdown::new()).unwrap();
        assert!(inside.contains(&format!("REGION={region}")), "{inside}");
    }
}

#[test]
fn a_calendar_tag_is_put_and_known_again_and_no_branch_takes_it() {
    let shop = Shop::new("calendar");
    git(shop.repo.path(), &["tag", "v1.0.0"]);
    let day = git(shop.repo.path(), &["show", "--no-patch", "--format=%cs", "v1.0.0"]);
    shop.repo.example("calendar", &["release", "v1.0.0", "--allow-stand-ins"]).exits(0);
    for service in ["api", "web"] {
        assert!(
            shop.tags(service).contains(&day) && shop.tags(service).contains(&"v1.0.0".to_owned()),
            "{:?}",
            shop.tags(service)
        );
    }
    // An older version of the same day leaves it with the newer one.
    let at = |tag: &str| anonymous().resolve(&shop.image("web", tag).parse().unwrap()).unwrap().unwrap().digest;
    let held = at(&day);
    shop.repo.write("apps/web/server.mjs", &server("calendar, mended", 200));
    shop.repo.commit("a backport");
    git(shop.repo.path(), &["tag", "v0.9.0"]);
    let backport = shop.repo.example("calendar", &["release", "v0.9.0", "--allow-stand-ins"]).exits(0);
    assert!(at("v0.9.0") != held && at(&day) == held, "{}", backport.stderr);
    // A tag of the rule's from years ago: `cache prune` says that it may go, and why.
    shop.repo.write("apps/web/server.mjs", &server("calendar of old", 200));
    shop.repo.commit("old");
    shop.repo.example("calendar", &["build", "web", "--push", "--tag", "stays"]).exits(0);
    shop.repo.write("apps/web/server.mjs", &server("calendar of older", 200));
    shop.repo.commit("older");
    shop.repo.xtask(&["build", "web", "--push", "--tag", "2001-01-01"]).exits(0);
    let rule = shop.repo.example("calendar", &["cache", "prune", "--tier", "registry", "--dry-run"]).exits(0);
    assert!(rule.stdout.contains("2001-01-01") && rule.stdout.contains("it is from before"), "{}", rule.stdout);
    assert!(!rule.stdout.contains(&day) && !rule.stdout.contains("stays"), "{}", rule.stdout);
    let without = shop.repo.xtask(&["cache", "prune", "--tier", "registry", "--dry-run"]).exits(0);
    assert!(!without.stdout.contains("2001-01-01"), "a name that nobody's rule owns stays: {}", without.stdout);
}

#[test]
fn a_deployment_runs_once_the_images_are_published_and_in_no_other_run() {
    let shop = Shop::new("deploy");
    shop.script("deploy.sh", "printf '%s\\n' \"$@\" > deployed");
    shop.script("integration.sh", "true");
    shop.script("check.sh", "test -f \"$1/pnpm-workspace.yaml\" && echo \"$1\" > checked");
    shop.repo.commit("a way to deploy");
    let deployed = shop.repo.path().join("deployed");
    shop.repo.example("deploy", &["build"]).exits(0);
    assert!(!deployed.exists(), "a build on a laptop was deployed");
    assert_eq!(shop.repo.read("checked").trim(), shop.repo.path().to_str().unwrap());
    git(shop.repo.path(), &["tag", "v1.0.0"]);
    let release = ["release", "v1.0.0", "--allow-stand-ins", "--json"];
    let record = shop.repo.example("deploy", &release).exits(0).json();
    let said = std::fs::read_to_string(&deployed).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("api=") && lines[0].contains("@sha256:"), "{lines:?}");
    let log = format!("target/xtask/runs/{}/deploy.log", record["id"].as_str().unwrap());
    assert!(shop.repo.read(&log).contains("$ ./deploy.sh api="), "{}", shop.repo.read(&log));
    let checked = shop.repo.read("checked");
    assert!(checked.contains("target/xtask/checkout/v1.0.0"), "the commit's files are checked: {checked}");
    let of_run = record["tasks"].as_array().unwrap().last().unwrap();
    assert_eq!((&of_run["task"], &of_run["status"]), (&json!({"stage": "deploy"}), &json!("done")), "{record:#}");

    // What is published and failed after that is told once, also to who is told of releases alone; and what was there before is deployed.
    shop.script(
        "deploy.sh",
        "echo \"$@\" >> deployed; echo \"token of ${#DEPLOY_TOKEN}, other of ${#OTHER_TOKEN}\"; echo the cluster is away >&2\nexit 3",
    );
    shop.script("tell.sh", "cat >> told && echo >> told");
    shop.repo.edit("Dockerfile.monorepo-optimized", "FROM base AS web\n", "FROM base AS web\nENV EDITED=1\n");
    shop.repo.commit("an edit of one");
    git(shop.repo.path(), &["tag", "v1.0.1"]);
    let release = ["release", "v1.0.1", "--allow-stand-ins", "--json"];
    let mut release = support::repo::example_command("deploy", shop.repo.path(), &release);
    release.envs(shop.repo.variables()).envs([("XTASK_NOTIFY_COMMAND", "['./tell.sh']"), ("XTASK_NOTIFY_ON", "['release']")]);
    release.envs([("DEPLOY_TOKEN", "four"), ("OTHER_TOKEN", "seven77")]);
    let failed = Ran::new(&["release"], &release.output().unwrap()).exits(1);
    for said in ["token of 4, other of 0\n", "it was not given OTHER_TOKEN: "] {
        assert!(failed.stderr.contains(said), "no {said:?} in {}", failed.stderr);
    }
    assert!(failed.stderr.contains("deploy") && failed.stderr.contains("the cluster is away"), "{}", failed.stderr);
    let told = shop.repo.read("told");
    let message: Value = serde_json::from_str(told.trim_end()).unwrap_or_else(|_| panic!("not one message: {told}"));
    assert_eq!((&message["occasion"], &message["released"]), (&json!("failure"), &json!("v1.0.1")), "{told}");
    let about: Vec<&str> = message["about"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(about[0].starts_with("deploy: ") && about[1].contains("/api:v1.0.1 sha256:"), "{about:?}");
    let said = std::fs::read_to_string(&deployed).unwrap();
    assert_eq!(said.lines().last().unwrap(), lines[1], "web alone is another image, and steps back: {said}");
    assert!(failed.stderr.contains("warning: deploy: not stepped back: "), "{}", failed.stderr);
}

#[test]
fn a_notifier_is_told_of_a_failure_and_a_verb_is_listed_and_run() {
    let shop = Shop::new("pager");
    shop.script("page.sh", "printf '%s\\n' \"$1\" > paged\ncat >> paged");
    shop.script("seed.sh", "printf '%s\\n' \"$@\" > seeded");
    let help = shop.repo.example("pager", &["--help"]).exits(0).stdout;
    assert!(help.contains("seed") && help.contains("Fill staging with data"), "{help}");
    shop.repo.example("pager", &["seed", "--small", "two"]).exits(0);
    assert_eq!(shop.repo.read("seeded"), "--small\ntwo\n");
    let completion = shop.repo.example("pager", &["completions", "bash"]).exits(0).stdout;
    assert!(completion.contains("seed"), "the verb is not completed");

    shop.repo.edit("Dockerfile.monorepo-optimized", "FROM base AS web\n", "FROM base AS web\nRUN exit 7\n");
    let mut build = support::repo::example_command("pager", shop.repo.path(), &["build", "web"]);
    let pager = shop.repo.path().join("page.sh");
    build.envs(shop.repo.variables()).env("PAGER_COMMAND", &pager);
    assert_eq!(build.output().unwrap().status.code(), Some(1));
    let paged = shop.repo.read("paged");
    assert!(paged.starts_with("build web failed\n") && paged.contains("\"occasion\":\"failure\""), "{paged}");
}
