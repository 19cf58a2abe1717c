//! Lines for a pipe or a CI log: prefixed with the task, problems only, or JSON. Also the words that all displays share.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use super::Show;
use super::board::Board;
use super::style::{Mode, Paint};
use monoship_core::event::{Event, Level, Status, StepEnd, Task};
use monoship_core::name::Digest;
use monoship_core::text;

/// Names are padded to this many columns, and further once a longer one has come.
pub(super) const NAME_COLUMNS: usize = 9;

/// A task that has been silent this long says what it is doing, so that a log does not look dead.
pub(super) const SILENCE: Duration = Duration::from_secs(20);

/// Writes lines.
pub(super) struct Lines {
    mode: Mode,
    paint: Paint,
    out: Box<dyn Write + Send>,
    board: Board,
    name_columns: usize,
    /// When each task last wrote a line.
    spoke: BTreeMap<Task, Instant>,
}

impl Lines {
    pub(super) fn new(mode: Mode, paint: Paint, out: Box<dyn Write + Send>) -> Self {
        Self { mode, paint, out, board: Board::default(), name_columns: NAME_COLUMNS, spoke: BTreeMap::new() }
    }

    fn write(&mut self, line: &str) {
        // Nobody reads any more: that is no reason to stop a build.
        drop(writeln!(self.out, "{line}"));
    }

    fn say(&mut self, now: Instant, task: &Task, line: &str) {
        self.spoke.insert(task.clone(), now);
        let name = task.to_string();
        self.name_columns = self.name_columns.max(text::width(&name));
        let line = format!("{} {} {line}", self.paint.strong(&text::pad(&name, self.name_columns)), self.paint.faint("│"));
        self.write(line.trim_end());
    }

    fn plain(&mut self, now: Instant, event: &Event, steps: (usize, usize)) {
        match event {
            Event::Started { task, title } => self.say(now, task, &text::clean(title)),
            Event::StepStarted { .. } | Event::Doing { .. } | Event::Amount { .. } | Event::Raw { .. } => {}
            Event::StepEnded { task, name, end, took, .. } => {
                let line = step_ended(name, end, *took, self.paint);
                self.say(now, task, &line);
            }
            Event::Log { task, line } => self.say(now, task, &format!("  {}", text::clean(line))),
            Event::Notice { level, task, message, hint } => {
                for line in notice(*level, task.as_ref(), message, hint.as_deref(), self.paint) {
                    self.write(&line);
                }
            }
            Event::Ended { task, status, took, digest } => {
                let line = ended(*status, *took, digest.as_ref(), steps, self.paint);
                self.say(now, task, &line);
                self.spoke.remove(task);
            }
        }
    }

    fn quiet(&mut self, event: &Event) {
        match event {
            Event::Notice { level: Level::Warning, task, message, hint } => {
                for line in notice(Level::Warning, task.as_ref(), message, hint.as_deref(), self.paint) {
                    self.write(&line);
                }
            }
            Event::Ended { task, status: Status::Failed, took, .. } => {
                let line = format!("{} {task} failed after {}", mark(Status::Failed, self.paint), text::duration(*took));
                self.write(&line);
            }
            _ => {}
        }
    }

    /// The builder's lines as they came, and the few of our events that its stream does not have.
    fn rawjson(&mut self, event: &Event) {
        let line = match event {
            Event::Raw { task, line } if is_json_object(line) => Ok(format!("{{\"task\":\"{task}\",\"line\":{line}}}")),
            Event::Raw { task, line } => serde_json::to_string(&serde_json::json!({ "task": task.to_string(), "text": line })),
            Event::Started { task, .. } | Event::Ended { task, .. } => {
                serde_json::to_string(&serde_json::json!({ "task": task.to_string(), "event": event }))
            }
            Event::Notice { task, .. } => {
                let task = task.as_ref().map(ToString::to_string);
                serde_json::to_string(&serde_json::json!({ "task": task, "event": event }))
            }
            _ => return,
        };
        if let Ok(line) = line {
            self.write(&line);
        }
    }
}

fn is_json_object(line: &str) -> bool {
    line.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok()
}

impl Show for Lines {
    fn event(&mut self, now: Instant, event: Event) {
        let over = self.board.event(now, &event);
        match self.mode {
            Mode::Live | Mode::Plain | Mode::Grouped => self.plain(now, &event, over.map_or((0, 0), |running| running.steps())),
            Mode::Quiet => self.quiet(&event),
            Mode::RawJson => self.rawjson(&event),
        }
    }

    fn tick(&mut self, now: Instant) {
        if self.mode == Mode::Plain {
            let spoke = |task: &Task, since: Instant| self.spoke.get(task).copied().unwrap_or(since);
            let silent =
                self.board.running().iter().filter(|r| now.saturating_duration_since(spoke(&r.task, r.since)) >= SILENCE);
            let lines: Vec<_> = silent
                .map(|r| (r.task.clone(), format!("{} … still running after {}", r.what(), text::duration(r.elapsed(now)))))
                .collect();
            for (task, line) in lines {
                self.say(now, &task, &line);
            }
        }
        drop(self.out.flush());
    }

    fn finish(&mut self, _now: Instant) {
        drop(self.out.flush());
    }
}

/// `[api 2/4] RUN tsc … 1.2s`.
pub(super) fn step_ended(name: &str, end: &StepEnd, took: Duration, paint: Paint) -> String {
    let end = match end {
        StepEnd::Cached => paint.good("cached"),
        StepEnd::Ran => text::duration(took),
        StepEnd::Failed(error) => format!("{}: {}", paint.bad("failed"), text::clean(error)),
    };
    format!("{} … {end}", text::clean(name))
}

/// A sign for how a task ended, readable without colour.
pub(super) fn mark(status: Status, paint: Paint) -> String {
    match status {
        Status::Built | Status::Done => paint.good("✓"),
        Status::Skipped => paint.faint("="),
        Status::Failed => paint.bad("✗"),
        Status::Cancelled | Status::NotRun => paint.warning("-"),
    }
}

/// How a task ended, in a word.
pub(super) fn word(status: Status) -> &'static str {
    match status {
        Status::Built => "built",
        Status::Skipped => "unchanged",
        Status::Done => "done",
        Status::Failed => "failed",
        Status::Cancelled => "cancelled",
        Status::NotRun => "not run",
    }
}

/// A step as it is told where room is short: what it does, without the mounts that it does it with, on one line.
pub(super) fn step_text(name: &str) -> String {
    let words = name.split_whitespace().filter(|word| !word.starts_with("--mount="));
    text::clean(&words.collect::<Vec<_>>().join(" "))
}

/// The word in the colour of its sign.
pub(super) fn painted_word(status: Status, text: &str, paint: Paint) -> String {
    match status {
        Status::Built | Status::Done => paint.good(text),
        Status::Skipped => paint.faint(text),
        Status::Failed => paint.bad(text),
        Status::Cancelled | Status::NotRun => paint.warning(text),
    }
}

/// `built in 12.3s, 3 of 14 steps cached, sha256:0123456789ab`.
pub(super) fn ended(status: Status, took: Duration, digest: Option<&Digest>, steps: (usize, usize), paint: Paint) -> String {
    let word = painted_word(status, word(status), paint);
    let time = match status {
        Status::Built | Status::Done => format!(" in {}", text::duration(took)),
        Status::Failed | Status::Cancelled => format!(" after {}", text::duration(took)),
        Status::Skipped | Status::NotRun => String::new(),
    };
    let cached = if steps.1 > 0 { format!(", {} of {} steps cached", steps.0, steps.1) } else { String::new() };
    let digest = digest.map(|digest| paint.faint(&format!(", sha256:{}", digest.short()))).unwrap_or_default();
    format!("{word}{time}{cached}{digest}")
}

/// A notice and its hint, a line each.
pub(super) fn notice(level: Level, task: Option<&Task>, message: &str, hint: Option<&str>, paint: Paint) -> Vec<String> {
    let label = match level {
        Level::Info => paint.strong("note:"),
        Level::Warning => paint.warning("warning:"),
    };
    let about = task.map(|task| format!("{task}: ")).unwrap_or_default();
    let mut lines = vec![format!("{label} {about}{}", text::clean(message))];
    lines.extend(hint.map(|hint| format!("{} {}", paint.hint("hint:"), text::clean(hint))));
    lines
}

#[cfg(test)]
mod tests;
