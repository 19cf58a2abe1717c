//! Plain, quiet and JSON output as whole texts.

use std::sync::{Arc, Mutex};

use super::*;
use crate::{Reporter, Style, Terminal};

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn api() -> Task {
    Task::Service("api".parse().unwrap())
}

fn story() -> Vec<Event> {
    let step = |name: &str, end, ms, cached| Event::StepEnded {
        task: api(),
        name: name.to_owned(),
        end,
        took: Duration::from_millis(ms),
        cached,
        total: 3,
    };
    let notice = |level, message: &str, hint: Option<&str>| Event::Notice {
        level,
        task: Some(api()),
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
    };
    vec![
        Event::Started { task: api(), title: "building apps/api".to_owned() },
        Event::Raw { task: api(), line: r#"{"vertexes":[]}"#.to_owned() },
        step("[deps 2/2] RUN pnpm install", StepEnd::Cached, 0, 1),
        Event::StepStarted { task: api(), name: "[build 2/4] RUN tsc".to_owned(), vertex: String::new() },
        Event::Log { task: api(), line: "\u{1b}[2Jsrc/a.ts(3,1): error TS1005".to_owned() },
        step("[build 2/4] RUN tsc", StepEnd::Failed("exit code: 3".to_owned()), 1_240, 1),
        Event::Raw { task: api(), line: "ERROR: failed".to_owned() },
        notice(Level::Info, "3 tiers", None),
        notice(Level::Warning, "the cache could not be written", Some("look at the\ntoken")),
        Event::Ended { task: api(), status: Status::Failed, took: Duration::from_secs(2), digest: None },
    ]
}

fn shown(mode: Mode, paint: Paint, events: Vec<Event>) -> String {
    let sink = Sink::default();
    let reporter = Reporter::start(Style { mode, paint, terminal: Terminal::default() }, sink.clone());
    let to = reporter.events();
    for event in events {
        to.emit(event);
    }
    reporter.finish();
    to.emit(Event::Log { task: api(), line: "after the end".to_owned() });
    sink.text()
}

#[test]
fn plain_lines_carry_the_task_and_what_a_step_came_to() {
    let expected = "\
api       │ building apps/api
api       │ [deps 2/2] RUN pnpm install … cached
api       │ [build 2/4] RUN tsc
api       │   src/a.ts(3,1): error TS1005
api       │ [build 2/4] … failed: exit code: 3
note: api: 3 tiers
warning: api: the cache could not be written
hint: look at the token
api       │ failed after 2.0s, 1 of 3 steps cached
";
    assert_eq!(shown(Mode::Plain, Paint::PLAIN, story()), expected);
}

#[test]
fn quiet_shows_problems_only() {
    let expected = "warning: api: the cache could not be written\nhint: look at the token\n✗ api failed after 2.0s\n";
    assert_eq!(shown(Mode::Quiet, Paint::PLAIN, story()), expected);
}

#[test]
fn rawjson_is_one_json_object_a_line_with_the_builders_line_inside_as_it_came() {
    let text = shown(Mode::RawJson, Paint { colour: true }, story());
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(text.contains("{\"task\":\"api\",\"line\":{\"vertexes\":[]}}\n"), "{text}");
    assert!(lines.iter().any(|line| line["text"] == "ERROR: failed"));
    assert!(lines.iter().all(|line| line["task"] == "api"));
    assert_eq!(lines.last().unwrap()["event"]["ended"]["status"], "failed");
}

#[test]
fn colour_is_put_in_only_where_it_is_wanted_and_never_comes_from_a_log() {
    assert!(!shown(Mode::Plain, Paint::PLAIN, story()).contains('\u{1b}'));
    let coloured = shown(Mode::Plain, Paint { colour: true }, story());
    assert!(coloured.contains("\u{1b}[1;33mwarning:\u{1b}[0m") && !coloured.contains("\u{1b}[2J"));
}

#[test]
fn a_task_that_falls_silent_says_what_it_is_doing_and_not_again_at_once() {
    let sink = Sink::default();
    let mut lines = Lines::new(Mode::Plain, Paint::PLAIN, None, Box::new(sink.clone()));
    let start = Instant::now();
    lines.event(start, Event::Started { task: Task::Engine, title: "starting the engine".to_owned() });
    lines.event(start, Event::Doing { task: Task::Engine, what: "downloading".to_owned() });
    lines.event(start, Event::Amount { task: Task::Engine, done: 12_300_000, total: 45_600_000 });
    for seconds in [19, 20, 21, 39, 41] {
        lines.tick(start + Duration::from_secs(seconds));
    }
    let expected = "\
engine    │ starting the engine
engine    │ still running: downloading 12.3 MB of 45.6 MB
engine    │ still running: downloading 12.3 MB of 45.6 MB, no output for 41s
";
    assert_eq!(sink.text(), expected);
}

#[test]
fn a_reader_that_has_gone_stops_nothing() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
    }
    let reporter = Reporter::start(Style { mode: Mode::Plain, paint: Paint::PLAIN, terminal: Terminal::default() }, Broken);
    for event in story() {
        reporter.events().emit(event);
    }
    reporter.finish();
}
