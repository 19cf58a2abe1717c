//! A service that does not build: the others do, and the error leads to the line.

use crate::harness::{clone, named_logs, record, statuses, task, turn};

/// The line of the step that compiles `service`, counted from 1.
fn compile_line(dockerfile: &str, service: &str) -> usize {
    let call = format!("build-closure apps/{service}");
    let at = dockerfile.lines().position(|line| line.trim() == call).unwrap();
    // The instruction begins before its last line.
    1 + dockerfile.lines().take(at).collect::<Vec<_>>().iter().rposition(|line| line.starts_with("RUN ")).unwrap()
}

#[test]
fn one_broken_service_does_not_keep_the_others_from_being_built_and_its_error_leads_to_the_line() {
    let _turn = turn();
    let repo = clone();
    repo.write("apps/worker/src/broken.ts", "export const wrong: number = 'text';\n");
    let ran = repo.xtask(&["build", "--json"]);
    let stderr = ran.stderr.clone();
    let record = record(ran, 1);
    assert_eq!(statuses(&record), ["built", "built", "built", "failed"]);

    let step = "[worker-build 3/3] RUN";
    assert!(stderr.contains(&format!("worker failed at {step}")), "{stderr}");
    // The compiler runs in the package's folder.
    assert!(stderr.contains("src/broken.ts(1,14)"), "{stderr}");
    assert!(stderr.contains("apps/worker: the build of @monorepo/worker failed"), "{stderr}");
    assert!(stderr.contains("TS2322"), "{stderr}");
    let line = compile_line(&repo.read("Dockerfile.monorepo-optimized"), "worker");
    assert!(stderr.contains(&format!("Dockerfile.monorepo-optimized:{line}\n")), "line {line}: {stderr}");
    assert_eq!(task(&record, "worker")["failure"]["source"]["line"], line);
    let logs = named_logs(&stderr);
    assert_eq!(logs.len(), 1, "{stderr}");
    assert!(std::fs::read_to_string(&logs[0]).unwrap().contains("TS2322"));

    repo.write("apps/worker/src/broken.ts", "export const wrong: number = 1;\n");
    let fixed = repo.xtask(&["build", "--json"]);
    assert_eq!(statuses(&self::record(fixed, 0))[3], "built");
}

#[test]
fn a_broken_base_is_said_once_and_the_services_are_not_run() {
    let _turn = turn();
    let repo = clone();
    repo.edit("Dockerfile.monorepo-optimized", "ENV CI=true", "RUN echo broken; exit 3\nENV CI=true");
    let ran = repo.xtask(&["build", "--json"]);
    assert_eq!(ran.stderr.matches(" failed at [base ").count(), 1, "{}", ran.stderr);
    assert_eq!(named_logs(&ran.stderr).len(), 1, "{}", ran.stderr);
    assert_eq!(statuses(&record(ran, 1)), ["not-run"; 4]);
}
