//! Result files: complete or refused.

use super::*;
use monoship_core::event::{Status, Task};

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn plan() -> PlanFile {
    let planned = |text: &str, present: Option<Digest>| {
        (
            name(text),
            Planned { fingerprint: Fingerprint::of(text.as_bytes()), present, why: "because".into(), platforms: Vec::new() },
        )
    };
    let services = [planned("api", None), planned("web", None), planned("worker", Some(Digest::of(b"old")))];
    PlanFile { commit: "c".repeat(40), tag: Some("v1.2.3".parse().unwrap()), services: services.into(), stages: Vec::new() }
}

fn result(service: &str, attempt: u32, status: Status) -> ServiceFile {
    let fingerprint = Fingerprint::of(service.as_bytes());
    let task = TaskRecord { took_ms: 1_250, ..TaskRecord::new(Task::Service(name(service)), status) };
    ServiceFile { commit: "c".repeat(40), service: name(service), platform: None, fingerprint, attempt, task, stages: Vec::new() }
}

#[test]
fn every_result_is_found_whatever_folder_its_artifact_has() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan();
    plan.write(dir.path()).unwrap();
    assert_eq!(PlanFile::read(dir.path()).unwrap(), plan);
    assert_eq!(plan.matrix().unwrap().to_string(), r#"{"service":["api","web"]}"#);
    let (api, web) = (result("api", 1, Status::Built), result("web", 1, Status::Failed));
    api.write(&dir.path().join("digest-api")).unwrap();
    web.write(dir.path()).unwrap();
    let arm64 = ServiceFile { platform: Some("linux/arm64".parse().unwrap()), ..web.clone() };
    arm64.write(&dir.path().join("arm64")).unwrap();
    let of_web = Results::from([(None, web), (arm64.platform.clone(), arm64)]);
    assert_eq!(
        collect(&plan, dir.path()).unwrap(),
        SortedMap::from([(name("api"), Results::from([(None, api)])), (name("web"), of_web)])
    );
}

#[test]
fn more_jobs_than_github_takes_are_refused_with_a_way_on() {
    let missing = |number: usize| {
        let planned = plan().services[&name("api")].clone();
        let services = (0..number).map(|at| (name(&format!("s{at}")), planned.clone())).collect();
        PlanFile { services, ..plan() }
    };
    assert_eq!(missing(256).matrix().unwrap()["service"].as_array().map(Vec::len), Some(256));
    let error = missing(257).matrix().unwrap_err();
    assert!(error.to_string().starts_with("257 jobs ") && error.hint_text().unwrap().contains("--layout single"), "{error}");
}

#[test]
fn a_rerun_job_replaces_what_the_first_attempt_said() {
    let dir = tempfile::tempdir().unwrap();
    for (folder, attempt, status) in [("a", 1, Status::Failed), ("b", 10, Status::Built), ("c", 9, Status::Failed)] {
        result("api", attempt, status).write(&dir.path().join(folder)).unwrap();
    }
    assert_eq!(collect(&plan(), dir.path()).unwrap()[&name("api")][&None].task.status, Status::Built);
}

#[test]
fn results_of_another_commit_plan_or_input_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |file: ServiceFile, why: &str| {
        let path = file.write(dir.path()).unwrap();
        let error = collect(&plan(), dir.path()).unwrap_err().to_string();
        assert!(error.contains(why) && error.starts_with(path.to_str().unwrap()), "{error}");
        std::fs::remove_file(path).unwrap();
    };
    refused(ServiceFile { commit: "d".repeat(40), ..result("api", 1, Status::Built) }, "a result of commit dddd");
    refused(ServiceFile { fingerprint: Fingerprint::of(b"x"), ..result("api", 1, Status::Built) }, "other inputs");
    refused(result("other", 1, Status::Built), "the plan does not have");
}

#[test]
fn a_file_that_is_not_whole_is_refused_wherever_it_was_cut_or_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = result("api", 1, Status::Built).write(dir.path()).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..whole.len() - 1 {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let error = collect(&plan(), dir.path()).unwrap_err().to_string();
        assert!(error.contains("this result is incomplete"), "{cut}: {error}");
    }
    let text = String::from_utf8(whole).unwrap();
    for (from, to, why) in [("\"attempt\": 1", "\"attempt\": 2", "checksum"), ("\"version\": 1", "\"version\": 2", "version 2")] {
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let error = collect(&plan(), dir.path()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(PlanFile::read(dir.path()).unwrap_err().to_string().contains("plan.json"));
}
