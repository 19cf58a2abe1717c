//! Result files: complete or refused.

use super::*;

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn plan() -> PlanFile {
    let planned = |text: &str, present: Option<Digest>| {
        (name(text), Planned { fingerprint: Fingerprint::of(text.as_bytes()), present, why: "because".into() })
    };
    let services = [planned("api", None), planned("web", None), planned("worker", Some(Digest::of(b"old")))];
    PlanFile { commit: "c".repeat(40), tag: Some("v1.2.3".parse().unwrap()), services: services.into() }
}

fn result(service: &str, attempt: u32, outcome: Outcome) -> ServiceFile {
    let fingerprint = Fingerprint::of(service.as_bytes());
    ServiceFile { commit: "c".repeat(40), service: name(service), fingerprint, attempt, outcome }
}

fn built(service: &str) -> Outcome {
    Outcome::Built(Image {
        image: format!("ghcr.io/org/repo/{service}:in-1").parse().unwrap(),
        digest: Digest::of(service.as_bytes()),
        steps: (3, 12),
        milliseconds: 1_250,
        bytes: Some(7),
    })
}

#[test]
fn a_complete_run_is_every_planned_service_built_or_present() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan();
    plan.write(dir.path()).unwrap();
    assert_eq!(PlanFile::read(dir.path()).unwrap(), plan);
    assert_eq!((plan.matrix().to_string().as_str(), plan.must_build()), (r#"{"service":["api","web"]}"#, true));
    result("api", 1, built("api")).write(&dir.path().join("digest-api")).unwrap();
    result("web", 1, built("web")).write(dir.path()).unwrap();
    let images = collect(&plan, dir.path()).unwrap();
    assert_eq!(images.len(), 3);
    assert_eq!(images[&name("worker")], Collected::Present(Digest::of(b"old")));
    assert!(matches!(&images[&name("api")], Collected::Built(image) if image.digest == Digest::of(b"api")));
}

#[test]
fn missing_and_failed_services_are_all_named_and_block() {
    let dir = tempfile::tempdir().unwrap();
    result("api", 1, Outcome::Failed("exit code 1 in line 12".into())).write(dir.path()).unwrap();
    let error = collect(&plan(), dir.path()).unwrap_err();
    assert_eq!(error.to_string(), "nothing is published: api: exit code 1 in line 12; no result of web");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("re-run")));
}

#[test]
fn a_rerun_job_replaces_what_the_first_attempt_said() {
    let dir = tempfile::tempdir().unwrap();
    result("api", 1, Outcome::Failed("no luck".into())).write(&dir.path().join("a")).unwrap();
    result("api", 2, built("api")).write(&dir.path().join("b")).unwrap();
    result("web", 1, built("web")).write(&dir.path().join("c")).unwrap();
    assert!(collect(&plan(), dir.path()).is_ok());
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
    refused(ServiceFile { commit: "d".repeat(40), ..result("api", 1, built("api")) }, "a result of commit dddd");
    refused(ServiceFile { fingerprint: Fingerprint::of(b"x"), ..result("api", 1, built("api")) }, "other inputs");
    refused(result("other", 1, built("other")), "the plan does not have");
}

#[test]
fn a_file_that_is_not_whole_is_refused_wherever_it_was_cut_or_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = result("api", 1, built("api")).write(dir.path()).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..whole.len() - 1 {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let error = collect(&plan(), dir.path()).unwrap_err().to_string();
        assert!(error.contains("not whole"), "{cut}: {error}");
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
