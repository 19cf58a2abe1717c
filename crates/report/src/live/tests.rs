//! The live display on a terminal of our own, and its lines as values.

mod stories;
mod vt;

use std::time::Duration;

use super::*;
use monoship_core::event::{Level, Status, StepEnd, Task};
use vt::Vt;

fn service(name: &str) -> Task {
    Task::Service(name.parse().unwrap())
}

fn started(task: Task) -> Event {
    let title = format!("target {task}");
    Event::Started { task, title }
}

fn step(task: Task, name: &str, vertex: &str) -> Event {
    Event::StepStarted { task, name: name.to_owned(), vertex: vertex.to_owned() }
}

fn stepped(task: Task, name: &str, end: StepEnd, cached: usize, total: usize) -> Event {
    Event::StepEnded { task, name: name.to_owned(), end, took: Duration::from_secs(1), cached, total }
}

fn on(vt: &Vt) -> Live {
    let (size, signals) = (vt.clone(), Signals { title: true, progress: true });
    Live::on(Screen::new(vt.clone(), move || size.size(), true), Paint::PLAIN, signals)
}

fn board(now: Instant) -> Board {
    let mut board = Board::default();
    let waiting = ["api", "web", "worker"].map(service).to_vec();
    board.event(now, &Event::Foreseen { waiting, unchanged: 1, usual: Some(Duration::from_secs(35)) });
    board.event(now, &started(service("api")));
    board.event(now, &started(service("web")));
    let (deps, install) = ("[deps 1/2] COPY", "[api-deps 2/2] RUN pnpm install");
    let compile = "[api-build 2/4] RUN --mount=type=cache,target=/s pnpm --filter api exec tsc --project tsconfig.build.json";
    board.event(now, &stepped(service("api"), deps, StepEnd::Cached, 1, 14));
    board.event(now, &step(service("api"), install, "sha256:1"));
    board.event(now + Duration::from_secs(2), &step(service("api"), compile, "sha256:2"));
    board.event(now + Duration::from_secs(3), &Event::Log { task: service("api"), line: "src/main.ts: checked".into() });
    board.event(now, &Event::Doing { task: service("web"), what: "pulling node:24".to_owned() });
    board.event(now, &Event::Amount { task: service("web"), done: 12_300_000, total: 45_600_000 });
    board
}

fn drawn(columns: usize, rows: usize) -> Vec<String> {
    let now = Instant::now();
    let lines = lines(&board(now), Size { columns, rows }, 9, "⠋", Paint::PLAIN, now + Duration::from_millis(12_340));
    assert!(lines.iter().all(|line| text::width(line) < columns), "{lines:#?}");
    assert!(lines.len() < rows.max(2), "{lines:#?}");
    lines
}

#[test]
fn each_running_task_has_a_line_with_its_command_and_its_clocks_and_the_whole_has_one() {
    assert_eq!(
        drawn(100, 24),
        [
            "⠋ api        12.3s  1/14 [api-build 2/4] pnpm --filter api ex…tsconfig.build.json 10.3s, and 1 more",
            "            │ src/main.ts: checked",
            "⠋ web        12.3s       pulling node:24 12.3 MB of 45.6 MB",
            "  waiting   worker",
            "  0/3 built · 2 running · 1 waiting · 1 unchanged · 12.3s, usually 35s",
        ]
    );
}

#[test]
fn a_narrow_terminal_loses_the_counts_then_the_step_and_never_wraps() {
    assert_eq!(
        drawn(48, 24)[..3],
        [
            "⠋ api        12.3s pnpm …json 10.3s, and 1 more",
            "            │ src/main.ts: checked",
            "⠋ web        12.3s pulling … 12.3 MB of 45.6 MB",
        ]
    );
    assert_eq!(drawn(20, 24)[..2], ["⠋ api", "            │ src/…"]);
    for columns in 1..60 {
        drawn(columns, 24);
    }
}

#[test]
fn a_low_terminal_shows_the_whole_and_as_many_tasks_as_fit() {
    for rows in 2..8 {
        let lines = drawn(80, rows);
        assert!(lines.last().unwrap().contains("0/3 built"), "{lines:#?}");
    }
    let now = Instant::now();
    let mut board = Board::default();
    (0..10).for_each(|n| drop(board.event(now, &started(service(&format!("s{n}"))))));
    let lines = lines(&board, Size { columns: 80, rows: 5 }, 9, "⠋", Paint::PLAIN, now);
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[3], "  … and 7 more");
}

#[test]
fn a_step_that_several_wait_for_stands_once() {
    let now = Instant::now();
    let mut board = Board::default();
    for task in [Task::Base, service("api"), service("web")] {
        board.event(now, &started(task.clone()));
        board.event(now, &step(task, "[base 2/5] RUN npm install --global pnpm", "sha256:1"));
    }
    // Of the same name, and not the same: another Dockerfile's.
    board.event(now, &started(service("legacy")));
    board.event(now, &step(service("legacy"), "[base 2/5] RUN npm install --global pnpm", "sha256:2"));
    let lines = lines(&board, Size { columns: 100, rows: 24 }, 9, "⠋", Paint::PLAIN, now);
    let said: Vec<String> = lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        said,
        [
            "⠋ base 0.0s [base 2/5] RUN npm install --global pnpm 0.0s, for api, web too",
            "⠋ legacy 0.0s [base 2/5] RUN npm install --global pnpm 0.0s",
        ]
    );
}

#[test]
fn a_task_that_tells_nothing_for_long_is_said_to() {
    let now = Instant::now();
    let mut board = Board::default();
    board.event(now, &started(service("api")));
    board.event(now, &step(service("api"), "[api 1/2] RUN pnpm install", "sha256:1"));
    let after = |seconds| {
        let now = now + Duration::from_secs(seconds);
        lines(&board, Size { columns: 80, rows: 24 }, 9, "⠋", Paint::PLAIN, now)[0].clone()
    };
    assert!(!after(29).contains("no output"), "{}", after(29));
    assert!(after(40).contains("RUN pnpm install 40.0s, no output for 40s"), "{}", after(40));
}

#[test]
fn what_is_shown_for_a_moment_leaves_nothing_behind() {
    let now = Instant::now();
    let mut board = Board::default();
    board.event(now, &Event::Doing { task: Task::Plan, what: "reading the repository".into() });
    assert_eq!(board.running().len(), 1);
    board.event(now, &Event::Doing { task: Task::Plan, what: String::new() });
    assert_eq!(board.running().len(), 0);
    board.event(now, &started(service("api")));
    board.event(now, &Event::Doing { task: service("api"), what: "sending the context".into() });
    board.event(now, &Event::Doing { task: service("api"), what: String::new() });
    assert!(board.running()[0].what(now, 80, "").contains("waiting for the builder"));
}

#[test]
fn what_is_over_scrolls_away_above_and_nothing_of_the_display_is_left_at_the_end() {
    let vt = Vt::new(80, 10);
    let mut live = on(&vt);
    let now = Instant::now();
    live.event(now, started(service("api")));
    live.event(now, started(service("web")));
    live.tick(now);
    assert_eq!(vt.text().len(), 2, "{:#?}", vt.text());
    assert!(vt.text()[1].contains("target web"));
    let took = Duration::from_millis(3_210);
    live.event(now, Event::Ended { task: service("api"), status: Status::Built, took, digest: None });
    let (message, hint) = ("the cache is read-only".to_owned(), Some("ask for a token".to_owned()));
    live.event(now, Event::Notice { level: Level::Warning, task: None, message, hint });
    live.tick(now + Duration::from_millis(60));
    let text = vt.text();
    assert_eq!(text[..3], ["✓ api       built in 3.2s", "warning: the cache is read-only", "hint: ask for a token"]);
    assert!(text[3].contains("web") && text.len() == 4, "{text:#?}");
    live.event(now, Event::Ended { task: service("web"), status: Status::Failed, took, digest: None });
    live.finish(now);
    assert_eq!(vt.text()[3..], ["✗ web       failed after 3.2s"]);
}

#[test]
fn a_terminal_that_tells_its_new_width_late_has_nothing_left_behind() {
    let vt = Vt::new(120, 24);
    let told = std::sync::Arc::new(std::sync::Mutex::new(vt.size()));
    let size = told.clone();
    let mut live = Live::on(Screen::new(vt.clone(), move || *size.lock().unwrap(), true), Paint::PLAIN, Signals::default());
    let now = Instant::now();
    let name = "[api 1/2] RUN pnpm --filter api exec tsc --project tsconfig.build.json --pretty false --incremental --listFiles";
    for task in ["api", "web"].map(service) {
        live.event(now, started(task.clone()));
        live.event(now, step(task.clone(), name, &task.to_string()));
    }
    let mut at = now;
    let mut tick = |live: &mut Live| {
        at += Duration::from_millis(100);
        live.tick(at);
    };
    tick(&mut live);
    // tmux divides lines anew at once, and says so a quarter of a second later.
    vt.resize(60, 24);
    tick(&mut live);
    tick(&mut live);
    *told.lock().unwrap() = vt.size();
    tick(&mut live);
    assert_eq!(vt.text().len(), 2, "{:#?}", vt.text());
}

#[test]
fn a_long_build_tells_the_terminal_and_takes_it_back() {
    let vt = Vt::new(80, 10);
    let mut live = on(&vt);
    let now = Instant::now();
    let waiting = ["api", "web"].map(service).to_vec();
    live.event(now, Event::Foreseen { waiting, unchanged: 0, usual: None });
    live.event(now, started(service("api")));
    live.tick(now + Duration::from_secs(4));
    assert_eq!(vt.told(), [""; 0], "it may be over in a second");
    live.tick(now + Duration::from_secs(6));
    live.tick(now + Duration::from_secs(7));
    let took = Duration::from_secs(8);
    live.event(now + took, Event::Ended { task: service("api"), status: Status::Failed, took, digest: None });
    live.tick(now + took);
    live.finish(now + took);
    let expected = ["[22;2t", "]2;0/2 built", "]9;4;1;0", "]2;0/2 built, 1 failed", "]9;4;2;50", "[23;2t", "]9;4;0;"];
    assert_eq!(vt.told(), expected);
}
