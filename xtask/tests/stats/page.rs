//! The page of `stats --html`, opened in a real browser: its bars lie where the record's numbers put them, in light and in dark, and a
//! phone shows it without scrolling sideways.

use std::time::{Duration, SystemTime};

use monoship_core::event::{Status, Task};
use monoship_docker::rawjson::{Phase, PhaseKind, Step};
use monoship_report::record::{RunRecord, Runs, TaskRecord};
use serde::Deserialize;

use crate::history::{line, root};
use support::browser::{Scheme, document};
use support::repo::xtask;

fn at(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(490_896) + Duration::from_millis(ms)
}

fn step(name: &str, from: u64, took_ms: u64) -> Step {
    let (name, started, cached) = (name.to_owned(), Some(at(from)), took_ms == 0);
    Step { name, stage: None, platform: None, cached, took_ms, started, error: None }
}

fn task(task: Task, status: Status, from: u64, took_ms: u64) -> TaskRecord {
    TaskRecord { started: Some(at(from)), took_ms, ..TaskRecord::new(task, status) }
}

/// A base, two services beside each other, and a publication; with names that no page may take for markup.
pub fn record(runs: &Runs) -> RunRecord {
    let run = runs.begin(at(0)).unwrap();
    let mut record = RunRecord::new(run.id.clone(), at(0), "build --push <b>&");
    record.took_ms = 21_357;
    let mut base = task(Task::Base, Status::Built, 611, 5_200);
    base.steps = vec![step("[base 1/2] WORKDIR /app", 700, 0), step("[base 2/2] RUN pnpm fetch", 713, 4_871)];
    let mut api = task(Task::Service("api".parse().unwrap()), Status::Built, 5_900, 13_001);
    api.steps = vec![
        step(
            "[api-build 1/2] RUN tsc && echo \"<script>alert(1)</script>\" 'and a name that is far too long for a phone's screen'",
            6_007,
            9_409,
        ),
        step("[api 2/2] COPY --link --from=api-build /out /app", 15_500, 33),
    ];
    let phase = |kind, from, took_ms| Phase { kind, started: at(from), took_ms };
    api.phases = vec![
        phase(PhaseKind::Transfer, 5_950, 48),
        phase(PhaseKind::Export, 15_600, 3_100),
        phase(PhaseKind::Push, 16_200, 2_222),
        phase(PhaseKind::CacheExport, 18_000, 901),
    ];
    let mut web = task(Task::Service("web".parse().unwrap()), Status::Built, 5_901, 4_004);
    web.steps = vec![step("[web-build 1/2] RUN tsc", 6_010, 3_210)];
    let plan = task(Task::Plan, Status::Done, 0, 604);
    record.tasks = vec![plan, base, api, web, task(Task::Publish, Status::Done, 19_000, 2_301)];
    run.write(&record).unwrap();
    record
}

/// Every bar that the timeline of a record must have: where it begins and how long it is.
fn expected(record: &RunRecord) -> Vec<(u64, u64)> {
    let from = |started: SystemTime| u64::try_from(started.duration_since(record.started).unwrap().as_millis()).unwrap();
    let of_task = |task: &TaskRecord| {
        let steps = task.steps.iter().filter(|step| !step.cached).map(|step| (from(step.started.unwrap()), step.took_ms));
        let parts: Vec<_> = steps.chain(task.phases.iter().map(|phase| (from(phase.started), phase.took_ms))).collect();
        if parts.is_empty() { vec![(from(task.started.unwrap()), task.took_ms)] } else { parts }
    };
    let mut bars: Vec<(u64, u64)> = record.tasks.iter().flat_map(of_task).collect();
    bars.sort_unstable();
    bars
}

/// What the script below measures in a frame of a width.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    /// The widest that anything on the page is, in pixels.
    scroll_width: f64,
    background: String,
    ink: String,
    scripts: usize,
    bars: Vec<Bar>,
}

#[derive(Debug, Deserialize)]
struct Bar {
    from: u64,
    ms: u64,
    /// Shares of the track, as drawn.
    left: f64,
    width: f64,
}

/// Puts the page into a frame of each width and writes what is drawn there into the title.
const SCRIPT: &str = r"
addEventListener('load', () => {
  const measured = [...document.querySelectorAll('iframe')].map(frame => {
    const page = frame.contentDocument, style = frame.contentWindow.getComputedStyle(page.body);
    const bars = [...page.querySelectorAll('.bar[data-from-ms]')].map(drawn => {
      const track = drawn.parentElement.getBoundingClientRect(), bar = drawn.getBoundingClientRect();
      const { fromMs, ms } = drawn.dataset;
      return { from: +fromMs, ms: +ms, left: (bar.left - track.left) / track.width, width: bar.width / track.width };
    });
    return { scrollWidth: page.documentElement.scrollWidth, background: style.backgroundColor, ink: style.color,
             scripts: page.scripts.length, bars };
  });
  document.title = JSON.stringify(measured);
});
";

/// Wide and narrow, in the order of the frames.
const WIDTHS: [f64; 2] = [1_200.0, 390.0];

fn measured(page: &str, scheme: Scheme) -> Vec<Measured> {
    let dir = tempfile::tempdir().unwrap();
    let attribute = page.replace('&', "&amp;").replace('"', "&quot;");
    let frame = |width| format!("<iframe style=\"width:{width}px;height:900px;border:0\" srcdoc=\"{attribute}\"></iframe>");
    let frames = WIDTHS.map(frame).concat();
    let file = dir.path().join("harness.html");
    let harness = format!("<!doctype html><meta charset=\"utf-8\"><title></title><script>{SCRIPT}</script><body>{frames}</body>");
    std::fs::write(&file, harness).unwrap();
    let document = document(&file, scheme);
    let title = document.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap_or_default();
    serde_json::from_str(title).unwrap_or_else(|error| panic!("{error}: {title}"))
}

#[test]
fn a_browser_draws_the_records_numbers_in_light_and_dark_and_on_a_phone() {
    let history: String = (0..60).map(line).collect();
    let root = root("127.0.0.1:9", &history);
    let record = record(&Runs::new(&root.path().join("target/xtask")));
    xtask(root.path(), &["stats", "--html", "page.html", "--run", record.id.as_str()]).exits(0);
    let page = std::fs::read_to_string(root.path().join("page.html")).unwrap();

    let light = measured(&page, Scheme::Light);
    let whole = Duration::from_millis(record.took_ms).as_secs_f64();
    for (seen, width) in light.iter().zip(WIDTHS) {
        assert!(seen.scroll_width <= width, "{} px in {width}", seen.scroll_width);
        assert_eq!(seen.scripts, 1, "its own");
        let mut bars: Vec<(u64, u64)> = seen.bars.iter().map(|bar| (bar.from, bar.ms)).collect();
        bars.sort_unstable();
        assert_eq!(bars, expected(&record));
        for bar in &seen.bars {
            let share = |ms| Duration::from_millis(ms).as_secs_f64() / whole;
            assert!((bar.left - share(bar.from)).abs() < 0.01, "{bar:?} begins elsewhere");
            // A bar of a few milliseconds is drawn two pixels wide, so that it can be seen.
            assert!((bar.width - share(bar.ms)).abs() < 0.015, "{bar:?} has another length");
        }
    }
    let dark = measured(&page, Scheme::Dark);
    assert_eq!((light[0].background.as_str(), dark[0].background.as_str()), ("rgb(251, 251, 250)", "rgb(20, 22, 26)"));
    assert_eq!((light[0].ink.as_str(), dark[0].ink.as_str()), ("rgb(28, 30, 33)", "rgb(232, 234, 237)"));
}
