//! The layout of one runner a service: files instead of memory between the jobs, caches instead of layers.

use serde_json::{Value, json};
use xtask::github::workflow::Layout;

use crate::forge::{Forge, SERVICES, output};
use crate::support::actions_runner::{ActionsRunner, JobRun};
use crate::support::engine::fresh_with_node;

const MAIN: &str = "refs/heads/main";
const NONE: &str = "0000000000000000000000000000000000000000";

/// Each job that ran, and how it ended.
fn results(ran: &[JobRun]) -> Vec<(&str, &str)> {
    ran.iter().filter(|job| job.result != "skipped").map(|job| (job.name.as_str(), job.result)).collect()
}

#[track_caller]
fn job<'a>(ran: &'a [JobRun], name: &str) -> &'a JobRun {
    ran.iter().find(|job| job.name == name).unwrap_or_else(|| panic!("there is no {name}: {:?}", results(ran)))
}

#[test]
fn the_jobs_publish_everything_or_nothing_and_a_failed_one_is_named_and_can_be_run_again() {
    let forge = Forge::small(Layout::Matrix);
    forge.origin.write("apps/web/src/broken.ts", "");
    forge.origin.commit("break web");
    let runner = forge.runner("refs/tags/v1.0.0");
    let ran = runner.run(&forge.release("v1.0.0"));
    let expected = [
        ("plan", "success"),
        ("build-base", "success"),
        ("build-services (api)", "success"),
        ("build-services (web)", "failure"),
        ("update-release", "failure"),
    ];
    assert_eq!(results(&ran), expected, "{}", job(&ran, "update-release").log);
    let plan = job(&ran, "plan");
    let matrix: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!((&matrix, &output(plan, "matrix")), (&json!({"service": SERVICES}), &json!({"service": SERVICES})));
    let refused = job(&ran, "update-release");
    assert!(refused.log.contains("nothing is published: web: [web-build "), "{}", refused.log);
    assert!(refused.summary.contains("> nothing is published: web: "), "{}", refused.summary);
    for service in SERVICES {
        assert!(!forge.tags(service).contains_key("v1.0.0"), "{:?}", forge.tags(service));
    }

    std::fs::remove_file(forge.origin.path().join("apps/web/src/broken.ts")).unwrap();
    forge.origin.commit("mend web");
    let ran = forge.runner("refs/tags/v1.0.1").run(&forge.release("v1.0.1"));
    let expected =
        [("plan", "success"), ("build-base", "success"), ("build-services (web)", "success"), ("update-release", "success")];
    assert_eq!(results(&ran), expected, "{}", job(&ran, "update-release").log);
    for service in SERVICES {
        let tags = forge.tags(service);
        assert_eq!(output(job(&ran, "update-release"), "digests")[service], tags["v1.0.1"]);
        assert!(forge.github.body("v1.0.1").contains(&tags["latest"]), "{}", forge.github.body("v1.0.1"));
    }
    for part in ["| api | ⏭️ unchanged | ", "| web | ✅ built | ", "Release [v1.0.1]"] {
        let summary = &job(&ran, "update-release").summary;
        assert!(summary.contains(part), "no {part:?} in {summary}");
    }

    let ran = forge.runner(MAIN).run(&forge.push(NONE));
    assert_eq!(results(&ran), [("plan", "success"), ("update-release", "success")], "nothing is left to build");
    assert_eq!(forge.tags("web")["main"], forge.tags("web")["v1.0.1"]);
}

/// The steps of a job's build, as its log has them: name, and whether it came from a cache.
fn steps(job: &JobRun) -> Vec<(&str, bool)> {
    let lines = job.log.lines().filter(|line| line.starts_with('[')).filter_map(|line| line.split_once(" … "));
    lines.map(|(name, end)| (name, end == "cached")).collect()
}

#[test]
fn on_a_machine_that_shares_nothing_one_changed_line_is_one_job_whose_other_steps_all_come_from_either_tier() {
    let forge = Forge::real(Layout::Matrix);
    let ran = forge.runner(MAIN).run(&forge.push(NONE));
    assert!(ran.iter().all(|job| job.result != "failure"), "{:?}: {}", results(&ran), job(&ran, "plan").log);
    assert_eq!(output(job(&ran, "plan"), "affected"), json!(["api", "scheduler", "web", "worker"]));

    let second = fresh_with_node("ci-second");
    for (tier, other) in [("gha", "XTASK_CACHE_REGISTRY"), ("registry", "XTASK_CACHE_GHA")] {
        second.forget();
        let before = forge.id("main");
        let line = forge.origin.read("apps/worker/src/main.ts");
        let from = if line.contains("'working'") { "'working'" } else { "'at work through gha'" };
        forge.origin.edit("apps/worker/src/main.ts", from, &format!("'at work through {tier}'"));
        forge.origin.commit("one line");
        let mut variables = forge.variables("ci-second");
        variables.push((other.to_owned(), "false".to_owned()));
        let runner = ActionsRunner { env: Box::new(move |_| variables.clone()), ..forge.runner(MAIN) };
        let ran = runner.run(&forge.push(&before));
        let expected = [
            ("plan", "success"),
            ("build-base", "success"),
            ("build-services (worker)", "success"),
            ("update-release", "success"),
        ];
        assert_eq!(results(&ran), expected, "{}", job(&ran, "plan").log);

        let worker = job(&ran, "build-services (worker)");
        let (reached, rest): (Vec<_>, Vec<_>) = steps(worker)
            .into_iter()
            .partition(|(name, _)| ["[sources ", "build-closure apps/", " /out /app"].iter().any(|part| name.contains(part)));
        assert!(reached.iter().any(|(_, cached)| !cached), "{tier}: the edit reaches nothing: {}", worker.log);
        assert!(rest.len() > 5 && rest.iter().all(|(_, cached)| *cached), "{tier}: {rest:#?}");
        let base = steps(job(&ran, "build-base"));
        assert!(!base.is_empty() && base.iter().all(|(_, cached)| *cached), "{tier}: {base:#?}");
        println!("{tier}: worker {} of {} cached, base {} of {}", rest.len(), rest.len() + reached.len(), base.len(), base.len());
    }
}
