//! The layout of one runner a service: files instead of memory between the jobs, caches instead of layers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use monoship_github::workflow::Layout;
use serde_json::{Value, json};

use crate::forge::{Forge, SERVICES, output};
use support::actions_runner::{ActionsRunner, JobRun};
use support::http::{Response, Server};
use support::repo::Ran;

pub const MAIN: &str = "refs/heads/main";
pub const NONE: &str = "0000000000000000000000000000000000000000";

/// Each job that ran, and how it ended.
pub fn results(ran: &[JobRun]) -> Vec<(&str, &str)> {
    ran.iter().filter(|job| job.result != "skipped").map(|job| (job.name.as_str(), job.result)).collect()
}

#[track_caller]
pub fn job<'a>(ran: &'a [JobRun], name: &str) -> &'a JobRun {
    ran.iter().find(|job| job.name == name).unwrap_or_else(|| panic!("there is no {name}: {:?}", results(ran)))
}

/// Builds web only where the build secret `ca` says so: what is amiss is the runner's, and no input of the image.
const MOODY: &str = "RUN --mount=type=secret,id=ca grep -q trusted /run/secrets/ca";

#[test]
fn a_failed_job_stops_the_publication_and_run_again_alone_it_goes_through_with_what_the_others_did() {
    let forge = Forge::small(Layout::Matrix);
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let hook = Server::start(move |request| {
        log.lock().unwrap().push(request.json());
        Response::status(204)
    });
    let config = forge.origin.read("xtask.toml");
    let notify = "[notify]\non = ['failure', 'release']\nwebhook-url-env = 'HOOK_URL'\n";
    forge.origin.write("xtask.toml", &format!("{config}{notify}"));
    let copied = "COPY apps/web/src /src\n";
    forge.origin.edit("Dockerfile.monorepo-optimized", copied, &format!("{copied}{MOODY}\n"));
    forge.origin.commit("a build that asks the runner");
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), "expired").unwrap();
    let mut variables = forge.variables("shared");
    variables.push(("NODE_EXTRA_CA_CERTS".to_owned(), ca.path().to_str().unwrap().to_owned()));
    variables.push(("HOOK_URL".to_owned(), hook.url()));
    let runner = ActionsRunner { env: Box::new(move |_| variables.clone()), ..forge.runner("refs/tags/v1.0.0") };
    let event = forge.release("v1.0.0");
    let mut run = runner.begin(&event);

    let first = run.attempt(|_| true);
    let expected = [
        ("plan", "success"),
        ("build-base", "success"),
        ("build-services (api)", "success"),
        ("build-services (web)", "failure"),
        ("update-release", "failure"),
    ];
    assert_eq!(results(&first), expected, "{}", job(&first, "update-release").log);
    let plan = job(&first, "plan");
    let matrix: Value = serde_json::from_str(plan.stdout.trim().lines().last().unwrap_or_default()).unwrap();
    assert_eq!((&matrix, &output(plan, "matrix")), (&json!({"service": SERVICES}), &json!({"service": SERVICES})));
    let refused = job(&first, "update-release");
    assert!(refused.log.contains("nothing is published: web: [web-build "), "{}", refused.log);
    assert!(refused.summary.contains("> nothing is published: web: "), "{}", refused.summary);
    for service in SERVICES {
        assert!(!forge.tags(service).contains_key("v1.0.0"), "{:?}", forge.tags(service));
    }

    std::fs::write(ca.path(), "trusted").unwrap();
    let second = run.attempt(|job| job.result == "failure");
    let expected = expected.map(|(name, _)| (name, "success"));
    assert_eq!(results(&second), expected, "{}", job(&second, "update-release").log);
    for kept in ["plan", "build-base", "build-services (api)"] {
        assert_eq!(job(&first, kept).log, job(&second, kept).log, "{kept} was run again");
    }
    let published = job(&second, "update-release");
    for service in SERVICES {
        let tags = forge.tags(service);
        assert_eq!(output(published, "digests")[service], tags["v1.0.0"]);
        assert!(forge.github.body("v1.0.0").contains(&tags["latest"]), "{}", forge.github.body("v1.0.0"));
    }
    for part in ["| api | ⏭️ unchanged | attempt 1 built it |", "| web | ✅ built | ", "Release [v1.0.0]"] {
        assert!(published.summary.contains(part), "no {part:?} in {}", published.summary);
    }

    // Each attempt is one run to whoever is told and to the history, whatever jobs it had.
    let told = told.lock().unwrap().clone();
    let occasions: Vec<_> = told.iter().map(|message| (&message["occasion"], &message["command"])).collect();
    let command = json!("release v1.0.0");
    assert_eq!(occasions, [(&json!("failure"), &command), (&json!("release"), &command)], "{told:#?}");
    assert!(told[0]["about"][0].as_str().unwrap().starts_with("web at [web-build "), "{told:#?}");
    let mut stats = forge.origin.command(&["stats", "--pull", "--json"]);
    stats.envs(forge.variables("shared"));
    let stats = Ran::new(&["stats"], &stats.output().unwrap()).exits(0).json();
    assert_eq!((&stats["runs"], &stats["failed"]), (&json!(2), &json!(1)), "{stats:#}");
    let counts = |of: &Value| (of["service"].clone(), of["built"]["count"].clone(), of["failed"].clone());
    let services: Vec<_> = stats["services"].as_array().unwrap().iter().map(counts).collect();
    for service in [(json!("api"), json!(1), json!(0)), (json!("web"), json!(1), json!(1))] {
        assert!(services.contains(&service), "{service:?} is not in {services:?}");
    }
}

#[test]
fn each_platform_has_a_job_on_a_runner_of_its_own_and_the_last_one_joins_them() {
    let forge = Forge::native();
    let ran = forge.runner(MAIN).run(&forge.push(NONE));
    let amd64 = |name: &str| format!("{name}linux/amd64, ubuntu-latest)");
    let arm64 = |name: &str| format!("{name}linux/arm64, ubuntu-24.04-arm)");
    let jobs = [
        amd64("build-base ("),
        arm64("build-base ("),
        amd64("build-services (api, "),
        arm64("build-services (api, "),
        amd64("build-services (web, "),
        arm64("build-services (web, "),
    ];
    let expected: Vec<(&str, &str)> = ["plan"]
        .into_iter()
        .chain(jobs.iter().map(String::as_str))
        .chain(["update-release"])
        .map(|name| (name, "success"))
        .collect();
    assert_eq!(results(&ran), expected, "{}", job(&ran, "update-release").log);
    for service in SERVICES {
        let parts = forge.tags(service);
        let index = forge.manifest(service, "main");
        let platforms: Vec<&Value> =
            index["manifests"].as_array().unwrap().iter().map(|one| &one["platform"]["architecture"]).collect();
        assert_eq!(platforms, [&json!("amd64"), &json!("arm64")], "{index:#}");
        assert_eq!(output(job(&ran, "update-release"), "digests")[service], parts["main"]);
    }

    // One platform's job fails: nothing is published. It alone is run again, and joined with what the others did.
    let before = forge.id("main");
    forge.change("web", "second");
    let tags = forge.tags("web");
    let (event, broken) = (forge.push(&before), arm64("build-services (web, "));
    let (variables, is_broken) = (forge.variables("shared"), Arc::new(AtomicBool::new(true)));
    let (now, name) = (Arc::clone(&is_broken), broken.clone());
    let env = move |job: &str| {
        let gone = [("XTASK_BUILDERS_ENGINE", "docker"), ("DOCKER_HOST", "unix:///nowhere/docker.sock")];
        let gone = gone.into_iter().filter(|_| job == name && now.load(Ordering::SeqCst));
        variables.iter().cloned().chain(gone.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
    };
    let runner = ActionsRunner { env: Box::new(env), ..forge.runner(MAIN) };
    let mut run = runner.begin(&event);
    let first = run.attempt(|_| true);
    let failed: Vec<_> = results(&first).into_iter().filter(|(_, result)| *result == "failure").map(|(name, _)| name).collect();
    assert_eq!(failed, [broken.as_str(), "update-release"]);
    let refused = &job(&first, "update-release").log;
    assert!(refused.contains("nothing is published: web: linux/arm64: "), "{refused}");
    assert_eq!(forge.tags("web")["main"], tags["main"]);
    is_broken.store(false, Ordering::SeqCst);
    let second = run.attempt(|job| job.result == "failure");
    assert!(second.iter().all(|job| job.result != "failure"), "{}", job(&second, "update-release").log);
    assert_ne!(forge.tags("web")["main"], tags["main"]);
    assert_eq!(forge.manifest("web", "main")["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn a_job_has_what_its_service_is_built_from_whichever_of_them_comes_first() {
    let forge = Forge::native_and(|repo| {
        let config = repo.read("xtask.toml");
        repo.write(
            "xtask.toml",
            &format!(
                "{config}\n[[service]]\nname = 'api'\n\n[[service]]\nname = 'web'\ncontexts = {{ shared = 'service:api' }}\n"
            ),
        );
        repo.edit("Dockerfile.monorepo-optimized", "COPY apps/web/src /src", "COPY --from=shared /src /of-api");
    });
    let ran = forge.runner(MAIN).run(&forge.push(NONE));
    assert!(
        results(&ran).iter().all(|(_, result)| *result == "success"),
        "{:?} {}",
        results(&ran),
        job(&ran, "update-release").log
    );
    for service in SERVICES {
        assert_eq!(forge.manifest(service, "main")["manifests"].as_array().unwrap().len(), 2);
        assert_eq!(output(job(&ran, "update-release"), "digests")[service], forge.tags(service)["main"]);
    }
    // A change of the one makes the other anew.
    let (before, tags) = (forge.id("main"), SERVICES.map(|service| forge.tags(service)["main"].clone()));
    forge.change("api", "second");
    let second = forge.runner(MAIN).run(&forge.push(&before));
    assert!(results(&second).iter().all(|(_, result)| *result == "success"), "{:?}", results(&second));
    assert!(SERVICES.iter().zip(tags).all(|(service, tag)| forge.tags(service)["main"] != tag));
}

#[test]
fn what_all_jobs_of_a_run_would_upload_in_the_same_minute_counts_for_each_of_them() {
    let forge = Forge::small(Layout::Matrix);
    forge.origin.write("apps/web/src/broken.ts", "");
    // Counted, and never come to.
    let many = format!("{}\nFROM scratch AS web\n", "RUN true\n".repeat(201));
    forge.origin.edit("Dockerfile.monorepo-optimized", "\nFROM scratch AS web\n", &many);
    forge.origin.commit("a long web that breaks at once");
    let ran = forge.runner(MAIN).run(&forge.push(NONE));
    let api = &job(&ran, "build-services (api)").summary;
    let over = "| gha | read only: about 211 uploads are more than the 200 a minute that GitHub takes; the registry's cache is written instead |";
    assert!(api.contains("| api | ✅ built |") && api.contains(over), "{api}");
    assert!(forge.cache.store().scopes().is_empty() && forge.tags("cache").contains_key("api"), "{:?}", forge.tags("cache"));
}

#[test]
fn what_stands_needs_no_job_and_no_gate_lets_it_pass_for_that() {
    let forge = Forge::small(Layout::Matrix);
    let runner = forge.runner(MAIN);
    let ran = runner.run(&forge.push(NONE));
    assert!(ran.iter().all(|job| job.result != "failure"), "{:?}", results(&ran));

    let before = forge.id("main");
    forge.change("web", "second");
    let ran = runner.run(&forge.push(&before));
    let expected =
        [("plan", "success"), ("build-base", "success"), ("build-services (web)", "success"), ("update-release", "success")];
    assert_eq!(results(&ran), expected, "{}", job(&ran, "update-release").log);
    for part in ["| api | ⏭️ unchanged | ", "| web | ✅ built | "] {
        let summary = &job(&ran, "update-release").summary;
        assert!(summary.contains(part), "no {part:?} in {summary}");
    }
    let ran = runner.run(&forge.push(&before));
    assert_eq!(results(&ran), [("plan", "success"), ("update-release", "success")], "nothing is left to build");
    let tags = SERVICES.map(|service| forge.tags(service));

    let config = forge.origin.read("xtask.toml");
    forge.origin.write("xtask.toml", &format!("{config}[gates]\nimage-size = '1B'\n"));
    forge.origin.commit("a bound");
    let ran = runner.run(&forge.push(&before));
    assert_eq!(results(&ran), [("plan", "success"), ("update-release", "failure")]);
    let stopped = job(&ran, "update-release");
    assert!(stopped.summary.contains("gate failed: image-size: api: "), "{}", stopped.summary);
    assert_eq!(SERVICES.map(|service| forge.tags(service)), tags);

    // A runner remembers nothing; what is usual it has from the registry.
    let past = |number: u8| {
        let task = json!({"task": {"service": "web"}, "status": "built", "took": 1});
        let (id, started) = (format!("20260101T00000{number}Z-{number}"), format!("2026-01-01T00:00:0{number}Z"));
        let run =
            json!({"v": 1, "id": id, "started": started, "took": 1, "command": "ci", "outcome": "succeeded", "tasks": [task]});
        run.to_string()
    };
    let lines: Vec<String> = (1..=5).map(past).collect();
    forge.origin.write("target/xtask/history.jsonl", &(lines.join("\n") + "\n"));
    let mut shared = forge.origin.command(&["stats", "--push"]);
    shared.envs(forge.variables("shared"));
    Ran::new(&["stats"], &shared.output().unwrap()).exits(0);
    forge.origin.write("xtask.toml", &format!("{config}[gates]\nbuild-time = {{ of-median = 2 }}\n"));
    forge.change("web", "third");
    let ran = runner.run(&forge.push(&before));
    let slow = job(&ran, "build-services (web)");
    assert!(slow.result == "failure" && slow.summary.contains(", the median of "), "{}\n{}", slow.summary, slow.log);
    assert_eq!(job(&ran, "update-release").result, "failure");
}
