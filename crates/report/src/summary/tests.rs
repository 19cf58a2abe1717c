//! Whole tables and failure texts, as a person sees them.

use super::*;
use crate::record::{Missed, NodeRecord};
use monoship_core::name::Digest;
use monoship_docker::rawjson::{Solve, Step};
use monoship_plan::explain::{Change, Reason};

fn service(name: &str, status: Status) -> TaskRecord {
    TaskRecord::new(Task::Service(name.parse().unwrap()), status)
}

fn step(cached: bool) -> Step {
    let name = "[build 1/2] RUN x".to_owned();
    Step { name, stage: None, platform: None, cached, took_ms: 0, started: None, error: None }
}

fn tasks() -> Vec<TaskRecord> {
    let mut api = service("api", Status::Built);
    api.steps = [true, true, false].map(step).to_vec();
    (api.took_ms, api.size) = (12_340, Some(142_400_000));
    api.digest = Some(Digest::of(b"api"));
    api.why = "apps/api/src/main.ts changed".to_owned();
    let mut web = service("web", Status::Unchanged);
    web.why = "unchanged since 2 hours".to_owned();
    let stream = include_str!("../../../docker/src/rawjson/fixtures/failing-step.jsonl");
    let mut solve = Solve::new(Task::Base);
    stream.lines().for_each(|line| drop(solve.line(line)));
    let mut worker = service("worker", Status::Failed).with_solved(solve.finish());
    worker.took_ms = 4_000;
    let mut scheduler = service("a-much-longer-name", Status::NotRun);
    scheduler.why = "base failed".to_owned();
    vec![TaskRecord::new(Task::Engine, Status::Done), api, web, worker, scheduler]
}

#[test]
fn a_fleets_nodes_have_a_column_and_what_moved_is_told_with_why() {
    let mut api = service("api", Status::Built);
    let moved = vec![("two".to_owned(), "error reading from server: EOF".to_owned())];
    api.nodes = vec![NodeRecord { builder: "one".to_owned(), platforms: Vec::new(), moved }];
    let tasks = [api];
    assert_eq!(
        table(&tasks, Paint::PLAIN, None),
        "service  status  time  node  why\napi      built   0.0s  one\n".replace("  why", "")
    );
    assert_eq!(moves(&tasks, Paint::PLAIN), "moved: api went from two to one: error reading from server: EOF\n");
    let row = crate::job_summary::rows(&tasks).remove(0);
    assert_eq!(row.why, "(on one, moved from two: error reading from server: EOF)");
}

#[test]
fn the_table_lines_up_and_numbers_end_together() {
    let expected = "\
service             status     cached   time    size  digest               why
api                 built         2/3  12.3s  142 MB  sha256:c56146dff7c6  apps/api/src/main.ts changed
web                 unchanged                                              unchanged since 2 hours
worker              failed        3/5   4.0s
a-much-longer-name  not run                                                base failed
";
    assert_eq!(table(&tasks(), Paint::PLAIN, None).replace(Digest::of(b"api").short(), "c56146dff7c6"), expected);
    assert_eq!(table(&[TaskRecord::new(Task::Engine, Status::Done)], Paint::PLAIN, None), "");
}

#[test]
fn on_a_narrow_terminal_columns_go_and_no_word_is_broken() {
    for columns in 20..130 {
        let shown = table(&tasks(), Paint::PLAIN, Some(columns));
        let long = shown.lines().find(|line| text::width(line) > columns && line.contains("  "));
        assert!(long.is_none() || columns < 23, "{columns}: {long:?}");
        assert!(shown.contains("apps/api/src/main.ts") && shown.contains("a-much-longer-name"), "{columns}: {shown}");
    }
    let narrow = "\
service             status     cached   time  why
api                 built         2/3  12.3s
  apps/api/src/main.ts changed
web                 unchanged
  unchanged since 2 hours
worker              failed        3/5   4.0s
a-much-longer-name  not run
  base failed
";
    assert_eq!(table(&tasks(), Paint::PLAIN, Some(50)), narrow);
    let numbers = |columns| {
        aligned(&["service", "a", "b"], &[["x", "100", "2000"].map(str::to_owned).to_vec()], &[1, 2], columns, |_, _, cell| {
            cell.to_owned()
        })
    };
    assert_eq!(numbers(Some(15)), "service    a\nx        100\n");
    assert_eq!(numbers(None), "service    a     b\nx        100  2000\n");
}

#[test]
fn a_stage_named_as_a_column_is_has_a_column_that_can_be_told_from_it() {
    let tried = |stage: &str| {
        let stage = Task::Stage(Stage { stage: stage.parse().unwrap(), service: Some("api".parse().unwrap()) });
        TaskRecord::new(stage, Status::Done)
    };
    let tasks = [TaskRecord { size: Some(1), ..service("api", Status::Unchanged) }, tried("size"), tried("scan")];
    let table = table(&tasks, Paint::PLAIN, None);
    let head: Vec<&str> = table.lines().next().unwrap().split("  ").map(str::trim).filter(|head| !head.is_empty()).collect();
    assert_eq!(head, ["service", "status", "stage size", "scan", "size"]);
}

#[test]
fn a_column_that_nobody_fills_is_left_out() {
    assert_eq!(table(&[service("web", Status::Unchanged)], Paint::PLAIN, None), "service  status\nweb      unchanged\n");
}

#[test]
fn the_first_step_that_no_cache_had_is_told_with_its_cause() {
    let mut tasks = tasks();
    let step = "[api-build 2/4] RUN --mount=type=bind,from=sources,target=/s     build apps/api".to_owned();
    let file = |path: &str| Reason::File { path: path.into(), change: Change::Changed };
    tasks[1].missed = Some(Missed { step, reasons: vec![file("apps/api/a.ts"), file("apps/api/b.ts"), file("apps/api/c.ts")] });
    tasks[3].missed = Some(Missed { step: "[bad 1/2] RUN x".into(), reasons: vec![Reason::NotCached] });
    let expected = "\
first step that no cache had:
  api     [api-build 2/4] RUN build apps/api: file apps/api/a.ts changed; file apps/api/b.ts changed; and 1 more
  worker  [bad 1/2] RUN x: unchanged, and in no cache that was read
";
    assert_eq!(misses(&tasks, Paint::PLAIN), expected);
    assert_eq!(misses(&tasks[..1], Paint::PLAIN), "");
}

#[test]
fn totals_count_services_by_outcome() {
    let time = Duration::from_millis(34_210);
    assert_eq!(totals(&tasks(), time, Paint::PLAIN), "1 built, 1 unchanged, 1 failed, 1 not run in 34.2s\n");
    assert_eq!(totals(&[], time, Paint::PLAIN), "nothing to do in 34.2s\n");
}

#[test]
fn a_failure_shows_step_log_dockerfile_line_and_where_the_whole_log_lies() {
    let expected = "\
✗ worker failed at [bad 1/2] RUN echo \"compiling\" && echo \"src/a.ts(3,1): error TS1005: ';' expected.\" && exit 3: exit code: 3
  │ compiling
  │ src/a.ts(3,1): error TS1005: ';' expected.
  Dockerfile:15
    14 |     FROM deps AS bad
    15 | >>> RUN echo \"compiling\" && \\
    16 | >>>     echo \"src/a.ts(3,1): error TS1005: ';' expected.\" && \\
    17 | >>>     exit 3
    18 |     RUN echo never
  whole log: runs/x/worker.log
";
    assert_eq!(failures(&tasks(), |task| PathBuf::from(format!("runs/x/{task}.log")), Paint::PLAIN), expected);
}

#[test]
fn a_failure_without_a_step_says_why_and_every_failure_is_shown() {
    let mut publish = TaskRecord::new(Task::Publish, Status::Failed);
    publish.why = "the registry refused the tag".to_owned();
    publish.hint = Some("ask for the right to push".to_owned());
    let shown = failures(&[publish, service("web", Status::Failed)], |_| PathBuf::from("l"), Paint::PLAIN);
    assert_eq!(
        shown,
        "✗ publish failed: the registry refused the tag\n  hint: ask for the right to push\n  whole log: l\n\n✗ web failed\n  whole log: l\n"
    );
}

#[test]
fn of_a_long_log_the_end_is_shown() {
    let mut task = service("api", Status::Failed);
    let log = (0..40).map(|n| format!("line {n}")).collect();
    task.failure = Some(Failure { step: None, message: "m".to_owned(), log, source: None });
    let shown = failures(&[task], |_| PathBuf::from("l"), Paint::PLAIN);
    assert!(shown.contains("│ … 20 lines before these\n  │ line 20\n") && shown.contains("line 39"), "{shown}");
}
