//! Runners that share nothing with each other but the caches, which takes longest of all: it begins first.

use std::sync::{Arc, Mutex};

use monoship_github::workflow::Layout;
use serde_json::json;

use crate::forge::{Forge, output};
use crate::matrix::{MAIN, NONE, job, results};
use support::actions_runner::{ActionsRunner, JobRun};
use support::engine::{TestEngine, fresh_with_node};
use support::repo::here;

/// The steps of a job's build, as its log has them: name, and whether it came from a cache.
fn steps(job: &JobRun) -> Vec<(&str, bool)> {
    let lines = job.log.lines().filter(|line| line.starts_with('['));
    let ended = lines.clone().filter_map(|line| line.rsplit_once(" … "));
    let is_time = |end: &str| end.strip_suffix('s').is_some_and(|seconds| seconds.parse::<f64>().is_ok());
    let ended = ended.filter(|(_, end)| *end == "cached" || is_time(end));
    // A step that said something was named before it, and ends by its label.
    let named = |label: &str| lines.clone().find(|line| line.strip_prefix(label).is_some_and(|rest| !rest.starts_with(" … ")));
    ended.map(|(name, end)| (if name.ends_with(']') { named(name).unwrap_or(name) } else { name }, end == "cached")).collect()
}

/// `10/12`: steps that came from a cache, of all.
fn share(steps: &[(&str, bool)]) -> String {
    format!("{}/{}", steps.iter().filter(|(_, cached)| *cached).count(), steps.len())
}

/// A runner service whose every job that builds finds a machine without a single layer, and only this tier.
fn strangers(forge: &Forge, engine: &Arc<TestEngine>, other_tier: &str) -> ActionsRunner {
    let mut variables = forge.variables("ci-second");
    for tier in [other_tier, "XTASK_CACHE_MOUNTS"] {
        variables.push((tier.to_owned(), "false".to_owned()));
    }
    let (engine, last) = (Arc::clone(engine), Mutex::new(String::new()));
    let env = move |job: &str| {
        let mut last = last.lock().unwrap();
        if job != *last && job.starts_with("build-") {
            engine.forget();
        }
        job.clone_into(&mut last);
        variables.clone()
    };
    ActionsRunner { env: Box::new(env), ..forge.runner(MAIN) }
}

#[test]
fn on_machines_that_share_nothing_one_changed_line_is_one_job_whose_other_steps_all_come_from_either_tier() {
    let forge = Forge::real(Layout::Matrix);
    let ran = forge.runner(MAIN).run(&forge.push(NONE));
    assert!(ran.iter().all(|job| job.result != "failure"), "{:?}: {}", results(&ran), job(&ran, "plan").log);
    assert_eq!(output(job(&ran, "plan"), "affected"), json!(["api", "scheduler", "web", "worker"]));

    let second = Arc::new(fresh_with_node("ci-second"));
    let mut columns = Vec::new();
    for (tier, other) in [("gha", "XTASK_CACHE_REGISTRY"), ("registry", "XTASK_CACHE_GHA")] {
        let before = forge.id("main");
        let line = forge.origin.read("apps/worker/src/main.ts");
        let from = if line.contains("'working'") { "'working'" } else { "'at work through gha'" };
        forge.origin.edit("apps/worker/src/main.ts", from, &format!("'at work through {tier}'"));
        forge.origin.commit("one line");
        let ran = strangers(&forge, &second, other).run(&forge.push(&before));
        let expected = [
            ("plan", "success"),
            ("build-base", "success"),
            ("build-services (worker)", "success"),
            ("update-release", "success"),
        ];
        assert_eq!(results(&ran), expected, "{}", job(&ran, "plan").log);

        let (base, worker) = (steps(job(&ran, "build-base")), steps(job(&ran, "build-services (worker)")));
        let is_reached =
            |name: &str| ["[sources ", "build-closure apps/", " /built/app /app"].iter().any(|part| name.contains(part));
        let (reached, rest): (Vec<_>, Vec<_>) = worker.iter().partition(|(name, _)| is_reached(name));
        assert!(reached.iter().any(|(_, cached)| !cached), "{tier}: the edit reaches nothing: {worker:#?}");
        assert!(rest.len() > 5 && rest.iter().all(|(_, cached)| *cached), "{tier}: {rest:#?}");
        assert!(!base.is_empty() && base.iter().all(|(_, cached)| *cached), "{tier}: {base:#?}");
        columns.push([share(&base), share(&worker)]);
    }
    let [gha, registry] = columns.try_into().expect("there are two tiers");
    let row = |name: &str, at: usize| format!("| {name} | {} | {} |\n", gha[at], registry[at]);
    let table = row("`build-base`", 0) + &row("`build-services (worker)`", 1);
    println!("{table}");
    let documented = std::fs::read_to_string(here().join("docs/ci.md")).unwrap();
    assert!(documented.contains(&table), "docs/ci.md has other figures than these:\n{table}");
}
