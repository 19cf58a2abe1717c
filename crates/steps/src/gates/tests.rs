//! What exceeds which bound, and how that is told.

use super::*;
use monoship_docker::rawjson::Step;
use monoship_report::record::history::PastRun;
use monoship_report::record::{RunId, RunRecord};
use std::time::SystemTime;

fn task(status: Status, took_ms: u64, cached: usize, size: u64) -> TaskRecord {
    let step = |cached| Step {
        name: "[x 1/2] RUN y".to_owned(),
        stage: None,
        platform: None,
        cached,
        took_ms: 0,
        started: None,
        error: None,
    };
    let mut task = TaskRecord::new(Task::Service("api".parse().unwrap()), status);
    (task.took_ms, task.size) = (took_ms, Some(size));
    task.steps = (0..4).map(|at| step(at < cached)).collect();
    task
}

fn past(builds: u32) -> Vec<PastRun> {
    let run = |n| {
        let mut record = RunRecord::new(RunId::new(SystemTime::UNIX_EPOCH, n), SystemTime::UNIX_EPOCH, "build");
        record.tasks = vec![task(Status::Built, 10_000, 3, 100_000_000)];
        PastRun::from(&record)
    };
    (0..builds).map(run).collect()
}

fn judged(measure: Measure, bound: Option<f64>, of_median: Option<f64>, task: TaskRecord, builds: u32) -> Vec<String> {
    let gates = Gates { gates: vec![Gate { measure, bound, of_median, fails: true }], window: 20 };
    judge(&gates, &[task], &Ok(past(builds)), true).into_iter().map(|gate| gate.text).collect()
}

#[test]
fn a_fixed_bound_is_exceeded_from_the_side_it_bounds() {
    let build = || task(Status::Built, 95_000, 1, 250_000_000);
    assert_eq!(judged(Measure::BuildTime, Some(90_000.0), None, build(), 0), ["api: 1m 35s is more than 1m 30s"]);
    assert_eq!(judged(Measure::HitRate, Some(0.5), None, build(), 0), ["api: 25 % is less than 50 %"]);
    assert_eq!(judged(Measure::ImageSize, Some(200e6), None, build(), 0), ["api: 250 MB is more than 200 MB"]);
    assert_eq!(judged(Measure::BuildTime, Some(95_000.0), None, build(), 0), [""; 0], "at the bound is within it");
    let wasted = TaskRecord { wasted: Some(2_000_000), ..build() };
    assert_eq!(judged(Measure::WastedBytes, Some(1e6), None, wasted, 0), ["api: 2.00 MB is more than 1.00 MB"]);
}

#[test]
fn a_rolling_median_bounds_once_there_are_five_builds() {
    let slow = || task(Status::Built, 21_000, 1, 130_000_000);
    let said = "api: 21.0s is more than 20.0s (2 times 10.0s, the median of 9 builds)";
    assert_eq!(judged(Measure::BuildTime, None, Some(2.0), slow(), 9), [said]);
    assert_eq!(judged(Measure::BuildTime, None, Some(2.0), slow(), 4), [""; 0]);
    assert_eq!(judged(Measure::BuildTime, None, Some(3.0), slow(), 9), [""; 0]);
    let said = "api: 25 % is less than 60 % (0.8 times 75 %, the median of 20 builds)";
    assert_eq!(judged(Measure::HitRate, None, Some(0.8), slow(), 30), [said]);
    let said = "api: 130 MB is more than 120 MB (1.2 times 100 MB, the median of 20 builds)";
    assert_eq!(judged(Measure::ImageSize, Some(500e6), Some(1.2), slow(), 30), [said]);
}

#[test]
fn what_was_carried_forward_took_no_time_and_is_as_large_as_ever() {
    let skipped = || task(Status::Unchanged, 95_000, 0, 250_000_000);
    assert_eq!(judged(Measure::BuildTime, Some(1.0), None, skipped(), 0), [""; 0]);
    assert_eq!(judged(Measure::HitRate, Some(1.0), None, skipped(), 0), [""; 0]);
    assert_eq!(judged(Measure::ImageSize, Some(200e6), None, skipped(), 0).len(), 1);
}

#[test]
fn what_cannot_be_read_is_not_passed() {
    let unread = "api: it could not be measured, so nobody knows whether it is within the bound";
    let without = || TaskRecord { size: None, ..task(Status::Unchanged, 95_000, 1, 0) };
    assert_eq!(judged(Measure::WastedBytes, Some(1e6), None, without(), 0), [unread]);
    assert_eq!(judged(Measure::ImageSize, None, Some(2.0), without(), 9), [unread]);
    let gate = |measure, of_median| Gate { measure, bound: Some(1e9), of_median, fails: true };
    let gates = Gates { gates: vec![gate(Measure::ImageSize, None), gate(Measure::BuildTime, Some(2.0))], window: 20 };
    let failed = Err(monoship_core::error::Error::failed("no registry"));
    let exported = judge(&gates, &[without(), task(Status::Built, 9_000, 1, 0)], &failed, false);
    let told: Vec<&str> = exported.iter().map(|gate| gate.text.as_str()).collect();
    assert_eq!(
        told,
        ["api: 9.0s to a median that cannot be read: no registry"],
        "an image that was exported cannot be looked into"
    );
    let mut record = RunRecord::new(RunId::new(SystemTime::UNIX_EPOCH, 1), SystemTime::UNIX_EPOCH, "release");
    record.gates = exported;
    assert!(!pass(&record));
}
