//! The main job: a fresh clone, four images that work, and after that only what changed.

use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::json;

use crate::harness::{SERVICES, clone, docker, record, sh, statuses, task, try_docker, turn};
use support::engine::{TestEngine, shared};

/// Waits until the service in this container answers its health route.
fn answers(engine: &TestEngine, container: &str) -> String {
    let address = docker(engine, &["inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container]);
    let url = format!("http://{}:8080/healthz", address.trim());
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match ureq::get(&url).call() {
            Ok(mut answer) => return answer.body_mut().read_to_string().unwrap(),
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(100)),
            Err(error) => panic!("{container}: {error}\n{}", docker(engine, &["logs", container])),
        }
    }
}

/// The image runs as it is meant to.
fn works(engine: &TestEngine, service: &str, container: &str) {
    assert!(answers(engine, container).contains("\"ok\""), "{service}");
    assert_eq!(docker(engine, &["exec", container, "id", "-u"]).trim(), "1000", "{service}");
    let managers =
        "for p in npm npx pnpm corepack yarn apt dpkg; do command -v $p; done; find / -xdev -name pnpm -o -xdev -name npm";
    let (_, found) = try_docker(engine, &["exec", container, "sh", "-c", managers]);
    assert_eq!(found.trim(), "", "{service} has package managers");
    docker(engine, &["stop", "--time", "10", container]);
    let code = docker(engine, &["inspect", "--format", "{{.State.ExitCode}}", container]);
    assert_eq!(code.trim(), "0", "{service} does not stop cleanly");
    docker(engine, &["rm", container]);
}

#[test]
fn a_fresh_clone_ends_with_four_images_that_work_and_then_only_what_changed_is_built() {
    let _turn = turn();
    let (repo, engine) = (clone(), shared());

    let first = repo.xtask(&["build", "--json"]).exits(0);
    assert!(first.stderr.contains("4 built"), "{}", first.stderr);
    assert!(!format!("{}{}", first.stdout, first.stderr).contains('\x1b'), "escape sequences in a pipe: {}", first.stderr);
    let first = first.json();
    assert_eq!((statuses(&first), &first["outcome"]), (["built"; 4], &"succeeded".into()));
    let containers = SERVICES.map(|service| {
        let image = task(&first, service)["images"][0].as_str().unwrap();
        let id = docker(engine, &["image", "inspect", "--format", "{{.Id}}", image]);
        assert_eq!(task(&first, service)["digest"], id.trim(), "{image}");
        docker(engine, &["run", "--detach", image]).trim().to_owned()
    });
    for (service, container) in SERVICES.iter().zip(&containers) {
        works(engine, service, container);
    }

    let second = record(repo.xtask(&["build", "--json"]), 0);
    assert_eq!(statuses(&second), ["unchanged"; 4]);
    for service in SERVICES {
        assert_eq!(task(&second, service)["digest"], task(&first, service)["digest"]);
    }

    let anew = repo.xtask(&["build", "api", "--no-cache", "--dry-run"]).exits(0).stdout;
    assert!(anew.contains("--target api") && anew.contains(" --no-cache "), "what stands is not built anew: {anew}");

    // Never seen by this engine, which is kept between runs of the tests.
    let edited = format!("'at work since {}'", UNIX_EPOCH.elapsed().unwrap().as_nanos());
    repo.edit("apps/worker/src/main.ts", "'working'", &edited);
    let ran = repo.xtask(&["build", "--json"]).exits(0);
    let third = ran.json();
    assert_eq!(statuses(&third), ["unchanged", "unchanged", "unchanged", "built"]);
    assert!(task(&third, "worker")["why"].as_str().unwrap().contains("apps/worker/src/main.ts"), "{third:#}");
    assert_ne!(task(&third, "worker")["digest"], task(&first, "worker")["digest"]);
    let missed = &task(&third, "worker")["missed"];
    assert!(missed["step"].as_str().unwrap().contains("build-closure apps/worker"), "{missed}");
    let cause = json!([{"reason": "file", "path": "apps/worker/src/main.ts", "change": "changed"}]);
    assert_eq!(missed["reasons"], cause);
    assert!(ran.stderr.contains("apps/worker: file apps/worker/src/main.ts changed\n1 built"), "{}", ran.stderr);
    let image = task(&third, "worker")["images"][0].as_str().unwrap();
    let code = docker(engine, &["run", "--rm", image, "cat", "apps/worker/dist/main.js"]);
    assert!(code.contains(&edited), "the image holds the old source: {code}");

    repo.edit("apps/worker/src/main.ts", &edited, "'working'");
    let fourth = record(repo.xtask(&["build", "--json", "--force"]), 0);
    assert_eq!(task(&fourth, "worker")["digest"], task(&first, "worker")["digest"], "equal inputs make equal images");

    let stats = repo.xtask(&["stats", "--json", "--html", "page.html"]).exits(0).json();
    assert_eq!((&stats["runs"], &stats["failed"]), (&4.into(), &0.into()));
    assert_eq!(repo.path().join("target/xtask/runs").read_dir().unwrap().count(), 4);
    assert_eq!(fourth["commit"].as_str().map(str::len), Some(40));
    shows_the_numbers(&repo.read("page.html"), &fourth);
}

/// The page's numbers are the record's: each task's, step's and phase's, to the millisecond. A cached step took none.
fn shows_the_numbers(page: &str, record: &serde_json::Value) {
    let mut seen = 0;
    for task in record["tasks"].as_array().unwrap() {
        let parts = ["steps", "phases"].into_iter().filter_map(|part| task[part].as_array()).flatten();
        for shown in parts.chain([task]).map(|shown| &shown["took-ms"]).filter(|ms| *ms != 0) {
            assert!(page.contains(&format!("data-ms=\"{shown}\"")), "{shown} ms of {task:#}");
            seen += 1;
        }
    }
    assert!(seen > 3, "{record:#}");
}

#[test]
fn builds_that_have_no_room_in_memory_together_wait_for_each_other() {
    let _turn = turn();
    let repo = clone();
    let heavy = |name: &str| format!("[[service]]\nname = \"{name}\"\nmemory = \"600MB\"\n");
    let settings = repo.read("xtask.toml");
    repo.write("xtask.toml", &format!("{settings}\n[builders]\nmemory = \"1GB\"\n\n{}{}", heavy("api"), heavy("web")));
    let ran = repo.xtask(&["build", "api", "web", "--force", "--jobs", "4", "--json"]).exits(0);
    assert!(ran.stderr.contains("2 builds at once would take about 1.20 GB, and there are 1.00 GB"), "{}", ran.stderr);
    let record = ran.json();
    let [(begun, ended), (other_begun, other_ended)] = ["api", "web"].map(|service| {
        let task = task(&record, service);
        let started = humantime::parse_rfc3339(task["started"].as_str().unwrap()).unwrap();
        (started, started + Duration::from_millis(task["took-ms"].as_u64().unwrap()))
    });
    assert!(ended <= other_begun || other_ended <= begun, "they ran beside each other: {record:#}");
}

#[test]
fn the_commands_of_a_dry_run_are_run_by_nobody_and_work_in_a_shell() {
    let _turn = turn();
    let repo = clone();
    let name = "dry-run";
    // A look cuts no contexts: the lines name the folders that a build writes.
    repo.xtask(&["build", "scheduler", "--tag", "before"]).exits(0);
    let dry = repo.xtask(&["build", "scheduler", "--tag", name, "--force", "--dry-run"]).exits(0);
    let listed = || docker(shared(), &["image", "ls", "--quiet", &repo.image(&format!("scheduler:{name}"))]);
    docker(shared(), &["image", "prune", "--force"]);
    assert_eq!(listed().trim(), "", "a dry run built something");
    let kept = std::fs::read_dir(repo.path().join("target/xtask/runs")).unwrap().count();
    assert_eq!(kept, 1, "a dry run is kept, and drives out a build");
    assert!(dry.stdout.contains("#   cache registry  left out: no registry is configured"), "{}", dry.stdout);
    // Comments, the base and the service: a script as it stands.
    sh(&repo, &dry.stdout);
    assert_ne!(listed().trim(), "");
    docker(shared(), &["image", "rm", &repo.image(&format!("scheduler:{name}")), &repo.image("scheduler:before")]);
}
