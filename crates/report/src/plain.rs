//! Lines for a pipe or a CI log: prefixed with the task, problems only, or JSON. Also the words that all displays share.

use std::io::Write;
use std::time::{Duration, Instant};

use super::Show;
use super::board::Board;
use super::step;
use super::style::{Mode, Paint};
use monoship_core::collect::Collect as _;
use monoship_core::event::{Event, Level, Status, StepEnd, Task};
use monoship_core::name::Digest;
use monoship_core::sorted::SortedMap;
use monoship_core::text;

/// Names are padded to this many columns, and further once a longer one has come.
pub(super) const NAME_COLUMNS: usize = 9;

/// A task that has been silent this long says what it is doing, so that a log does not look dead.
pub(super) const SILENCE: Duration = Duration::from_secs(20);

/// Writes lines.
pub(super) struct Lines {
    mode: Mode,
    paint: Paint,
    /// The terminal's, where it is one.
    columns: Option<usize>,
    out: Box<dyn Write + Send>,
    board: Board,
    name_columns: usize,
    /// When each task last wrote a line.
    spoke: SortedMap<Task, Instant>,
}

impl Lines {
    pub(super) fn new(mode: Mode, paint: Paint, columns: Option<usize>, out: Box<dyn Write + Send>) -> Self {
        Self { mode, paint, columns, out, board: Board::default(), name_columns: NAME_COLUMNS, spoke: SortedMap::new() }
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
            Event::Foreseen { waiting, unchanged, usual } => {
                if let Some(line) = foreseen(waiting, *unchanged, *usual) {
                    self.write(&line);
                }
            }
            Event::Called { task, log, .. } => self.say(now, task, &format!("the whole command and its output: {log}")),
            Event::StepStarted { task, name, .. } => self.say(now, task, &step::text(name)),
            Event::Doing { .. } | Event::Amount { .. } | Event::Raw { .. } => {}
            Event::StepEnded { task, name, end, took, .. } => {
                let line = step_ended(name, end, *took, self.paint);
                self.say(now, task, &line);
            }
            Event::Log { task, line } => self.say(now, task, &format!("  {}", text::clean(line))),
            Event::Notice { level, task, message, hint } => {
                for line in notice(*level, task.as_ref(), message, hint.as_deref(), self.paint, self.columns) {
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
                for line in notice(Level::Warning, task.as_ref(), message, hint.as_deref(), self.paint, self.columns) {
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
            let lines: Vec<_> =
                silent.map(|r| (r.task.clone(), format!("still running: {}", r.what(now, usize::MAX, "")))).into_vec();
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

/// `[api 2/4] … 1.2s` of a step that was named as it began; one that came from a cache is named now.
pub(super) fn step_ended(name: &str, end: &StepEnd, took: Duration, paint: Paint) -> String {
    match end {
        StepEnd::Cached => format!("{} … {}", step::text(name), paint.good("cached")),
        StepEnd::Ran => format!("{} … {}", step::label(name), text::duration(took)),
        StepEnd::Failed(error) => format!("{} … {}: {}", step::label(name), paint.bad("failed"), short_message(error)),
    }
}

/// BuildKit repeats the whole command in its message, and the step's name has it already.
pub(super) fn short_message(message: &str) -> String {
    let end = message.starts_with("process \"").then(|| message.rsplit_once("did not complete successfully: ")).flatten();
    text::clean(end.map_or(message, |(_, end)| end))
}

/// `to build: api, web; 2 unchanged; usually 35s`; nothing where nothing is built.
pub(super) fn foreseen(waiting: &[Task], unchanged: usize, usual: Option<Duration>) -> Option<String> {
    if waiting.is_empty() {
        return None;
    }
    let names: Vec<String> = waiting.iter().map(ToString::to_string).into_vec();
    let mut line = format!("to build: {}", names.join(", "));
    if unchanged > 0 {
        line = format!("{line}; {unchanged} unchanged");
    }
    Some(usual.map_or(line.clone(), |usual| format!("{line}; usually {}", text::about(usual))))
}

/// A sign for how a task ended, readable without colour.
pub(super) fn mark(status: Status, paint: Paint) -> String {
    match status {
        Status::Built | Status::Done => paint.good("✓"),
        Status::Unchanged => paint.faint("="),
        Status::Failed => paint.bad("✗"),
        Status::Cancelled | Status::NotRun => paint.warning("-"),
    }
}

/// How a task ended, in a word.
pub(super) fn word(status: Status) -> &'static str {
    match status {
        Status::Built => "built",
        Status::Unchanged => "unchanged",
        Status::Done => "done",
        Status::Failed => "failed",
        Status::Cancelled => "cancelled",
        Status::NotRun => "not run",
    }
}

/// The word in the colour of its sign.
pub(super) fn painted_word(status: Status, text: &str, paint: Paint) -> String {
    match status {
        Status::Built | Status::Done => paint.good(text),
        Status::Unchanged => paint.faint(text),
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
        Status::Unchanged | Status::NotRun => String::new(),
    };
    let cached = if steps.1 > 0 { format!(", {} of {} steps cached", steps.0, steps.1) } else { String::new() };
    let digest = digest.map(|digest| paint.faint(&format!(", sha256:{}", digest.short()))).unwrap_or_default();
    format!("{word}{time}{cached}{digest}")
}

/// A notice and its hint, a line each, or as many as they take on so many columns.
pub(super) fn notice(
    level: Level,
    task: Option<&Task>,
    message: &str,
    hint: Option<&str>,
    paint: Paint,
    columns: Option<usize>,
) -> Vec<String> {
    let label = match level {
        Level::Info => ("note:", paint.strong("note:")),
        Level::Warning => ("warning:", paint.warning("warning:")),
    };
    let about = task.map(|task| format!("{task}: ")).unwrap_or_default();
    let mut lines = labelled(label, &format!("{about}{}", text::clean(message)), columns);
    if let Some(hint) = hint {
        lines.extend(labelled(("hint:", paint.hint("hint:")), &text::clean(hint), columns));
    }
    lines
}

/// A label, plain and as it is shown, and a text beside it, which goes on below where it is longer than the terminal is wide.
pub(super) fn labelled((label, shown): (&str, String), said: &str, columns: Option<usize>) -> Vec<String> {
    let Some(room) = columns.and_then(|columns| columns.checked_sub(label.len() + 2)).filter(|room| *room >= 20) else {
        return vec![format!("{shown} {said}")];
    };
    let indent = " ".repeat(label.len());
    let lines = text::wrapped(said, room).into_iter().enumerate();
    lines.map(|(at, line)| if at == 0 { format!("{shown} {line}") } else { format!("{indent} {line}") }).into_vec()
}

#[cfg(test)]
mod tests;
