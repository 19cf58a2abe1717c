//! The page of a run with everything in it; `timeline.rs` tests its layout with the same run.

use std::time::SystemTime;

use super::*;
use crate::record::RunId;
use crate::record::history::{Read, tests::run as past_run};
use crate::record::stats;
use monoship_core::event::Task;
use monoship_docker::rawjson::{Phase, PhaseKind, Step};

fn zero() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(24) * 20_000
}

fn at(ms: u64) -> SystemTime {
    zero() + Duration::from_millis(ms)
}

fn step(name: &str, from: u64, took_ms: u64) -> Step {
    let cached = took_ms == 0;
    let error = name.contains("fails").then(|| "exit code: 1".to_owned());
    Step { name: name.to_owned(), stage: None, platform: None, cached, took_ms, started: Some(at(from)), error }
}

fn phase(kind: PhaseKind, from: u64, took_ms: u64) -> Phase {
    Phase { kind, started: at(from), took_ms }
}

fn task(task: Task, status: Status, from: u64, took_ms: u64, steps: Vec<Step>, phases: Vec<Phase>) -> TaskRecord {
    TaskRecord { started: Some(at(from)), took_ms, steps, phases, ..TaskRecord::new(task, status) }
}

/// Base, then api (slow) and web (fast, failing) at once, then publish.
pub(super) fn run() -> RunRecord {
    let service = |name: &str| Task::Service(name.parse().unwrap());
    let base = vec![step("[base 1/2] WORKDIR /app", 300, 0), step("[base 2/2] RUN pnpm fetch", 320, 4_100)];
    let api = vec![
        step("[api-build 1/3] COPY . .", 4_500, 12),
        step("[api-build 2/3] RUN tsc", 4_520, 6_123),
        step("[api 3/3] COPY --link", 4_500, 0),
    ];
    let web = vec![step("[web-build 2/3] RUN fails <b>\"here\"</b>", 4_520, 1_500)];
    let mut run = RunRecord::new(RunId::new(zero(), 1), zero(), "release v1.2.3");
    run.took_ms = 13_000;
    run.commit = Some("0123456789abcdef".to_owned());
    run.tasks = vec![
        task(Task::Base, Status::Built, 100, 4_400, base, vec![phase(PhaseKind::Transfer, 120, 190)]),
        task(
            service("api"),
            Status::Built,
            4_450,
            7_100,
            api,
            vec![phase(PhaseKind::Export, 10_650, 900), phase(PhaseKind::Push, 10_900, 600)],
        ),
        task(service("web"), Status::Failed, 4_450, 1_600, web, vec![]),
        task(service("worker"), Status::Unchanged, 4_450, 0, vec![], vec![]),
        task(Task::Publish, Status::Done, 11_600, 1_300, vec![], vec![]),
    ];
    run
}

fn whole_page() -> String {
    let read = Read { runs: (0..60).map(past_run).collect(), damaged: 0, newer: 0 };
    let stats = stats::summarise(&read);
    let layers = [ImageLayers {
        service: "api".to_owned(),
        layers: vec![("FROM node".to_owned(), 70_000_000), ("COPY <x>".to_owned(), 9_000_000)],
    }];
    page(&Page { run: Some(&run()), stats: &stats, history: &read.runs, layers: &layers })
}

#[test]
fn the_pages_numbers_are_the_records() {
    let html = whole_page();
    let run = run();
    for step in run.tasks.iter().flat_map(|task| &task.steps).filter(|step| !step.cached) {
        let from = step.started.unwrap().duration_since(run.started).unwrap().as_millis();
        let label = escaped(&step.name);
        let row = html.lines().find(|line| line.contains(&format!("title=\"{label}\""))).unwrap();
        assert!(row.contains(&format!("data-from-ms=\"{from}\" data-ms=\"{}\"", step.took_ms)), "{row}");
    }
    for task in run.tasks.iter().filter(|task| task.took_ms > 0) {
        assert!(html.contains(&format!("data-ms=\"{}\"", task.took_ms)), "{}", task.task);
    }
    assert!(html.contains("left:34.769%;width:47.100%"), "the bar of the longest step");
}

#[test]
fn the_time_axis_has_round_times_in_line_with_the_bars() {
    assert_eq!([0, 500, 20_000, 300_000, 7_200_000].map(round), ["0", "500ms", "20s", "5m", "2h"]);
    let ticks = |whole| axis(whole).matches("class=\"tick\"").count();
    assert!([1, 700, 34_000, 59_000, 61_000, 3_000_000].into_iter().all(|whole| (1..=7).contains(&ticks(whole))));
    assert!(axis(40_000).contains("left:25.000%\">10s<") && axis(40_000).contains("left:0.000%\">0<"), "{}", axis(40_000));
}

#[test]
fn the_page_needs_nothing_from_outside_and_runs_no_script_but_its_own() {
    let html = whole_page();
    for outside in ["http://", "https://", "src=", "@import", "url(", "fetch("] {
        assert!(!html.contains(outside), "{outside}");
    }
    let own = html.split("<script>").nth(1).and_then(|rest| rest.split("</script>").next()).unwrap();
    assert_eq!(html.matches("<script").count(), 1);
    assert!(html.contains(&format!("script-src 'sha256-{}'", sha256_base64(own.as_bytes()))));
    assert!(
        html.contains("name=\"viewport\"") && html.contains("prefers-color-scheme: dark") && html.contains("default-src 'none'")
    );
}

#[test]
fn nothing_from_outside_becomes_markup() {
    let html = whole_page();
    assert!(html.contains("RUN fails &lt;b&gt;&quot;here&quot;&lt;/b&gt;") && !html.contains("<b>\"here"), "escaped");
    assert!(html.contains("COPY &lt;x&gt;"));
}

#[test]
fn image_sizes_are_compared_from_release_to_release() {
    let read = |command: &str, at: u32, size: u64| {
        let mut run = past_run(at);
        run.command = command.to_owned();
        run.tasks.truncate(1);
        run.tasks[0].size = Some(size);
        run
    };
    let history = [
        read("release v1.0.0", 1, 80_000_000),
        read("release --force v1.1.0", 2, 82_000_000),
        read("build", 3, 99_000_000),
        read("release v1.2.0", 4, 81_500_000),
    ];
    let stats = stats::summarise(&Read { runs: history.to_vec(), damaged: 0, newer: 0 });
    let html = page(&Page { run: None, stats: &stats, history: &history, layers: &[] });
    let rows: Vec<&str> = html.split("Image sizes over releases</h2>").nth(1).unwrap().lines().skip(2).take(2).collect();
    assert!(rows[0].contains("v1.0.0") && rows[0].contains("v1.1.0") && rows[0].contains("v1.2.0"), "{rows:#?}");
    for cell in ["80.0 MB<", "82.0 MB (+2.00 MB)", "81.5 MB (−500 kB)"] {
        assert!(rows[1].contains(cell), "{cell}: {rows:#?}");
    }
    assert!(!rows[1].contains("99.0"), "{rows:#?}");
}

#[test]
fn layers_are_compared_from_release_to_release_whoever_released() {
    let read = |release: &str, at: u32, layers: &[(&str, u64)]| {
        let mut run = past_run(at);
        run.command = "ci".to_owned();
        run.release = Some(release.to_owned());
        run.tasks.truncate(1);
        run.tasks[0].layers = layers.iter().map(|(step, bytes)| ((*step).to_owned(), *bytes)).collect();
        run
    };
    let (base, app) = ("RUN /bin/sh -c apt-get install # buildkit", "COPY /production/app /app # buildkit");
    let history = [
        read("v1.0.0", 1, &[(base, 28_000_000), (app, 9_000_000), ("WORKDIR /app", 93)]),
        read("v1.1.0", 2, &[(base, 28_000_000), (app, 9_500_000)]),
    ];
    let stats = stats::summarise(&Read { runs: history.to_vec(), damaged: 0, newer: 0 });
    let html = page(&Page { run: None, stats: &stats, history: &history, layers: &[] });
    let rows: Vec<&str> = html.split("Layer sizes over releases</h2>").nth(1).unwrap().lines().skip(2).take(4).collect();
    assert!(rows[0].contains("v1.0.0") && rows[0].contains("v1.1.0"), "{rows:#?}");
    assert!(rows[1].contains("COPY /production/app /app") && rows[1].contains("9.50 MB (+500 kB)"), "{rows:#?}");
    assert!(rows[2].contains("apt-get install") && rows[2].matches("28.0 MB<").count() == 2, "{rows:#?}");
    assert!(!rows[3].contains("WORKDIR"), "{rows:#?}");
}

#[test]
fn every_tag_that_opens_closes() {
    let html = whole_page();
    for tag in
        ["div", "span", "table", "tr", "td", "th", "ul", "li", "svg", "b", "h2", "h3", "p", "main", "title", "body", "html"]
    {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn an_empty_history_gives_a_page_too() {
    let stats = stats::summarise(&Read::default());
    let html = page(&Page { run: None, stats: &stats, history: &[], layers: &[] });
    assert!(html.contains("<h1>cargo xtask stats</h1>") && !html.contains("NaN"));
}
