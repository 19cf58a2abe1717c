//! The layout of one runner a service: files instead of memory between the jobs, caches instead of layers.

use serde_json::{Value, json};
use xtask::github::workflow::Layout;

use crate::forge::{Forge, SERVICES, output};
use crate::support::actions_runner::JobRun;

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
